// Replaces a server by its next version every few seconds, on the same listening socket and under load. CLIENTS, RESTARTS
// and INTERVAL, the milliseconds between two restarts, may be set.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { client, connected, program, until } from "../official/helpers.mjs";
import { join, startFleet } from "./fleet.mjs";
import { freePort, guarded } from "./processes.mjs";
import { startRedis } from "./redis.mjs";

const CLIENTS = Number(process.env.CLIENTS ?? 100);
const RESTARTS = Number(process.env.RESTARTS ?? 3);
const INTERVAL = Number(process.env.INTERVAL ?? 1_500);
/** The milliseconds between two events to all clients. */
const PERIOD = Number(process.env.PERIOD ?? 25);
const TRANSPORTS = [["websocket"], ["polling", "websocket"], ["polling"]];

/** The ids of the processes that have served, in order. */
const versions = [];
/** The log of all versions. */
const log = [];
/** The path of the program, which leads to its current version. */
const folder = mkdtempSync(`${tmpdir()}/graceful-restart-`);
const current = `${folder}/current`;
process.once("exit", () => {
  versions.forEach(kill);
  rmSync(folder, { recursive: true, force: true });
});

function kill(id) {
  try {
    process.kill(id, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Makes a program the current version. */
function install(path) {
  rmSync(current, { force: true });
  symlinkSync(path, current);
}

/** Listens, and starts the program with the socket as systemd does: it is descriptor 3. */
const ACTIVATE = `
import os, socket, sys
program, port = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", int(port)), backlog=4096)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(program, [program])
`;

/** Starts the first version. All versions have the same output. */
async function start(env) {
  const port = await freePort();
  const options = { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] };
  install(program("graceful-restart"));
  const first = guarded(spawn("python3", ["-c", ACTIVATE, current, String(port)], options));
  createInterface({ input: first.stderr }).on("line", (line) => log.push(line));
  createInterface({ input: first.stdout }).on("line", (line) => {
    versions.push(Number(/^graceful-restart: http:\S+, process (\d+)$/.exec(line)[1]));
  });
  await serves(1);
  return `http://127.0.0.1:${port}`;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const serves = (count) => until(turn, () => versions.length === count, `version ${count} serves`, 20_000);

/** Connects a client, and records what happens to it. */
function follow(t, url, transports) {
  const socket = client(t, url, { transports, reconnection: true });
  const seen = { socket, numbers: [], ends: [], errors: [], lost: 0, version: undefined };
  socket.on("n", (n) => seen.numbers.push(n));
  socket.on("disconnect", (reason) => seen.ends.push(reason));
  socket.on("connect_error", (error) => seen.errors.push(error));
  socket.on("connect", () => {
    if (seen.ends.length > 0 && !socket.recovered) seen.lost += 1;
    socket.emit("version", (id) => (seen.version = id));
  });
  return seen;
}

/** Sends numbered events to the room through another server, until it is stopped. Returns their number. */
function publish(publisher) {
  let next = 0;
  const timer = setInterval(() => publisher.emit("cast", { to: ["all"] }, "n", next++), PERIOD);
  return () => (clearInterval(timer), next);
}

/** Returns how often each text occurs. */
function counts(texts) {
  const found = new Map();
  for (const text of texts) found.set(text, (found.get(text) ?? 0) + 1);
  return [...found].map(([text, count]) => `${count} ${text}`).join(", ") || "none";
}

const redis = await startRedis();
const [other] = await startFleet(redis, { ADAPTER: "redis-streams", RECOVERY_MS: "120000" }, ["ours"]);
const url = await start(redis.env);
after(() => versions.forEach(kill));

test(`${CLIENTS} clients notice ${RESTARTS} restarts once each, and miss nothing`, { timeout: 170_000 }, async (t) => {
  const publisher = await join(t, other);
  const clients = Array.from({ length: CLIENTS }, (_, i) => follow(t, url, TRANSPORTS[i % 3]));
  await Promise.all(clients.map(async ({ socket }) => (await connected(socket)).emitWithAck("join", "all")));
  const all = (passes, what) => until(turn, () => clients.every(passes), what, 30_000);
  const ids = clients.map(({ socket }) => socket.id);
  const stop = publish(publisher);
  t.after(stop);
  // A client is recovered from the offset of the last event that it has received.
  await all(({ version, numbers }) => version === versions[0] && numbers.length > 0, "the first events arrive");
  for (let restart = 1; restart <= RESTARTS; restart++) {
    // This is the load between two restarts, and not a time to wait for something.
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    process.kill(versions.at(-1), "SIGHUP");
    await serves(restart + 1);
    await all(({ version }) => version === versions.at(-1), `all clients are connected to version ${restart + 1}`);
    for (const { ends } of clients) assert.ok(ends.length <= restart, ends.join());
  }
  const count = stop();
  await all(({ numbers }) => numbers.at(-1) === count - 1, "the last event arrives");

  const expected = Array.from({ length: count }, (_, n) => n);
  for (const { numbers } of clients) assert.deepEqual(numbers, expected);
  assert.equal(clients.filter(({ lost }) => lost > 0).length, 0, "all were recovered");
  assert.deepEqual(clients.map(({ socket }) => socket.id), ids);
  t.diagnostic(`${count} events to each client; ends: ${counts(clients.flatMap(({ ends }) => ends))}`);
  const causes = clients.flatMap(({ errors }) => errors).map(({ message, description }) => `${message} ${description?.message ?? description}`);
  t.diagnostic(`failed attempts: ${counts(causes)}`);
  assert.ok(!causes.some((cause) => cause.includes("ECONNREFUSED")));
});

test("a version that does not start replaces nothing", async (t) => {
  const seen = follow(t, url, ["websocket"]);
  const { socket, ends } = seen;
  await connected(socket);
  const id = await socket.emitWithAck("version");
  assert.equal(id, versions.at(-1));
  const continues = (count) => log.filter((line) => line.includes("this one continues")).length === count;
  for (const [count, broken] of ["/bin/false", "/nowhere"].entries()) {
    install(broken);
    process.kill(id, "SIGHUP");
    await until(turn, () => continues(count + 1), "the failure is logged");
    assert.equal(await socket.emitWithAck("version"), id);
  }
  install(program("graceful-restart"));
  process.kill(id, "SIGHUP");
  await serves(RESTARTS + 2);
  await until(turn, () => seen.version === versions.at(-1), "the client is connected to the next version", 10_000);
  assert.equal(ends.length, 1);
});
