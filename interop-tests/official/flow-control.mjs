// Helpers of the flow control tests: the server, clients that report how they were disconnected, and a slow link.
// `FLOW_CONTROL_SERVER="node promises/node/flow-control.mjs"` runs the tests against another server.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { connect as dial, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { after, describe } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { io } from "socket.io-client";
import * as msgpack from "socket.io-msgpack-parser";
import { program, within } from "./helpers.mjs";

const OURS = program("flow-control");
const [COMMAND, ...ARGS] = process.env.FLOW_CONTROL_SERVER?.split(" ") ?? [OURS];

/** `true` for our server. Its limits do not exist in Node.js. */
export const isOurs = COMMAND === OURS;

/** The time that the server has for any response or event. */
const DEADLINE = 30_000;

/** Like `deepEqual`, but the message contains only the beginning of the value. */
export function assertEqual(got, expected) {
  assert.ok(isDeepStrictEqual(got, expected), `got ${JSON.stringify(got)?.slice(0, 200)}`);
}

export const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** A server process that runs until the tests of the file have ended. */
export class FlowServer {
  #child;
  log = "";
  urls = {};

  static async start() {
    const server = new FlowServer();
    const child = spawn(COMMAND, ARGS, { stdio: ["ignore", "pipe", "pipe"] });
    server.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
    child.stderr.on("data", (text) => (server.log += text));
    await within(server.#ready(), "the server is ready");
    after(() => child.kill("SIGKILL"));
    return server;
  }

  #ready() {
    return new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("exit", (code, signal) => reject(new Error(`the server ended early (${code ?? signal})`)));
      createInterface({ input: this.#child.stdout }).on("line", (line) => {
        const [profile, url] = line.split(" ");
        if (profile === "ready") resolve();
        else this.urls[profile] = url;
      });
    });
  }

  /** Returns the resident memory in MiB. */
  memory() {
    return Number(execFileSync("ps", ["-o", "rss=", "-p", String(this.#child.pid)])) / 1024;
  }

  /**
   * Returns a connected client, which may not have upgraded yet. With `autoConnect: false`, does not wait for the
   * connection.
   */
  async client(t, { profile = "default", path = "/", url = this.urls[profile], ...options } = {}) {
    const parser = profile === "msgpack" ? { parser: msgpack.default ?? msgpack } : {};
    const defaults = { forceNew: true, reconnection: false, transports: ["websocket"] };
    const socket = io(url + path, { ...defaults, ...parser, ...options });
    t.after(() => socket.io._close());
    if (options.autoConnect === false) return socket;
    const connected = new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    });
    await within(connected, "a client connects", DEADLINE);
    return socket;
  }
}

const WAYS = {
  "polling only": ["polling"],
  "WebSocket only": ["websocket"],
  "during the upgrade": ["polling", "websocket"],
};

/** Defines the tests once for each transport. The tests get a function that connects. */
export function everyWay(server, define) {
  for (const [name, transports] of Object.entries(WAYS))
    describe(name, () => define((t, options) => server.client(t, { transports, ...options })));
}

/** Returns a promise that rejects with the progress so far when the client is disconnected. */
function cut(socket, progress) {
  return new Promise((_, reject) => {
    socket.once("disconnect", (reason, details) => {
      const why = details?.context?.reason ?? details?.description ?? "";
      reject(new Error(`${progress()}, then disconnected: ${reason} ${details?.context?.code ?? ""} ${why}`));
    });
  });
}

/** Resolves like `promise`. Rejects on a disconnect and on a timeout, with the progress so far in the error. */
export async function uncut(socket, promise, progress, ms = DEADLINE) {
  if (!socket.connected) throw new Error(`${progress()}: not connected`);
  const gone = cut(socket, progress);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${progress()} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, gone, late]).finally(() => clearTimeout(timer));
}

/** Resolves after the next `count` events, whose first arguments must be 0, 1, 2 and so on. */
export function inOrder(socket, event, count, check = () => {}) {
  let got = 0;
  const all = new Promise((resolve, reject) => {
    socket.on(event, function take(value, ...rest) {
      try {
        assert.equal(value, got, `"${event}" ${got} of ${count} is out of order`);
        check(value, ...rest);
      } catch (error) {
        socket.off(event, take);
        reject(error);
      }
      if (++got === count) {
        socket.off(event, take);
        resolve();
      }
    });
  });
  return uncut(socket, all, () => `${got} of ${count} events "${event}" arrived`);
}

/** Emits `count` events at once and returns their acknowledgements. `event` returns the arguments of each event. */
export function askAll(socket, count, event, ms) {
  let got = 0;
  const ask = async (i) => {
    const answer = await socket.emitWithAck(...event(i));
    got++;
    return answer;
  };
  const answers = Promise.all(numbers(count).map(ask));
  return uncut(socket, answers, () => `${got} of ${count} requests "${event(0)[0]}" were answered`, ms);
}

/** Resolves when the room is empty from the point of view of another client. */
export async function isEmpty(observer, room, ms) {
  const begin = Date.now();
  for (;;) {
    const members = await observer.emitWithAck("count", room);
    if (members === 0) return;
    assert.ok(Date.now() - begin < ms, `after ${ms} ms there is still ${members} in the room`);
    await sleep(10);
  }
}

/** A TCP proxy that limits the rate from the server to the client. The other direction is not limited. */
export class Link {
  #server;
  #sockets = new Set();
  /** The time at which all bytes so far have passed at the given rate. */
  #due = 0;
  #lifted = new AbortController();

  static async open(t, target, rate = Infinity) {
    const link = new Link();
    link.rate = rate;
    link.#server = createServer({ allowHalfOpen: true }, (client) => link.#join(client, new URL(target)));
    await new Promise((resolve) => link.#server.listen(0, "127.0.0.1", resolve));
    link.url = `http://127.0.0.1:${link.#server.address().port}`;
    t.after(() => {
      link.#server.close();
      for (const socket of link.#sockets) socket.destroy();
    });
    return link;
  }

  #join(client, { hostname, port }) {
    const server = dial({ host: hostname, port, allowHalfOpen: true, readableHighWaterMark: 16_384 });
    for (const socket of [client, server]) {
      socket.setNoDelay();
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroySoon();
        server.destroySoon();
      });
    }
    client.pipe(server);
    server.on("data", async (chunk) => {
      client.write(chunk);
      server.pause();
      await this.#passed(chunk.length);
      server.resume();
    });
    server.on("end", () => client.end());
  }

  /** Resolves when the bytes have passed at the current rate. At a rate of 0, that never happens. */
  async #passed(bytes) {
    // Compensates for up to 100 ms by which a timer was late.
    const begin = Math.max(this.#due, Date.now() - 100);
    this.#due = begin + (bytes / this.rate) * 1_000;
    const left = Math.min(this.#due - Date.now(), 1e9);
    if (left >= 1 && !this.#lifted.signal.aborted) await sleep(left, null, this.#lifted).catch(() => {});
  }

  /** Removes the rate limit. */
  lift() {
    this.rate = Infinity;
    this.#lifted.abort();
  }
}
