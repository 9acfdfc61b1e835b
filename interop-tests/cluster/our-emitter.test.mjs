// Our emitter, which sends events into fleets of both kinds without being a server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { next, until } from "../official/helpers.mjs";
import { startBroker } from "./brokers.mjs";
import { startEmitter } from "./emitters.mjs";
import { heardBy, meet, startFleet } from "./fleet.mjs";

/** Starts a fleet, and the emitter. */
async function start(adapter) {
  const broker = await startBroker(adapter);
  const nodes = await startFleet(broker, { ADAPTER: adapter }, ["ours", "node"]);
  return { nodes, ...startEmitter({ ADAPTER: adapter, ...broker.env }) };
}

const ADAPTERS = ["redis", "redis-sharded", "redis-streams", "postgres"];
const fleets = await Promise.all(ADAPTERS.map(start));
for (const [i, { nodes, send }] of fleets.entries()) {
  test(`all operations reach the servers of both kinds, ${ADAPTERS[i]}`, async (t) => {
    const sockets = await meet(t, nodes);
    const [a, b] = sockets;
    const { nsp } = a;
    const events = sockets.map(heardBy);
    const ends = sockets.map((socket) => next(socket, "end"));
    // With Postgres, servers of Node.js do not keep the order of an attachment and the messages that follow it.
    const alls = sockets.map((socket) => next(socket, "all"));
    await send({ nsp, event: "all", args: [1, { a: [null, "😀"] }], bytes: [0, 1, 255] });
    await Promise.all(alls);
    await send({ nsp, except: [a.id], event: "other" });
    await send({ event: "elsewhere" });
    await send({ nsp, event: "end" });
    await Promise.all(ends);
    const all = ["all", 1, { a: [null, "😀"] }, Buffer.from([0, 1, 255])];
    assert.deepEqual(events[0].take(), [all, ["end"]]);
    assert.deepEqual(events[1].take(), [all, ["other"], ["end"]]);

    // A volatile event may be dropped while something is written to the client.
    const arrived = next(a, "volatile").then(() => true);
    await until(
      async () => {
        await send({ nsp, volatile: true, event: "volatile" });
        return Promise.race([arrived, a.emitWithAck("echo")]);
      },
      (answer) => answer === true,
      "the volatile event",
    );
    const one = next(a, "one");
    await send({ nsp, to: [a.id], event: "one" });
    await one;
    await send({ nsp, op: "join", to: [b.id], rooms: ["r"] });
    await until(() => b.emitWithAck("rooms"), (rooms) => rooms.includes("r"), "it has joined");
    await send({ nsp, op: "leave", rooms: ["r"] });
    await until(() => b.emitWithAck("rooms"), (rooms) => !rooms.includes("r"), "it has left");
    await send({ nsp, op: "sse", event: "note", args: [7] });
    for (const socket of sockets) {
      await until(() => socket.emitWithAck("sse-log"), (log) => log.some(([, n]) => n === 7), "the note");
    }
    const gone = Promise.all(sockets.map((socket) => next(socket, "disconnect")));
    await send({ nsp, op: "disconnect" });
    await gone;
  });
}
