// Starts a promises server for one test. `PROMISES_SERVER` is the command of a server to test instead of ours.
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { client, connected, program, until, within } from "../official/helpers.mjs";

const OURS = program("promises");
const [COMMAND, ...ARGS] = process.env.PROMISES_SERVER?.split(" ") ?? [OURS];

/** A server that stops at the end of the test, and an observing client. */
export class Server {
  #child;

  static async start(t) {
    const server = new Server();
    server.#child = spawn(COMMAND, ARGS, {
      env: { ...process.env, RUST_BACKTRACE: "0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const port = server.#listens();
    server.#child.stderr.resume();
    server.ended = new Promise((_, reject) => {
      server.#child.once("error", reject);
      server.#child.once("exit", () => reject(new Error("the server process ended")));
    });
    server.ended.catch(() => {});
    t.after(() => server.#child.kill("SIGKILL"));
    server.url = `http://127.0.0.1:${await server.within(port, "the server listens")}`;
    server.watcher = await server.client(t);
    return server;
  }

  #listens() {
    return new Promise((resolve) => {
      const lines = createInterface({ input: this.#child.stdout });
      lines.on("line", (line) => /^listening on \d+$/.test(line) && resolve(line.split(" ").at(-1)));
    });
  }

  /** Returns a connected client that the server already hears: whether early events are lost has its own test. */
  async client(t, namespace = "/") {
    const socket = await connected(this.begin(t, namespace));
    const isHeard = () => socket.timeout(500).emitWithAck("echo", true).catch(() => false);
    if (namespace === "/") await until(isHeard, Boolean, "a client is heard");
    return socket;
  }

  /** Returns a client without waiting for the connection. */
  begin(t, namespace) {
    return client(t, this.url + namespace, { transports: ["websocket"] });
  }

  /** Resolves like `promise`, or rejects with an error that names what did not happen. */
  within(promise, what) {
    return within(Promise.race([promise, this.ended]), what);
  }

  /** Resolves with the acknowledgement of an event from the observing client. */
  ask(...event) {
    return this.within(this.watcher.emitWithAck(...event), `the answer to "${event[0]}"`);
  }

  /** Emits the event again until its acknowledgement passes. */
  until(event, what, passes) {
    return until(() => this.ask(...[event].flat()), passes, what);
  }

  /** Makes enough round trips for everything in flight to arrive. */
  async settle() {
    for (let i = 0; i < 200; i++) await this.ask("echo", i);
  }

  /** Opens the gate at which handlers and hooks wait. */
  open() {
    return this.ask("open");
  }

  /** Resolves when the server writes this text to its standard error. */
  says(what) {
    let said = "";
    return new Promise((resolve) => {
      this.#child.stderr.on("data", (text) => what.test((said += text)) && resolve());
    });
  }

  /** Returns the resident memory in MiB. */
  memory() {
    return Number(execFileSync("ps", ["-o", "rss=", "-p", String(this.#child.pid)])) / 1024;
  }
}
