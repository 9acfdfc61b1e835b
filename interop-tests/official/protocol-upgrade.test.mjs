// Tests the upgrade from polling to WebSocket.
import assert from "node:assert/strict";
import { test } from "node:test";
import { client, connected, next, upgraded } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { observed, Polling, Socket } from "./wire.mjs";

const url = await startServer("main", "fast");
const REFUSED = { status: 400, body: '{"code":3,"message":"Bad request"}' };

/** Opens a polling session in `/`. `reason` resolves with the disconnect reason on the server. */
async function upgradable(t, profile = "main") {
  const session = await Polling.open(url(profile));
  return { session, reason: await observed(t, url(profile), session) };
}

async function probed(t, session) {
  const socket = session.websocket(t);
  await next(socket.ws, "open");
  socket.send("2probe");
  assert.equal(await socket.receive(), "3probe");
  return socket;
}

async function assertPolls(session) {
  await session.send('42["echo","polling"]');
  assert.deepEqual(await session.receive(), ['42["echo","polling"]']);
}

test("the upgrade is probed, releases the poll and takes over", async (t) => {
  const { session, reason } = await upgradable(t);
  const { answer } = await session.park();
  const socket = await probed(t, session);
  assert.equal((await answer).body, "6");
  await session.send('42["echo","before"]');
  socket.send("5", '42["echo","after"]');
  assert.equal(await socket.receive(), '42["echo","before"]');
  assert.equal(await socket.receive(), '42["echo","after"]');
  socket.ws.close();
  assert.equal(await reason(), "transport close");
});

test("the upgrade of a session that is not young releases the poll at once", async (t) => {
  const { session } = await upgradable(t);
  // A client with network latency does not upgrade earlier either.
  await new Promise((resolve) => setTimeout(resolve, 150));
  const { answer } = await session.park();
  const socket = await probed(t, session);
  const started = performance.now();
  assert.equal((await answer).body, "6");
  assert.ok(performance.now() - started < 80, "no clock is waited for");
  socket.send("5");
});

test("a client close by gets no packet more in the first 100 ms", async (t) => {
  const socket = client(t, url("main"));
  const types = [];
  socket.io.engine.on("packet", ({ type }) => types.push(type));
  await new Promise((resolve) => socket.io.engine.once("open", () => setTimeout(resolve, 100)));
  assert.deepEqual(types, ["open", "message"]);
  await upgraded(await connected(socket));
});

test("the upgrade leaves HTTP behind", async (t) => {
  const { session } = await upgradable(t);
  const socket = await probed(t, session);
  socket.send("5", '42["echo",1]');
  assert.equal(await socket.receive(), '42["echo",1]');
  for (const { status, body } of [await session.poll(), await session.post('42["echo"]')]) {
    assert.deepEqual({ status, body }, REFUSED);
  }
  socket.send('42["echo",2]');
  assert.equal(await socket.receive(), '42["echo",2]');
});

test("the upgrade happens once", async (t) => {
  const { session } = await upgradable(t);
  const socket = await probed(t, session);
  socket.send("5", '42["echo",1]');
  await socket.receive();
  // As in Node.js, the WebSocket opens and is closed at once, without any message of the session.
  const second = session.websocket(t);
  const stolen = [];
  second.ws.on("message", (data) => stolen.push(data));
  assert.equal((await second.response()).status, 101);
  assert.equal(await second.ended(), 1000);
  assert.deepEqual(stolen, []);
  socket.send('42["echo",2]');
  assert.equal(await socket.receive(), '42["echo",2]');
});

test("the upgrade is not for a session that began as a WebSocket", async (t) => {
  const socket = await Socket.open(t, url("main"));
  await socket.join();
  const second = new Socket(t, url("main"), { EIO: "4", transport: "websocket", sid: socket.handshake.sid });
  assert.deepEqual(await second.response(), REFUSED);
  socket.send('42["echo",1]');
  assert.equal(await socket.receive(), '42["echo",1]');
});

test("a second probe ends the upgrade, and polling goes on", async (t) => {
  const { session } = await upgradable(t);
  const socket = await probed(t, session);
  socket.send("2probe");
  await socket.ended();
  await assertPolls(session);
});

test("the upgrade keeps polling alive while it lasts", async (t) => {
  const { session } = await upgradable(t);
  const socket = await probed(t, session);
  await assertPolls(session);
  socket.send("5", '42["echo",1]');
  assert.equal(await socket.receive(), '42["echo",1]');
});

for (const [what, packet] of [
  ["a message", '42["echo",1]'],
  ["another probe", "2other"],
  ["nonsense", "abc"],
  ["a binary", Buffer.from([1])],
]) {
  test(`the upgrade fails with ${what} in place of the probe, and polling goes on`, async (t) => {
    const { session } = await upgradable(t);
    const socket = session.websocket(t);
    await next(socket.ws, "open");
    socket.send(packet);
    await socket.ended();
    await assertPolls(session);
    (await probed(t, session)).send("5", '42["echo","later"]');
  });
}

test("the upgrade fails when the WebSocket breaks, and polling goes on", async (t) => {
  const { session } = await upgradable(t);
  const socket = await probed(t, session);
  socket.ws.terminate();
  await socket.closed;
  await assertPolls(session);
});

test("the upgrade fails after its time, polling goes on, and may be tried again", async (t) => {
  const { session } = await upgradable(t, "fast");
  const socket = session.websocket(t);
  await socket.ended();
  assert.deepEqual(await session.receive(), ["2"]);
  await session.send("3");
  const second = await probed(t, session);
  second.send("5", '42["echo","second"]');
  assert.equal(await second.receive(), '42["echo","second"]');
});

test("the upgrade ends with the session", async (t) => {
  const { session, reason } = await upgradable(t);
  const socket = await probed(t, session);
  await session.send("1");
  await socket.ended();
  assert.equal(await reason(), "transport close");
  assert.deepEqual(await session.receive(), ["6"]);
  await session.assertClosed();
});

test("the upgrade does not take the heartbeat with it", async (t) => {
  const { session, reason } = await upgradable(t, "fast");
  assert.deepEqual(await session.receive(), ["2"]);
  const socket = await probed(t, session);
  socket.send("5");
  await socket.ended();
  assert.equal(await reason(), "ping timeout");
});
