// Servers behind nginx without sticky sessions: each request reaches another server than the one before.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { client, connected, until } from "../official/helpers.mjs";
import { forwarding, startNode } from "./fleet.mjs";
import { startRoundRobin } from "./nginx.mjs";
import { startRedis } from "./redis.mjs";

const CLIENTS = Number(process.env.CLIENTS ?? 200);
const EVENTS = 20;

const redis = await startRedis();
const start = async () => startNode("ours", { ...redis.env, ADAPTER: "redis", ...(await forwarding()) });
const servers = await Promise.all([1, 2, 3].map(start));
after(() => Promise.all(servers.map((server) => server.end("SIGKILL"))));
const url = await startRoundRobin(servers.map(({ port }) => port));

const transports = { polling: ["polling"], upgrade: ["polling", "websocket"], websocket: ["websocket"] };

/** Returns connected clients, with the name of the server of each. */
async function connect(t, count, transports) {
  const sockets = Array.from({ length: count }, () => client(t, url, { transports, forceNew: true }));
  for (const socket of sockets) {
    socket.received = [];
    socket.onAny((...event) => socket.received.push(event));
    socket.on("disconnect", (reason, details) => (socket.ended = `${reason}: ${details?.description}`));
  }
  await Promise.all(sockets.map((socket) => connected(socket)));
  for (const socket of sockets) socket.server = (await socket.emitWithAck("whoami")).node;
  return sockets;
}

for (const [name, kinds] of Object.entries(transports)) {
  test(`${CLIENTS} clients over ${name}: nothing is lost, doubled or reordered`, { timeout: 120_000 }, async (t) => {
    const sockets = await connect(t, CLIENTS, kinds);
    assert.equal(new Set(sockets.map(({ server }) => server)).size, servers.length);
    const blob = Buffer.alloc(1000, 7);
    for (let i = 0; i < EVENTS; i++) {
      for (const socket of sockets) socket.emit("emit-me", "mine", i, blob);
    }
    for (let i = 0; i < EVENTS; i++) await sockets[0].emitWithAck("cast", {}, "all", i);
    const complete = ({ received }) => received.length >= 2 * EVENTS;
    const asked = () => sockets[0].emitWithAck("echo");
    await until(asked, () => sockets.every(complete), "all events arrive", 60_000);
    await Promise.all(sockets.map((socket) => socket.emitWithAck("echo", 1)));
    const range = Array.from({ length: EVENTS }, (_, i) => i);
    for (const { received } of sockets) {
      const of = (event) => received.filter(([name]) => name === event).map(([, i]) => i);
      assert.deepEqual(of("mine"), range);
      assert.deepEqual(of("all"), range);
      assert.equal(received.length, 2 * EVENTS);
    }
    if (name === "upgrade") {
      const upgraded = sockets.filter((socket) => socket.io.engine.transport.name === "websocket");
      assert.equal(upgraded.length, CLIENTS);
    }
    assert.ok(sockets.every(({ ended }) => !ended));
  });
}

/** Gives the polls of all clients the time of 300 round trips to reach their servers. */
async function parked(watcher) {
  for (let i = 0; i < 300; i++) await watcher.emitWithAck("echo");
}

/** Returns a client with a WebSocket to one of the servers. */
async function watcherOf(t, accepts) {
  for (;;) {
    const [watcher] = await connect(t, 1, ["websocket"]);
    if (accepts.some(({ name }) => name === watcher.server)) return watcher;
  }
}

test("a server that is drained keeps its sessions, and opens no others", async (t) => {
  const [drained, ...others] = servers;
  const before = await connect(t, 30, ["polling"]);
  drained.child.kill("SIGUSR2");
  await until(() => fetch(`${drained.url}/socket.io/?EIO=4&transport=polling`), ({ status }) => status === 503);
  const after = [await connect(t, 30, ["polling"]), await connect(t, 30, ["websocket"])].flat();
  assert.ok(after.every(({ server }) => others.some(({ name }) => name === server)));
  const own = before.filter(({ server }) => server === drained.name);
  assert.ok(own.length > 0);
  await Promise.all(own.map((socket) => socket.emitWithAck("echo")));
  assert.ok([...before, ...after].every(({ ended }) => !ended));
});

test("a server that is killed costs its own sessions only", async (t) => {
  const [drained, doomed, last] = servers;
  const sockets = await connect(t, CLIENTS, ["polling"]);
  const watcher = await watcherOf(t, [last]);
  const own = sockets.filter(({ server }) => server === doomed.name);
  const others = sockets.filter(({ server }) => server !== doomed.name);
  assert.ok(own.length > 0 && others.length > 0);
  await parked(watcher);
  await doomed.end("SIGKILL");
  for (let i = 0; i < EVENTS; i++) await watcher.emitWithAck("cast", {}, "all", i);
  const all = ({ received }) => received.filter(([name]) => name === "all").length === EVENTS;
  const over = () => others.every((socket) => socket.ended || all(socket)) && own.every(({ ended }) => ended);
  await until(() => watcher.emitWithAck("echo"), over, "all events arrive", 20_000);
  assert.deepEqual(others.flatMap(({ ended }) => ended ?? []), []);
  assert.ok(await drained.status());
});
