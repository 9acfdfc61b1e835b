// Compares the CPU time of a session over long-polling at its own server with one whose requests reach another server.
//
// `cargo build --release -p interop-tests --bin cluster-node && node interop-tests/cluster/forwarding-cost.mjs`
import { Agent, request } from "node:http";
import { forwarding, startNode } from "./fleet.mjs";
import { HOST, cpuTime } from "./processes.mjs";

const ECHOS = 10_000;

const start = async () =>
  startNode("ours", { ADAPTER: "none", TOKIO_WORKER_THREADS: "1", ...(await forwarding()) });

/** Sends a request over the connection of an agent, and resolves with the body of the response. */
const send = (agent, port, path, body) =>
  new Promise((resolve, reject) => {
    const headers = body ? { "content-type": "text/plain;charset=UTF-8", "content-length": body.length } : {};
    const method = body ? "POST" : "GET";
    const sent = request({ agent, host: HOST, port, method, path, headers }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    });
    sent.on("error", reject);
    sent.end(body);
  });

/** Opens a session at one server, and returns a function that has events echoed through another. */
async function client(owner, through) {
  const [get, post] = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  const open = "/socket.io/?EIO=4&transport=polling";
  const { sid } = JSON.parse((await send(get, owner.port, open)).slice(1));
  const path = `${open}&sid=${sid}`;
  await send(post, through.port, path, "40");
  await send(get, through.port, path);
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const polled = send(get, through.port, path);
      await send(post, through.port, path, `42${i}["echo",1]`);
      await polled;
    }
  };
}

/** Returns the CPU time of both servers for an echo, in microseconds. */
async function measure(owner, through, count) {
  const clients = await Promise.all(Array.from({ length: count }, () => client(owner, through)));
  const pids = [...new Set([owner, through])].map(({ child }) => child.pid);
  const total = async () => (await Promise.all(pids.map(cpuTime))).reduce((sum, time) => sum + time);
  await Promise.all(clients.map((echo) => echo(20)));
  const before = await total();
  const each = Math.ceil(ECHOS / count);
  await Promise.all(clients.map((echo) => echo(each)));
  return (1e6 * ((await total()) - before)) / (each * count);
}

const [owner, other] = [await start(), await start()];
for (const count of [1, 100, 500]) {
  const rounds = [];
  for (let round = 0; round < 3; round++) {
    const [local, forwarded] = [await measure(owner, owner, count), await measure(owner, other, count)];
    rounds.push({ local, forwarded, ratio: forwarded / local });
  }
  rounds.sort((a, b) => a.ratio - b.ratio);
  const { local, forwarded, ratio } = rounds[1];
  console.log(`${count} clients: ${local.toFixed(1)} µs here, ${forwarded.toFixed(1)} µs forwarded, ${ratio.toFixed(2)} x`);
}
process.exit();
