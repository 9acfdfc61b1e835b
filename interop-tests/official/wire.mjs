// Sessions without a client library: plain HTTP requests, plain WebSockets and raw packets.
import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { client, connected, freshKey, records, within } from "./helpers.mjs";

export const SEPARATOR = "\x1e";

const addressOf = (base, query, path) => `${base}${path}?${new URLSearchParams(query)}`;

/** Joins the session to `/`. Returns a function that resolves with the disconnect reason on the server. */
export async function observed(t, base, session) {
  const key = freshKey();
  await session.join(`40${JSON.stringify({ key })}`);
  const observer = await connected(client(t, base, { transports: ["websocket"] }));
  return async () => (await records(observer, key))[0].reason;
}

/** Returns the response to a plain request, with the body read. */
export async function request(base, query, { path = "/socket.io/", ...options } = {}) {
  const response = await within(fetch(addressOf(base, query, path), options), `response to ${JSON.stringify(query)}`);
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** A polling session. The test makes each request. */
export class Polling {
  static async open(base, query = {}, options = {}) {
    const session = new Polling(base, query, options);
    const response = await request(base, session.query, options);
    assert.equal(response.status, 200, response.body);
    assert.equal(response.body[0], "0");
    session.handshake = JSON.parse(response.body.slice(1));
    session.query.sid = session.handshake.sid;
    return session;
  }

  constructor(base, query, options) {
    this.base = base;
    this.options = options;
    this.query = { EIO: "4", transport: "polling", ...query };
  }

  get address() {
    return addressOf(this.base, this.query, this.options.path ?? "/socket.io/");
  }

  poll(options) {
    return request(this.base, this.query, { ...this.options, ...options });
  }

  post(body, options) {
    return request(this.base, this.query, { method: "POST", body, ...this.options, ...options });
  }

  /** Posts packets. The server must accept them. */
  async send(...packets) {
    const { status, body } = await this.post(packets.join(SEPARATOR));
    assert.deepEqual([status, body], [200, "ok"]);
  }

  /** Polls once and returns the packets. */
  async receive() {
    const { status, body } = await this.poll();
    assert.equal(status, 200, body);
    return body.split(SEPARATOR);
  }

  /** Connects to a namespace and reads the response. */
  async join(packet = "40") {
    await this.send(packet);
    return this.receive();
  }

  /**
   * Starts a poll while nothing is queued. A client cannot observe that its poll is parked, so round trips on other
   * requests give the poll time to arrive.
   */
  async park() {
    const answer = this.poll();
    for (let i = 0; i < 5; i++) await fetch(`${this.base}/health`);
    return { answer };
  }

  websocket(t, query = {}) {
    return new Socket(t, this.base, { ...this.query, transport: "websocket", ...query }, this.options);
  }

  async assertClosed() {
    const { status, body } = await this.post("3");
    assert.deepEqual([status, body], [400, '{"code":1,"message":"Session ID unknown"}']);
  }
}

/** A WebSocket that queues its messages until the test reads them: strings, or Buffers for binary messages. */
export class Socket {
  #messages = [];
  #waiting = [];

  constructor(t, base, query = { EIO: "4", transport: "websocket" }, { path = "/socket.io/", ...options } = {}) {
    this.ws = new WebSocket(addressOf(base, query, path).replace(/^http/, "ws"), options);
    t.after(() => this.ws.terminate());
    this.ws.on("message", (data, isBinary) => this.#arrived(isBinary ? data : data.toString()));
    this.ws.on("error", () => {});
    this.closed = new Promise((resolve) => this.ws.once("close", (code) => resolve(code)));
    this.answered = new Promise((resolve) => {
      this.ws.once("open", () => resolve({ status: 101 }));
      this.ws.once("unexpected-response", (_, response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
      });
    });
  }

  /** Opens a new session and reads its open packet. */
  static async open(t, base, query = {}, options = {}) {
    const socket = new Socket(t, base, { EIO: "4", transport: "websocket", ...query }, options);
    const packet = await socket.receive();
    assert.equal(packet[0], "0");
    socket.handshake = JSON.parse(packet.slice(1));
    return socket;
  }

  #arrived(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#messages.push(message);
  }

  send(...packets) {
    for (const packet of packets) this.ws.send(packet);
  }

  receive() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    const message = new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.closed.then((code) => reject(new Error(`closed with ${code}`)));
      this.answered.then(({ status, body }) => status === 101 || reject(new Error(`refused with ${status} ${body}`)));
    });
    return within(message, "a message");
  }

  async join(packet = "40") {
    this.send(packet);
    return [await this.receive()];
  }

  /** Resolves with the HTTP response: status 101, or the status and body of a rejection. */
  response() {
    return within(this.answered, "a response to the upgrade request");
  }

  /** Resolves with the close code of the server. */
  ended() {
    return within(this.closed, "the server closes the WebSocket");
  }
}

/**
 * A polling session that polls continuously, responds to heartbeats, and has the interface of `Socket`, binaries
 * included.
 */
class Line {
  #session;
  #messages = [];
  #wake = () => {};
  #over = false;

  static async open(t, base, query) {
    const line = new Line();
    line.#session = await Polling.open(base, query);
    line.handshake = line.#session.handshake;
    const polling = new AbortController();
    t.after(() => polling.abort());
    line.#poll(polling.signal);
    return line;
  }

  async #poll(signal) {
    while (!this.#over) {
      const { status, body } = await this.#session.poll({ signal }).catch(() => ({ status: 0 }));
      for (const packet of status === 200 ? body.split(SEPARATOR) : ["1"]) {
        if (packet === "1") this.#over = true;
        else if (packet[0] === "b") this.#messages.push(Buffer.from(packet.slice(1), "base64"));
        else if (packet === "2") await this.#session.post("3");
        else if (packet !== "6") this.#messages.push(packet);
      }
      this.#wake();
    }
  }

  send(...packets) {
    const texts = packets.map((packet) => (typeof packet === "string" ? packet : `b${packet.toString("base64")}`));
    // Only one POST may be in flight. Tests that post by themselves check the responses.
    this.sent = (this.sent ?? Promise.resolve()).then(() => this.#session.post(texts.join(SEPARATOR)));
  }

  async #until(passes, what) {
    const arrived = async () => {
      while (!passes()) await new Promise((resolve) => (this.#wake = resolve));
    };
    await within(arrived(), what);
  }

  async receive() {
    await this.#until(() => this.#messages.length || this.#over, "a packet");
    if (!this.#messages.length) throw new Error("the session has ended");
    return this.#messages.shift();
  }

  async join(packet = "40") {
    this.send(packet);
    return [await this.receive()];
  }

  async ended() {
    await this.#until(() => this.#over, "the server closes the session");
  }
}

/** Both transports with the same interface, for tests of Socket.IO packets. */
export const LINES = { polling: Line, websocket: Socket };
