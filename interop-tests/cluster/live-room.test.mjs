// The live room on several servers: `node --test cluster/live-room.test.mjs` after `cargo build --release -p live-room`,
// or PROFILE=debug and `cargo build -p live-room`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { io } from "socket.io-client";
import { client, connected, next, program, recorded, until } from "../official/helpers.mjs";
import { exit, guarded } from "./processes.mjs";
import { startRedis } from "./redis.mjs";

const HOST_KEY = "secret";
const redis = await startRedis();

async function start() {
  const env = { ...process.env, PORT: "0", REDIS_URL: redis.url, HOST_KEY };
  const child = guarded(spawn(program("live-room"), { env, stdio: ["ignore", "pipe", "inherit"] }));
  const [line] = await next(createInterface({ input: child.stdout }), "line");
  return { url: /http:\S+/.exec(line)[0], child };
}

/** Connects a viewer, and waits for the state of the room. */
async function enter(t, { url }, name, auth = {}) {
  const socket = client(t, url, { auth: { name, ...auth } });
  const [[welcome]] = await Promise.all([next(socket, "welcome"), connected(socket)]);
  return { socket, welcome };
}

/** Asks a server with new viewers until the state of the room is as expected. */
const shows = (t, server, passes) =>
  until(async () => {
    const { socket, welcome } = await enter(t, server, "Eve");
    socket.close();
    return welcome;
  }, passes);

const servers = await Promise.all([start(), start()]);
const [one, two] = servers;
after(() => servers.forEach(({ child }) => child.kill("SIGKILL")));

test("viewers of two servers are in one room", async (t) => {
  const [ann, host] = [await enter(t, one, "Ann"), await enter(t, two, "Host", { key: HOST_KEY })];
  assert.deepEqual([ann.welcome.is_host, host.welcome.is_host], [false, true]);

  const comments = next(host.socket, "comments");
  const id = await ann.socket.emitWithAck("comment", "hello");
  const [{ comments: [comment] }] = await comments;
  assert.deepEqual([comment.id, comment.name, comment.text], [id, "Ann", "hello"]);
  await shows(t, two, ({ recent, viewers }) => recent.some((kept) => kept.id === id) && viewers === 3);

  for (const { socket } of [ann, host]) socket.emit("like");
  await shows(t, two, ({ likes }) => likes === 2);
  await shows(t, one, ({ likes }) => likes === 2);

  const pinned = next(ann.socket, "pinned");
  await host.socket.emitWithAck("pin", id);
  assert.equal((await pinned)[0].text, "hello");
  await host.socket.emitWithAck("slow mode", 30);
  await shows(t, one, (room) => room.pinned?.id === id && room.slow_mode === 30);
  assert.match((await ann.socket.emitWithAck("comment", "again")).error, /^slow mode/);
  await host.socket.emitWithAck("slow mode", 0);
  await shows(t, one, (room) => room.slow_mode === 0);

  await host.socket.emitWithAck("mute", ann.welcome.id);
  await shows(t, one, ({ recent }) => !recent.some((kept) => kept.id === id));
  assert.deepEqual(await ann.socket.emitWithAck("comment", "again"), { error: "the host has muted you" });
  await host.socket.emitWithAck("close", true);
  await shows(t, one, (room) => room.is_closed);
  assert.deepEqual(await ann.socket.emitWithAck("comment", "again"), { error: "the room is closed" });
  await host.socket.emitWithAck("close", false);
});

test("a server that starts later has the state of the room", async (t) => {
  const host = await enter(t, one, "Host", { key: HOST_KEY });
  await host.socket.emitWithAck("slow mode", 7);
  const late = await start();
  await shows(t, late, (room) => room.slow_mode === 7 && room.likes === 2);
  await host.socket.emitWithAck("slow mode", 0);
  await shows(t, late, (room) => room.slow_mode === 0);
  late.child.kill("SIGINT");
  await exit(late.child);
});

test("a viewer whose server is killed returns to the other one and has missed nothing", async (t) => {
  const [ann, bob] = [await enter(t, one, "Ann"), await enter(t, two, "Bob")];
  // Delivered events have an offset, from which the viewer continues.
  const first = next(ann.socket, "comments");
  await bob.socket.emitWithAck("comment", "first");
  await first;
  const { id, _pid, _lastOffset } = ann.socket;
  one.child.kill("SIGKILL");
  await exit(one.child);
  for (const text of ["second", "third"]) {
    const comments = next(bob.socket, "comments");
    await bob.socket.emitWithAck("comment", text);
    await comments;
  }

  const back = io(two.url, { auth: { name: "Ann" }, autoConnect: false, forceNew: true });
  t.after(() => back.close());
  Object.assign(back, { _pid, _lastOffset });
  const events = recorded(back);
  await connected(back.connect());
  assert.deepEqual([back.recovered, back.id], [true, id]);
  const texts = () => events.filter(([name]) => name === "comments").flatMap(([, batch]) => batch.comments.map(({ text }) => text));
  await until(texts, (all) => all.length === 2);
  assert.deepEqual(texts(), ["second", "third"]);
  // It is the same viewer, which a mute shows.
  const host = await enter(t, two, "Host", { key: HOST_KEY });
  await host.socket.emitWithAck("mute", ann.welcome.id);
  assert.deepEqual(await back.emitWithAck("comment", "fourth"), { error: "the host has muted you" });
});
