// Our emitter, which sends events into fleets of both kinds without being a server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { next, program, until, within } from "../official/helpers.mjs";
import { heardBy, meet, startFleet } from "./fleet.mjs";
import { guarded } from "./processes.mjs";
import { startRedis } from "./redis.mjs";

/** Starts a fleet, and the emitter. Returns a function that sends a command. */
async function start(adapter) {
  const redis = await startRedis();
  const nodes = await startFleet(redis, { ADAPTER: adapter }, ["ours", "node"]);
  const env = { ...process.env, ADAPTER: adapter, ...redis.env };
  const child = guarded(spawn(program("cluster-emitter"), { env, stdio: ["pipe", "pipe", "inherit"] }));
  after(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const send = async (command) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    assert.equal((await within(lines.next(), "the command is sent")).value, "ok");
  };
  return { nodes, send };
}

const ADAPTERS = ["redis", "redis-sharded", "redis-streams"];
const fleets = await Promise.all(ADAPTERS.map(start));
for (const [i, { nodes, send }] of fleets.entries()) {
  test(`all operations reach the servers of both kinds, ${ADAPTERS[i]}`, async (t) => {
    const sockets = await meet(t, nodes);
    const [a, b] = sockets;
    const { nsp } = a;
    const events = sockets.map(heardBy);
    const ends = sockets.map((socket) => next(socket, "end"));
    await send({ nsp, event: "all", args: [1, { a: [null, "😀"] }], bytes: [0, 1, 255] });
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
