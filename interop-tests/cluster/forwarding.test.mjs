// Servers behind nginx without sticky sessions: each request reaches another server than the one before.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../official/helpers.mjs";
import { startRoundRobin } from "./nginx.mjs";
import { EVENTS, checkDrain, connect, startServers, testTransports } from "./round-robin.mjs";

const CLIENTS = Number(process.env.CLIENTS ?? 200);

const fleet = await startServers(startRoundRobin);
const { servers, url } = fleet;

testTransports(fleet, CLIENTS);

/** Gives the polls of all clients the time of 300 round trips to reach their servers. */
async function parked(watcher) {
  for (let i = 0; i < 300; i++) await watcher.emitWithAck("echo");
}

/** Returns a client with a WebSocket to one of the servers. */
async function watcherOf(t, accepts) {
  for (;;) {
    const [watcher] = await connect(t, url, 1, ["websocket"]);
    if (accepts.some(({ name }) => name === watcher.server)) return watcher;
  }
}

test("a server that is drained keeps its sessions, and opens no others", (t) => checkDrain(t, url, servers));

test("a server that is killed costs its own sessions only", async (t) => {
  const [drained, doomed, last] = servers;
  const sockets = await connect(t, url, CLIENTS, ["polling"]);
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
