// The Admin UI of servers that Redis connects, together with a server of Node.js and its `instrument`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { CREDENTIALS, client, event, startServers } from "../official/admin-servers.mjs";
import { next, within } from "../official/helpers.mjs";
import { guarded } from "./processes.mjs";
import { startRedis } from "./redis.mjs";

const redis = await startRedis();
const servers = [];
for (const PREFIX of ["a-", "b-"]) servers.push((await startServers({ ...redis.env, SERVERS: "1", PREFIX })).addresses[0]);

/** Starts a server of Node.js, and returns its address. It ends with the test file. */
async function startNode(SERVER_ID, { env } = redis) {
  const program = fileURLToPath(new URL("admin-peer.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { env: { ...process.env, ...env, SERVER_ID }, stdio: ["ignore", "pipe", "inherit"] });
  guarded(child);
  after(() => child.kill("SIGKILL"));
  const [line] = await within(once(createInterface({ input: child.stdout }), "line"), "the server starts");
  return line;
}

describe("the Admin UI of a fleet over Redis", () => {
  it("shows the numbers and the sockets of both servers, and disconnects a socket of the other", async () => {
    const visitors = servers.map((address) => client(address));
    await Promise.all(visitors.map((visitor) => next(visitor, "connect")));
    const socket = client(`${servers[0]}/admin`, { auth: CREDENTIALS });
    const numbers = ["a-one", "b-one"].map((id) => event(socket, "server_stats", ({ serverId }) => serverId === id));
    const [sockets] = await event(socket, "all_sockets");
    for (const { id } of visitors) assert.ok(sockets.some((shown) => shown.id === id));
    for (const [{ namespaces }] of await Promise.all(numbers)) assert.equal(namespaces[0].socketsCount, 1);
    const { id } = visitors[1];
    const told = event(socket, "socket_disconnected", (_, gone) => gone === id);
    socket.emit("_disconnect", "/", false, id);
    await next(visitors[1], "disconnect");
    assert.deepEqual((await told).slice(1, 3), [id, "server namespace disconnect"]);
  });

  it("shows a server of Node.js, and is shown by it", async () => {
    const address = await startNode("node");
    const ours = client(`${servers[0]}/admin`, { auth: CREDENTIALS });
    await event(ours, "all_sockets");
    await event(ours, "server_stats", ({ serverId }) => serverId === "node");
    const theirs = client(`${address}/admin`);
    const [stats] = await event(theirs, "server_stats", ({ serverId }) => serverId === "b-one");
    assert.ok(stats.namespaces.some(({ name }) => name === "/admin"));
    // What happens at the other server is told to the administrators of both.
    const told = event(ours, "socket_connected", ({ nsp }) => nsp === "/");
    const visitor = client(address);
    await next(visitor, "connect");
    assert.equal((await told)[0].id, visitor.id);
    const ended = next(visitor, "disconnect");
    ours.emit("_disconnect", "/", false, visitor.id);
    assert.equal((await ended)[0], "io server disconnect");
    // Not even a server that asks for all sockets is disturbed.
    const [sockets] = await event(client(`${address}/admin`), "all_sockets");
    assert.ok(sockets.some(({ id }) => id === ours.id));
  });

  it("lists the sockets of all servers on the page of either kind of server", async () => {
    const address = await startNode("node-2");
    const visitors = [servers[0], address].map((server) => client(server, { transports: ["websocket"] }));
    await Promise.all(visitors.map((visitor) => next(visitor, "connect")));
    for (const server of [servers[1], address]) {
      const page = client(`${server}/admin`, { auth: CREDENTIALS });
      const [sockets] = await event(page, "all_sockets", (all) => visitors.every(({ id }) => all.some((shown) => shown.id === id)));
      const [ours, theirs] = visitors.map(({ id }) => sockets.find((shown) => shown.id === id));
      assert.deepEqual([ours.nsp, ours.transport, ours.data, ours.rooms], ["/", "websocket", { name: "" }, [ours.id]]);
      assert.deepEqual([theirs.nsp, theirs.transport, theirs.data, theirs.rooms], ["/", "websocket", { name: "Ann" }, [theirs.id]]);
      assert.deepEqual([ours.clientId.length, theirs.clientId.length], [8, 12]);
      assert.equal(theirs.handshake.address, "127.0.0.1");
      // Nothing is shown twice.
      assert.equal(new Set(sockets.map(({ id }) => id)).size, sockets.length);
      page.disconnect();
    }
  });
});

describe("the Admin UI of a fleet whose only administrator is at a server of Node.js", () => {
  it("tells the changes of its sockets to a page of a server of Node.js", async () => {
    const redis = await startRedis();
    const [ours] = (await startServers({ ...redis.env, SERVERS: "1" })).addresses;
    const address = await startNode("node", redis);
    const page = client(`${address}/admin`);
    await event(page, "all_sockets");
    const visitor = client(ours);
    const [shown] = await event(page, "socket_connected", ({ id }) => id === visitor.id);
    assert.equal(shown.nsp, "/");
    visitor.emit("rename", "Bob");
    const [update] = await event(page, "socket_updated", ({ id }) => id === visitor.id);
    assert.deepEqual(update, { id: visitor.id, nsp: "/", data: { name: "Bob" } });
    visitor.disconnect();
    await event(page, "socket_disconnected", (_, id) => id === shown.id);
  });
});
