import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  alongside,
  client,
  collect,
  connected,
  everyWay,
  freshKey,
  next,
  recorded,
  records,
  settled,
} from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main", "fast");

everyWay(url("main"), (connect, _, way) => {
  /** Returns a socket whose disconnect reason the server records, and a socket that can query the record. */
  async function watched(t, namespace = "/", options = {}) {
    const key = freshKey();
    const socket = await connect(t, namespace, { auth: { key }, ...options });
    const observer = await connect(t, "/");
    return { socket, key, ended: next(socket, "disconnect"), recordsOf: (count) => records(observer, key, count) };
  }

  test("the client leaves its only namespace", async (t) => {
    const { socket, ended, recordsOf } = await watched(t);
    const { id } = socket;
    socket.disconnect();
    assert.equal((await ended)[0], "io client disconnect");
    assert.deepEqual(await recordsOf(), [{ sid: id, nsp: "/", reason: "client namespace disconnect", rooms: [id] }]);
  });

  test("the client leaves one of two namespaces", async (t) => {
    const { socket, key, recordsOf } = await watched(t);
    const other = await connected(alongside(socket, "/custom", { key }));
    const { id } = other;
    other.disconnect();
    assert.deepEqual(await recordsOf(), [
      { sid: id, nsp: "/custom", reason: "client namespace disconnect", rooms: [id] },
    ]);
    assert.equal(await socket.emitWithAck("echo", "still here"), "still here");
    other.connect();
    await connected(other);
    assert.notEqual(other.id, id);
    assert.equal(await other.emitWithAck("echo", "back"), "back");
  });

  test("the client closes the connection", async (t) => {
    const { socket, key, ended, recordsOf } = await watched(t);
    await connected(alongside(socket, "/custom", { key }));
    socket.io.engine.close();
    assert.equal((await ended)[0], "forced close");
    const list = await recordsOf(2);
    assert.deepEqual(list.map(({ nsp, reason }) => `${nsp} ${reason}`).sort(), [
      "/ transport close",
      "/custom transport close",
    ]);
  });

  if (way === "websocket only" || way === "polling, upgraded") {
    test("the client's connection breaks", async (t) => {
      const { socket, ended, recordsOf } = await watched(t);
      socket.io.engine.transport.ws.terminate();
      assert.equal((await ended)[0], "transport close");
      assert.equal((await recordsOf())[0].reason, "transport close");
    });
  }

  test("the server disconnects one namespace, the others stay", async (t) => {
    const { socket, key, recordsOf } = await watched(t);
    const other = await connected(alongside(socket, "/custom", { key }));
    const ended = next(other, "disconnect");
    other.emit("bye", false);
    assert.equal((await ended)[0], "io server disconnect");
    const [record] = await recordsOf();
    assert.equal(record.nsp, "/custom");
    assert.equal(record.reason, "server namespace disconnect");
    assert.equal(await socket.emitWithAck("echo", 1), 1);
    other.connect();
    await connected(other);
    assert.equal(await other.emitWithAck("echo", 2), 2);
  });

  test("the server disconnects and closes all namespaces", async (t) => {
    const { socket, key, ended, recordsOf } = await watched(t);
    const other = await connected(alongside(socket, "/custom", { key }));
    const ends = [ended, next(other, "disconnect")];
    socket.emit("bye", true);
    for (const [reason] of await Promise.all(ends)) assert.equal(reason, "io server disconnect");
    const list = await recordsOf(2);
    assert.deepEqual(list.map(({ nsp, reason }) => `${nsp} ${reason}`).sort(), [
      "/ server namespace disconnect",
      "/custom server namespace disconnect",
    ]);
  });

  test("nothing arrives after the server has disconnected the socket", async (t) => {
    const { socket, ended } = await watched(t);
    const other = await connected(alongside(socket, "/custom"));
    const events = recorded(socket);
    socket.emit("bye-then-emit");
    assert.equal((await ended)[0], "io server disconnect");
    await settled(other);
    assert.deepEqual(events, []);
  });

  test("the server closes the connection under the namespaces", async (t) => {
    const { socket, key, ended, recordsOf } = await watched(t);
    const other = await connected(alongside(socket, "/custom", { key }));
    const ends = [ended, next(other, "disconnect")];
    socket.emit("drop");
    for (const [reason] of await Promise.all(ends)) assert.equal(reason, "transport close");
    const list = await recordsOf(2);
    assert.deepEqual(list.map(({ nsp, reason }) => `${nsp} ${reason}`).sort(), [
      "/ forced close",
      "/custom forced close",
    ]);
  });

  test("the rooms of a socket are known when it ends", async (t) => {
    const { socket, recordsOf } = await watched(t, "/custom");
    const { id } = socket;
    for (const room of ["one", "two"]) await socket.emitWithAck("join", room);
    socket.emit("drop");
    assert.deepEqual((await recordsOf())[0].rooms.sort(), [id, "one", "two"].sort());
  });

  test("the client reconnects by itself after a drop", async (t) => {
    const { socket, ended } = await watched(t, "/", { reconnection: true, reconnectionDelay: 10 });
    const { id } = socket;
    await socket.emitWithAck("join", "room");
    socket.emit("drop");
    assert.equal((await ended)[0], "transport close");
    socket.emit("log", "while away");
    await connected(socket);
    assert.notEqual(socket.id, id);
    assert.deepEqual(await socket.emitWithAck("log-get"), ["while away"]);
    assert.deepEqual(await socket.emitWithAck("rooms"), [socket.id]);
  });

  test("the client stays away after the server disconnected it, until it asks again", async (t) => {
    const { socket, ended } = await watched(t, "/", { reconnection: true, reconnectionDelay: 1 });
    socket.emit("bye", true);
    await ended;
    assert.ok(!socket.active);
    socket.connect();
    await connected(socket);
    assert.equal(await socket.emitWithAck("echo", 1), 1);
  });

  test("the server's open questions and tasks end with the socket", async (t) => {
    const { socket, recordsOf } = await watched(t);
    const ticks = collect(socket, "tick", 2);
    socket.emit("tick", 1_000_000, 1);
    socket.emit("ask", "never answered");
    socket.emit("ack-later", 300);
    await ticks;
    socket.disconnect();
    assert.equal((await recordsOf())[0].reason, "client namespace disconnect");
  });
});

everyWay(url("fast"), (connect) => {
  test("heartbeats keep an idle connection", async (t) => {
    const socket = await connect(t);
    const ends = [];
    socket.on("disconnect", (reason) => ends.push(reason));
    await collect(socket.io, "ping", 5);
    assert.equal(await socket.emitWithAck("echo", "alive"), "alive");
    assert.deepEqual(ends, []);
  });
});

describe("a client that stops answering heartbeats", () => {
  for (const transport of ["polling", "websocket"]) {
    test(`is given up over ${transport}`, async (t) => {
      const key = freshKey();
      const socket = await connected(client(t, url("fast"), { transports: [transport], auth: { key } }));
      const observer = await connected(client(t, url("fast")));
      // The client's engine sends its pongs through this method.
      socket.io.engine._sendPacket = () => {};
      const [reason] = await next(socket, "disconnect");
      assert.equal(reason, "transport close");
      assert.equal((await records(observer, key))[0].reason, "ping timeout");
    });
  }
});
