// HAProxy for tests, in a folder of its own.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { until } from "../official/helpers.mjs";
import { HOST, exit, freePort, guarded } from "./processes.mjs";

/** Starts HAProxy, which sends each request to the next of the servers on these ports. Returns its URL. */
export async function startRoundRobin(servers) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "haproxy-"));
  // The options of the backend are those of docs/deployment.md.
  const configuration = `
    global
      maxconn 4096
      nbthread 1
    defaults
      mode http
      timeout connect 5s
      timeout client 60s
    frontend public
      bind ${HOST}:${port}
      default_backend servers
    backend servers
      balance roundrobin
      timeout server 60s
      timeout tunnel 1h
      retry-on conn-failure empty-response 503
      option redispatch 1
      ${servers.map((server) => `server s${server} ${HOST}:${server}`).join("\n      ")}
`;
  await writeFile(join(folder, "haproxy.cfg"), configuration);
  const child = guarded(spawn("/usr/sbin/haproxy", ["-db", "-f", join(folder, "haproxy.cfg")], { stdio: "inherit" }));
  after(async () => {
    child.kill("SIGKILL");
    await exit(child);
    await rm(folder, { recursive: true });
  });
  const url = `http://${HOST}:${port}`;
  await until(() => fetch(`${url}/health`).then(({ ok }) => ok, () => false), Boolean, "HAProxy responds");
  return url;
}
