// Redis servers for tests, without persistence, on free ports.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { createClient } from "redis";
import { within } from "../official/helpers.mjs";
import { HOST, exit, freePort, freeze, guarded, proxyOf } from "./processes.mjs";

/** The folder of the servers. They load a file that another one has left there. */
const folder = mkdtempSync(`${tmpdir()}/redis-`);
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** A Redis server. Further options of the program may be given. */
export class Redis {
  #child;
  #client;
  #clients = [];
  #options;
  constructor(port, options = []) {
    this.port = port;
    this.#options = options;
    this.url = `redis://${HOST}:${port}`;
    this.env = { REDIS_URL: this.url };
  }

  /** Starts the server, and resolves when it responds. */
  async start() {
    const common = ["--port", this.port, "--bind", HOST, "--save", "", "--appendonly", "no"];
    // A replica receives the data of its master as a file.
    common.push("--dir", folder, "--dbfilename", `${this.port}.rdb`);
    const args = [...common, ...this.#options];
    this.#child = guarded(spawn("redis-server", args.map(String), { stdio: ["ignore", "pipe", "inherit"] }));
    let log = "";
    this.#child.stdout.setEncoding("utf8").on("data", (text) => (log = (log + text).slice(-2_000)));
    const ended = exit(this.#child).then(() => {
      throw new Error(`redis-server on port ${this.port} has ended: ${log}`);
    });
    this.#client = await Promise.race([this.connect(), ended]);
    return this;
  }

  /** Ends the server without a word to its clients. */
  async kill() {
    if (!this.#child) return;
    for (const client of this.#clients.splice(0)) if (client.isOpen) client.destroy();
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
    let isConnected = false;
    // The server may not listen yet. Later, the client does not outlive its connection.
    const reconnectStrategy = () => (isConnected ? false : 20);
    const client = createClient({ url: this.url, socket: { reconnectStrategy } });
    client.on("error", () => {});
    this.#clients.push(client);
    await within(client.connect(), "Redis responds", 15_000);
    isConnected = true;
    return client;
  }

  /** Calls `executed` with each command of all connections. Returns the function that ends this. */
  async monitor(executed) {
    const client = await this.connect();
    await client.monitor(executed);
    return () => client.destroy();
  }

  /** Starts a proxy of the server. */
  async proxy() {
    const { port, cut } = await proxyOf(this.port);
    return { env: { REDIS_URL: `redis://${HOST}:${port}` }, cut };
  }

  disconnect = (id) => this.command("CLIENT", "KILL", "ID", id);

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
