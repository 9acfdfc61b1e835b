// Starts the kitchen-sink server for one test file and stops it at the end of the file.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { program, within } from "./helpers.mjs";

// A profile listens on the first port plus its index in this list.
const PROFILES = ["main", "fast", "strict", "recovery", "msgpack", "polling", "websocket", "recovery-msgpack"];
const HOST = "127.0.0.1";
const BINARY = process.env.KITCHEN_SINK ?? program("kitchen-sink");

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });

// These ports are below the range from which the kernel assigns ports to outgoing connections.
async function freePorts() {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await Promise.all(PROFILES.map((_, index) => isFree(first + index)));
    if (free.every(Boolean)) return first;
  }
}

function ready(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`the server ended early (${code ?? signal})`)));
    createInterface({ input: child.stdout }).on("line", (line) => line === "ready" && resolve());
  });
}

/**
 * Runs the server with these profiles until the tests of the file end. Returns a function from a profile to its
 * address.
 */
export async function startServer(...profiles) {
  const first = await freePorts();
  const env = { ...process.env, HOST, PORT: String(first), PROFILES: profiles.join(",") };
  const child = spawn(BINARY, { env, stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill("SIGKILL"));
  // A test runner ends this process with a signal on a timeout. By default, signals skip the exit handlers.
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  await within(ready(child), "the server is ready");
  const exited = new Promise((resolve) => child.once("exit", resolve));
  after(() => {
    child.kill();
    return exited;
  });
  return (profile) => `http://${HOST}:${first + PROFILES.indexOf(profile)}`;
}
