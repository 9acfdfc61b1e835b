// The wire contract of the Admin UI, with the official client: what the UI sends, and what it expects.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CREDENTIALS, client, event, startServers } from "./admin-servers.mjs";
import { next } from "./helpers.mjs";

const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** What the UI requests. */
const UI = { withCredentials: true, transports: ["polling", "websocket"], path: "/socket.io" };

/** Records all events from the beginning. */
function recorded(socket) {
  const events = [];
  socket.onAny((...event) => events.push(event));
  return events;
}

describe("a server in the development mode", async () => {
  const { addresses } = await startServers();

  it("refuses a wrong password with the message that the UI knows", async () => {
    const socket = client(`${addresses[0]}/admin`, { ...UI, auth: { username: "admin", password: "wrong" } });
    const [error] = await next(socket, "connect_error");
    assert.equal(error.message, "invalid credentials");
  });

  it("sends what the UI expects of a login", async () => {
    const socket = client(`${addresses[0]}/admin`, { ...UI, auth: CREDENTIALS });
    const events = recorded(socket);
    const [sockets] = await event(socket, "all_sockets");
    assert.deepEqual(events.map(([name]) => name).filter((name) => name !== "server_stats").slice(0, 3), ["session", "config", "all_sockets"]);
    const [, session] = events[0];
    assert.match(session, /^[\w-]{20}$/);
    const features = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT", "AGGREGATED_EVENTS", "ALL_EVENTS"];
    assert.deepEqual(events[1][1], { supportedFeatures: features });
    const own = sockets.find(({ id }) => id === socket.id);
    assert.deepEqual(Object.keys(own).sort(), ["clientId", "data", "handshake", "id", "nsp", "rooms", "transport"]);
    const handshake = ["address", "headers", "issued", "query", "secure", "time", "url", "xdomain"];
    assert.deepEqual(Object.keys(own.handshake).sort(), handshake);
    assert.equal(own.handshake.address, "127.0.0.1");
    assert.ok(Math.abs(own.handshake.issued - Date.now()) < 60_000 && !Number.isNaN(Date.parse(own.handshake.time)));
    assert.deepEqual([own.nsp, own.rooms], ["/admin", [socket.id]]);
    socket.disconnect();
    const again = client(`${addresses[0]}/admin`, { ...UI, auth: { sessionId: session } });
    assert.deepEqual(Object.keys((await event(again, "config"))[0]), ["supportedFeatures"]);
  });

  it("reports numbers of both servers every two seconds", async () => {
    const socket = client(`${addresses[1]}/admin`, { ...UI, auth: CREDENTIALS });
    for (const id of ["one", "two"]) {
      const [stats] = await event(socket, "server_stats", ({ serverId }) => serverId === id);
      const keys = ["aggregatedEvents", "clientsCount", "hostname", "namespaces", "notShown", "pid", "pollingClientsCount", "serverId", "uptime"];
      assert.deepEqual(Object.keys(stats).sort(), keys);
      assert.deepEqual(stats.namespaces.map(({ name }) => name), ["/", "/admin"]);
    }
    const hasConnection = ({ aggregatedEvents }) => aggregatedEvents.some(({ type }) => type === "rawConnection");
    const stats = event(socket, "server_stats", hasConnection);
    client(addresses[0]);
    for (const aggregated of (await stats)[0].aggregatedEvents) {
      assert.equal(aggregated.timestamp % 1000, 0);
      assert.ok(Number.isInteger(aggregated.count) && aggregated.count > 0);
    }
  });

  it("tells the upgrade, the rooms, the events and the end of a socket with the time", async () => {
    const socket = client(`${addresses[0]}/admin`, { ...UI, auth: CREDENTIALS });
    await event(socket, "all_sockets");
    const events = recorded(socket);
    const visitor = client(addresses[1]);
    await event(socket, "socket_connected", (record) => record.nsp === "/" && record.id === visitor.id);
    const { id } = visitor;
    const of = (name, at) => event(socket, name, (...args) => args[at] === id);
    // The upgrade is usually over before the socket is told.
    if (visitor.io.engine.transport.name !== "websocket") await next(visitor.io.engine, "upgrade");
    const told = [of("room_joined", 2), of("event_received", 1), of("event_sent", 1)];
    visitor.emit("join", "lobby");
    visitor.emit("echo", 1, Buffer.from("abc"));
    const [joined, received, sent] = await Promise.all(told);
    assert.deepEqual(joined.slice(0, 3), ["/", "lobby", id]);
    assert.deepEqual(received.slice(0, 3), ["/", id, ["join", "lobby"]]);
    assert.deepEqual(sent.slice(0, 3), ["/", id, ["echo", 1, "[binary, 3 bytes]"]]);
    const left = [of("socket_disconnected", 1), event(socket, "room_left", (_, room) => room === "lobby")];
    visitor.disconnect();
    const [disconnected, roomLeft] = await Promise.all(left);
    assert.deepEqual(disconnected.slice(0, 3), ["/", id, "client namespace disconnect"]);
    for (const time of [joined[3], received[3], sent[3], disconnected[3], roomLeft[3]]) assert.match(time, DATE);
    const { transport } = events.find(([name, record]) => name === "socket_connected" && record.id === id)[1];
    const update = events.find(([name, update]) => name === "socket_updated" && update.id === id);
    assert.equal(update?.[1].transport ?? transport, "websocket");
  });

  it("acts on sockets of both servers, without acknowledgements", async () => {
    const socket = client(`${addresses[0]}/admin`, { ...UI, auth: CREDENTIALS });
    await next(socket, "connect");
    const visitors = addresses.map((address) => client(address));
    await Promise.all(visitors.map((visitor) => next(visitor, "connect")));
    for (const { id } of visitors) socket.emit("join", "/", "lobby", id);
    const greeted = visitors.map((visitor) => next(visitor, "hello"));
    socket.emit("emit", "/", "lobby", "hello", { a: 1 }, Buffer.from("b"));
    assert.deepEqual(await Promise.all(greeted), [[{ a: 1 }, Buffer.from("b")], [{ a: 1 }, Buffer.from("b")]]);
    socket.emit("leave", "/", "lobby", visitors[0].id);
    const [first, second] = visitors.map((visitor) => next(visitor, "disconnect"));
    socket.emit("_disconnect", "/", false, "lobby");
    assert.equal((await second)[0], "io server disconnect");
    assert.ok(visitors[0].connected);
    socket.emit("_disconnect", "/", true, visitors[0].id);
    await first;
  });
});

describe("a server in the production mode that is read-only", async () => {
  const { addresses } = await startServers({ MODE: "production", READ_ONLY: "1", SERVERS: "1" });

  it("reports numbers only, and does nothing", async () => {
    const visitor = client(addresses[0]);
    await next(visitor, "connect");
    const socket = client(`${addresses[0]}/admin`, { ...UI, auth: CREDENTIALS });
    const events = recorded(socket);
    assert.deepEqual((await event(socket, "config"))[0], { supportedFeatures: ["AGGREGATED_EVENTS"] });
    socket.emit("_disconnect", "/", true);
    visitor.emit("echo", 1);
    for (let reports = 0; reports < 3; reports++) await event(socket, "server_stats");
    assert.ok(visitor.connected);
    const names = new Set(events.map(([name]) => name));
    assert.deepEqual([...names].sort(), ["config", "server_stats", "session"]);
  });
});
