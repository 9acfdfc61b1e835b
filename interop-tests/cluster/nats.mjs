// NATS servers for tests, on free ports.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { connect } from "nats";
import { until } from "../official/helpers.mjs";
import { token } from "./nats-adapter.mjs";
import { HOST, exit, freePort, freeze, guarded, proxyOf } from "./processes.mjs";

class Nats {
  #child;
  #client;
  #monitor;
  #proxy;
  #folder;
  /** Servers connect over a proxy, because NATS has no command that closes a connection. */
  constructor(port, proxy, folder) {
    this.port = port;
    this.#folder = folder;
    this.#proxy = proxy;
    this.env = { NATS_URL: `nats://${HOST}:${proxy.port}` };
  }

  /** Starts the server, and resolves when it responds. */
  async start() {
    this.#monitor = await freePort();
    const args = ["--addr", HOST, "--port", this.port, "--http_port", this.#monitor];
    if (this.#folder) args.push("--jetstream", "--store_dir", this.#folder);
    this.#child = guarded(spawn("nats-server", args.map(String), { stdio: "ignore", cwd: "/", env: { PATH: `${process.env.PATH}:/usr/sbin` } }));
    this.#client = await until(() => this.connect().catch(() => {}), Boolean, "NATS responds");
    return this;
  }

  /** Ends the server without a word to its clients. */
  async kill() {
    if (!this.#child) return;
    this.#client.close().catch(() => {});
    this.#child.kill("SIGKILL");
    await exit(this.#child);
    this.#child = undefined;
  }

  freeze = () => freeze(this.#child);
  thaw = () => this.#child.kill("SIGCONT");

  publish(subject, payload) {
    this.#client.publish(subject, payload);
    return this.#client.flush();
  }

  /** Returns the subject that all servers receive. */
  channel = (nsp) => `socket.io.${token(nsp)}.all`;

  /** Returns the subjects of a namespace. */
  async channels(nsp) {
    const prefix = `socket.io.${token(nsp)}.`;
    return (await this.subjects()).filter((subject) => subject.startsWith(prefix));
  }

  /** Returns a connected client. */
  connect = () => connect({ servers: `${HOST}:${this.port}`, reconnect: false });

  /** Starts a proxy of the server. */
  async proxy() {
    const { port, cut } = await proxyOf(this.port);
    return { env: { NATS_URL: `nats://${HOST}:${port}` }, cut };
  }

  /** Returns the ids of the connections of all others. */
  connections = async () => [...this.#proxy.connections.keys()];

  disconnect = async (id) => this.#proxy.connections.get(id)?.forEach((socket) => socket.destroy());

  #connz = async () => (await (await fetch(`http://${HOST}:${this.#monitor}/connz?subs=1`)).json()).connections;

  /** Returns the subjects that others subscribe to. */
  async subjects() {
    const lists = (await this.#connz()).map(({ subscriptions_list: list }) => list ?? []);
    return [...new Set(lists.flat())];
  }
}

function temporaryFolder() {
  const path = mkdtempSync(`${tmpdir()}/nats-`);
  process.once("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Returns a NATS server on a free port, which is not started yet. It ends with the test file. */
export async function plannedNats({ jetstream = false } = {}) {
  const port = await freePort();
  const nats = new Nats(port, await proxyOf(port), jetstream && temporaryFolder());
  after(() => nats.kill());
  return nats;
}

/** Starts a NATS server on a free port. */
export const startNats = async () => (await plannedNats()).start();
