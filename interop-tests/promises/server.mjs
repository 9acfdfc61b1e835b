// Starts the server of the promises for one test, ours or another: `PROMISES_SERVER` is its command.
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { client, connected, program, until, within } from "../official/helpers.mjs";

const OURS = program("promises");
const [COMMAND, ...ARGS] = process.env.PROMISES_SERVER?.split(" ") ?? [OURS];

/** A server that ends with the test, and a client of it that looks on. */
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

  /** A connected client, whose first events are not lost: whether they may be is a test of its own. */
  async client(t, namespace = "/") {
    const socket = await connected(this.begin(t, namespace));
    const isHeard = () => socket.timeout(500).emitWithAck("echo", true).catch(() => false);
    if (namespace === "/") await until(isHeard, Boolean, "a client is heard");
    return socket;
  }

  /** A client that is not waited for. */
  begin(t, namespace) {
    return client(t, this.url + namespace, { transports: ["websocket"] });
  }

  /** The value of the promise, or an error that names what did not happen. */
  within(promise, what) {
    return within(Promise.race([promise, this.ended]), what);
  }

  /** What the server answers to the client that looks on. */
  ask(...event) {
    return this.within(this.watcher.emitWithAck(...event), `the answer to "${event[0]}"`);
  }

  /** Asks again until the answer passes. */
  until(event, what, passes) {
    return until(() => this.ask(...[event].flat()), passes, what);
  }

  /** Goes to the server and back so often that whatever else is under way will have arrived. */
  async settle() {
    for (let i = 0; i < 200; i++) await this.ask("echo", i);
  }

  /** Opens the gate at which handlers and hooks wait. */
  open() {
    return this.ask("open");
  }

  /** Resolves when the server writes of it to its standard error. */
  says(what) {
    let said = "";
    return new Promise((resolve) => {
      this.#child.stderr.on("data", (text) => what.test((said += text)) && resolve());
    });
  }

  /** The resident memory in MiB. */
  memory() {
    return Number(execFileSync("ps", ["-o", "rss=", "-p", String(this.#child.pid)])) / 1024;
  }
}
