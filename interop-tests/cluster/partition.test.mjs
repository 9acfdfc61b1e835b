// A network that drops all packets between one server and the broker, and heals. The kernel drops them, so neither side
// sees the end of a connection, and new connections are not answered. For a longer partition, set PARTITION_SECONDS.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { heard, join, meet, startFleet } from "./fleet.mjs";
import { settled, until } from "../official/helpers.mjs";
import { HEARTBEATS, hasHeartbeats, startBroker } from "./brokers.mjs";

const SECONDS = Number(process.env.PARTITION_SECONDS ?? 15);
/** The time within which a server notices that its broker is silent: the watchdog has two intervals of 5 s. */
const NOTICED_MS = 12_000;
/** The time within which all servers work together again. An attempt to connect takes up to 5 s. */
const HEALED_MS = 8_000;

const TABLE = `socketio_${process.pid}`;
const run = promisify(execFile);
const nft = (...rules) => run("/usr/sbin/nft", [rules.join("; ")]);
// Only the superuser may change the rules of the kernel.
const skip = process.getuid() !== 0 && "needs the rights of the superuser";
if (!skip) {
  await nft(`add table inet ${TABLE}`, `add chain inet ${TABLE} input { type filter hook input priority 0; }`);
  process.once("exit", () => execFileSync("/usr/sbin/nft", [`delete table inet ${TABLE}`]));
}

/** Drops all packets from and to a port, and returns a function that ends this. */
async function partition(port) {
  const chain = `${TABLE} port_${port}`;
  await nft(
    `add chain inet ${chain}`,
    `add rule inet ${chain} tcp dport ${port} drop`,
    `add rule inet ${chain} tcp sport ${port} drop`,
    `add rule inet ${TABLE} input jump port_${port}`,
  );
  return () => nft(`flush chain inet ${chain}`);
}

/** Returns the arguments of the events with this name that a socket receives. */
function numbers(socket, name) {
  const received = [];
  socket.on(name, (n) => received.push(n));
  return received;
}

const isOrdered = (list) => list.every((n, i) => i === 0 || list[i - 1] < n);

describe("partitions", { concurrency: true, skip }, () => {
  for (const adapter of ["redis", "redis-sharded", "redis-streams", "postgres", "nats", "nats-jetstream"]) {
    test(`a server that is cut off from the broker, ${adapter}`, async (t) => {
      const broker = await startBroker(adapter);
      const { env } = await broker.proxy();
      const [url] = Object.values(env);
      const options = { ADAPTER: adapter, ...(hasHeartbeats(adapter) && HEARTBEATS) };
      const [one] = await startFleet(broker, { ...options, ...env }, ["ours"]);
      const [two, three] = await startFleet(broker, options, ["ours", "ours"]);
      const [a, b, c] = await meet(t, [one, two, three]);
      const local = await join(t, one, a.nsp);
      const [fromA, fromB] = [[local, b].map((socket) => numbers(socket, "a")), [a, c].map((socket) => numbers(socket, "b"))];

      const heal = await partition(new URL(url).port);
      const [start, end] = [performance.now(), performance.now() + SECONDS * 1000];
      let count = 0;
      let noticed;
      await until(
        async () => {
          await Promise.all([a.emitWithAck("cast", {}, "a", count), b.emitWithAck("cast", {}, "b", count)]);
          count++;
          await settled(local, b, c);
          // Local delivery, and the other servers, do not wait.
          assert.equal(fromA[0].at(-1), count - 1);
          const { connected } = await one.status();
          if (!connected) noticed ??= performance.now() - start;
          await new Promise((resolve) => setTimeout(resolve, 20));
        },
        () => performance.now() >= end,
        "the partition",
        SECONDS * 1000 + 10_000,
      );
      assert.ok(noticed <= NOTICED_MS, `noticed after ${noticed} ms`);
      assert.equal(typeof (await a.emitWithAck("fetch", {})).error, "string");
      await until(() => settled(c), () => fromB[1].length === count, "all events of the other servers");

      await heal();
      const healed = performance.now();
      await Promise.all([heard(a, b, {}, HEALED_MS), heard(b, a, {}, HEALED_MS), heard(c, a, {}, HEALED_MS)]);
      const whole = ({ error, sockets }) => error === null && sockets.length === 4;
      await until(() => a.emitWithAck("fetch", {}), whole, "all sockets");
      assert.equal(await c.emitWithAck("servers"), 3);
      t.diagnostic(`noticed after ${Math.round(noticed)} ms, healed after ${Math.round(performance.now() - healed)} ms`);
      const all = Array.from({ length: count }, (_, i) => i);
      assert.deepEqual(fromA[0], all);
      assert.deepEqual(fromB[1], all);
      // Whatever has passed the partition arrives once and in order; a stream still has everything.
      assert.ok(isOrdered(fromA[1]) && isOrdered(fromB[0]));
      if (["redis-streams", "nats-jetstream"].includes(adapter)) assert.deepEqual(fromB[0], all);
    });
  }
});
