// An adapter for NATS in Node.js, with the subjects and messages of the crate `socketio-nats`. It publishes on the subject
// that all servers receive, and does not choose among the subjects of rooms.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { connect } from "nats";
import { ClusterAdapterWithHeartbeat } from "socket.io-adapter";

const { decode, encode } = createRequire(import.meta.resolve("@socket.io/postgres-adapter"))("@msgpack/msgpack");

/** Returns the token that stands for a name in a subject. */
export function token(name) {
  const bytes = Buffer.from(name);
  return bytes.length <= 48
    ? `n${bytes.toString("base64url")}`
    : `h${createHash("sha256").update(bytes).digest().subarray(0, 16).toString("base64url")}`;
}

const hasBinary = (value) =>
  ArrayBuffer.isView(value) || (value !== null && typeof value === "object" && Object.values(value).some(hasBinary));

class NatsAdapter extends ClusterAdapterWithHeartbeat {
  constructor(nsp, options) {
    super(nsp, options);
    this.connection = options.connection;
    this.subject = `${options.prefix}.${token(nsp.name)}`;
    const callback = (error, { data }) => error || this.received(Buffer.from(data));
    for (const subject of ["all", `server.${token(this.uid)}`, "room.*"]) {
      this.connection.subscribe(`${this.subject}.${subject}`, { callback });
    }
  }

  received(data) {
    const message = data[0] === 0x7b ? JSON.parse(data) : decode(data);
    this.onMessage(message);
  }

  send(subject, message) {
    // Values with `toJSON` are replaced as in JSON.
    const data = hasBinary(message) ? encode(message) : JSON.stringify(message);
    this.connection.publish(`${this.subject}.${subject}`, data);
  }

  async doPublish(message) {
    this.send("all", message);
    return "";
  }

  async doPublishResponse(uid, response) {
    this.send(`server.${token(uid)}`, response);
  }
}

/** Connects, and returns a function that creates an adapter. */
export async function createNatsAdapter({ url, prefix = "socket.io", ...options }) {
  const connection = await connect({
    servers: url.replace("nats://", ""),
    noEcho: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    reconnectJitter: 0,
    waitOnFirstConnect: true,
  });
  // Socket.IO calls it with `new`.
  return function (nsp) {
    return new NatsAdapter(nsp, { connection, prefix, ...options });
  };
}
