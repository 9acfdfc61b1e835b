// Messages that no adapter sends, published by hand on every channel of a fleet of ours.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { createRequire } from "node:module";
import { next, settled, until } from "../official/helpers.mjs";
import { acquainted, heard, heardBy, join, meet, startFleet, synced } from "./fleet.mjs";
import { startRedis } from "./redis.mjs";

export const { encode } = createRequire(import.meta.resolve("@socket.io/redis-adapter"))("notepack.io");

const opts = { rooms: [], except: [], flags: {} };
const packet = (data, nsp, type = 2) => ({ type, data, nsp });
const DEEP = 50_000;

/** Values that are not the messages of any adapter. */
export const JUNK = [
  Buffer.alloc(0),
  ...Array.from({ length: 40 }, (_, i) => randomBytes(1 + i * 7)),
  ...["{", "[", "{}", "[]", "null", "0", '"text"', "{]", '{"a":', "[[[[", "\u0000", '{"type":3}', '{"type":"3"}', "{\xff}"].map(
    (text) => Buffer.from(text, "latin1"),
  ),
  Buffer.from("[".repeat(DEEP)),
  Buffer.from(`{"type":${"[".repeat(DEEP)}`),
  Buffer.alloc(DEEP, 0x91),
  Buffer.alloc(DEEP, 0x81),
  // Lengths that are longer than the message.
  ...["dcffff", "ddffffffff", "deffff", "dfffffffff", "c6ffffffff", "dbffffffff", "c9ffffffff01", "c1"].map((hex) =>
    Buffer.from(hex, "hex"),
  ),
  ...[null, true, 1, -1, 1.5, "text", [], {}, [[]], [null], Buffer.from([1])].map(encode),
  Buffer.alloc(8_000_000, 0x78),
];

/** Broadcasts of the classic adapter without effect. `own` is the id of a server. */
function classicBroadcasts(nsp, own) {
  const event = packet(["hostile"], nsp);
  const good = encode(["uid", event, opts]);
  const wrong = [
    ["uid"],
    ["uid", event],
    ["uid", null, opts],
    ["uid", event, null],
    ["uid", event, "opts"],
    ["uid", event, []],
    ["uid", [], opts],
    [1, event, opts],
    [null, event, opts],
    { 0: "uid", 1: event, 2: opts },
    ["uid", { type: 2, nsp }, opts],
    ["uid", packet("hostile", nsp), opts],
    ["uid", packet([], nsp), opts],
    ["uid", packet([null], nsp), opts],
    ["uid", packet([{}], nsp), opts],
    ["uid", packet([["hostile"]], nsp), opts],
    ["uid", packet({ 0: "hostile" }, nsp), opts],
    ...[0, 1, 3, 4, 5, 6, 7, -1, 2.5, "2", null, 300].map((type) => ["uid", packet(["hostile"], nsp, type), opts]),
    ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((name) => [
      "uid",
      packet([name, "x"], nsp),
      opts,
    ]),
    ["uid", event, { ...opts, rooms: "text" }],
    ["uid", event, { ...opts, rooms: [null] }],
    ["uid", event, { ...opts, rooms: [[]] }],
    ["uid", event, { ...opts, except: {} }],
    ["uid", packet(["hostile", { _placeholder: true, num: 5 }, Buffer.from([1])], nsp), opts],
  ].map(encode);
  const ignored = [
    [own, event, opts],
    ["uid", packet(["hostile"], `${nsp}0`), opts],
    ["uid", packet(["hostile"], "/"), opts],
    ["uid", { type: 2, data: ["hostile"] }, opts],
  ].map(encode);
  const cut = Array.from({ length: good.length - 1 }, (_, i) => good.subarray(0, i + 1));
  return { wrong: [...wrong, ...cut, Buffer.concat([good, Buffer.from([0xc0])]), Buffer.concat([good, good])], ignored };
}

function classicRequests(nsp, own) {
  const event = packet(["hostile"], nsp);
  const wrong = [
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((type) => ({ uid: "uid", type })),
    ...[2, 3, 4, 5].map((type) => ({ uid: "uid", type, requestId: "r", rooms: ["x"], opts: null })),
    ...[2, 3].map((type) => ({ uid: "uid", type, opts })),
    ...[2, 3].map((type) => ({ uid: "uid", type, opts, rooms: "x" })),
    ...[2, 3].map((type) => ({ uid: "uid", type, opts, rooms: [{}] })),
    { uid: "uid", type: 4, opts, close: "yes" },
    { uid: "uid", type: 5, opts },
    { uid: "uid", type: 6, data: "note" },
    { uid: "uid", type: 6, data: [] },
    { uid: "uid", type: 6, data: {} },
    { uid: "uid", type: 7, requestId: "r", opts },
    { uid: "uid", type: 7, requestId: "r", packet: event },
    { uid: "uid", type: 7, packet: event, opts },
    { uid: "uid", type: 7, requestId: "r", packet: packet(["disconnect"], nsp), opts },
    ...[0, 1, 5].map((type) => ({ uid: "uid", type: 7, requestId: "r", packet: packet(["hostile"], nsp, type), opts })),
    ...[8, 9, 10, 99, -1, "2", null, [], 1e300].map((type) => ({ uid: "uid", type, requestId: "r", opts, rooms: ["x"] })),
    { uid: 1, type: 4, opts, close: true },
    [1, 2, 3],
  ];
  const ignored = [2, 4].map((type) => ({ uid: own, type, opts, rooms: ["hostile"], close: true }));
  return {
    wrong: [...wrong.map((value) => Buffer.from(JSON.stringify(value))), ...wrong.map(encode)],
    ignored: ignored.map((value) => Buffer.from(JSON.stringify(value))),
  };
}

/** Messages without effect for all adapters but the classic one. */
export function clusterMessages(nsp, own) {
  const event = { type: 2, data: ["hostile"] };
  const of = (type, data, more) => ({ uid: "uid", nsp, type, ...(data !== undefined && { data }), ...more });
  const wrong = [
    ...[3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((type) =>
      [undefined, null, "text", [], {}, { opts: null }, { requestId: 1 }].map((data) => of(type, data)),
    ),
    of(3, { packet: event }),
    of(3, { opts }),
    ...[0, 1, 3, 5, 6, "2", null].map((type) => of(3, { packet: { ...event, type }, opts })),
    of(3, { packet: { type: 2, data: [] }, opts }),
    of(3, { packet: { type: 2, data: "hostile" }, opts }),
    of(3, { packet: { type: 2, data: ["connect"] }, opts }),
    of(3, { packet: { type: 2, data: ["disconnect"] }, opts }),
    of(3, { packet: event, opts: { ...opts, rooms: "x" } }),
    of(3, { packet: event, opts: { ...opts, rooms: [null] } }),
    of(4, { opts }),
    of(4, { opts, rooms: "x" }),
    of(4, { rooms: ["x"] }),
    of(6, { close: true }),
    of(7, { opts }),
    of(9, { packet: "note" }),
    of(9, { packet: [] }),
    of("3", { packet: event, opts }),
    of(3, { packet: event, opts }, { uid: 1 }),
    of(3, { packet: event, opts }, { nsp: null }),
    { nsp, type: 3, data: { packet: event, opts } },
    { uid: "uid", nsp, data: { packet: event, opts } },
    [of(3, { packet: event, opts })],
  ];
  const ignored = [
    of(3, { packet: event, opts }, { uid: own }),
    of(6, { opts, close: true }, { uid: own }),
    of(3, { packet: event, opts }, { nsp: "/" }),
    of(6, { opts, close: true }, { nsp: "/other" }),
    ...[0, 1, 2, 13, 14, 99].map((type) => of(type, {})),
  ];
  const good = encode(of(3, { packet: { type: 2, data: ["hostile", Buffer.from([1])] }, opts }));
  const cut = Array.from({ length: good.length - 1 }, (_, i) => good.subarray(0, i + 1));
  return {
    wrong: [
      ...wrong.map((value) => Buffer.from(JSON.stringify(value))),
      ...wrong.map(encode),
      ...cut,
      Buffer.concat([good, Buffer.from([0xc0])]),
      encode(of(3, { packet: { type: 2, data: ["hostile", { _placeholder: true, num: 5 }, Buffer.from([1])] }, opts })),
    ],
    ignored: ignored.map((value) => Buffer.from(JSON.stringify(value))),
  };
}

/** Responses without effect. `id` is the id of no request. */
const responses = () =>
  [
    {},
    { requestId: "r" },
    { requestId: "r", sockets: "x" },
    { requestId: "r", sockets: [null] },
    { requestId: "r", sockets: [{ id: "x" }] },
    { requestId: 1, sockets: [] },
    { type: 8, requestId: "r" },
    { type: 8, requestId: "r", clientCount: -1 },
    { type: 8, requestId: "r", clientCount: 1e300 },
    { type: 8, requestId: "r", clientCount: 5 },
    { type: 9, requestId: "r", packet: "x" },
    { type: 6, requestId: "r", data: "x" },
    { type: 6, data: "x" },
  ].flatMap((value) => [Buffer.from(JSON.stringify(value)), encode(value)]);

/**
 * Returns sockets of two servers in a new namespace, the events that they receive, and a function that checks that all is
 * well and returns how many malformed messages each server has counted meanwhile. `more` is a further check.
 */
export async function healthyPair(t, nodes, more = async () => {}) {
  const [a, b] = await meet(t, nodes);
  await b.emitWithAck("join", "room");
  await heard(a, b, { to: ["room"] });
  const events = [a, b].map(heardBy);
  const before = await Promise.all(nodes.map((node) => node.status()));
  const unharmed = async () => {
    await settled(a, b);
    await acquainted(a, b);
    await heard(a, b, { to: ["room"] });
    assert.deepEqual(events.map(({ take }) => take()), [[], []]);
    assert.deepEqual(await a.emitWithAck("members", []), [a.id, b.id].sort());
    assert.equal((await a.emitWithAck("sse-ack", "ask-name")).responses.length, 1);
    assert.deepEqual((await b.emitWithAck("rooms")).sort(), [b.id, "room"].sort());
    assert.deepEqual(await b.emitWithAck("sse-log"), []);
    await more(a);
    const now = await Promise.all(nodes.map((node) => node.status()));
    now.forEach(({ connected, disconnections }, i) =>
      assert.deepEqual([connected, disconnections], [true, before[i].disconnections]),
    );
    return now.map(({ malformed }, i) => malformed - before[i].malformed);
  };
  return { a, b, events, unharmed };
}

/** Defines the tests for an adapter. */
export async function hostile(adapter) {
  const redis = await startRedis();
  const nodes = await startFleet(redis, { ADAPTER: adapter }, ["ours", "ours"]);
  const isClassic = adapter === "redis";

  /** Returns sockets in a new namespace, a check that all is well, and the names of all channels of the namespace. */
  async function setUp(t) {
    const { a, b, events, unharmed } = await healthyPair(t, nodes);
    const list = await redis.command("PUBSUB", isClassic ? "CHANNELS" : "SHARDCHANNELS");
    const channels = list.filter((name) => name.includes(`#${a.nsp}#`));
    const prefix = isClassic ? `socket.io-response#${a.nsp}#` : `socket.io#${a.nsp}#`;
    const own = channels
      .filter((name) => name.startsWith(prefix) && name !== prefix && !name.endsWith("#room#"))
      .map((name) => name.slice(prefix.length, -1));
    assert.equal(own.length, 2);
    const main = `socket.io#${a.nsp}#`;
    const all = isClassic ? [...channels, main, `${main}room#`] : channels;
    return { a, b, events, unharmed, channels: all, own, main };
  }
  const publish = async (channels, payloads) => {
    for (const channel of channels) {
      for (const payload of payloads) assert.ok((await redis.publish(adapter, channel, payload)) >= 1, channel);
    }
  };

  describe(adapter, { concurrency: false }, () => {
    test("junk on every channel", async (t) => {
      const { unharmed, channels } = await setUp(t);
      assert.ok(channels.length >= 3);
      await publish(channels, JUNK);
      // Some random bytes are values that are ignored.
      for (const count of await unharmed()) assert.ok(count >= JUNK.length / 2, count);
    });

    test("wrong shapes on every channel of broadcasts and requests", async (t) => {
      const { a, unharmed, own, main } = await setUp(t);
      const shapes = isClassic
        ? [
            [[main, `${main}room#`], classicBroadcasts(a.nsp, own[0]).wrong],
            [[`socket.io-request#${a.nsp}#`], classicRequests(a.nsp, own[0]).wrong],
          ]
        : [[[main, `${main}room#`, ...own.map((uid) => `${main}${uid}#`)], clusterMessages(a.nsp, own[0]).wrong]];
      for (const [channels, payloads] of shapes) await publish(channels, payloads);
      const expected = Math.min(...shapes.map(([, payloads]) => payloads.length));
      for (const count of await unharmed()) assert.ok(count >= expected, `${count} of ${expected}`);
    });

    test("messages of the server itself and of other namespaces, and unknown types", async (t) => {
      const { a, unharmed, own, main } = await setUp(t);
      for (const uid of own) {
        if (isClassic) {
          // Another server would execute a message of this one.
          const [first] = classicBroadcasts(a.nsp, uid).ignored.splice(0, 1);
          assert.ok(first);
          await publish([main], classicBroadcasts(a.nsp, uid).ignored.slice(1));
        } else {
          await publish([main], clusterMessages(a.nsp, uid).ignored.slice(2));
        }
      }
      assert.deepEqual(await unharmed(), [0, 0]);
    });

    test("a message of the server itself has an effect on other servers only", async (t) => {
      const { a, b, events, own, main } = await setUp(t);
      const payload = (uid) =>
        isClassic
          ? classicBroadcasts(a.nsp, uid).ignored[0]
          : clusterMessages(a.nsp, uid).ignored[0];
      for (const uid of own) await publish([main], [payload(uid)]);
      await synced(a, b);
      await synced(b, a);
      assert.deepEqual(events.map(({ take }) => take()), [[["hostile"]], [["hostile"]]]);
    });

    test("responses that nobody has asked for", async (t) => {
      const { a, unharmed, own, main } = await setUp(t);
      const channels = isClassic
        ? ["", ...own.map((uid) => `${uid}#`)].map((name) => `socket.io-response#${a.nsp}#${name}`)
        : own.map((uid) => `${main}${uid}#`);
      await publish(channels, responses());
      await unharmed();
    });

    test("messages of unusual form that are correct", async (t) => {
      const { a, b, events, main } = await setUp(t);
      const event = (...args) => (isClassic ? packet(["odd", ...args], a.nsp) : { type: 2, data: ["odd", ...args] });
      const broadcast = (options, ...args) =>
        isClassic
          ? ["uid", event(...args), options]
          : { uid: "uid", nsp: a.nsp, type: 3, data: { packet: event(...args), opts: options } };
      const odd = [
        broadcast({}, 1),
        broadcast({ rooms: [] }, 2),
        broadcast({ ...opts, other: 1 }, 3),
        broadcast({ ...opts, flags: { other: 1, volatile: null } }, 4),
        broadcast({ ...opts, rooms: ["room", "room"] }, 5),
        isClassic ? [...broadcast(opts, 6), "reserved"] : { ...broadcast(opts, 6), reserved: 1 },
      ];
      await publish([main], odd.map(encode));
      if (!isClassic) await publish([main], odd.map((value) => Buffer.from(JSON.stringify(value))));
      // A room whose name is a number, as JavaScript allows.
      await b.emitWithAck("join", "42");
      await publish([main], [encode(broadcast({ ...opts, rooms: [42] }, 7))]);
      await synced(a, b);
      await synced(b, a);
      const numbers = events[1].take().map(([, number]) => number);
      const once = [1, 2, 3, 4, 5, 6];
      assert.deepEqual(numbers, isClassic ? [...once, 7] : [...once, ...once, 7]);
      assert.deepEqual(new Set(events[0].take().map(([, number]) => number)), new Set([1, 2, 3, 4, 6]));
    });

    test("answers of wrong shape do not take the place of the real ones", async (t) => {
      const { a, b, main, own } = await setUp(t);
      b.on("ask", (ack) => wait.then(() => ack("real")));
      let go;
      const wait = new Promise((resolve) => (go = resolve));
      const asked = next(b, "ask");
      const ids = [];
      const close = await redis.monitor((command) => ids.push(...(command.match(/[\w-]{20}-[0-9a-f]+/g) ?? [])));
      const answer = a.emitWithAck("cast-ack", { timeout: 4_000, via: "socket" }, "ask");
      await asked;
      const requestId = ids.find((id) => own.some((uid) => id.startsWith(`${uid}-`)));
      assert.ok(requestId);
      const replies = isClassic
        ? [{ requestId, sockets: [] }, { requestId, type: 6, data: "x" }]
        : [8, 10].map((type) => ({ uid: "x", nsp: a.nsp, type, data: { requestId, sockets: [], packet: "x" } }));
      const channels = isClassic ? [`socket.io-response#${a.nsp}#`] : own.map((uid) => `${main}${uid}#`);
      await publish(channels, replies.map((value) => Buffer.from(JSON.stringify(value))));
      go();
      assert.deepEqual(await answer, { timedOut: false, responses: ["real"] });
      await close();
    });

    test("10 MB of broadcasts to a room without sockets cost nothing", async (t) => {
      const { unharmed, main } = await setUp(t);
      const channel = `${main}nobody#`;
      for (let i = 0; i < 10; i++) await redis.publish(adapter, channel, Buffer.alloc(1_000_000, 0x91));
      assert.deepEqual(await unharmed(), [0, 0]);
    });
  });
}
