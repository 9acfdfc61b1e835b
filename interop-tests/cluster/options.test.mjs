// Options of the adapters: prefixes, channels of responses, timeouts.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { settled } from "../official/helpers.mjs";
import { heard, heardBy, join, meet, startNode, synced } from "./fleet.mjs";
import { startRedis } from "./redis.mjs";

const redis = await startRedis();

async function everything(t, nodes) {
  const sockets = await meet(t, nodes);
  const [a, b] = sockets;
  await b.emitWithAck("join", "room");
  await heard(a, b, { to: ["room"] });
  sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
  for (const socket of sockets) {
    assert.equal(await socket.emitWithAck("servers"), nodes.length);
    assert.deepEqual(await socket.emitWithAck("members", []), sockets.map(({ id }) => id).sort());
    const { timedOut, responses } = await socket.emitWithAck("cast-ack", { timeout: 4_000 }, "ask");
    assert.deepEqual([timedOut, responses.length], [false, nodes.length]);
    assert.equal((await socket.emitWithAck("sse-ack", "ask-name")).responses.length, nodes.length - 1);
  }
}

describe("options", { concurrency: 4 }, () => {
  for (const adapter of ["redis", "redis-sharded"]) {
    test(`${adapter}: fleets with different prefixes are separate`, async (t) => {
      const fleets = await Promise.all(
        // Prefixes that contain one another, and the special characters of patterns.
        ["key", "key#", "key*"].map((key) =>
          Promise.all(["ours", "ours", "node"].map((kind) => startNode(kind, { ADAPTER: adapter, KEY: key, ...redis.env }))),
        ),
      );
      t.after(() => Promise.all(fleets.flat().map((node) => node.end("SIGKILL"))));
      for (const [i, fleet] of fleets.entries()) {
        // Node.js does not escape the special characters.
        await everything(t, i === 2 ? fleet.slice(0, 2) : fleet);
      }
      const sockets = await Promise.all(fleets.flatMap((fleet) => fleet.slice(0, 2)).map((node) => join(t, node, "/custom")));
      for (const i of [0, 2, 4]) await heard(sockets[i], sockets[i + 1], {});
      await settled(...sockets);
      const events = sockets.map(heardBy);
      for (const i of [0, 2, 4]) {
        await sockets[i].emitWithAck("cast", {}, "in", i);
        await synced(sockets[i], sockets[i + 1]);
      }
      await settled(...sockets);
      const received = events.map(({ take }) => take().map(([, number]) => number));
      assert.deepEqual(received, [[0], [0], [2], [2], [4], [4]]);
    });

    test(`${adapter}: the names of the channels of a prefix`, async (t) => {
      const nodes = ["ours", "ours"].map((kind) => startNode(kind, { ADAPTER: adapter, KEY: "named", ...redis.env }));
      const [one, two] = await Promise.all(nodes);
      t.after(() => Promise.all([one, two].map((node) => node.end("SIGKILL"))));
      await meet(t, [one, two], "/custom");
      const channels = await redis.command("PUBSUB", adapter === "redis" ? "CHANNELS" : "SHARDCHANNELS");
      const expected = adapter === "redis" ? ["named-request#/custom#", "named-response#/custom#"] : ["named#/custom#"];
      for (const name of expected) assert.ok(channels.includes(name), name);
      assert.deepEqual(channels.filter((name) => name.startsWith("socket.io#/custom")), []);
    });
  }

  test("classic: responses on the channel of the requester, mixed with the common one", async (t) => {
    const options = { ADAPTER: "redis", ...redis.env, KEY: "mixed" };
    const specific = { ...options, SPECIFIC_RESPONSES: "1" };
    const nodes = await Promise.all([
      startNode("ours", specific),
      startNode("ours", options),
      startNode("node", specific),
      startNode("node", options),
    ]);
    t.after(() => Promise.all(nodes.map((node) => node.end("SIGKILL"))));
    await everything(t, nodes);
  });

  test("the timeout of requests", async (t) => {
    for (const adapter of ["redis", "redis-sharded"]) {
      const options = { ADAPTER: adapter, ...redis.env, KEY: "slow", REQUESTS_TIMEOUT_MS: "300" };
      const nodes = await Promise.all(["ours", "ours"].map((kind) => startNode(kind, options)));
      t.after(() => Promise.all(nodes.map((node) => node.end("SIGKILL"))));
      const [a] = await meet(t, nodes);
      const begin = performance.now();
      const { error, responses } = await a.emitWithAck("sse-ack", "ask-later", 2_000);
      assert.equal(typeof error, "string");
      assert.deepEqual(responses, []);
      assert.ok(performance.now() - begin < 1_000);
      // An answer that is too late has no effect on the next request.
      const next = await a.emitWithAck("sse-ack", "ask-name");
      assert.deepEqual(next, { error: null, responses: [nodes[1].name] });
    }
  });
});
