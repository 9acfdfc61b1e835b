// Messages that no adapter sends, published by hand on every channel of a fleet whose servers know each other by heartbeats.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { settled, until } from "../official/helpers.mjs";
import { startBroker } from "./brokers.mjs";
import { startFleet, synced } from "./fleet.mjs";
import { JUNK, clusterMessages, encode, healthyPair } from "./hostile.mjs";

const opts = { rooms: [], except: [], flags: {} };
const json = (value) => Buffer.from(JSON.stringify(value));

/** Defines the tests for an adapter. Returns the broker and the servers. */
export async function hostile(adapter) {
  const broker = await startBroker(adapter);
  const nodes = await startFleet(broker, { ADAPTER: adapter }, ["ours", "ours"]);

  /** Returns sockets in a new namespace, a check that all is well, and a function that publishes on all channels. */
  async function setUp(t) {
    const seesBoth = async (a) => assert.equal(await a.emitWithAck("servers"), 2);
    const { a, b, events, unharmed } = await healthyPair(t, nodes, seesBoth);
    const publish = async (payloads) => {
      const channels = await broker.channels(a.nsp);
      for (const channel of channels) for (const payload of payloads) await broker.publish(channel, payload);
      // Messages of one connection arrive in order.
      await broker.publish(broker.channel(a.nsp), json({ uid: "emitter", nsp: a.nsp, type: 3, data: { packet: { type: 2, data: ["end"] }, opts } }));
      await until(() => settled(a, b), () => events.every(({ has }) => has("end")), "the end");
      events.forEach(({ drop }) => drop("end"));
    };
    return { a, b, events, unharmed, publish };
  }

  describe(`hostile messages, ${adapter}`, { concurrency: false }, () => {
    test("junk", async (t) => {
      const { unharmed, publish } = await setUp(t);
      const junk = JUNK.filter(({ length }) => length < 1_000_000);
      await publish(junk);
      // Some random bytes are values that are ignored.
      for (const count of await unharmed()) assert.ok(count >= junk.length / 2, count);
    });

    test("wrong shapes", async (t) => {
      const { a, unharmed, publish } = await setUp(t);
      const { wrong } = clusterMessages(a.nsp, "own");
      // The namespace is that of the channel, and a message of another one is ignored.
      const isWrong = (payload) => !payload.includes('"nsp":null') && !payload.includes(encode({ nsp: null }).subarray(1));
      await publish(wrong.filter(isWrong));
      for (const count of await unharmed()) assert.ok(count >= wrong.length * 0.8, `${count} of ${wrong.length}`);
    });

    test("messages of other namespaces, and unknown types", async (t) => {
      const { unharmed, publish, a } = await setUp(t);
      const of = (nsp, type, data) => json({ uid: "uid", nsp, type, data });
      const packet = { type: 2, data: ["hostile"] };
      const other = ["/", "/other"].flatMap((nsp) => [of(nsp, 3, { packet, opts }), of(nsp, 6, { opts, close: true }), of(nsp, 1)]);
      await publish([...other, ...[0, 14, 99].map((type) => of(a.nsp, type, {})), of(a.nsp, 13)]);
      assert.deepEqual(await unharmed(), [0, 0]);
    });

    test("responses that nobody has asked for", async (t) => {
      const { a, unharmed, publish } = await setUp(t);
      const of = (type, data) => json({ uid: "uid", nsp: a.nsp, type, data });
      const data = { requestId: "r", sockets: [{ id: "x" }], packet: "x", clientCount: 1e6 };
      await publish([8, 10, 11, 12].map((type) => of(type, data)));
      assert.deepEqual(await unharmed(), [0, 0]);
    });

    test("messages of unusual form that are correct", async (t) => {
      const { a, b, events, publish } = await setUp(t);
      const broadcast = (options, number, more) => ({
        ...{ uid: "emitter", nsp: a.nsp, type: 3, ...more },
        data: { packet: { type: 2, data: ["odd", number] }, opts: options },
      });
      const odd = [
        broadcast({}, 1),
        broadcast({ rooms: [] }, 2),
        broadcast({ ...opts, other: 1 }, 3),
        broadcast({ ...opts, flags: { other: 1, volatile: null } }, 4),
        broadcast({ ...opts, rooms: ["room", "room"] }, 5),
        broadcast(opts, 6, { reserved: 1 }),
        // Emitters of Node.js leave out the namespace.
        broadcast(opts, 7, { nsp: undefined }),
      ];
      await publish([...odd.map(json), ...odd.map(({ nsp, ...message }) => encode(nsp ? { nsp, ...message } : message))]);
      await synced(a, b);
      const [ofA, ofB] = events.map(({ take }) => new Set(take().map(([, number]) => number)));
      assert.deepEqual([ofA, ofB], [new Set([1, 2, 3, 4, 6, 7]), new Set([1, 2, 3, 4, 5, 6, 7])]);
    });
  });
  return { broker, nodes };
}
