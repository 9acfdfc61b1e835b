// Redis over TLS, with users that may do what the adapters need and nothing else.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, describe, test } from "node:test";
import { together } from "./deployments-play.mjs";
import { startFleet, startNode } from "./fleet.mjs";
import { HOST, freePort } from "./processes.mjs";
import { Redis } from "./redis.mjs";

/** The rules of the README of the crate. */
const CONNECTION = "+hello +ping";
const RULES = {
  redis: `${CONNECTION} +publish +subscribe +unsubscribe +psubscribe +punsubscribe +pubsub|numsub allchannels`,
  "redis-sharded": `${CONNECTION} +spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub &socket.io*`,
  "redis-streams":
    `${CONNECTION} +publish +subscribe +unsubscribe +pubsub|numsub +xadd +xread +xrange +xrevrange +set +getdel +del ` +
    "&socket.io* ~socket.io ~sio:session:*",
};

const path = mkdtempSync(`${tmpdir()}/redis-tls-`);
after(() => rmSync(path, { recursive: true, force: true }));
const [certificate, key] = [`${path}/certificate.pem`, `${path}/key.pem`];
const extensions = ["-addext", `subjectAltName=IP:${HOST}`, "-addext", "basicConstraints=critical,CA:FALSE"];
const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
execFileSync("openssl", [...request, "-subj", "/CN=redis", ...extensions, "-keyout", key, "-out", certificate], { stdio: "ignore" });

const [port, tlsPort] = [await freePort(), await freePort()];
const tls = ["--tls-port", tlsPort, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
const redis = await new Redis(port, tls).start();
after(() => redis.kill());
const urls = {};
for (const [adapter, rules] of Object.entries(RULES)) {
  const password = `p@ss/${adapter}`;
  await redis.command("ACL", "SETUSER", adapter, "on", `>${password}`, "resetchannels", ...rules.split(" "));
  urls[adapter] = `rediss://${adapter}:${encodeURIComponent(password)}@${HOST}:${tlsPort}`;
}

describe("TLS and ACL", () => {
  for (const ADAPTER of Object.keys(RULES)) {
    test(`${ADAPTER}: all messages`, async (t) => {
      const env = { ADAPTER, REDIS_URL: urls[ADAPTER], SSL_CERT_FILE: certificate, RECOVERY_MS: "10000" };
      const nodes = await startFleet(undefined, env, ["ours", "ours"]);
      await together(t, nodes);
      for (const node of nodes) assert.equal((await node.status()).dropped, 0);
      const log = await redis.command("ACL", "LOG");
      assert.deepEqual(log.map((entry) => entry.join(" ")), [], "nothing else is needed");
    });
  }

  test("a certificate that is not trusted, and a wrong password", async (t) => {
    for (const env of [
      { REDIS_URL: urls.redis },
      { REDIS_URL: urls.redis.replace("p%40ss", "wrong"), SSL_CERT_FILE: certificate },
    ]) {
      const node = await startNode("ours", { ADAPTER: "redis", ...env });
      t.after(() => node.end("SIGKILL"));
      assert.equal((await node.status()).connected, false);
      assert.match(node.log(), /cannot connect to Redis.*(certificate|WRONGPASS|Password)/i);
    }
  });
});
