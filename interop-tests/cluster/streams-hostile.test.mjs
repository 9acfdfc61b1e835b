// Hostile entries in the stream, and a stream that is none.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { until } from "../official/helpers.mjs";
import { freshNamespace, heardBy, meet, startFleet, synced } from "./fleet.mjs";
import { startRedis } from "./redis.mjs";

const redis = await startRedis();
const ENV = { ADAPTER: "redis-streams" };
const [one, two] = await startFleet(redis, ENV, ["ours", "ours"]);
const [three, four] = await startFleet(redis, { ...ENV, RECOVERY_MS: "10000", KEY: "recovery" }, ["ours", "ours"]);

const opts = { rooms: [], except: [], flags: {} };
const json = (value) => JSON.stringify(value);
const packet = (type, data) => json({ packet: { type, data }, opts });

/** The fields of entries without effect. */
const hostile = (nsp) => {
  const fields = { uid: "foreign", nsp, type: "3" };
  const data = [
    "",
    "{",
    "[]",
    "{}",
    "null",
    "not base64!",
    Buffer.from("not MessagePack").toString("base64"),
    Buffer.from([0xc0]).toString("base64"),
    "x".repeat(1_000_000),
    json({ packet: { type: 2, data: ["hostile"] } }),
    json({ opts }),
    json({ packet: [], opts }),
    json({ packet: { type: 2, data: ["hostile"] }, opts: [] }),
    packet(2, {}),
    packet(2, []),
    packet(2, [{}]),
    packet(2, ["disconnect"]),
    packet(2, ["connect", 1]),
    ...[0, 1, 3, 4, 5, 6, "2", null].map((type) => packet(type, ["hostile"])),
  ];
  return [
    {},
    { uid: "foreign" },
    { ...fields, data: undefined },
    { ...fields, nsp: undefined, data: packet(2, ["hostile"]) },
    { ...fields, uid: undefined, data: packet(2, ["hostile"]) },
    ...["", "x", "-1", "256", "3.5"].map((type) => ({ ...fields, type, data: packet(2, ["hostile"]) })),
    ...["4", "5"].map((type) => ({ ...fields, type, data: json({ opts, rooms: {} }) })),
    { ...fields, type: "6", data: json({ close: true }) },
    ...["7", "8", "9", "10", "11", "12"].map((type) => ({ ...fields, type, data: json({ requestId: 1 }) })),
    ...data.map((text) => ({ ...fields, data: text })),
  ];
};

async function append(stream, fields) {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  const list = entries.length > 0 ? entries.flat() : ["empty", ""];
  await redis.command("XADD", stream, "*", ...list);
}

for (const [name, nodes, stream] of [["without recovery", [one, two], "socket.io"], ["with recovery", [three, four], "recovery"]]) {
  describe(name, () => {
    test("entries of wrong shape are counted and ignored", async (t) => {
      const nsp = freshNamespace();
      const [a, b] = await meet(t, nodes, nsp);
      const events = [a, b].map(heardBy);
      const before = await Promise.all(nodes.map((node) => node.status()));
      const entries = hostile(nsp);
      for (const fields of entries) await append(stream, fields);
      await synced(a, b);
      await synced(b, a);
      assert.ok(a.connected && b.connected);
      assert.deepEqual(events.map(({ take }) => take()), [[], []]);
      for (const [i, node] of nodes.entries()) {
        const grown = (await node.status()).malformed - before[i].malformed;
        assert.ok(grown >= entries.length - 2, `${grown} of ${entries.length}`);
      }
    });

    test("a key of another type is no busy loop, and its end is noticed", async (t) => {
      const [a, b] = await meet(t, nodes);
      // A read that waits for entries notices it at its timeout, after 5 s.
      await redis.command("SET", stream, "x");
      await until(() => nodes[0].status(), ({ connected }) => !connected, "the error is visible", 8_000);
      await redis.command("CONFIG", "RESETSTAT");
      const local = new Promise((resolve) => a.once("local", resolve));
      await a.emitWithAck("cast", { to: [a.id] }, "local");
      await local;
      // One second of attempts.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const stats = await redis.command("INFO", "commandstats");
      const calls = (command) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
      assert.ok(calls("xread") + calls("xrevrange") < 60, stats);
      await redis.command("DEL", stream);
      for (const node of nodes) {
        await until(() => node.status(), ({ connected }) => connected, "the stream is read", 5_000);
      }
      await synced(a, b);
      await synced(b, a);
    });
  });
}
