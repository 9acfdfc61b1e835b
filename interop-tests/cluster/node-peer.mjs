// A server of Node.js with the commands, the namespaces and the options of the program `cluster-node`.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createPostgresAdapter } from "@socket.io/postgres-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Cluster, Redis } from "ioredis";
import pg from "pg";
import { createClient, createCluster } from "redis";
import { Server } from "socket.io";
import { createNatsAdapter } from "./nats-adapter.mjs";

const { env } = process;
const NAME = env.NODE_NAME ?? "";
const ADAPTER = env.ADAPTER ?? "none";
const READY_MS = 3_000;
const requestsTimeout = Number(env.REQUESTS_TIMEOUT_MS ?? 5_000);

// By default, a command that is in flight when Redis ends also ends the process.
process.on("unhandledRejection", (error) => console.error("unhandled rejection:", error));

const clients = [];
let failed = false;
const connecting = [];
function redisClient() {
  const url = env.REDIS_URL ?? "redis://127.0.0.1:6379";
  const [protocol, hosts] = url.split("://");
  if (env.NODE_CLIENT === "ioredis") return ioredisClient(protocol, hosts);
  const rootNodes = hosts.split(",").map((host) => ({ url: `redis://${host}` }));
  const client = protocol === "redis-cluster" ? createCluster({ rootNodes }) : createClient({ url });
  client.on("error", () => (failed = true));
  clients.push(client);
  connecting.push(client.connect());
  return client;
}

/** The client that the documentation of the adapter names for sentinels. It subscribes again after a failover. */
function ioredisClient(protocol, rest) {
  const [list, name] = rest.split("/");
  const hosts = list.split(",").map((host) => ({ host: host.split(":")[0], port: Number(host.split(":")[1]) }));
  const delays = { sentinelRetryStrategy: () => 50, retryStrategy: () => 50, clusterRetryStrategy: () => 50 };
  const client =
    protocol === "redis-cluster" ? new Cluster(hosts, delays) : new Redis({ sentinels: hosts, name, failoverDetector: true, ...delays });
  client.on("error", () => (failed = true));
  // The detector of failovers ends a client for good if it interrupts an attempt to connect.
  client.on("end", () => setTimeout(() => client.connect().catch(() => {}), 50));
  clients.push(client);
  connecting.push(new Promise((resolve) => client.once("ready", resolve)));
  return client;
}

/** The options of adapters with heartbeats. */
const heartbeats = {
  heartbeatInterval: Number(env.HEARTBEAT_INTERVAL_MS ?? 5_000),
  heartbeatTimeout: Number(env.HEARTBEAT_TIMEOUT_MS ?? 10_000),
};

/** Returns what the adapter uses of a pool. */
function postgresPool() {
  const [listening, sending] = [10, 1].map((max) => {
    const pool = new pg.Pool({ connectionString: env.POSTGRES_URL, max, connectionTimeoutMillis: 5_000 });
    pool.on("error", () => (failed = true));
    return pool;
  });
  connecting.push(sending.query("SELECT 1").catch(() => (failed = true)));
  return {
    // The adapter never returns a connection that was lost to its pool, and does not handle its error.
    connect: async () => {
      const client = await listening.connect();
      return client.on("error", () => (failed = true));
    },
    // Several connections would reorder the messages.
    query: (...args) => sending.query(...args),
  };
}

async function adapter() {
  const key = env.KEY;
  switch (ADAPTER) {
    case "none":
      return undefined;
    case "redis":
      return createAdapter(redisClient(), redisClient(), {
        ...(key && { key }),
        requestsTimeout,
        publishOnSpecificResponseChannel: env.SPECIFIC_RESPONSES === "1",
      });
    case "redis-sharded":
      return createShardedAdapter(redisClient(), redisClient(), {
        ...(key && { channelPrefix: key }),
        subscriptionMode: env.SUBSCRIPTION_MODE ?? "dynamic",
      });
    case "redis-streams":
      return createStreamsAdapter(redisClient(), {
        streamCount: Number(env.STREAM_COUNT ?? 1),
        useShardedPubSub: env.SHARDED_PUB_SUB === "1",
        ...(key && { streamName: key, channelPrefix: key, sessionKeyPrefix: `${key}:session:` }),
      });
    case "postgres":
      return createPostgresAdapter(postgresPool(), {
        ...(key && { channelPrefix: key, tableName: `${key}_attachments` }),
        ...heartbeats,
      });
    case "nats":
      return createNatsAdapter({ url: env.NATS_URL, ...(key && { prefix: key }), ...heartbeats });
    default:
      throw new Error(`unknown ADAPTER ${ADAPTER}`);
  }
}

const http = createServer((request, response) => {
  response.statusCode = request.url === "/health" ? 200 : 404;
  response.end(response.statusCode === 200 ? "ok" : "");
});
const recovery = env.RECOVERY_MS && {
  connectionStateRecovery: { maxDisconnectionDuration: Number(env.RECOVERY_MS), skipMiddlewares: true },
};
const io = new Server(http, {
  adapter: await adapter(),
  pingInterval: 20_000,
  pingTimeout: 15_000,
  maxHttpBufferSize: 10_000_000,
  ...recovery,
});

const notes = new Map();
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Returns the operator of a target, which is an object or the name of a room. */
function recipients(socket, target) {
  if (typeof target === "string") return socket.nsp.in(target);
  const { via, to = [], except = [], volatile, local, timeout } = target ?? {};
  let operator = via === "socket" ? socket.broadcast : socket.nsp.except([]);
  if (to.length > 0) operator = operator.to(to);
  if (except.length > 0) operator = operator.except(except);
  if (volatile) operator = operator.volatile;
  if (local) operator = operator.local;
  if (timeout !== undefined) operator = operator.timeout(timeout);
  return operator;
}

function description({ id, rooms, data, handshake }) {
  const { headers, query, auth, url, address, time, issued, secure, xdomain } = handshake;
  const fields = { headers, query, auth, url, address, time, issued, secure, xdomain };
  return { id, rooms: [...rooms].sort(), data, handshake: fields };
}

async function found(operator) {
  try {
    const sockets = await operator.fetchSockets();
    return { error: null, sockets: sockets.sort((one, other) => (one.id < other.id ? -1 : 1)) };
  } catch (error) {
    return { error: error.message, sockets: [] };
  }
}

async function remote(nsp, id, operation, ...args) {
  const socket = (await nsp.in(id).fetchSockets()).find((socket) => socket.id === id);
  if (!socket) return null;
  switch (operation) {
    case "emit":
      socket.emit(...args);
      return true;
    case "join":
      socket.join(args[0]);
      return true;
    case "leave":
      socket.leave(args[0]);
      return true;
    case "disconnect":
      socket.disconnect(args[0] ?? false);
      return true;
    case "ask": {
      const [ms, ...event] = args;
      return new Promise((resolve) =>
        socket
          .timeout(ms)
          .emit(...event, (error, response) => resolve({ timedOut: Boolean(error), response: response ?? null })),
      );
    }
    default:
      throw new Error(`unknown operation ${operation}`);
  }
}

/** The commands. Each receives the socket, the function that acknowledges, and the arguments. */
const commands = {
  whoami: (socket, ack) =>
    ack({
      node: NAME,
      sid: socket.id,
      nsp: socket.nsp.name,
      transport: socket.conn.transport.name,
      recovered: socket.recovered,
    }),
  stats: (socket, ack) => ack({ engine: io.engine.clientsCount, sockets: socket.nsp.sockets.size }),
  echo: (_, ack, ...args) => ack(...args),
  "emit-me": (socket, ack, ...event) => ack(socket.emit(...event)),
  join: async (socket, ack, room) => ack(await socket.join(room)),
  leave: async (socket, ack, room) => ack(await socket.leave(room)),
  rooms: (socket, ack) => ack([...socket.rooms]),
  "data-set": (socket, ack, value) => {
    socket.data.v = value;
    ack();
  },
  "data-get": (socket, ack) => ack(socket.data.v ?? null),
  bye: (socket, _, close) => socket.disconnect(close ?? false),
  drop: (socket) => socket.conn.close(),
  cast: (socket, ack, target, ...event) => {
    recipients(socket, target).emit(...event);
    ack();
  },
  "cast-burst": (socket, ack, target, event, from, count, ...args) => {
    for (let i = from; i < from + count; i++) recipients(socket, target).emit(event, i, ...args);
    ack();
  },
  "cast-ack": (socket, ack, target, ...event) =>
    recipients(socket, target).emit(...event, (error, responses) =>
      ack({ timedOut: Boolean(error), responses: responses.map((response) => response ?? null) }),
    ),
  members: async (socket, ack, rooms) => {
    const operator = rooms.length > 0 ? socket.nsp.in(rooms) : socket.nsp;
    ack((await found(operator)).sockets.map(({ id }) => id).sort());
  },
  fetch: async (socket, ack, target) => {
    const { error, sockets } = await found(recipients(socket, target));
    ack({ error, sockets: sockets.map(description) });
  },
  remote: async (socket, ack, ...args) => ack(await remote(socket.nsp, ...args)),
  "room-join": (socket, ack, where, rooms) => ack(recipients(socket, where).socketsJoin(rooms)),
  "room-leave": (socket, ack, where, rooms) => ack(recipients(socket, where).socketsLeave(rooms)),
  "room-kick": (socket, ack, where, close) => {
    ack();
    recipients(socket, where).disconnectSockets(close ?? false);
  },
  "join-cast": (socket, ack, where, room, ...event) => {
    recipients(socket, where).socketsJoin(room);
    socket.nsp.to(room).emit(...event);
    ack();
  },
  sse: (socket, ack, ...event) => {
    if (ADAPTER !== "none") socket.nsp.serverSideEmit(...event);
    ack();
  },
  "sse-ack": (socket, ack, ...event) => {
    if (ADAPTER === "none") return ack({ error: null, responses: [] });
    socket.nsp.serverSideEmit(...event, (error, responses) => ack({ error: error?.message ?? null, responses }));
  },
  "sse-log": (socket, ack) => ack(notes.get(socket.nsp.name) ?? []),
  servers: async (socket, ack) => ack(await socket.nsp.adapter.serverCount()),
  "all-rooms": async (socket, ack) => {
    const { adapter } = socket.nsp;
    ack(adapter.allRooms ? [...(await adapter.allRooms())].sort() : null);
  },
};

function serve(nsp) {
  nsp.on("connection", (socket) => {
    for (const [name, run] of Object.entries(commands)) {
      socket.on(name, (...args) => {
        const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
        run(socket, ack, ...args);
      });
    }
  });
  nsp.on("note", (...args) => notes.set(nsp.name, [...(notes.get(nsp.name) ?? []), ["note", ...args]]));
  nsp.on("ask-name", (ack) => ack?.(NAME));
  nsp.on("ask-echo", (value, ack) => ack?.(value));
  nsp.on("ask-later", async (ms, ack) => ack?.(NAME, await later(ms)));
  nsp.on("ask-only", (name, ack) => name === NAME && ack?.(NAME));
}

serve(io.of("/"));
io.on("new_namespace", serve);
io.of("/custom");
io.of(/^\/(dyn-[0-9]+|any-.+)$/s);

process.on("SIGTERM", async () => {
  await io.close();
  process.exit(0);
});

const { HOST: host = "127.0.0.1", PORT: port = "4100" } = env;
await new Promise((resolve) => http.listen(Number(port), host, resolve));
// The subscriptions of the static namespaces are sent before `ping`, on the same connection.
const subscribed = Promise.all(connecting).then(() => Promise.all(clients.map((client) => client.ping())));
await Promise.race([subscribed, later(READY_MS)]);
if (failed) console.error("the broker is away");
console.log("ready");
