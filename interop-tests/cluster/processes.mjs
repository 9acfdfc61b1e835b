// Processes that end with the test file, and ports for them.
import { readFile, readdir } from "node:fs/promises";
import { connect as connectTcp, createServer as createTcpServer } from "node:net";
import { after } from "node:test";
import { until } from "../official/helpers.mjs";

export const HOST = "127.0.0.1";
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
export function freeze({ pid }) {
  process.kill(pid, "SIGSTOP");
  const tasks = `/proc/${pid}/task`;
  const states = async () => {
    const stats = (await readdir(tasks)).map((task) => readFile(`${tasks}/${task}/stat`, "utf8"));
    return (await Promise.all(stats)).map((stat) => /\) (.)/.exec(stat)[1]);
  };
  return until(states, (list) => list.every((state) => state === "T"), "the process is frozen");
}

/** Returns the CPU time of the threads of a process, in seconds. */
export async function cpuTime(pid) {
  const tasks = await readdir(`/proc/${pid}/task`);
  const stats = await Promise.all(tasks.map((task) => readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8")));
  return stats.reduce((sum, stat) => sum + Number(stat.split(" ")[0]), 0) / 1e9;
}

/** Returns the resident memory of a process, in kB. */
export const memory = async (pid) => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))[1]);

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createTcpServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });

const BLOCKS = 40;
/** The number of ports in a block. */
const BLOCK = 250;
/** Listens while this process has a block, on the port of the block's number. */
const FIRST_GUARD = 9_900;
let block;
let ports = 0;

/** Takes a block of ports that no other process has. */
async function takeBlock() {
  for (let number = process.pid % BLOCKS; ; number = (number + 1) % BLOCKS) {
    const guard = createTcpServer().unref();
    const isTaken = await new Promise((resolve) => {
      guard.once("error", () => resolve(false));
      guard.listen(FIRST_GUARD + number, HOST, () => resolve(true));
    });
    if (isTaken) return number;
  }
}

/**
 * Returns a free port below the range from which the kernel assigns ports to outgoing connections, so that a server can
 * be started again on the same port.
 */
export async function freePort() {
  // Files that run at the same time have other ports, so none is taken between the check and the start of a server.
  const number = await (block ??= takeBlock());
  for (;;) {
    const port = 10_000 + number * BLOCK + (ports++ % BLOCK);
    if (await isFree(port)) return port;
  }
}

/**
 * Starts a proxy of the server on a port, and returns its port and its connections by id. `cut` makes all connections lose
 * what is sent, without a word to either side.
 */
export async function proxyOf(target) {
  const connections = new Map();
  let next = 0;
  const server = createTcpServer((near) => {
    const far = connectTcp(target, HOST);
    const id = next++;
    connections.set(id, [near, far]);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        other.destroy();
        connections.delete(id);
      });
    }
  });
  const port = await freePort();
  await new Promise((resolve) => server.listen(port, HOST, resolve));
  const sockets = () => [...connections.values()].flat();
  after(() => {
    sockets().forEach((socket) => socket.destroy());
    server.close();
  });
  const cut = () => sockets().forEach((socket) => socket.unpipe().resume());
  return { port, connections, cut };
}
