// Servers that are connected by a Redis Cluster.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { until } from "../official/helpers.mjs";
import { startCluster } from "./deployments.mjs";
import { RECOVERY_MS, emitted, emitting, once, resumed, together, underLoad } from "./deployments-play.mjs";
import { startEmitter } from "./emitters.mjs";
import { meet, startFleet } from "./fleet.mjs";

const ADAPTERS = ["redis", "redis-sharded", "redis-streams"];
const cluster = await startCluster();
const start = (kinds) => Promise.all(ADAPTERS.map((ADAPTER) => startFleet(cluster, { ADAPTER, KEY: ADAPTER }, kinds)));
const [fleets, peers, mixed] = await Promise.all([
  start(["ours", "ours"]),
  start(["node"]),
  // The client `ioredis` follows the cluster.
  startFleet(cluster, { ADAPTER: "redis", KEY: "mixed", NODE_CLIENT: "ioredis" }, ["ours", "node"]),
]);

const emitters = ADAPTERS.map((ADAPTER) => startEmitter({ ADAPTER, KEY: ADAPTER, ...cluster.env }));

const ROOM = "room";
/** What has a slot of its own: the channel of the room and that of all, and the stream. */
const KEYS = ["redis-sharded#/#room#", "redis-sharded#/#", "redis-streams"];

/** Changes the cluster while all fleets are under load. Returns the numbers of lost events. */
async function change(t, work) {
  const changed = once(fleets.length + emitters.length + 1, work);
  const emissions = emitters.map((emitter, i) => emitting(t, fleets[i][0], emitter, "/", changed));
  const loads = fleets.map((nodes) => underLoad(t, nodes, "/", ROOM, changed));
  const [lost] = await Promise.all([Promise.all(loads), ...emissions, resumed(t, mixed, changed)]);
  for (const node of [...fleets.flat(), mixed[0]]) {
    const { malformed } = await until(() => node.status(), ({ connected }) => connected, "connected", RECOVERY_MS);
    assert.equal(malformed, 0);
  }
  return lost;
}

describe("a cluster", () => {
  for (const [i, adapter] of ADAPTERS.entries()) {
    test(`${adapter}: all messages, also with Node.js`, (t) => together(t, [...fleets[i], ...peers[i]]));
  }

  for (const [i, adapter] of ADAPTERS.entries()) {
    test(`${adapter}: an emitter, also with Node.js`, (t) => emitted(t, [...fleets[i], ...peers[i]], emitters[i]));
  }

  test("redis: a subscriber at a replica, as ioredis may be, is counted", async (t) => {
    const [socket] = await meet(t, fleets[0]);
    const subscriber = await (await cluster.replica()).connect();
    await subscriber.subscribe(`redis-request#${socket.nsp}#`, () => {});
    await until(() => socket.emitWithAck("servers"), (count) => count === 3, "the subscriber is counted");
    subscriber.destroy();
    await until(() => socket.emitWithAck("servers"), (count) => count === 2, "the subscriber is gone");
  });

  test("slots are moved to other masters, and back", async (t) => {
    // The client `redis` of Node.js does not subscribe again.
    await Promise.all(peers.flat().map((peer) => peer.end("SIGKILL")));
    const [classic, , streams] = await change(t, async () => {
      for (let round = 0; round < 4; round++) for (const key of KEYS) await cluster.move(key);
    });
    assert.deepEqual([classic, streams], [{ room: 0, all: 0 }, { room: 0, all: 0 }]);
  });

  test("a replica takes over from a master that knows", async (t) => {
    const [, , streams] = await change(t, async () => {
      for (const key of KEYS) await cluster.failover(key);
    });
    assert.deepEqual(streams, { room: 0, all: 0 });
  });

  test("a master is killed", (t) => change(t, () => cluster.killOwner("redis-sharded#/#room#")));
});
