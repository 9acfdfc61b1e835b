// Postgres servers for tests, without durability, on free ports.
import { execFile, execFileSync, spawn } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { promisify } from "node:util";
import pg from "pg";
import { until } from "../official/helpers.mjs";
import { HOST, exit, freePort, freeze, guarded, proxyOf } from "./processes.mjs";

const VERSIONS = "/usr/lib/postgresql";
const [version] = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
const program = (name) => `${VERSIONS}/${version}/bin/${name}`;
// Postgres refuses to run as root.
const id = (flag) => Number(execFileSync("id", [flag, "postgres"]));
const user = process.getuid() === 0 ? { uid: id("-u"), gid: id("-g") } : {};

function folder() {
  const path = mkdtempSync(`${tmpdir()}/postgres-`);
  process.once("exit", () => rmSync(path, { recursive: true, force: true }));
  if (user.uid) chownSync(path, user.uid, user.gid);
  return path;
}

const run = promisify(execFile);
let created;
/** Returns a new data directory, which is a copy of the first one. */
async function dataFolder() {
  created ??= (async () => {
    const path = `${folder()}/data`;
    const args = ["--pgdata", path, "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"];
    await run(program("initdb"), args, { ...user, cwd: "/" });
    return path;
  })();
  const copy = `${folder()}/data`;
  await run("cp", ["-r", await created, copy], { ...user, cwd: "/" });
  return copy;
}

class Postgres {
  #child;
  #client;
  #folder;
  constructor(port, folder) {
    this.port = port;
    this.#folder = folder;
    this.env = { POSTGRES_URL: this.#url(port) };
  }

  #url = (port) => `postgres://postgres@${HOST}:${port}/postgres`;

  /** Starts the server, and resolves when it responds. */
  async start() {
    const settings = { listen_addresses: HOST, port: this.port, unix_socket_directories: "", fsync: "off", synchronous_commit: "off", max_connections: 40 };
    const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const options = { ...user, cwd: "/", stdio: "ignore" };
    this.#child = guarded(spawn(program("postgres"), ["-D", this.#folder, ...args], options));
    this.#client = await until(() => this.connect().catch(() => {}), Boolean, "Postgres responds");
    return this;
  }

  /** Ends the server without a word to its clients. */
  async kill() {
    if (!this.#child) return;
    this.#client.end().catch(() => {});
    this.#signal("SIGKILL");
    await exit(this.#child);
    this.#child = undefined;
  }

  /** Sends a signal to all processes of the server, and returns their ids. Each connection has one. */
  #signal(signal) {
    const { pid } = this.#child;
    process.kill(pid, signal === "SIGKILL" ? "SIGSTOP" : signal);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    const family = [...children.trim().split(/\s+/).map(Number), pid];
    return family.filter((pid) => {
      try {
        return process.kill(pid, signal);
      } catch {
        // A connection may have ended meanwhile.
        return false;
      }
    });
  }

  freeze = () => Promise.all(this.#signal("SIGSTOP").map((pid) => freeze({ pid })));
  thaw = () => this.#signal("SIGCONT");

  /** Executes a statement. */
  query = (...args) => this.#client.query(...args);

  notify = (channel, payload) => this.query("SELECT pg_notify($1, $2)", [channel, payload]);

  /** Returns the channel that all servers receive. */
  channel = (nsp) => `socket.io#${nsp}`;

  /** Returns the channels of a namespace. */
  channels = async (nsp) => [this.channel(nsp)];

  /** Publishes a message: as a notification if Postgres allows it, or else as an attachment. */
  async publish(channel, payload) {
    const text = payload.toString();
    const isText = Buffer.from(text).equals(payload) && payload.length < 8_000 && !text.includes("\0");
    if (isText) return this.notify(channel, text);
    const { rows } = await this.query("INSERT INTO socket_io_attachments (payload) VALUES ($1) RETURNING id", [payload]);
    await this.notify(channel, JSON.stringify({ uid: "uid", type: 3, attachmentId: rows[0].id }));
  }

  /** Returns a connected client. */
  async connect() {
    const client = new pg.Client({ connectionString: this.env.POSTGRES_URL });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** Starts a proxy of the server. */
  async proxy() {
    const { port, cut } = await proxyOf(this.port);
    return { env: { POSTGRES_URL: this.#url(port) }, cut };
  }

  /** Returns the ids of the connections of all others. */
  async connections() {
    const all = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    return (await this.query(all)).rows.map(({ pid }) => pid);
  }

  disconnect = (pid) => this.query("SELECT pg_terminate_backend($1)", [pid]);
}

/** Returns a Postgres server on a free port, which is not started yet. It ends with the test file. */
export async function plannedPostgres() {
  const postgres = new Postgres(await freePort(), await dataFolder());
  after(() => postgres.kill());
  return postgres;
}

/** Starts a Postgres server on a free port. */
export const startPostgres = async () => (await plannedPostgres()).start();
