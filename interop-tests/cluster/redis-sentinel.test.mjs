// Servers that find the master of Redis by sentinels.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { until } from "../official/helpers.mjs";
import { startSentinels } from "./deployments.mjs";
import { RECOVERY_MS, emitted, emitting, once, resumed, together, underLoad } from "./deployments-play.mjs";
import { startEmitter } from "./emitters.mjs";
import { startFleet } from "./fleet.mjs";

const ADAPTERS = ["redis", "redis-sharded", "redis-streams"];
const sentinels = await startSentinels();
const fleets = await Promise.all(ADAPTERS.map((ADAPTER) => startFleet(sentinels, { ADAPTER, KEY: ADAPTER }, ["ours", "ours"])));
const master = await sentinels.master();
const peers = await Promise.all(
  // The adapter of Node.js is given a connection to the master.
  ADAPTERS.map((ADAPTER) => startFleet(master, { ADAPTER, KEY: ADAPTER }, ["node"])),
);
// The client `ioredis` follows the sentinels.
const mixed = await startFleet(sentinels, { ADAPTER: "redis", KEY: "mixed", NODE_CLIENT: "ioredis" }, ["ours", "node"]);
const emitters = ADAPTERS.map((ADAPTER) => startEmitter({ ADAPTER, KEY: ADAPTER, ...sentinels.env }));

describe("sentinels", () => {
  for (const [i, adapter] of ADAPTERS.entries()) {
    test(`${adapter}: all messages, also with Node.js`, (t) => together(t, [...fleets[i], ...peers[i]]));
    test(`${adapter}: an emitter, also with Node.js`, (t) => emitted(t, [...fleets[i], ...peers[i]], emitters[i]));
  }

  const changes = {
    "the sentinels elect another master": () => sentinels.failover(),
    "the master is killed": async () => {
      const before = await sentinels.master();
      await before.kill();
      await sentinels.elected(before);
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    test(what, async (t) => {
      await Promise.all(peers.flat().map((peer) => peer.end("SIGKILL")));
      const together = once(fleets.length + emitters.length + 1, change);
      await Promise.all([
        ...fleets.map((nodes) => underLoad(t, nodes, "/", "room", together)),
        ...emitters.map((emitter, i) => emitting(t, fleets[i][0], emitter, "/", together)),
        resumed(t, mixed, together),
      ]);
      for (const node of [...fleets.flat(), mixed[0]]) {
        const { malformed } = await until(() => node.status(), ({ connected }) => connected, "connected", RECOVERY_MS);
        assert.equal(malformed, 0);
      }
    });
  }
});
