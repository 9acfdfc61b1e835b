// The brokers of the adapters.
import { plannedRedis } from "./redis.mjs";

const planned = {
  postgres: async () => (await import("./postgres.mjs")).plannedPostgres(),
  nats: async () => (await import("./nats.mjs")).plannedNats(),
  "nats-jetstream": async () => (await import("./nats.mjs")).plannedNats({ jetstream: true }),
};

/** The adapters that servers of Node.js have. */
export const hasNode = (adapter) => adapter !== "nats-jetstream";

/** The adapters whose servers know each other by heartbeats. */
export const hasHeartbeats = (adapter) => adapter in planned;

/** Options of servers that notice early that another one is dead. */
export const HEARTBEATS = { HEARTBEAT_INTERVAL_MS: "300", HEARTBEAT_TIMEOUT_MS: "3000" };

/** Returns a broker of an adapter on a free port, which is not started yet. It ends with the test file. */
export const plannedBroker = (adapter) => (planned[adapter] ?? plannedRedis)();

/** Starts a broker of an adapter on a free port. */
export const startBroker = async (adapter) => (await plannedBroker(adapter)).start();
