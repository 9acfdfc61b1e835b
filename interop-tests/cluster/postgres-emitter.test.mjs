// Our emitter for Postgres: long messages, options, order, and what it reports when Postgres fails.
import assert from "node:assert/strict";
import { test } from "node:test";
import { next, settled, until } from "../official/helpers.mjs";
import { startEmitter } from "./emitters.mjs";
import { heardBy, meet, startFleet } from "./fleet.mjs";
import { startPostgres } from "./postgres.mjs";

const postgres = await startPostgres();
const KEY = "emitted";
const options = { ADAPTER: "postgres", KEY, ...postgres.env };
const nodes = await startFleet(postgres, options, ["ours", "node"]);
const { send, tried } = startEmitter(options);
const rows = async () => (await postgres.query(`SELECT count(*)::int AS count FROM ${KEY}_attachments`)).rows[0].count;

test("messages around the longest notification arrive in order", async (t) => {
  const sockets = await meet(t, nodes);
  const [a, b] = sockets;
  const events = sockets.map(heardBy);
  const before = await rows();
  const expected = [];
  for (let length = 7_800; length <= 8_000; length += 4) expected.push(["long", "x".repeat(length)]);
  for (const [event, ...args] of expected) await send({ nsp: a.nsp, event, args });
  // Servers of Node.js read attachments while they handle what follows.
  for (const [i, { take }] of events.entries()) {
    const heard = [];
    await until(() => settled(a, b), () => heard.push(...take()) && heard.length >= expected.length, "all arrive");
    const byLength = ([, x], [, y]) => x.length - y.length;
    assert.deepEqual(nodes[i].kind === "node" ? heard.sort(byLength) : heard, expected);
  }
  const saved = (await rows()) - before;
  assert(saved > 0 && saved < expected.length, `${saved} of ${expected.length} are attachments`);
});

test("1,000 events arrive in order", async (t) => {
  const sockets = await meet(t, nodes);
  const [{ nsp }] = sockets;
  const events = sockets.map(heardBy);
  const expected = Array.from({ length: 1_000 }, (_, i) => ["n", i]);
  for (const [event, ...args] of expected) await send({ nsp, event, args });
  await send({ nsp, event: "end" });
  await until(() => settled(...sockets), () => events.every(({ has }) => has("end")), "the end");
  for (const { take } of events) assert.deepEqual(take(), [...expected, ["end"]]);
});

test("the slash of a namespace may be left out", async (t) => {
  const sockets = await meet(t, nodes);
  const arrived = sockets.map((socket) => next(socket, "in"));
  await send({ nsp: sockets[0].nsp.slice(1), event: "in", args: [1] });
  assert.deepEqual(await Promise.all(arrived), [[1], [1]]);
});

test("a message that Postgres refuses is an error, and the next one is sent", async (t) => {
  const { send, tried } = startEmitter({ ...postgres.env, ADAPTER: "postgres", KEY: "without_table" });
  assert.equal(await tried({ event: "in", bytes: [1] }), "Postgres has refused the message");
  await send({ event: "in", args: [1] });
});

test("an emitter whose connection has ended connects again", async (t) => {
  const [a] = await meet(t, nodes);
  const listed = async () => {
    const { rows } = await postgres.query("SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_notify%' AND pid <> pg_backend_pid()");
    return rows.map(({ pid }) => pid);
  };
  await send({ nsp: a.nsp, event: "before" });
  const ended = await listed();
  for (const pid of ended) await postgres.disconnect(pid);
  // The servers connect again.
  await until(listed, (pids) => !pids.some((pid) => ended.includes(pid)), "the connections have ended");
  const got = next(a, "after");
  // The emitter may not have noticed the end yet.
  const answer = await tried({ nsp: a.nsp, event: "after" });
  if (answer !== "ok") assert.equal(answer, "Postgres has not confirmed the message");
  await send({ nsp: a.nsp, event: "after" });
  await got;
});

test("an emitter reports that Postgres is away, and works when it is back", async (t) => {
  const sockets = await meet(t, nodes);
  const { nsp } = sockets[0];
  await send({ nsp, event: "before" });
  await postgres.freeze();
  assert.equal(await tried({ nsp, event: "frozen" }), "Postgres has not confirmed the message");
  postgres.thaw();
  await postgres.kill();
  assert.equal(await tried({ nsp, event: "away" }), "Postgres cannot be reached");
  await postgres.start();
  await send({ nsp, event: "back" });
});
