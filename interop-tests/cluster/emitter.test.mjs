// The emitter of Node.js, which publishes to servers with the classic adapter without being one.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { next, until } from "../official/helpers.mjs";
import { heardBy, join, meet, startFleet } from "./fleet.mjs";
import { startRedis } from "./redis.mjs";

const redis = await startRedis();
const nodes = await startFleet(redis, { ADAPTER: "redis" }, ["ours", "ours", "node"]);
const emitter = new Emitter(await redis.connect());

describe("emitter", { concurrency: 4 }, () => {
  /** Returns sockets of two servers of ours and one of Node.js, their events, and the emitter of their namespace. */
  async function setUp(t) {
    const sockets = await meet(t, nodes);
    const of = emitter.of(sockets[0].nsp);
    const events = sockets.map(heardBy);
    const taken = async () => {
      // The emitter's connection is another one than those of the servers.
      of.emit("end");
      await Promise.all(sockets.map(async (socket, i) => until(() => socket.emitWithAck("echo"), () => events[i].has("end"))));
      return events.map(({ take }) => take().filter(([name]) => name !== "end"));
    };
    return { sockets, of, taken };
  }

  test("events to all, to rooms, and with excluded rooms", async (t) => {
    const { sockets, of, taken } = await setUp(t);
    const [a, b, c] = sockets;
    await a.emitWithAck("join", "r1");
    await b.emitWithAck("join", "r2");
    const values = [1, "😀", null, { deep: [Buffer.from([1, 2]), new Date(0)] }];
    const arrived = [1, "😀", null, { deep: [Buffer.from([1, 2]), "1970-01-01T00:00:00.000Z"] }];
    const event = [["in", ...arrived]];
    of.emit("in", ...values);
    assert.deepEqual(await taken(), [event, event, event]);
    of.to("r1").emit("in", ...values);
    assert.deepEqual(await taken(), [event, [], []]);
    of.to(["r1", "r2"]).to(c.id).emit("in", ...values);
    assert.deepEqual(await taken(), [event, event, event]);
    of.except("r1").except([b.id]).emit("in", ...values);
    assert.deepEqual(await taken(), [[], [], event]);
    of.to("nobody").emit("in", ...values);
    assert.deepEqual(await taken(), [[], [], []]);
    of.volatile.compress(false).to([a.id]).emit("in", ...values);
    assert.deepEqual(await taken(), [event, [], []]);
  });

  test("the main namespace", async (t) => {
    const sockets = await Promise.all(nodes.map((node) => join(t, node, "/")));
    const event = sockets.map((socket) => next(socket, "in"));
    emitter.emit("in", 1);
    for (const arrived of event) assert.deepEqual(await arrived, [1]);
  });

  test("1,000 events arrive in order", async (t) => {
    const { of, taken } = await setUp(t);
    const expected = Array.from({ length: 1_000 }, (_, i) => ["n", i]);
    for (const event of expected) of.emit(...event);
    assert.deepEqual((await taken()).slice(0, 2), [expected, expected]);
  });

  test("sockets join, leave and are disconnected", async (t) => {
    const { sockets, of } = await setUp(t);
    const [a, b, c] = sockets;
    const members = (room, ...expected) =>
      until(
        () => a.emitWithAck("members", [room]),
        (ids) => ids.join() === expected.map(({ id }) => id).sort().join(),
        `members of ${room}`,
      );
    of.socketsJoin(["x", "y"]);
    await members("x", a, b, c);
    await members("y", a, b, c);
    of.in(b.id).socketsLeave("x");
    await members("x", a, c);
    of.except(a.id).socketsLeave(["x", "y"]);
    await members("x", a);
    await members("y", a);
    const gone = next(b, "disconnect");
    of.in(b.id).disconnectSockets(true);
    await gone;
    const gone2 = next(a, "disconnect");
    of.in("x").disconnectSockets();
    await gone2;
    assert.equal(await c.emitWithAck("echo", 1), 1);
  });

  test("server-side events", async (t) => {
    const { sockets, of } = await setUp(t);
    of.serverSideEmit("note", 1, { x: [null, "😀"] });
    for (const socket of sockets) {
      const log = await until(() => socket.emitWithAck("sse-log"), ({ length }) => length > 0);
      assert.deepEqual(log, [["note", 1, { x: [null, "😀"] }]]);
    }
  });
});
