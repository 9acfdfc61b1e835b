// Clients of servers behind a proxy that sends each request to another server than the one before.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { client, connected, until } from "../official/helpers.mjs";
import { forwarding, startNode } from "./fleet.mjs";
import { startRedis } from "./redis.mjs";

export const EVENTS = 20;
const TRANSPORTS = { polling: ["polling"], upgrade: ["polling", "websocket"], websocket: ["websocket"] };

/** Starts three servers that forward requests to each other, and a proxy before them. */
export async function startServers(startRoundRobin) {
  const redis = await startRedis();
  const start = async () => startNode("ours", { ...redis.env, ADAPTER: "redis", ...(await forwarding()) });
  const servers = await Promise.all([1, 2, 3].map(start));
  after(() => Promise.all(servers.map((server) => server.end("SIGKILL"))));
  return { servers, url: await startRoundRobin(servers.map(({ port }) => port)) };
}

/** Defines the tests of clients over each transport. */
export function testTransports({ servers, url }, count) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`${count} clients over ${name}: nothing is lost, doubled or reordered`, { timeout: 120_000 }, async (t) => {
      const sockets = await connect(t, url, count, transports);
      assert.equal(new Set(sockets.map(({ server }) => server)).size, servers.length);
      await checkEvents(sockets);
      if (name === "upgrade") assert.equal(websockets(sockets), count);
    });
  }
}

/** Returns connected clients, with the name of the server of each. */
export async function connect(t, url, count, transports) {
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

/** Sends events to all clients, and checks that each of them receives each event once, and in order. */
async function checkEvents(sockets) {
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
  assert.ok(sockets.every(({ ended }) => !ended));
}

/** Returns the number of clients that use WebSocket. */
const websockets = (sockets) =>
  sockets.filter((socket) => socket.io.engine.transport.name === "websocket").length;

/** Drains a server, and checks that it keeps its sessions and opens no others. */
export async function checkDrain(t, url, [drained, ...others]) {
  const before = await connect(t, url, 30, ["polling"]);
  drained.child.kill("SIGUSR2");
  await until(() => fetch(`${drained.url}/socket.io/?EIO=4&transport=polling`), ({ status }) => status === 503);
  const after = [await connect(t, url, 30, ["polling"]), await connect(t, url, 30, ["websocket"])].flat();
  assert.ok(after.every(({ server }) => others.some(({ name }) => name === server)));
  const own = before.filter(({ server }) => server === drained.name);
  assert.ok(own.length > 0);
  await Promise.all(own.map((socket) => socket.emitWithAck("echo")));
  assert.ok([...before, ...after].every(({ ended }) => !ended));
}
