// Servers behind nginx without sticky sessions: each request reaches another server than the one before.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, connected, until, within } from "../official/helpers.mjs";
import { startNode } from "./fleet.mjs";
import { startNginx } from "./nginx.mjs";
import { HOST, freePort } from "./processes.mjs";
import { startRedis } from "./redis.mjs";
import { after } from "node:test";

const CLIENTS = Number(process.env.CLIENTS ?? 200);
const EVENTS = 20;

const redis = await startRedis();
async function startForwarding(name) {
  const env = { FORWARDING_ADDRESS: `${HOST}:${await freePort()}`, FORWARDING_SECRET: "a secret of the cluster" };
  return startNode("ours", { ...redis.env, ADAPTER: "redis", ...env, NODE_NAME: name });
}
const servers = await Promise.all(["a", "b", "c"].map(startForwarding));
after(() => Promise.all(servers.map((server) => server.end("SIGKILL"))));
const url = await startNginx(servers.map(({ port }) => port));

const transports = { polling: ["polling"], upgrade: ["polling", "websocket"], websocket: ["websocket"] };

/** Returns connected clients, with the name of the server of each. */
async function connect(t, count, transports) {
  const sockets = Array.from({ length: count }, () => client(t, url, { transports, forceNew: true }));
  for (const socket of sockets) {
    socket.received = [];
    socket.onAny((...event) => socket.received.push(event));
    socket.on("disconnect", (reason) => (socket.ended = reason));
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
