import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, everyWay, freshKey, next, recorded, records, settled } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main");
let rooms = 0;
const freshRoom = () => `room-${rooms++} 😀`;

everyWay(url("main"), (connect) => {
  /**
   * Returns three sockets, the events that they receive, and a `cast` that resolves when all of them have received it.
   */
  async function three(t, namespace = "/custom") {
    const sockets = await Promise.all([1, 2, 3].map(() => connect(t, namespace)));
    const heard = sockets.map(recorded);
    const cast = async (sender, options, ...event) => {
      await sender.emitWithAck("cast", options, ...event);
      await settled(...sockets);
      return heard.map((events) => events.splice(0));
    };
    return { sockets, cast };
  }

  test("a socket is in the room of its id and in those it joined", async (t) => {
    const socket = await connect(t);
    const room = freshRoom();
    assert.deepEqual(await socket.emitWithAck("rooms"), [socket.id]);
    await socket.emitWithAck("join", room);
    await socket.emitWithAck("join", room);
    assert.deepEqual((await socket.emitWithAck("rooms")).sort(), [socket.id, room].sort());
    await socket.emitWithAck("leave", room);
    await socket.emitWithAck("leave", "never joined");
    assert.deepEqual(await socket.emitWithAck("rooms"), [socket.id]);
  });

  test("a broadcast through the namespace includes the sender, one through the socket does not", async (t) => {
    const { sockets, cast } = await three(t);
    const hi = [["hi", 1, [2]]];
    assert.deepEqual(await cast(sockets[0], { via: "nsp" }, "hi", 1, [2]), [hi, hi, hi]);
    assert.deepEqual(await cast(sockets[0], { via: "socket" }, "hi", 1, [2]), [[], hi, hi]);
    assert.deepEqual(await cast(sockets[0], { via: "nsp", to: [], except: [] }, "hi", 1, [2]), [hi, hi, hi]);
  });

  test("a broadcast to a room reaches its members", async (t) => {
    const {
      sockets: [a, b, c],
      cast,
    } = await three(t);
    const room = freshRoom();
    await Promise.all([a, b].map((each) => each.emitWithAck("join", room)));
    assert.deepEqual(await cast(a, { via: "nsp", to: [room] }, "in"), [[["in"]], [["in"]], []]);
    assert.deepEqual(await cast(a, { via: "socket", to: [room] }, "in"), [[], [["in"]], []]);
    assert.deepEqual(await cast(c, { via: "socket", to: [room] }, "in"), [[["in"]], [["in"]], []]);
    assert.deepEqual(await cast(c, { via: "nsp", to: ["empty"] }, "in"), [[], [], []]);
  });

  test("a broadcast to several rooms reaches each socket once", async (t) => {
    const {
      sockets: [a, b, c],
      cast,
    } = await three(t);
    const [one, two] = [freshRoom(), freshRoom()];
    for (const [socket, room] of [
      [a, one],
      [a, two],
      [b, two],
    ])
      await socket.emitWithAck("join", room);
    assert.deepEqual(await cast(c, { via: "nsp", to: [one, two] }, "once"), [[["once"]], [["once"]], []]);
    assert.deepEqual(await cast(a, { via: "socket", to: [one, two, one] }, "once"), [[], [["once"]], []]);
    assert.deepEqual(await cast(c, { via: "nsp", to: [a.id, one] }, "once"), [[["once"]], [], []]);
  });

  test("a broadcast leaves out the excepted rooms and sockets", async (t) => {
    const {
      sockets: [a, b, c],
      cast,
    } = await three(t);
    const [one, two] = [freshRoom(), freshRoom()];
    for (const [socket, room] of [
      [a, one],
      [b, one],
      [b, two],
    ])
      await socket.emitWithAck("join", room);
    assert.deepEqual(await cast(c, { via: "nsp", to: [one], except: [two] }, "some"), [[["some"]], [], []]);
    assert.deepEqual(await cast(c, { via: "nsp", except: [two, c.id] }, "some"), [[["some"]], [], []]);
    assert.deepEqual(await cast(c, { via: "socket", except: ["empty"] }, "some"), [[["some"]], [["some"]], []]);
    assert.deepEqual(await cast(c, { via: "nsp", to: [one], except: [one] }, "some"), [[], [], []]);
  });

  test("a message to an id is private", async (t) => {
    const {
      sockets: [a, b],
      cast,
    } = await three(t);
    assert.deepEqual(await cast(a, { via: "socket", to: [b.id] }, "psst", b.id), [[], [["psst", b.id]], []]);
    assert.deepEqual(await cast(a, { via: "socket", to: [a.id] }, "psst"), [[], [], []]);
  });

  test("binaries are broadcast whole", async (t) => {
    const {
      sockets: [a],
      cast,
    } = await three(t);
    const all = await cast(a, { via: "nsp" }, "bin", { list: [Buffer.from([1, 2]), Buffer.alloc(0)] }, "x");
    for (const [[name, value, text]] of all) {
      assert.deepEqual([name, value.list.map((bytes) => [...bytes]), text], ["bin", [[1, 2], []], "x"]);
    }
  });

  test("who has left a room hears no more of it", async (t) => {
    const {
      sockets: [a, b],
      cast,
    } = await three(t);
    const room = freshRoom();
    for (const each of [a, b]) await each.emitWithAck("join", room);
    await b.emitWithAck("leave", room);
    assert.deepEqual(await cast(a, { via: "nsp", to: [room] }, "after"), [[["after"]], [], []]);
    await b.emitWithAck("join", room);
    assert.deepEqual(await cast(a, { via: "nsp", to: [room] }, "again"), [[["again"]], [["again"]], []]);
  });

  test("who has disconnected is in no room, and returns to none", async (t) => {
    const {
      sockets: [a, , c],
      cast,
    } = await three(t);
    const room = freshRoom();
    const key = freshKey();
    const leaver = await connect(t, "/custom", { auth: { key } });
    for (const each of [a, leaver]) await each.emitWithAck("join", room);
    const [id, events] = [leaver.id, recorded(leaver)];
    leaver.disconnect();
    const [record] = await records(c, key);
    assert.deepEqual(record.rooms.sort(), [id, room].sort());
    assert.deepEqual(await cast(c, { via: "nsp", to: [room, id] }, "left"), [[["left"]], [], []]);

    leaver.connect();
    await connected(leaver);
    assert.notEqual(leaver.id, id);
    assert.deepEqual(await leaver.emitWithAck("rooms"), [leaver.id]);
    await cast(c, { via: "nsp", to: [room] }, "back");
    await settled(leaver);
    assert.deepEqual(events, []);
  });

  test("namespaces have rooms of their own", async (t) => {
    const {
      sockets: [a],
      cast,
    } = await three(t);
    const room = freshRoom();
    const elsewhere = await connect(t, "/");
    const events = recorded(elsewhere);
    for (const each of [a, elsewhere]) await each.emitWithAck("join", room);
    assert.deepEqual(await cast(a, { via: "nsp", to: [room] }, "here"), [[["here"]], [], []]);
    await settled(elsewhere);
    assert.deepEqual(events, []);
  });

  test("a hundred rooms of one socket", async (t) => {
    const {
      sockets: [a, b],
      cast,
    } = await three(t);
    const many = Array.from({ length: 100 }, freshRoom);
    await Promise.all(many.map((room) => a.emitWithAck("join", room)));
    assert.equal((await a.emitWithAck("rooms")).length, 101);
    assert.deepEqual(await cast(b, { via: "nsp", to: many }, "once"), [[["once"]], [], []]);
  });

  test("a broadcast with acknowledgements gathers the answers of all and tells who is late", async (t) => {
    const {
      sockets: [a, b, c],
    } = await three(t);
    const room = freshRoom();
    await Promise.all([a, b, c].map((each) => each.emitWithAck("join", room)));
    b.on("question", (n, answer) => answer(n + 1));
    c.on("question", (n, answer) => answer(n + 2));
    const ask = (options) => a.emitWithAck("cast-ack", { to: [room], ...options }, "question", 1);
    const others = await ask({ via: "socket", timeout: 4000 });
    assert.equal(others.timedOut, false);
    assert.deepEqual(others.responses.sort(), [2, 3]);
    const all = await ask({ via: "nsp", timeout: 100 });
    assert.equal(all.timedOut, true);
    assert.deepEqual(all.responses.sort(), [2, 3]);
    assert.deepEqual(await a.emitWithAck("cast-ack", { to: ["empty"] }, "question", 1), {
      timedOut: false,
      responses: [],
    });
  });

  test("sockets are found, moved and disconnected by their room", async (t) => {
    const {
      sockets: [a, b, c],
    } = await three(t);
    const [room, other] = [freshRoom(), freshRoom()];
    await Promise.all([a, b].map((each) => each.emitWithAck("join", room)));
    assert.deepEqual(await c.emitWithAck("members", [room]), [a.id, b.id].sort());
    await c.emitWithAck("room-join", room, other);
    assert.deepEqual(await c.emitWithAck("members", [other]), [a.id, b.id].sort());
    await c.emitWithAck("room-leave", other, room);
    assert.deepEqual(await c.emitWithAck("members", [room]), []);
    const gone = [a, b].map((each) => next(each, "disconnect"));
    await a.emitWithAck("room-kick", other, false);
    assert.deepEqual((await Promise.all(gone)).flatMap(([reason]) => reason), [
      "io server disconnect",
      "io server disconnect",
    ]);
    assert.equal(c.connected, true);
  });
});
