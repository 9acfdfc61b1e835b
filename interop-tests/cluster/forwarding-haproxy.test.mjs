// Servers behind HAProxy without sticky sessions.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { forwarding, startNode } from "./fleet.mjs";
import { startRoundRobin } from "./haproxy.mjs";
import { startRedis } from "./redis.mjs";
import { TRANSPORTS, checkDrain, checkEvents, connect, websockets } from "./round-robin.mjs";

const CLIENTS = 30;

const redis = await startRedis();
const start = async () => startNode("ours", { ...redis.env, ADAPTER: "redis", ...(await forwarding()) });
const servers = await Promise.all([1, 2, 3].map(start));
after(() => Promise.all(servers.map((server) => server.end("SIGKILL"))));
const url = await startRoundRobin(servers.map(({ port }) => port));

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  test(`${CLIENTS} clients over ${name}: nothing is lost, doubled or reordered`, async (t) => {
    const sockets = await connect(t, url, CLIENTS, transports);
    assert.equal(new Set(sockets.map(({ server }) => server)).size, servers.length);
    await checkEvents(sockets);
    if (name === "upgrade") assert.equal(websockets(sockets), CLIENTS);
  });
}

test("a server that is drained keeps its sessions, and opens no others", (t) => checkDrain(t, url, servers));
