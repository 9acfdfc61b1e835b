// The features of a cluster, played between each two servers of a fleet: two of ours and one of Node.js.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { alongside, collect, connected, next, settled, until } from "../official/helpers.mjs";
import {
  REQUESTS_TIMEOUT,
  acquainted,
  freshNamespace,
  heard,
  heardBy,
  join,
  meet,
  startFleet,
  synced,
} from "./fleet.mjs";
import { hasHeartbeats, hasNode, startBroker } from "./brokers.mjs";

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const VALUES = {
  "no arguments": [],
  numbers: [0, -1, 1.5, -0.25, 127, 128, 255, 256, -128, -129, 65_536, -65_537, 2 ** 32, 2 ** 53, -(2 ** 53)],
  "null, booleans and empty values": [null, true, false, "", [], {}, [null], { a: null }],
  text: ["é", "😀", "\u0000", "\u2028", '"\\/', "𝒳".repeat(100), "x".repeat(40), "y".repeat(70_000)],
  "keys of any kind": [{ "": 1, "😀": 2, __proto__x: 3, 'a"b': 4, "\n": 5 }],
  "binary data at depth": [BYTES, { a: [{ b: Buffer.from([1]) }, Buffer.alloc(0)], c: "c" }, [[Buffer.alloc(70_000, 7)]]],
  "deep arrays": [JSON.parse("[".repeat(90) + "]".repeat(90))],
  "deep arrays with binary data": [JSON.parse("[".repeat(60) + "1" + "]".repeat(60)), Buffer.from([1])],
  "long arrays": [Array.from({ length: 20_000 }, (_, i) => i), Buffer.from([1])],
  "objects that look like placeholders": [{ placeholder: true, num: 0 }],
};

/**
 * Defines the tests of a fleet: its adapter, and further options of the servers. Without `values`, not all kinds of values
 * are sent, because their encoding depends on the adapter alone.
 */
export async function features(adapter, env = {}, { values = true } = {}) {
  const broker = await startBroker(adapter);
  // The first heartbeats of two servers are lost if Node.js sends its own before the other one listens. By default, the next
  // one follows after the deadline of the tests.
  const heartbeats = hasHeartbeats(adapter) && { HEARTBEAT_INTERVAL_MS: "2000" };
  const nodes = await startFleet(broker, { ADAPTER: adapter, ...heartbeats, ...env }, ["ours", "ours", hasNode(adapter) ? "node" : "ours"]);
  const [one, two, node] = nodes;
  const mixed = hasNode(adapter) && { "ours + Node.js": [one, node], "Node.js + ours": [node, two] };
  const pairs = { "ours + ours": [one, two], ...mixed };
  for (const [name, pair] of Object.entries(pairs)) {
    describe(name, { concurrency: isNodeOnPostgres(pair, adapter) ? 2 : 8 }, () => {
      if (values) broadcastValues(pair, adapter);
      broadcasts(pair, adapter);
      acknowledgements(pair);
      localAcknowledgements(pair);
      sockets(pair);
      rooms(pair, adapter, env);
      serverEvents(pair, adapter);
      namespaces(pair, adapter);
    });
  }
  describe("three servers", { concurrency: 8 }, () => three(nodes, adapter));
  return { broker, nodes };
}

// In Postgres, each message of a server of Node.js takes a transaction, and the requests of the tests that run at the same
// time would wait for them.
const isNodeOnPostgres = (pair, adapter) => adapter === "postgres" && pair.some(({ kind }) => kind === "node");
const burst = (count, pair, adapter) => (isNodeOnPostgres(pair, adapter) ? count / 10 : count);

function broadcastValues(pair, adapter) {
  for (const [what, values] of Object.entries(VALUES)) {
    test(`a broadcast: ${what}`, async (t) => {
      const [a, b] = await meet(t, pair);
      const heard = [a, b].map((socket) => next(socket, "values"));
      await a.emitWithAck("cast", {}, "values", ...values);
      for (const event of heard) assert.deepEqual(await event, values);
    });
  }

  test("a broadcast: numbers that are not integers of 64 bits", async (t) => {
    // In Node.js, such numbers arrive as 0 with the classic adapter, or together with binary data.
    if (pair[0].kind === "node") return;
    const numbers = [1e300, -1e300, 2 ** 63, 2 ** 64, -(2 ** 63), -(2 ** 64), 5e-324, Number.MAX_VALUE, 0.1];
    const [a, b] = await meet(t, pair);
    for (const more of [[], [Buffer.from([1])]]) {
      const event = next(b, "values");
      await a.emitWithAck("cast", {}, "values", ...numbers, ...more);
      assert.deepEqual(await event, [...numbers, ...more]);
    }
  });

  test("a broadcast: names of events of any kind", async (t) => {
    const [a, b] = await meet(t, pair);
    for (const name of ["", "😀", "\n", "1", '"', "x".repeat(300), "message", "error"]) {
      const event = next(b, name);
      await a.emitWithAck("cast", {}, name, 1);
      assert.deepEqual(await event, [1]);
    }
  });

  test("a broadcast: lone surrogates keep the event and the connection", async (t) => {
    const [a, b] = await meet(t, pair);
    for (const values of [["\ud800", "x"], [["a\udc00b"], Buffer.from([1])]]) {
      const event = next(b, "values");
      await a.emitWithAck("cast", {}, "values", ...values);
      const arrived = await event;
      assert.equal(arrived.length, 2);
      assert.deepEqual(arrived[1], values[1]);
    }
    await synced(a, b);
  });

  test("5,000 events arrive in order", async (t) => {
    const count = burst(5_000, pair, adapter);
    const [a, b] = await meet(t, pair);
    const arrived = collect(b, "n", count, 30_000);
    await a.emitWithAck("cast-burst", { via: "socket" }, "n", 0, count, "text");
    assert.deepEqual(await arrived, Array.from({ length: count }, (_, i) => i));
  });
}

function broadcasts(pair, adapter) {
  test("a broadcast to a room, to several rooms, and with excluded rooms", async (t) => {
    const [a, b] = await meet(t, pair);
    const events = [heardBy(a), heardBy(b)];
    await a.emitWithAck("join", "r1");
    for (const room of ["r1", "r2", "r3"]) {
      await b.emitWithAck("join", room);
      await heard(a, b, { to: [room] });
    }
    const cast = async (target) => {
      await a.emitWithAck("cast", target, "in", 1);
      await synced(a, b);
      await settled(a, b);
      return events.map(({ take }) => take().length);
    };
    assert.deepEqual(await cast({ to: ["r1"] }), [1, 1]);
    assert.deepEqual(await cast({ to: ["r2"] }), [0, 1]);
    assert.deepEqual(await cast({ to: ["r1", "r2", "r3"] }), [1, 1]);
    assert.deepEqual(await cast({ to: ["r2", "r3"] }), [0, 1]);
    assert.deepEqual(await cast({ to: ["nobody"] }), [0, 0]);
    assert.deepEqual(await cast({ to: [] }), [1, 1]);
    assert.deepEqual(await cast({ except: ["r2"] }), [1, 0]);
    assert.deepEqual(await cast({ to: ["r1"], except: ["r2"] }), [1, 0]);
    assert.deepEqual(await cast({ to: ["r1"], except: [a.id] }), [0, 1]);
    assert.deepEqual(await cast({ except: [b.id] }), [1, 0]);
    assert.deepEqual(await cast({ to: [b.id] }), [0, 1]);
    assert.deepEqual(await cast({ to: [a.id, b.id], except: ["nobody"] }), [1, 1]);
    await b.emitWithAck("leave", "r2");
    assert.deepEqual(await cast({ to: ["r2"] }), [0, 0]);
  });

  test("a broadcast via a socket excludes the sender, a local one excludes other servers", async (t) => {
    const [a, b] = await meet(t, pair);
    const local = await join(t, pair[0], a.nsp);
    const events = [a, local, b].map(heardBy);
    const cast = async (target) => {
      await a.emitWithAck("cast", target, "in");
      await synced(a, b);
      await settled(a, local, b);
      return events.map(({ take }) => take().length);
    };
    assert.deepEqual(await cast({}), [1, 1, 1]);
    assert.deepEqual(await cast({ via: "socket" }), [0, 1, 1]);
    assert.deepEqual(await cast({ via: "socket", to: [a.id, b.id] }), [0, 0, 1]);
    assert.deepEqual(await cast({ volatile: true }), [1, 1, 1]);
    assert.deepEqual(await cast({ via: "socket", volatile: true }), [0, 1, 1]);
    assert.deepEqual(await cast({ local: true }), [1, 1, 0]);
    assert.deepEqual(await cast({ via: "socket", local: true }), [0, 1, 0]);
    assert.deepEqual(await cast({ local: true, to: [b.id] }), [0, 0, 0]);
  });

  test("1,000 events arrive in order, to all, to a room and to a socket, from both sides at once", async (t) => {
    const [a, b] = await meet(t, pair);
    await b.emitWithAck("join", "room");
    await heard(a, b, { to: ["room"] });
    const count = burst(1_000, pair, adapter);
    const expected = Array.from({ length: count }, (_, i) => i);
    for (const target of [{}, { to: ["room"] }, { to: [b.id] }]) {
      const arrived = collect(b, "from a", count, 20_000);
      const back = collect(a, "from b", count, 20_000);
      await Promise.all([
        a.emitWithAck("cast-burst", target, "from a", 0, count, { x: "text" }),
        b.emitWithAck("cast-burst", { to: [a.id] }, "from b", 0, count, Buffer.from([1])),
      ]);
      assert.deepEqual(await arrived, expected);
      assert.deepEqual(await back, expected);
    }
  });

  test("events to different rooms arrive in the order in which they were emitted", async (t) => {
    const [a, b] = await meet(t, pair);
    for (const room of ["r0", "r1"]) {
      await b.emitWithAck("join", room);
      await heard(a, b, { to: [room] });
    }
    const targets = [{ to: ["r0"] }, {}, { to: ["r1"] }, { to: ["r0", "r1"] }, { to: [b.id] }];
    const arrived = collect(b, "number", 200);
    // In Node.js, messages with attachments are overtaken in Postgres.
    const bytes = isNodeOnPostgres(pair, adapter) ? "x" : BYTES;
    for (let i = 0; i < 200; i++) a.emit("cast", targets[i % targets.length], "number", i, i % 7 ? "x" : bytes);
    assert.deepEqual(await arrived, Array.from({ length: 200 }, (_, i) => i));
  });

  test("names of rooms of any kind", async (t) => {
    const [a, b] = await meet(t, pair);
    // Node.js compares the length of a name, in UTF-16 code units, with the length of the id of a socket.
    const names = ["#", "a#b#", "*", "[x]", "é".repeat(10), "😀".repeat(10), "x".repeat(20), "é".repeat(20), " ", "1"];
    for (const name of names) {
      await b.emitWithAck("join", name);
      await heard(a, b, { to: [name] });
      await b.emitWithAck("leave", name);
    }
  });

  if (adapter === "redis-sharded") {
    test("a room that is left and joined again at once keeps its subscription", async (t) => {
      const [a, b] = await meet(t, [pair[0], pair[1]]);
      // Node.js loses the subscription.
      if (pair[1].kind === "node") return;
      for (let i = 0; i < 20; i++) {
        const room = `again-${i}`;
        await b.emitWithAck("join", room);
        b.emit("leave", room);
        b.emit("join", room);
        b.emit("leave", room);
        await b.emitWithAck("join", room);
        await heard(a, b, { to: [room] });
      }
    });
  }
}

function acknowledgements(pair) {
  const sorted = ({ timedOut, responses }) => ({ timedOut, responses: responses.sort() });

  test("a broadcast with acknowledgements: all answer, some, late, or none", async (t) => {
    const [a, b] = await meet(t, pair);
    const late = [];
    a.on("ask", (x, ack) => ack(`a ${x}`, "ignored"));
    b.on("ask", (x, ack) => ack(`b ${x}`, "ignored"));
    b.on("late", (ack) => late.push(ack));
    a.on("late", (ack) => ack("a"));
    b.on("nothing", (ack) => ack());
    a.on("nothing", (ack) => ack());
    const ask = async (...args) => sorted(await a.emitWithAck("cast-ack", ...args));
    assert.deepEqual(await ask({ timeout: 4_000 }, "ask", 1), { timedOut: false, responses: ["a 1", "b 1"] });
    assert.deepEqual(await ask({ timeout: 4_000, via: "socket" }, "ask", 2), { timedOut: false, responses: ["b 2"] });
    assert.deepEqual(await ask({ timeout: 4_000, to: [b.id] }, "ask", 3), { timedOut: false, responses: ["b 3"] });
    assert.deepEqual(await ask({ timeout: 4_000, to: ["nobody"] }, "ask", 4), { timedOut: false, responses: [] });
    assert.deepEqual(await ask({ timeout: 4_000 }, "nothing"), { timedOut: false, responses: [null, null] });
    assert.deepEqual(await ask({ timeout: 300 }, "late"), { timedOut: true, responses: ["a"] });
    assert.deepEqual(await ask({ timeout: 300 }, "unhandled"), { timedOut: true, responses: [] });
    // An answer that is too late has no effect on later requests.
    for (const ack of late) ack("late");
    assert.deepEqual(await ask({ timeout: 4_000 }, "ask", 5), { timedOut: false, responses: ["a 5", "b 5"] });
  });

  test("a broadcast with acknowledgements and binary data", async (t) => {
    const [a, b] = await meet(t, pair);
    const asked = next(b, "ask");
    b.once("ask", (_, ack) => ack({ deep: [BYTES, "x", null] }));
    const answer = await a.emitWithAck("cast-ack", { timeout: 4_000, via: "socket" }, "ask", { x: BYTES });
    assert.deepEqual(answer, { timedOut: false, responses: [{ deep: [BYTES, "x", null] }] });
    assert.deepEqual((await asked)[0], { x: BYTES });
  });

  test("a broadcast with acknowledgements of 50 sockets", async (t) => {
    const [a, b] = await meet(t, pair);
    const sockets = await Promise.all(
      Array.from({ length: 50 }, (_, i) => join(t, pair[i % 2], a.nsp)),
    );
    sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
    const [first, last] = [sockets[0].id, sockets[49].id];
    await a.emitWithAck("room-join", { except: [a.id, b.id] }, "asked");
    await until(() => a.emitWithAck("members", ["asked"]), ({ length }) => length === 50);
    await a.emitWithAck("room-leave", { to: [first] }, "asked");
    await until(() => a.emitWithAck("members", ["asked"]), ({ length }) => length === 49);
    const answers = await a.emitWithAck("cast-ack", { timeout: 4_000, to: ["asked", b.id], except: [last, b.id] }, "ask");
    const expected = Array.from({ length: 48 }, (_, i) => i + 1);
    assert.deepEqual(answers.responses.sort((x, y) => x - y), expected);
    assert.equal(answers.timedOut, false);
  });
}

function localAcknowledgements(pair) {
  test("a local broadcast with acknowledgements", async (t) => {
    // In Node.js, such a broadcast has no result.
    if (pair[0].kind === "node") return;
    const [a, b] = await meet(t, pair);
    const local = await join(t, pair[0], a.nsp);
    for (const socket of [a, b, local]) socket.on("ask", (ack) => ack(socket.id));
    const answers = await a.emitWithAck("cast-ack", { timeout: 4_000, via: "socket", local: true }, "ask");
    assert.deepEqual(answers, { timedOut: false, responses: [local.id] });
  });
}

function sockets(pair) {
  test("the sockets of all servers, with rooms, data and handshake", async (t) => {
    const [a, b] = await meet(t, pair, freshNamespace(), {
      auth: { token: "😀", n: [1, null] },
      query: { x: "1 2", y: "ü" },
      extraHeaders: { "x-custom": "yes" },
    });
    const ids = [a.id, b.id].sort();
    assert.deepEqual(await a.emitWithAck("members", []), ids);
    assert.deepEqual(await a.emitWithAck("members", ["nobody"]), []);
    for (const room of ["z", "é", "a"]) await b.emitWithAck("join", room);
    assert.deepEqual(await a.emitWithAck("members", ["z"]), [b.id]);
    assert.deepEqual(await a.emitWithAck("members", ["a", "z", a.id]), ids);
    assert.deepEqual((await a.emitWithAck("fetch", { to: [b.id] })).sockets[0].data, {});
    await b.emitWithAck("data-set", { deep: [1, null, "😀"], number: 1.5 });
    const { error, sockets } = await a.emitWithAck("fetch", {});
    assert.equal(error, null);
    assert.deepEqual(sockets.map(({ id }) => id), ids);
    const seen = sockets.find(({ id }) => id === b.id);
    const own = (await b.emitWithAck("fetch", { to: [b.id], local: true })).sockets[0];
    assert.deepEqual(seen, own);
    assert.deepEqual(seen.rooms, [b.id, "a", "z", "é"].sort());
    assert.deepEqual(seen.data, { v: { deep: [1, null, "😀"], number: 1.5 } });
    const { auth, query, headers, address, xdomain, secure, issued, time, url } = seen.handshake;
    assert.deepEqual(auth, { token: "😀", n: [1, null] });
    assert.deepEqual([query.x, query.y, query.EIO, query.transport], ["1 2", "ü", "4", "websocket"]);
    assert.equal(headers["x-custom"], "yes");
    assert.deepEqual([address, xdomain, secure], ["127.0.0.1", false, false]);
    assert.ok(Math.abs(issued - Date.now()) < 60_000);
    assert.ok(Math.abs(Date.parse(time.replace(/\(.*/, "")) - issued) < 1_500, time);
    assert.match(url, /^\/socket\.io\/\?/);
    assert.deepEqual((await a.emitWithAck("fetch", { except: [a.id] })).sockets.length, 1);
    assert.deepEqual((await a.emitWithAck("fetch", { via: "socket" })).sockets.length, 1);
    assert.deepEqual((await a.emitWithAck("fetch", { local: true })).sockets.map(({ id }) => id), [a.id]);
  });

  test("a socket of another server: emit, join, leave, ask", async (t) => {
    const [a, b] = await meet(t, pair);
    const event = next(b, "direct");
    assert.equal(await a.emitWithAck("remote", b.id, "emit", "direct", 1, BYTES), true);
    assert.deepEqual(await event, [1, BYTES]);
    const rooms = async () => (await b.emitWithAck("rooms")).sort();
    assert.equal(await a.emitWithAck("remote", b.id, "join", "r"), true);
    await until(rooms, (list) => list.includes("r"));
    assert.equal(await a.emitWithAck("remote", b.id, "leave", "r"), true);
    await until(rooms, (list) => !list.includes("r"));
    b.on("ask", (x, ack) => ack({ got: x }, 2));
    const answer = await a.emitWithAck("remote", b.id, "ask", 4_000, "ask", BYTES);
    assert.deepEqual(answer, { timedOut: false, response: { got: BYTES } });
    const silence = await a.emitWithAck("remote", b.id, "ask", 300, "unhandled");
    assert.deepEqual(silence, { timedOut: true, response: null });
    assert.equal(await a.emitWithAck("remote", "nobody", "emit", "direct"), null);
    assert.equal(await a.emitWithAck("remote", a.id, "join", "own"), true);
    await until(() => a.emitWithAck("rooms"), (list) => list.includes("own"));
  });

  test("a server whose last socket leaves a namespace delays no request", async (t) => {
    for (let i = 0; i < 10; i++) {
      const [a, b] = await meet(t, [pair[1], pair[0]]);
      a.io.engine.close();
      const begin = performance.now();
      await until(() => b.emitWithAck("members", []), (ids) => !ids.includes(a.id), "the socket is gone");
      // Without a response, the request would end at its timeout.
      assert.ok(performance.now() - begin < REQUESTS_TIMEOUT - 100);
    }
  });

  for (const close of [false, true]) {
    test(`a socket of another server: disconnect, ${close ? "with" : "without"} its connection`, async (t) => {
      const [a, b] = await meet(t, pair);
      const gone = next(b, "disconnect");
      // The client closes its connection with its last namespace.
      const other = await connected(alongside(b, "/").connect());
      const closed = close && next(b.io, "close");
      assert.equal(await a.emitWithAck("remote", b.id, "disconnect", close), true);
      assert.equal((await gone)[0], "io server disconnect");
      await closed;
      if (!close) assert.equal(await other.emitWithAck("echo", 1), 1);
      await until(() => a.emitWithAck("members", []), (ids) => ids.length === 1);
    });
  }
}

const hasRoomChannels = ({ SUBSCRIPTION_MODE: mode }) => mode !== undefined && mode !== "static";

function rooms(pair, adapter, env) {
  const names = async (socket) => (await socket.emitWithAck("rooms")).filter((room) => room !== socket.id).sort();
  const inRooms = (socket, ...expected) =>
    until(() => names(socket), (list) => list.join() === expected.join(), `${expected}`);

  test("all sockets of a room join and leave rooms", async (t) => {
    const [a, b] = await meet(t, pair);
    await b.emitWithAck("join", "base");
    await until(() => a.emitWithAck("members", ["base"]), (ids) => ids.length === 1);
    await a.emitWithAck("room-join", "base", "x");
    await inRooms(b, "base", "x");
    assert.deepEqual(await names(a), []);
    await a.emitWithAck("room-join", {}, ["y", "z"]);
    await inRooms(b, "base", "x", "y", "z");
    await inRooms(a, "y", "z");
    await a.emitWithAck("room-leave", { except: [b.id] }, ["y"]);
    await inRooms(a, "z");
    await a.emitWithAck("room-leave", "base", ["x", "y", "none"]);
    await inRooms(b, "base", "z");
    await a.emitWithAck("room-join", { via: "socket" }, "w");
    await inRooms(b, "base", "w", "z");
    assert.deepEqual(await names(a), ["z"]);
    await heard(a, b, { to: ["w"] });
    await heard(b, a, { to: ["z"] });
  });

  test("join, then emit to the room: nobody misses the event", async (t) => {
    const [a, b] = await meet(t, pair);
    // In Node.js, sockets do not join before the message has come back from Redis; and with channels of rooms, the
    // other server subscribes only after its sockets have joined.
    const isNode = pair[0].kind === "node";
    const recipients = isNode && adapter === "redis" ? [b] : isNode && hasRoomChannels(env) ? [a] : [a, b];
    const arrived = recipients.map((socket) => collect(socket, "joined", 20));
    for (let i = 0; i < 20; i++) await a.emitWithAck("join-cast", {}, `new-${i}`, "joined", i);
    const expected = Array.from({ length: 20 }, (_, i) => i);
    for (const numbers of arrived) assert.deepEqual(await numbers, expected);
  });

  for (const close of [false, true]) {
    test(`all sockets of a room are disconnected, ${close ? "with" : "without"} their connections`, async (t) => {
      const [a, b] = await meet(t, pair);
      const stays = await join(t, pair[1], a.nsp);
      await b.emitWithAck("join", "out");
      await until(() => a.emitWithAck("members", ["out"]), (ids) => ids.length === 1);
      const gone = next(b, "disconnect");
      const other = await connected(alongside(b, "/").connect());
      const closed = close && next(b.io, "close");
      await a.emitWithAck("room-kick", "out", close);
      assert.equal((await gone)[0], "io server disconnect");
      await closed;
      if (!close) assert.equal(await other.emitWithAck("echo", 1), 1);
      assert.equal(await stays.emitWithAck("echo", 1), 1);
      const goneToo = next(stays, "disconnect");
      await a.emitWithAck("room-kick", { via: "socket" }, close);
      await goneToo;
      assert.equal(await a.emitWithAck("echo", 1), 1);
    });
  }

  test("a server disconnects the sender too", async (t) => {
    const [a, b] = await meet(t, pair);
    const gone = [a, b].map((socket) => next(socket, "disconnect"));
    await a.emitWithAck("room-kick", {}, false);
    await Promise.all(gone);
  });

  test("the rooms of all servers", async (t) => {
    const [a, b] = await meet(t, pair);
    await a.emitWithAck("join", "ra");
    await b.emitWithAck("join", "rb");
    const expected = adapter === "redis" ? [a.id, b.id, "ra", "rb"].sort() : null;
    assert.deepEqual(await a.emitWithAck("all-rooms"), expected);
  });
}

function serverEvents(pair, adapter) {
  test("server-side events reach the other servers, in order", async (t) => {
    const [a, b] = await meet(t, pair);
    for (let i = 0; i < 20; i++) a.emit("sse", "note", i, { x: [null, "😀", 1.5] });
    const log = await until(() => b.emitWithAck("sse-log"), ({ length }) => length >= 20);
    assert.deepEqual(log, Array.from({ length: 20 }, (_, i) => ["note", i, { x: [null, "😀", 1.5] }]));
    assert.deepEqual(await a.emitWithAck("sse-log"), []);
    await a.emitWithAck("sse", "unhandled", 1);
    await synced(a, b);
  });

  test("server-side events with acknowledgements", async (t) => {
    const [a] = await meet(t, pair);
    const ask = (...args) => a.emitWithAck("sse-ack", ...args);
    const { name } = pair[1];
    assert.deepEqual(await ask("ask-name"), { error: null, responses: [name] });
    for (const value of [1, "x", null, { a: [1, null, "😀"] }, []]) {
      assert.deepEqual(await ask("ask-echo", value), { error: null, responses: [value] });
    }
    assert.deepEqual(await ask("ask-only", name), { error: null, responses: [name] });
    assert.deepEqual(await ask("ask-later", 200), { error: null, responses: [name] });
    // Node.js waits for 5 s with the other adapters.
    if (pair[0].kind === "node" && adapter !== "redis") return;
    const begin = Date.now();
    const silence = await ask("ask-only", "somebody else");
    assert.ok(Date.now() - begin < REQUESTS_TIMEOUT + 1_000);
    assert.equal(typeof silence.error, "string");
    assert.deepEqual(silence.responses, []);
  });

  test("server-side events with binary data", async (t) => {
    // In Node.js, requests of the classic adapter are JSON.
    if (pair[0].kind === "node" && adapter === "redis") return;
    const [a, b] = await meet(t, pair);
    const value = { deep: [BYTES, null] };
    await a.emitWithAck("sse", "note", value);
    const log = await until(() => b.emitWithAck("sse-log"), ({ length }) => length > 0);
    assert.deepEqual(log, [["note", value]]);
    if (pair[1].kind === "node" && adapter === "redis") return;
    assert.deepEqual(await a.emitWithAck("sse-ack", "ask-echo", value), { error: null, responses: [value] });
  });

  test("server-side events without another server", async (t) => {
    const a = await join(t, pair[0], freshNamespace());
    await until(() => a.emitWithAck("servers"), (count) => count === 1);
    assert.deepEqual(await a.emitWithAck("sse-ack", "ask-name"), { error: null, responses: [] });
  });
}

function namespaces(pair, adapter) {
  test("namespaces are separate", async (t) => {
    const [a, b] = await meet(t, pair);
    const [c, d] = await meet(t, pair);
    const events = [a, b, c, d].map(heardBy);
    await a.emitWithAck("cast", {}, "in");
    await synced(a, b);
    await synced(c, d);
    assert.deepEqual(events.map(({ take }) => take().length), [1, 1, 0, 0]);
    assert.deepEqual(await c.emitWithAck("members", []), [c.id, d.id].sort());
  });

  test("the static namespaces", async (t) => {
    for (const nsp of ["/", "/custom"]) {
      const [a, b] = await Promise.all(pair.map((node) => join(t, node, nsp)));
      await acquainted(a, b);
      assert.equal(await a.emitWithAck("servers"), 3);
    }
  });

  // In Node.js, names with other special characters receive nothing with the classic adapter.
  const isNode = pair.some(({ kind }) => kind === "node");
  const names = ["#", "a#b#", "😀 /", ...(isNode && adapter === "redis" ? [] : ["?", "[a]", "*", "\\", "]#[?*\\"])];
  for (const name of names) {
    test(`the namespace /any-${name}`, async (t) => {
      const unique = freshNamespace().slice(5);
      const [nsp, similar] = [`/any-${unique}${name}`, `/any-${unique}${name}xx`];
      const sockets = await Promise.all(pair.map((node) => join(t, node, "/custom")));
      const [a, b] = sockets.map((socket) => alongside(socket, nsp).connect());
      const [c, d] = sockets.map((socket) => alongside(socket, similar).connect());
      await Promise.all([a, b, c, d].map((socket) => socket.connected || next(socket, "connect")));
      await acquainted(a, b);
      await acquainted(c, d);
      await b.emitWithAck("join", "room#");
      await heard(a, b, { to: ["room#"] });
      const events = [b, d].map(heardBy);
      await a.emitWithAck("cast", { to: ["room#"] }, "in", name);
      await a.emitWithAck("cast", {}, "in", name);
      await synced(a, b);
      await synced(c, d);
      assert.deepEqual(events.map(({ take }) => take()), [[["in", name], ["in", name]], []]);
      assert.equal(await a.emitWithAck("servers"), 2);
      assert.deepEqual(await a.emitWithAck("members", []), [a.id, b.id].sort());
      assert.deepEqual(await a.emitWithAck("sse-ack", "ask-echo", 1), { error: null, responses: [1] });
    });
  }

  test("a namespace whose channel is that of a room of another namespace", async (t) => {
    const unique = freshNamespace().slice(5);
    const [short, long] = [`/any-${unique}`, `/any-${unique}#room`];
    if (isNode) return;
    const [a, b] = await meet(t, pair, short);
    const [c, d] = await meet(t, pair, long);
    await b.emitWithAck("join", "room");
    await heard(a, b, { to: ["room"] });
    await heard(c, d, {});
    const events = [b, d].map(heardBy);
    await a.emitWithAck("cast", { to: ["room"] }, "in", "room");
    await c.emitWithAck("cast", {}, "in", "all");
    await synced(a, b);
    await synced(c, d);
    assert.deepEqual(events.map(({ take }) => take()), [[["in", "room"]], [["in", "all"]]]);
    await b.emitWithAck("leave", "room");
    await synced(a, b);
    await heard(c, d, {});
  });
}

function three([one, two, node], adapter) {
  test("acknowledgements, sockets and server-side events of three servers", async (t) => {
    for (const order of [[one, two, node], [node, one, two]]) {
      const sockets = await meet(t, order);
      const [a] = sockets;
      sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
      const { timedOut, responses } = await a.emitWithAck("cast-ack", { timeout: 4_000 }, "ask");
      assert.deepEqual([timedOut, responses.sort()], [false, [0, 1, 2]]);
      assert.deepEqual(await a.emitWithAck("members", []), sockets.map(({ id }) => id).sort());
      const names = await a.emitWithAck("sse-ack", "ask-name");
      assert.deepEqual(names.responses.sort(), [order[1].name, order[2].name].sort());
      assert.equal(names.error, null);
    }
  });

  test("a server-side event that one of two servers answers: its answer, and an error", async (t) => {
    const [a] = await meet(t, [one, two, node]);
    const { error, responses } = await a.emitWithAck("sse-ack", "ask-only", node.name);
    assert.equal(typeof error, "string");
    assert.deepEqual(responses, [node.name]);
  });

  test("concurrent requests do not disturb each other", async (t) => {
    const [a, b] = await meet(t, [one, two, node]);
    b.on("ask", (x, ack) => ack(x));
    const requests = Array.from({ length: 30 }, async (_, i) => {
      const ids = a.emitWithAck("members", []);
      const echo = a.emitWithAck("sse-ack", "ask-echo", i);
      const answer = a.emitWithAck("cast-ack", { timeout: 4_000, to: [b.id] }, "ask", i);
      assert.equal((await ids).length, 3);
      assert.deepEqual((await echo).responses, [i, i]);
      assert.deepEqual(await answer, { timedOut: false, responses: [i] });
    });
    await Promise.all(requests);
  });
}
