// Deployments of several Redis servers for tests: sentinels with a master and a replica, and a cluster.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { createClient } from "redis";
import { until } from "../official/helpers.mjs";
import { HOST, freePort, guarded } from "./processes.mjs";
import { Redis } from "./redis.mjs";

const MASTER = "main";
const STARTED_MS = 10_000;
/** On a busy machine, a server may not respond for seconds, and its replica must not take over then. */
const NODE_TIMEOUT_MS = 15_000;
/** The time after which a silent server is considered dead. */
const DOWN_MS = 500;

function folder() {
  const path = mkdtempSync(`${tmpdir()}/redis-`);
  after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Returns `count` ports that differ. */
async function freePorts(count) {
  const ports = new Set();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

/** Starts a server with these options, which ends with the test file. */
function startServer(port, options) {
  const server = new Redis(port, options);
  after(() => server.kill());
  return server.start();
}

class Sentinels {
  #servers;
  #sentinels;
  constructor(servers, sentinels) {
    this.#servers = servers;
    this.#sentinels = sentinels;
    const hosts = sentinels.map(({ port }) => `${HOST}:${port}`);
    this.env = { REDIS_URL: `redis-sentinel://${hosts.join(",")}/${MASTER}` };
  }

  #ask = (...args) => this.#sentinels[0].client.sendCommand(["SENTINEL", ...args, MASTER]);

  /** Returns the server that the sentinels have elected. */
  async master() {
    const [, port] = await this.#ask("GET-MASTER-ADDR-BY-NAME");
    return this.#servers.find((server) => server.port === Number(port));
  }

  /** Makes the sentinels elect another master. Resolves when they have. */
  async failover() {
    const before = await this.master();
    const asked = () => this.#ask("FAILOVER").then(() => true, () => false);
    await until(asked, Boolean, "a replica that can be promoted", STARTED_MS);
    await this.elected(before);
  }

  /** Resolves when the sentinels have elected another master. */
  elected = (before) => until(() => this.master(), (server) => server !== before, "another master", STARTED_MS);
}

/** Starts a master, a replica, and three sentinels. */
export async function startSentinels() {
  const [one, two, ...ports] = await freePorts(5);
  const delays = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
  const servers = await Promise.all([
    startServer(one, delays),
    startServer(two, [...delays, "--replicaof", HOST, one]),
  ]);
  const path = folder();
  const sentinels = ports.map((port) => {
    const options = [
      `port ${port}`,
      `bind ${HOST}`,
      `dir ${path}`,
      `sentinel monitor ${MASTER} ${HOST} ${one} 2`,
      `sentinel down-after-milliseconds ${MASTER} ${DOWN_MS}`,
      `sentinel failover-timeout ${MASTER} 2000`,
    ];
    const file = `${path}/sentinel-${port}.conf`;
    writeFileSync(file, options.join("\n"));
    const child = guarded(spawn("redis-server", [file, "--sentinel"], { stdio: "ignore" }));
    after(() => child.kill("SIGKILL"));
    const client = createClient({ url: `redis://${HOST}:${port}`, socket: { reconnectStrategy: 20 } });
    client.on("error", () => {});
    return { port, client };
  });
  await Promise.all(sentinels.map(({ client }) => client.connect()));
  after(() => sentinels.forEach(({ client }) => client.destroy()));
  // They can elect a master when all of them know each other and the replica.
  for (const { client } of sentinels) {
    const state = async () => {
      const list = await client.sendCommand(["SENTINEL", "MASTER", MASTER]);
      const entry = (name) => list[list.indexOf(name) + 1];
      return [entry("num-slaves"), entry("num-other-sentinels")].join();
    };
    await until(state, (known) => known === "1,2", "the sentinels know each other", STARTED_MS);
  }
  return new Sentinels(servers, sentinels);
}

class Cluster {
  constructor(servers) {
    this.servers = servers;
    this.env = { REDIS_URL: `redis-cluster://${servers.slice(0, 2).map(({ port }) => `${HOST}:${port}`).join(",")}` };
  }

  /** Returns the servers that are alive. */
  #alive = () => this.servers.filter(({ isKilled }) => !isKilled);

  /** Returns the masters by the ranges of their slots, as a server sees them. */
  async #slots(server) {
    const list = await server.command("CLUSTER", "SLOTS");
    return list.map(([first, last, [, port]]) => ({ first, last, port }));
  }

  /** Sets the time after which a silent server is considered dead. */
  async #setTimeout(ms) {
    for (const server of this.#alive()) await server.command("CONFIG", "SET", "cluster-node-timeout", ms);
  }

  slot = (key) => this.#alive()[0].command("CLUSTER", "KEYSLOT", key);

  /** Returns the master that has the slot of a key, once all servers agree on it. `isExpected` may refuse a master. */
  async owner(key, isExpected = () => true) {
    const slot = await this.slot(key);
    const ownerAt = async (server) =>
      (await this.#slots(server)).find(({ first, last }) => slot >= first && slot <= last)?.port;
    const owners = () => Promise.all(this.#alive().map(ownerAt));
    const find = (port) => this.servers.find((server) => server.port === port);
    const isOne = ([port, ...others]) => port && others.every((other) => other === port) && isExpected(find(port));
    return find((await until(owners, isOne, `one master of ${key}`, STARTED_MS))[0]);
  }

  /** Moves the slot of a key to another master, with its keys, and returns when all servers agree on that master. */
  async move(key) {
    const [slot, from] = [await this.slot(key), await this.owner(key)];
    const ports = new Set((await this.#slots(from)).map(({ port }) => port));
    const to = this.servers.find(({ port }) => port !== from.port && ports.has(port));
    const [fromId, toId] = await Promise.all([from, to].map((server) => server.command("CLUSTER", "MYID")));
    await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    const keys = await from.command("CLUSTER", "GETKEYSINSLOT", slot, 1_000);
    for (const name of keys) await from.command("MIGRATE", HOST, to.port, name, 0, 5_000);
    // As redis-cli does: the new owner first.
    await to.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
    await from.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
    await this.owner(key, (now) => now === to);
  }

  /** Returns a server that has no slots. */
  async replica() {
    const ports = new Set((await this.#slots(this.#alive()[0])).map(({ port }) => port));
    return this.#alive().find(({ port }) => !ports.has(port));
  }

  /** Kills the master that has the slot of a key, and resolves when its replica has taken over. */
  async killOwner(key) {
    const owner = await this.owner(key);
    await this.#setTimeout(1_000);
    owner.isKilled = true;
    await owner.kill();
    await this.owner(key, (now) => now !== owner);
  }

  /** Makes the replica of the master that has the slot of a key take over, without loss. */
  async failover(key) {
    const owner = await this.owner(key);
    // An election that fails is repeated after four times this.
    await this.#setTimeout(2_000);
    const id = await owner.command("CLUSTER", "MYID");
    const find = async () => {
      const nodes = await owner.command("CLUSTER", "NODES");
      return nodes.split("\n").find((line) => line.includes(`slave ${id}`));
    };
    const replica = await until(find, Boolean, "a replica", STARTED_MS);
    const port = Number(/:(\d+)@/.exec(replica)[1]);
    const successor = this.servers.find((server) => server.port === port);
    const isDone = (now) => now !== owner;
    const attempt = async () => {
      // It fails if the master does not stop within 5 s, or if one is still in progress.
      await successor.command("CLUSTER", "FAILOVER").catch(() => {});
      return this.owner(key, isDone).catch(() => undefined);
    };
    await until(attempt, Boolean, "a failover", 3 * STARTED_MS);
  }

  /** Subscribers of a channel of shards, at all servers. */
  async subscribers(channel) {
    const counts = this.#alive().map((server) => server.command("PUBSUB", "SHARDNUMSUB", channel));
    return (await Promise.all(counts)).reduce((sum, [, count]) => sum + count, 0);
  }
}

/** Starts a cluster of three masters, each with a replica. */
export async function startCluster() {
  const path = folder();
  const ports = await freePorts(6);
  const options = (port) => [
    ...["--cluster-enabled", "yes", "--cluster-config-file", `${path}/nodes-${port}.conf`],
    ...["--cluster-node-timeout", NODE_TIMEOUT_MS, "--repl-diskless-sync-delay", 0],
  ];
  const servers = await Promise.all(ports.map((port) => startServer(port, options(port))));
  const hosts = ports.map((port) => `${HOST}:${port}`);
  const args = ["--cluster", "create", ...hosts, "--cluster-replicas", "1", "--cluster-yes"];
  const created = guarded(spawn("redis-cli", args, { stdio: "ignore" }));
  await new Promise((resolve) => created.once("exit", resolve));
  for (const server of servers) {
    const state = () => server.command("CLUSTER", "NODES");
    const isWhole = (nodes) => nodes.match(/ connected 0-| connected \d+-/g)?.length === 3 && nodes.match(/slave /g)?.length === 3;
    await until(state, isWhole, "the cluster", STARTED_MS);
    await until(() => server.command("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok"), "the cluster", STARTED_MS);
    // A replica is named once it has the data of its master. The next ping tells the others, and they ping each other at
    // least every half of `cluster-node-timeout`.
    const hasReplicas = (slots) => slots.every((entry) => entry.length > 3);
    await until(() => server.command("CLUSTER", "SLOTS"), hasReplicas, "the replicas", STARTED_MS + NODE_TIMEOUT_MS / 2);
  }
  return new Cluster(servers);
}
