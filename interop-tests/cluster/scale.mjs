// Measures many servers on one broker: what an event costs the broker and each server, and what they keep in memory.
//
// `cargo build --release -p interop-tests --bin cluster-node && node interop-tests/cluster/scale.mjs`
//
// `SERVERS=10,30` and `MODES=redis,nats` select what is measured. Each mode takes half a minute for each number of servers.
// Every client is in a room with one client of another server. Every event must reach its recipients.
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { io } from "socket.io-client";
import { until, within } from "../official/helpers.mjs";
import { startNode } from "./fleet.mjs";
import { HOST, cpuTime, freePort, guarded, memory } from "./processes.mjs";

const SERVERS = (process.env.SERVERS ?? "10,30").split(",").map(Number);
const MODES = (process.env.MODES ?? "redis,redis-sharded,redis-streams,nats").split(",");
const SECONDS = Number(process.env.SECONDS ?? 6);
const CLIENTS_OF_EACH = 10;
const TO_ROOMS_PER_SECOND = 400;
const TO_ALL_PER_SECOND = 10;
const PAYLOAD = { from: "anna", read: false, text: "Shall we meet at the station, or do you come by bus?", time: 1789456123 };

async function startRedis() {
  const port = await freePort();
  const options = ["--port", port, "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", "/tmp"];
  const { pid } = guarded(spawn("redis-server", options.map(String), { stdio: "ignore" }));
  const url = `redis://${HOST}:${port}`;
  const client = createClient({ url, socket: { reconnectStrategy: 20 } }).on("error", () => {});
  await within(client.connect(), "Redis responds");
  const look = async () => {
    const info = Object.fromEntries((await client.info()).split("\r\n").map((line) => line.split(":")));
    const subscribers = (await client.sendCommand(["CLIENT", "LIST", "TYPE", "PUBSUB"])).trim().split("\n");
    const counts = (line) => ["sub", "psub", "ssub"].map((name) => new RegExp(` ${name}=(\\d+)`).exec(line)?.[1] ?? 0);
    return {
      in: Number(info.total_net_input_bytes),
      out: Number(info.total_net_output_bytes),
      subscriptions: subscribers.flatMap(counts).reduce((sum, count) => sum + Number(count), 0),
    };
  };
  return { pid, look, env: { REDIS_URL: url }, close: () => client.destroy() };
}

async function startNats() {
  const [port, monitor] = [await freePort(), await freePort()];
  const options = ["-a", HOST, "-p", port, "-m", monitor];
  const env = { PATH: `${process.env.PATH}:/usr/sbin` };
  const { pid } = guarded(spawn("nats-server", options.map(String), { stdio: "ignore", cwd: "/", env }));
  const varz = () => fetch(`http://${HOST}:${monitor}/varz`).then((response) => response.json());
  await until(() => varz().catch(() => {}), Boolean, "NATS responds");
  const look = async () => {
    const state = await varz();
    return { in: state.in_bytes, out: state.out_bytes, subscriptions: state.subscriptions };
  };
  return { pid, look, env: { NATS_URL: `nats://${HOST}:${port}` }, close: () => {} };
}

/** Connects a client, which counts the events that it receives. */
async function connect(server, room) {
  const socket = io(server.url, { transports: ["websocket"], forceNew: true, reconnection: false });
  const client = { socket, room, received: 0 };
  socket.on("news", () => client.received++);
  await within(new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject)), "connect", 20_000);
  await socket.emitWithAck("join", room);
  return client;
}

/** Returns clients of which each is in a room with a client of another server. */
async function connectAll(nodes) {
  const half = (nodes.length * CLIENTS_OF_EACH) / 2;
  const clients = [];
  for (let i = 0; i < 2 * half; i++) {
    clients.push(await connect(nodes[Math.floor(i / CLIENTS_OF_EACH)], `room-${i % half}`));
  }
  return clients;
}

/** Calls `send` with the numbers of events at a rate. Returns how many there were. */
async function paced(perSecond, send) {
  const [start, total] = [performance.now(), Math.round(perSecond * SECONDS)];
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond));
    while (sent < due) send(sent++);
    await sleep(1);
  }
  return total;
}

/** Measures the processes while events are sent, until all are received. */
async function during(broker, nodes, clients, send) {
  const pids = nodes.map((node) => node.child.pid);
  const state = async () => ({
    at: performance.now() / 1000,
    broker: await cpuTime(broker.pid),
    servers: (await Promise.all(pids.map(cpuTime))).reduce((sum, time) => sum + time) / pids.length,
    ...(await broker.look()),
  });
  const count = () => clients.reduce((sum, { received }) => sum + received, 0);
  const [before, received] = [await state(), count()];
  const { events, deliveries } = await send();
  await until(async () => (await sleep(20), count() - received), (got) => got >= deliveries, `${deliveries} deliveries`, 20_000);
  const after = await state();
  if (count() - received !== deliveries) throw new Error(`${count() - received} deliveries instead of ${deliveries}`);
  const seconds = after.at - before.at;
  const perSecond = (name) => (after[name] - before[name]) / seconds;
  const figures = Object.fromEntries(["broker", "servers", "in", "out"].map((name) => [name, perSecond(name)]));
  return { events: events / seconds, ...figures };
}

const memories = [];

/** Prints the figures of a number of servers on one broker. */
async function measure(mode, count) {
  const broker = await (mode === "nats" ? startNats() : startRedis());
  const environment = { ADAPTER: mode, TOKIO_WORKER_THREADS: "1", RUST_LOG: "error", ...broker.env };
  const nodes = [];
  while (nodes.length < count) nodes.push(await startNode("ours", environment, 20_000));
  const empty = await Promise.all(nodes.map((node) => memory(node.child.pid)));
  const clients = await connectAll(nodes);
  await sleep(500);
  const { subscriptions } = await broker.look();

  const rest = await during(broker, nodes, clients, async () => (await sleep(1000 * SECONDS), { events: 0, deliveries: 0 }));
  const toRooms = await during(broker, nodes, clients, async () => {
    const events = await paced(TO_ROOMS_PER_SECOND, (i) => {
      const { socket, room } = clients[(i * 7) % clients.length];
      socket.emit("cast", { via: "socket", to: [room] }, "news", PAYLOAD);
    });
    return { events, deliveries: events };
  });
  const toAll = await during(broker, nodes, clients, async () => {
    const events = await paced(TO_ALL_PER_SECOND, (i) => {
      clients[(i * 7) % clients.length].socket.emit("cast", {}, "news", PAYLOAD);
    });
    return { events, deliveries: events * clients.length };
  });

  const row = (what, values) => console.log(`| ${[mode, count, what, ...values].join(" | ")} |`);
  const micros = (seconds) => (seconds * 1e6).toFixed(1);
  for (const [what, load] of [["to a room", toRooms], ["to all", toAll]]) {
    const of = (name) => (load[name] - rest[name]) / load.events;
    row(what, [micros(of("broker")), micros(of("servers")), of("in").toFixed(0), of("out").toFixed(0)]);
  }
  row("at rest", [micros(rest.broker), micros(rest.servers), rest.in.toFixed(0), rest.out.toFixed(0)]);
  const server = empty.reduce((sum, kilobytes) => sum + kilobytes) / count;
  memories.push(`${mode}, ${count} servers: ${subscriptions} subscriptions; broker ${await memory(broker.pid)} kB, server ${server.toFixed(0)} kB`);
  clients.forEach(({ socket }) => socket.disconnect());
  broker.close();
  for (const node of nodes) node.child.kill("SIGKILL");
  process.kill(broker.pid, "SIGKILL");
}

console.log("For one event, or for one second at rest:\n");
console.log("| mode | servers | events | broker, µs | one server, µs | bytes to the broker | bytes from the broker |");
console.log("|---|--:|---|--:|--:|--:|--:|");
for (const mode of MODES) for (const count of SERVERS) await measure(mode, count);
console.log(`\nWith clients connected; the memory of a server is without clients:\n\n${memories.join("\n")}`);
process.exit();
