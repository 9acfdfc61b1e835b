// Starts the program `admin-servers`, and logs in as the Admin UI does.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { io } from "socket.io-client";
import { program, within } from "./helpers.mjs";

const WAIT = 20_000;
export const CREDENTIALS = { username: "admin", password: "changeit" };

/** Starts the servers, and returns their addresses and the process. They end with the tests of the suite or the file. */
export async function startServers(env = {}) {
  const child = spawn(program("admin-servers"), { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill("SIGKILL"));
  after(async () => {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  });
  const addresses = [];
  const found = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      addresses.push(line);
      if (addresses.length === Number(env.SERVERS ?? 2)) return;
    }
    throw new Error("the servers ended");
  })();
  await within(found, "the servers start", WAIT);
  return { addresses, child };
}

/** Returns a client of a namespace, which is not connected yet and ends with the tests. */
export function client(url, options) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  after(() => socket.disconnect());
  return socket;
}

/** Returns the next event of a name whose arguments pass. */
export const event = (socket, name, passes = () => true) =>
  within(
    new Promise((resolve) => {
      socket.on(name, function take(...args) {
        if (!passes(...args)) return;
        socket.off(name, take);
        resolve(args);
      });
    }),
    `event "${name}"`,
    10_000,
  );
