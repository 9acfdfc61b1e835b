// Servers that freeze and die, and a broker that goes away and returns.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { next, settled, until, within } from "../official/helpers.mjs";
import { HEARTBEATS, hasHeartbeats, hasNode, plannedBroker, startBroker } from "./brokers.mjs";
import { REQUESTS_TIMEOUT, acquainted, freshNamespace, heard, heardBy, join, meet, startFleet, startNode } from "./fleet.mjs";

/** The time within which the servers work together again after the broker is back. */
const RECOVERY_MS = 3_000;
/** The same with servers of Node.js, whose Postgres adapter waits for up to 3 s before it connects. */
const NODE_RECOVERY_MS = 8_000;
/** The connections of each server. Streams are read on one of their own. */
const CONNECTIONS = { "redis-streams": 3, nats: 1, "nats-jetstream": 1 };

async function timed(promise) {
  const begin = performance.now();
  const result = await promise;
  return [result, performance.now() - begin];
}

/** Defines the tests for an adapter. */
export async function failures(adapter, env = {}) {
  const heartbeats = hasHeartbeats(adapter) && HEARTBEATS;
  const kinds = hasNode(adapter) ? ["ours", "node"] : ["ours"];
  const options = (broker) => ({ ADAPTER: adapter, ...broker.env, ...heartbeats, ...env });

  /** Returns servers that end with the test. */
  async function start(t, broker, ...kinds) {
    const nodes = await Promise.all(kinds.map((kind) => startNode(kind, options(broker))));
    t.after(() => Promise.all(nodes.map((node) => (node.thaw(), node.end("SIGKILL")))));
    return nodes;
  }

  describe(`servers that fail, ${adapter}`, { concurrency: 4 }, async () => {
    const broker = await startBroker(adapter);

    for (const kind of kinds) {
      test(`a frozen server (${kind}): the responses of the others, and an error, at the timeout`, async (t) => {
        const nodes = await start(t, broker, "ours", "ours", kind);
        const sockets = await meet(t, nodes);
        const [a, b, c] = sockets;
        sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
        await nodes[2].freeze();
        const [[fetched, fetchMs], [events, eventsMs], [acks, acksMs], [short, shortMs]] = await Promise.all([
          timed(a.emitWithAck("fetch", {})),
          timed(a.emitWithAck("sse-ack", "ask-name")),
          timed(a.emitWithAck("cast-ack", { timeout: 700 }, "ask")),
          timed(a.emitWithAck("fetch", { timeout: 300 })),
        ]);
        assert.equal(typeof fetched.error, "string");
        assert.deepEqual(fetched.sockets.map(({ id }) => id), [a.id, b.id].sort());
        assert.equal(typeof events.error, "string");
        assert.deepEqual(events.responses, [nodes[1].name]);
        assert.deepEqual([acks.timedOut, acks.responses.sort()], [true, [0, 1]]);
        assert.equal(typeof short.error, "string");
        assert.deepEqual(short.sockets.length, 2);
        for (const [ms, timeout] of [[fetchMs, REQUESTS_TIMEOUT], [eventsMs, REQUESTS_TIMEOUT], [acksMs, 700], [shortMs, 300]]) {
          assert.ok(ms >= timeout - 50 && ms < timeout + 800, `${ms} of ${timeout}`);
        }
        nodes[2].thaw();
        await acquainted(a, c);
        assert.equal((await a.emitWithAck("fetch", {})).error, null);
      });
    }

    test("a server that is killed during requests", async (t) => {
      const nodes = await start(t, broker, "ours", "ours", "ours");
      const [a, b, c] = await meet(t, nodes);
      b.on("ask", (ack) => ack("b"));
      const asked = next(c, "ask");
      const events = a.emitWithAck("sse-ack", "ask-later", 500);
      await settled(a);
      const acks = a.emitWithAck("cast-ack", { timeout: 800, via: "socket" }, "ask");
      await asked;
      await nodes[2].end("SIGKILL");
      const fetched = a.emitWithAck("fetch", {});
      assert.deepEqual(await acks, { timedOut: true, responses: ["b"] });
      const { error, responses } = await events;
      assert.equal(typeof error, "string");
      assert.deepEqual(responses, [nodes[1].name]);
      assert.deepEqual((await fetched).sockets.map(({ id }) => id), [a.id, b.id].sort());
      // Redis notices the end of the server at once, the other servers when its heartbeats are missing.
      if (heartbeats) await until(() => a.emitWithAck("servers"), (count) => count === 2);
      const [again, ms] = await timed(a.emitWithAck("fetch", {}));
      assert.equal(again.error, null);
      assert.ok(ms < REQUESTS_TIMEOUT / 2, `${ms}`);
      await until(() => a.emitWithAck("servers"), (count) => count === 2);
    });

    if (heartbeats) {
      test("requests to a server that is killed end when its heartbeats are missing", async (t) => {
        const env = { ...options(broker), REQUESTS_TIMEOUT_MS: "60000" };
        const nodes = await Promise.all(["ours", "ours", "ours"].map((kind) => startNode(kind, env)));
        t.after(() => Promise.all(nodes.map((node) => node.end("SIGKILL"))));
        const [a, b, c] = await meet(t, nodes);
        for (const socket of [a, b]) socket.on("ask", (ack) => ack(socket.id));
        await nodes[2].freeze();
        const requests = [
          a.emitWithAck("fetch", {}),
          a.emitWithAck("sse-ack", "ask-name"),
          a.emitWithAck("cast-ack", { timeout: 60_000, except: [c.id] }, "ask"),
        ];
        await settled(a);
        await nodes[2].end("SIGKILL");
        const [[fetched, events, acks], ms] = await timed(Promise.all(requests));
        assert.ok(ms < 5_000, `${ms}`);
        assert.equal(typeof fetched.error, "string");
        assert.deepEqual(fetched.sockets.map(({ id }) => id), [a.id, b.id].sort());
        assert.equal(typeof events.error, "string");
        assert.deepEqual(events.responses, [nodes[1].name]);
        assert.deepEqual(acks.responses.sort(), [a.id, b.id].sort());
        assert.equal(await a.emitWithAck("servers"), 2);
      });
    }

    for (const other of kinds) {
      test(`SIGTERM: exit status 0 within 2 s, clients are told, the others (${other}) count it no more`, async (t) => {
        const [one, two] = await start(t, broker, other, "ours");
        const [a, b] = await meet(t, [one, two]);
        await b.emitWithAck("join", "room");
        const gone = next(b, "disconnect");
        const [status, ms] = await timed(two.end());
        assert.equal(status, 0);
        assert.ok(ms < 2_000, `${ms}`);
        await gone;
        await until(() => a.emitWithAck("servers"), (count) => count === 1);
        assert.deepEqual(await a.emitWithAck("members", []), [a.id]);
      });
    }

    test("SIGTERM while a request of another server waits", async (t) => {
      const [one, two] = await start(t, broker, "ours", "ours");
      const [a, b] = await meet(t, [one, two]);
      const asked = next(b, "ask");
      const acks = a.emitWithAck("cast-ack", { timeout: 500, via: "socket" }, "ask");
      await asked;
      const [status, ms] = await timed(two.end());
      assert.equal(status, 0);
      assert.ok(ms < 2_000, `${ms}`);
      assert.deepEqual(await acks, { timedOut: true, responses: [] });
    });
  });

  describe(`connections that fail, ${adapter}`, { concurrency: 4 }, () => {
    for (const other of kinds) {
      test(`each connection to the broker is killed (${other})`, async (t) => {
        const broker = await startBroker(adapter);
        const ms = other === "node" ? NODE_RECOVERY_MS : RECOVERY_MS;
        const nodes = await start(t, broker, "ours", other);
        const [a, b] = await meet(t, nodes);
        await b.emitWithAck("join", "rb");
        await a.emitWithAck("join", "ra");
        for (const id of await broker.connections()) {
          await broker.disconnect(id);
          await heard(a, b, { to: ["rb"] }, ms);
          await heard(b, a, { to: ["ra"] }, ms);
          await heard(a, b, {}, ms);
          await until(() => a.emitWithAck("servers"), (count) => count === 2, "both servers", ms);
          const whole = ({ error, sockets }) => error === null && sockets.length === 2;
          await until(() => a.emitWithAck("fetch", {}), whole, "both sockets", ms);
        }
        // After the subscriptions are established again, each event arrives once.
        const events = heardBy(b);
        await a.emitWithAck("cast-burst", { to: ["rb"] }, "n", 0, 100);
        await heard(a, b, { to: ["rb"] });
        assert.deepEqual(events.take(), Array.from({ length: 100 }, (_, i) => ["n", i]));
      });
    }

    test("a connection that is killed while nothing is sent loses no message", async (t) => {
      const broker = await startBroker(adapter);
      const [one, two] = await start(t, broker, "ours", "ours");
      const [a, b] = await meet(t, [one, two]);
      for (let i = 0; i < 5; i++) {
        const before = new Set(await broker.connections());
        for (const id of before) await broker.disconnect(id);
        const count = 2 * (CONNECTIONS[adapter] ?? 2);
        await until(
          () => broker.connections(),
          (ids) => ids.filter((id) => !before.has(id)).length === count,
          "new connections",
          RECOVERY_MS,
        );
        for (const node of [one, two]) {
          await until(() => node.status(), ({ connected }) => connected, "connected", RECOVERY_MS);
        }
        const event = next(b, "kept");
        await a.emitWithAck("cast", { to: [b.id] }, "kept", i);
        assert.deepEqual(await event, [i]);
      }
    });

    test("the broker is killed and started again", async (t) => {
      const broker = await startBroker(adapter);
      const nodes = await start(t, broker, "ours", "ours", kinds.at(-1));
      const [a, b, c] = await meet(t, nodes);
      const local = await join(t, nodes[0], a.nsp);
      local.on("ask", (ack) => ack("local"));
      for (const socket of [a, b, c]) await socket.emitWithAck("join", "room");
      await heard(a, c, { to: ["room"] });
      const [d] = await Promise.all([join(t, nodes[0], freshNamespace())]);
      for (let round = 0; round < 2; round++) {
        await broker.kill();
        const event = next(local, "here");
        const [, castMs] = await timed(a.emitWithAck("cast", {}, "here", round));
        assert.deepEqual(await event, [round]);
        assert.ok(castMs < 300, `cast in ${castMs}`);
        await a.emitWithAck("join-cast", {}, `new-${round}`, "joined");
        assert.ok((await a.emitWithAck("rooms")).includes(`new-${round}`));
        const requests = {
          fetch: a.emitWithAck("fetch", {}),
          acks: a.emitWithAck("cast-ack", { timeout: 4_000, via: "socket" }, "ask"),
          events: a.emitWithAck("sse-ack", "ask-name"),
          servers: a.emitWithAck("servers"),
          remote: a.emitWithAck("remote", b.id, "emit", "x"),
          members: a.emitWithAck("members", []),
          sse: a.emitWithAck("sse", "note", round),
        };
        const [results, ms] = await timed(Promise.all(Object.values(requests)));
        assert.ok(ms < 500, `requests fail in ${ms}`);
        const [fetched, acks, events, servers, remote, members] = results;
        assert.equal(typeof fetched.error, "string");
        assert.deepEqual(fetched.sockets.map(({ id }) => id), [a.id, local.id].sort());
        assert.deepEqual(acks, { timedOut: true, responses: ["local"] });
        assert.equal(typeof events.error, "string");
        assert.deepEqual([events.responses, servers, remote], [[], 1, null]);
        assert.deepEqual(members, [a.id, local.id].sort());
        assert.equal((await nodes[0].status()).connected, false);
        // Rooms and namespaces of the time without the broker are there afterwards.
        await b.emitWithAck("join", `meanwhile-${round}`);
        const e = await join(t, nodes[1], d.nsp);

        await broker.start();
        await Promise.all([
          heard(a, b, { to: ["room"] }, RECOVERY_MS),
          heard(b, a, { to: ["room"] }, RECOVERY_MS),
          heard(a, b, { to: [`meanwhile-${round}`] }, RECOVERY_MS),
          heard(d, e, {}, RECOVERY_MS),
          heard(a, c, { to: ["room"] }, NODE_RECOVERY_MS),
          heard(c, a, {}, NODE_RECOVERY_MS),
        ]);
        const whole = ({ error, sockets }) => error === null && sockets.length === 4;
        await until(() => a.emitWithAck("fetch", {}), whole, "all sockets", RECOVERY_MS);
        assert.equal(await a.emitWithAck("servers"), 3);
        assert.equal((await a.emitWithAck("sse-ack", "ask-name")).responses.length, 2);
        e.disconnect();
      }
      const { disconnections } = await nodes[0].status();
      assert.equal(disconnections, 2);
    });

    test("the broker is killed during requests", async (t) => {
      const broker = await startBroker(adapter);
      const [one, two] = await start(t, broker, "ours", "ours");
      const [a, b] = await meet(t, [one, two]);
      const asked = next(b, "ask");
      const acks = a.emitWithAck("cast-ack", { timeout: 600, via: "socket" }, "ask");
      await asked;
      const events = a.emitWithAck("sse-ack", "ask-later", 300);
      await settled(a);
      await broker.kill();
      assert.deepEqual(await acks, { timedOut: true, responses: [] });
      assert.equal(typeof (await events).error, "string");
    });

    test("a server is started while the broker is away", async (t) => {
      const broker = await plannedBroker(adapter);
      const [[one, two], ms] = await timed(start(t, broker, "ours", "ours"));
      assert.ok(ms > 2_900 && ms < 6_000, `${ms}`);
      const nsp = freshNamespace();
      const [a, b] = await Promise.all([one, two].map((node) => join(t, node, nsp)));
      await a.emitWithAck("cast", {}, "x");
      assert.deepEqual(await a.emitWithAck("members", []), [a.id]);
      await broker.start();
      await heard(a, b, {}, RECOVERY_MS);
      await heard(b, a, {}, RECOVERY_MS);
      await until(() => a.emitWithAck("servers"), (count) => count === 2, "both servers", RECOVERY_MS);
      assert.equal(await two.end(), 0);
    });

    test("a frozen broker: local delivery goes on, requests end at their timeouts", async (t) => {
      const broker = await startBroker(adapter);
      const [one, two] = await start(t, broker, "ours", "ours");
      const [a, b] = await meet(t, [one, two]);
      const local = await join(t, one, a.nsp);
      await broker.freeze();
      const event = next(local, "here");
      await a.emitWithAck("cast", {}, "here", 1);
      assert.deepEqual(await event, [1]);
      const [fetched, ms] = await timed(a.emitWithAck("fetch", {}));
      assert.equal(typeof fetched.error, "string");
      assert.equal(fetched.sockets.length, 2);
      assert.ok(ms < REQUESTS_TIMEOUT + 500, `${ms}`);
      broker.thaw();
      await heard(a, b, {}, RECOVERY_MS);
      const whole = ({ error, sockets }) => error === null && sockets.length === 3;
      await until(() => a.emitWithAck("fetch", {}), whole, "all sockets", RECOVERY_MS);
    });

    test("200 MB of broadcasts while the broker is away: bounded memory, and local delivery", async (t) => {
      const broker = await startBroker(adapter);
      const [one, two] = await start(t, broker, "ours", "ours");
      const [a, b] = await meet(t, [one, two]);
      const local = await join(t, one, a.nsp);
      await broker.kill();
      const bytes = Buffer.alloc(1_000_000);
      for (let i = 0; i < 10; i++) await a.emitWithAck("cast-burst", { to: ["nobody"] }, "big", 0, 20, bytes);
      assert.ok((await one.memory()) < 190_000_000, `${await one.memory()}`);
      const { dropped, queuedBytes } = await one.status();
      assert.ok(dropped > 130 && queuedBytes < 70_000_000, `${dropped} ${queuedBytes}`);
      const event = next(local, "here");
      await a.emitWithAck("cast", {}, "here", 1);
      assert.deepEqual(await event, [1]);
      await broker.start();
      await heard(a, b, {}, 10_000);
      await until(() => one.status(), ({ queuedBytes }) => queuedBytes === 0, "an empty queue");
    });

    test("connections that silently lose everything are replaced", async (t) => {
      const broker = await startBroker(adapter);
      const proxy = await broker.proxy();
      const [[one], [two]] = await Promise.all([start(t, proxy, "ours"), start(t, broker, "ours")]);
      const [a, b] = await meet(t, [one, two]);
      for (const socket of [a, b]) await socket.emitWithAck("join", "room");
      await heard(b, a, { to: ["room"] });
      const local = await join(t, one, a.nsp);
      proxy.cut();
      const event = next(local, "here");
      await a.emitWithAck("cast", {}, "here");
      await event;
      const isWhole = ({ error, sockets }) => error === null && sockets.length === 3;
      assert.ok(!isWhole(await a.emitWithAck("fetch", {})));
      // The watchdog asks every 5 s, and waits as long.
      await Promise.all([heard(b, a, { to: ["room"] }, 13_000), heard(a, b, { to: ["room"] }, 13_000)]);
      await until(() => a.emitWithAck("fetch", {}), isWhole, "all sockets", RECOVERY_MS);
    });

    test("SIGTERM while the broker is away", async (t) => {
      const broker = await startBroker(adapter);
      const [one] = await start(t, broker, "ours");
      const a = await join(t, one);
      await broker.kill();
      await a.emitWithAck("cast", {}, "x");
      const [status, ms] = await timed(within(one.end(), "the server ends"));
      assert.equal(status, 0);
      assert.ok(ms < 2_000, `${ms}`);
    });
  });
}
