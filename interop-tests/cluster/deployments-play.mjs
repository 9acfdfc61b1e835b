// What servers do together, and what they still do after the servers of Redis have changed.
import assert from "node:assert/strict";
import { until } from "../official/helpers.mjs";
import { heard, heardBy, join, meet, synced } from "./fleet.mjs";

/** The time within which all servers hear each other again. */
export const RECOVERY_MS = 10_000;

/** The time between bursts of 10 events. */
const PACE_MS = 10;

/** Plays all kinds of messages between all servers. */
export async function together(t, nodes) {
  const sockets = await meet(t, nodes);
  sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
  for (const socket of sockets) await socket.emitWithAck("join", "room");
  const ids = sockets.map(({ id }) => id).sort();
  const others = (name) => nodes.map(({ name }) => name).filter((other) => other !== name).sort();
  for (const [i, socket] of sockets.entries()) {
    const all = sockets.filter((other) => other !== socket);
    for (const other of all) await heard(socket, other, { to: ["room"] });
    const heardByOthers = all.map(heardBy);
    await socket.emitWithAck("cast", { via: "socket" }, "to-all", i, Buffer.from([i]));
    await socket.emitWithAck("cast-burst", { via: "socket", to: ["room"] }, "to-room", 0, 100);
    for (const [at, other] of all.entries()) {
      await synced(socket, other, "room");
      await synced(socket, other);
      const { take, count } = heardByOthers[at];
      const isOrdered = nodes[i].kind !== "node";
      // The client of Node.js publishes at a random server of a cluster, so a mark may arrive first.
      const hasAll = () => count("to-room") + count("to-all") === 101;
      if (!isOrdered) await until(() => other.emitWithAck("echo"), hasAll, "all events");
      const events = take();
      // Channels of different slots may have different servers.
      const room = events.filter(([name]) => name === "to-room").map(([, n]) => n);
      if (!isOrdered) room.sort((one, two) => one - two);
      assert.deepEqual(room, Array.from({ length: 100 }, (_, n) => n));
      // With recovery, an offset follows.
      const all = events.filter(([name]) => name === "to-all").map((event) => event.slice(0, 3));
      assert.deepEqual(all, [["to-all", i, Buffer.from([i])]]);
    }
    assert.deepEqual(await socket.emitWithAck("members", ["room"]), ids);
    const { error, responses } = await socket.emitWithAck("sse-ack", "ask-name");
    assert.deepEqual([error, responses.sort()], [null, others(nodes[i].name)]);
    const acks = await socket.emitWithAck("cast-ack", { timeout: 4_000 }, "ask");
    assert.deepEqual([acks.timedOut, acks.responses.sort()], [false, sockets.map((_, i) => i)]);
  }
  sockets.forEach((socket) => socket.disconnect());
}

/**
 * Changes something while each of two servers sends numbered events to a room and to all sockets. Nothing may arrive
 * twice or out of order, and all must arrive again afterwards. Returns the numbers of events that were sent and lost.
 */
export async function underLoad(t, nodes, namespace, room, change) {
  const sockets = await Promise.all(nodes.map((node) => join(t, node, namespace)));
  const [a, b] = sockets;
  for (const socket of sockets) await socket.emitWithAck("join", room);
  for (const [from, to] of [[a, b], [b, a]]) {
    await heard(from, to, { to: [room] });
    await heard(from, to, {});
  }
  const events = sockets.map(heardBy);
  let sent = 0;
  let isOver = false;
  const load = (async () => {
    while (!isOver) {
      for (const socket of sockets) {
        await socket.emitWithAck("cast-burst", { via: "socket", to: [room] }, "room", sent, 10);
        await socket.emitWithAck("cast-burst", { via: "socket" }, "all", sent, 10);
      }
      sent += 10;
      // The servers share the processors with Redis, which takes part in elections.
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  })();
  let ms;
  try {
    await change();
    const begin = performance.now();
    const isWhole = ({ error, sockets }) => error === null && sockets.length === 2;
    for (const [from, to] of [[a, b], [b, a]]) {
      await heard(from, to, { to: [room] }, RECOVERY_MS);
      await heard(from, to, {}, RECOVERY_MS);
      await until(() => from.emitWithAck("fetch", {}), isWhole, "all sockets", RECOVERY_MS);
    }
    ms = Math.round(performance.now() - begin);
  } finally {
    isOver = true;
    await load;
  }
  for (const [from, to] of [[a, b], [b, a]]) {
    await synced(from, to, room);
    await heard(from, to, {});
  }
  const received = events.map(({ take }) => take());
  const lost = {};
  for (const name of ["room", "all"]) {
    const numbers = received.map((list) => list.filter(([event]) => event === name).map(([, n]) => n));
    for (const list of numbers) {
      const disorder = list.findIndex((n, at) => at > 0 && n <= list[at - 1]);
      const repeated = list.filter((n, at) => list.indexOf(n) < at).length;
      assert.equal(disorder, -1, `${repeated} repeated, ${nodes[0].name} ${name}: ${list.slice(Math.max(0, disorder - 3), disorder + 3)}`);
    }
    lost[name] = 2 * sent - numbers[0].length - numbers[1].length;
  }
  t.diagnostic(`${2 * sent} events each, lost ${lost.room} of the room and ${lost.all} to all, whole ${ms} ms after the change`);
  sockets.forEach((socket) => socket.disconnect());
  return lost;
}

/** Changes something. Afterwards, the servers of both kinds must hear each other again. */
export async function resumed(t, nodes, change) {
  const sockets = await meet(t, nodes);
  await change();
  const [a, b] = sockets;
  const isWhole = ({ error, sockets }) => error === null && sockets.length === 2;
  for (const [from, to] of [[a, b], [b, a]]) {
    await heard(from, to, {}, RECOVERY_MS);
    await until(() => from.emitWithAck("fetch", {}), isWhole, "all sockets", RECOVERY_MS);
  }
  sockets.forEach((socket) => socket.disconnect());
}

/** Sends events to all sockets by an emitter, all of which must arrive, once each and in order. */
export async function emitted(t, nodes, { send }) {
  const sockets = await meet(t, nodes);
  const [{ id, nsp }] = sockets;
  const events = sockets.map(heardBy);
  const ends = sockets.map((socket) => new Promise((resolve) => socket.once("end", resolve)));
  for (let n = 0; n < 20; n++) await send({ nsp, event: "n", args: [n], bytes: [n] });
  await send({ nsp, to: [id], event: "one" });
  await send({ nsp, event: "end" });
  await Promise.all(ends);
  const numbers = Array.from({ length: 20 }, (_, n) => ["n", n, Buffer.from([n])]);
  for (const [i, { take }] of events.entries()) {
    // With recovery, an offset follows.
    const received = take().map(([name, ...args]) => [name, ...args.slice(0, 2)]);
    const one = received.filter(([name]) => name === "one").length;
    assert.equal(one, i === 0 ? 1 : 0);
    assert.deepEqual(received.filter(([name]) => name !== "one").map(([name, ...args]) => (name === "n" ? [name, ...args] : [name])), [...numbers, ["end"]]);
  }
  sockets.forEach((socket) => socket.disconnect());
}

/**
 * Changes something while an emitter sends numbered events. None may arrive twice or out of order, and events must arrive
 * again afterwards. Those that the emitter has reported as an error may be lost.
 */
export async function emitting(t, node, { tried }, namespace, change) {
  const socket = await join(t, node, namespace);
  const numbers = [];
  socket.on("emitted", (n) => numbers.push(n));
  let [sent, errors, isOver] = [0, 0, false];
  const load = (async () => {
    while (!isOver) {
      const result = await tried({ nsp: namespace, event: "emitted", args: [sent++] });
      if (result !== "ok") errors++;
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  })();
  const arrived = (next) =>
    until(
      async () => {
        await socket.emitWithAck("echo");
        return numbers.some((n) => n >= next);
      },
      Boolean,
      "events of the emitter",
      RECOVERY_MS,
    );
  try {
    await arrived(0);
    await change();
    await arrived(sent);
  } finally {
    isOver = true;
    await load;
  }
  assert.equal(numbers.findIndex((n, at) => at > 0 && n <= numbers[at - 1]), -1, "twice or out of order");
  t.diagnostic(`the emitter: ${sent} events, ${errors} errors, ${sent - numbers.length} lost or on their way`);
  socket.disconnect();
}

/** Returns a function that calls `change` when it was called `count` times, because several fleets have the same Redis. */
export function once(count, change) {
  let start;
  const changed = new Promise((resolve) => (start = resolve)).then(change);
  return () => {
    if (--count === 0) start();
    return changed;
  };
}
