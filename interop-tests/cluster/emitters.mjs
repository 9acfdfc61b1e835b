// Starts our emitter.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { program, within } from "../official/helpers.mjs";
import { guarded } from "./processes.mjs";

/** Starts the emitter. Returns a function that sends a command, and resolves with `ok` or the error. */
export function startEmitter(options) {
  const env = { ...process.env, ...options };
  const child = guarded(spawn(program("cluster-emitter"), { env, stdio: ["pipe", "pipe", "inherit"] }));
  after(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const tried = async (command) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    return (await within(lines.next(), "the command is executed", 12_000)).value;
  };
  const send = async (command) => assert.equal(await tried(command), "ok");
  return { tried, send };
}
