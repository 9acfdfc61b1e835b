// Starts servers of both kinds, and connects clients to them.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { alongside, client, connected, program, recorded, until, within } from "../official/helpers.mjs";
import { exit, freePort, freeze, guarded, memory } from "./processes.mjs";

const NODE = fileURLToPath(new URL("node-peer.mjs", import.meta.url));
const COMMANDS = {
  ours: [process.env.CLUSTER_NODE ?? program("cluster-node")],
  node: [process.execPath, NODE],
};
/** The time after which the servers give up a request. */
export const REQUESTS_TIMEOUT = 2_000;

class Node {
  constructor(kind, name, port, child) {
    Object.assign(this, { kind, name, port, child, url: `http://127.0.0.1:${port}` });
  }
  /** The state of the connection to the broker, of our servers only. */
  status = async () => (await fetch(`${this.url}/status`)).json();
  /** The resident memory, in bytes. */
  memory = async () => 1024 * (await memory(this.child.pid));
  freeze = () => freeze(this.child);
  thaw = () => this.child.kill("SIGCONT");
  async end(signal = "SIGTERM") {
    this.child.kill(signal);
    const [status] = await within(exit(this.child), `${this.name} ends`);
    return status;
  }
}

let names = 0;

/** Starts a server, and resolves when it is ready. */
export async function startNode(kind, env, ms = 10_000) {
  const [port, name] = [await freePort(), `${kind}-${names++}`];
  const [command, ...args] = COMMANDS[kind];
  const options = { PORT: String(port), NODE_NAME: name, REQUESTS_TIMEOUT_MS: String(REQUESTS_TIMEOUT), ...env };
  const child = guarded(spawn(command, args, { env: { ...process.env, ...options }, stdio: ["ignore", "pipe", "pipe"] }));
  let log = "";
  child.stderr.on("data", (text) => (log = (log + text).slice(-8_000)));
  const ready = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      reject(new Error(`${name} ended early (${code ?? signal}): ${log}`));
      // Rust programs end with 101 after a panic, and Node.js with 1 after an uncaught exception.
      if (code > 0) console.error(`${name} ended with ${code}: ${log}`);
    });
    createInterface({ input: child.stdout }).on("line", (line) => line === "ready" && resolve());
  });
  await within(ready, `${name} is ready`, ms);
  const node = new Node(options.KIND ?? kind, name, port, child);
  node.log = () => log;
  return node;
}

/** Returns the environment of a server that forwards requests to the others. */
export async function forwarding() {
  return { FORWARDING_ADDRESS: `127.0.0.1:${await freePort()}`, FORWARDING_SECRET: "a secret of the cluster" };
}

/** Starts servers that run until the end of the test file. */
export async function startFleet(broker, env, kinds) {
  const nodes = await Promise.all(kinds.map((kind) => startNode(kind, { ...broker?.env, ...env })));
  after(() => Promise.all(nodes.map((node) => node.end("SIGKILL"))));
  return nodes;
}

let namespaces = 0;
/** Returns the name of a namespace that no other test uses. */
export const freshNamespace = () => `/dyn-${namespaces++}`;

/** Returns a connected client of a server. The namespace may have any name, which a URL cannot. */
export function join(t, node, namespace = "/", options = {}) {
  const { auth, ...rest } = options;
  const root = client(t, node.url, { transports: ["websocket"], autoConnect: false, ...rest });
  return connected(alongside(root, namespace, auth).connect());
}

/** Waits until each socket hears broadcasts of each other one. */
export async function acquainted(...sockets) {
  for (const from of sockets) {
    for (const to of sockets) {
      if (from === to) continue;
      await heard(from, to, { to: [to.id] });
    }
  }
}

/** Repeats a broadcast until the socket receives it, because subscriptions are established in the background. */
export async function heard(from, to, target, ms = 10_000) {
  const name = `probe-${probes++}`;
  let got = false;
  to.once(name, () => (got = true));
  await until(async () => {
    await from.emitWithAck("cast", target, name);
    await to.emitWithAck("echo");
    return got;
  }, Boolean, `${to.id} hears ${JSON.stringify(target)}`, ms);
}
let probes = 0;

/** Returns sockets of several servers in a new namespace, when they hear each other. */
export async function meet(t, nodes, namespace = freshNamespace(), options) {
  const sockets = await Promise.all(nodes.map((node) => join(t, node, namespace, options)));
  const servers = new Set(nodes).size;
  const counts = (socket) => until(() => socket.emitWithAck("servers"), (count) => count === servers, "all servers");
  await Promise.all(sockets.map(counts));
  await acquainted(...sockets);
  return sockets;
}

let marks = 0;
/**
 * Resolves when `to` has received all that `from` sent before to the sockets in the room, or to all sockets. Messages of
 * one server arrive in order.
 */
export async function synced(from, to, room = to.id) {
  const mark = `mark-${marks++}`;
  const arrived = new Promise((resolve) => to.once(mark, resolve));
  await from.emitWithAck("cast", { to: [room] }, mark);
  await within(arrived, "the mark arrives");
}

/** Returns the events that the socket receives, without those of the helpers. */
export function heardBy(socket) {
  const events = recorded(socket);
  const isOwn = ([name]) => !/^(probe|mark)-\d+$/.test(name);
  const count = (name) => events.filter(([event]) => event === name).length;
  const has = (name) => count(name) > 0;
  const drop = (name) => events.splice(0, Infinity, ...events.filter(([event]) => event !== name));
  return { take: () => events.splice(0).filter(isOwn), count, has, drop };
}
