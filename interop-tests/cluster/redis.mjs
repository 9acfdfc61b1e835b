// Redis servers for tests, without persistence, on free ports.
import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { after } from "node:test";
import { createClient } from "redis";
import { until, within } from "../official/helpers.mjs";

const HOST = "127.0.0.1";
const running = new Set();

/** Ends the process at the end of this one, whatever ends it. Returns the process. */
export function guarded(child) {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")));
// A test runner ends this process with a signal on a timeout. By default, signals skip the exit handlers.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** Resolves when the process has ended, with its status and the signal. */
export const exit = (child) =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve([child.exitCode, child.signalCode])
    : new Promise((resolve) => child.once("exit", (...how) => resolve(how)));

/** Freezes a process, and resolves when all its threads have stopped. */
export function freeze(child) {
  child.kill("SIGSTOP");
  const tasks = `/proc/${child.pid}/task`;
  const states = async () => {
    const stats = (await readdir(tasks)).map((task) => readFile(`${tasks}/${task}/stat`, "utf8"));
    return (await Promise.all(stats)).map((stat) => /\) (.)/.exec(stat)[1]);
  };
  return until(states, (list) => list.every((state) => state === "T"), "the process is frozen");
}

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });

/**
 * Returns a free port below the range from which the kernel assigns ports to outgoing connections, so that a server can
 * be started again on the same port.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(port)) return port;
  }
}


class Redis {
  #child;
  #client;
  constructor(port) {
    this.port = port;
    this.url = `redis://${HOST}:${port}`;
  }

  /** Starts the server, and resolves when it responds. */
  async start() {
    const args = ["--port", this.port, "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", "/tmp"];
    this.#child = guarded(spawn("redis-server", args.map(String), { stdio: "ignore" }));
    this.#client = createClient({ url: this.url, socket: { reconnectStrategy: () => 20 } });
    this.#client.on("error", () => {});
    await within(this.#client.connect(), "Redis responds");
    return this;
  }

  /** Ends the server without a word to its clients. */
  async kill() {
    if (!this.#child) return;
    this.#client.destroy();
    this.#child.kill("SIGKILL");
    await exit(this.#child);
    this.#child = undefined;
  }

  freeze = () => freeze(this.#child);
  thaw = () => this.#child.kill("SIGCONT");

  /** Executes a command. */
  command(...args) {
    return this.#client.sendCommand(args.map((arg) => (Buffer.isBuffer(arg) ? arg : String(arg))));
  }

  /** Publishes a message, with the command of the adapter. Returns the number of receivers. */
  publish(adapter, channel, payload) {
    return this.command(adapter === "redis" ? "PUBLISH" : "SPUBLISH", channel, payload);
  }

  /** Returns a connected client, which ends with the server. */
  async connect() {
    const client = this.#client.duplicate();
    client.on("error", () => {});
    after(() => client.destroy());
    return client.connect();
  }

  /** Calls `executed` with each command of all connections. Returns the function that ends this. */
  async monitor(executed) {
    const client = this.#client.duplicate();
    client.on("error", () => {});
    await client.connect();
    await client.monitor(executed);
    return () => client.destroy();
  }

  /** Returns the ids of the connections of all others. */
  async connections() {
    const own = await this.command("CLIENT", "ID");
    const list = await this.command("CLIENT", "LIST");
    const ids = list.trim().split("\n").map((line) => Number(/^id=(\d+)/.exec(line)[1]));
    return ids.filter((id) => id !== own);
  }
}

/** Returns a Redis server on a free port, which is not started yet. It ends with the test file. */
export async function plannedRedis() {
  const redis = new Redis(await freePort());
  after(() => redis.kill());
  return redis;
}

/** Starts a Redis server on a free port. */
export const startRedis = async () => (await plannedRedis()).start();


