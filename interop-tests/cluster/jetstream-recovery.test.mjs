// Connection state recovery with JetStream, and what the stream may hold.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "nats";
import { settled, until } from "../official/helpers.mjs";
import { freshNamespace, meet, synced } from "./fleet.mjs";
import { JUNK, healthyPair } from "./hostile.mjs";
import { token } from "./nats-adapter.mjs";
import { comeBack, cut, recovery } from "./recovery.mjs";

const { broker, one, two } = await recovery("nats-jetstream");
const opts = { rooms: [], except: [], flags: {} };

async function jetstream(t) {
  const client = await connect({ servers: `127.0.0.1:${broker.port}`, reconnect: false });
  t.after(() => client.close());
  return client.jetstreamManager();
}

test("a client whose events are no longer in the stream is not recovered", async (t) => {
  const nsp = freshNamespace();
  const [a, b] = await meet(t, [one, two], nsp);
  await synced(b, a);
  const state = await cut(a, b);
  await b.emitWithAck("cast", {}, "missed");
  await (await jetstream(t)).streams.purge("socket-io");
  assert.equal((await comeBack(t, two, nsp, state).socket).recovered, false);
});

test("a stream that was deleted is created again", async (t) => {
  const manager = await jetstream(t);
  await manager.streams.delete("socket-io");
  await Promise.all((await broker.connections()).map((id) => broker.disconnect(id)));
  for (const node of [one, two]) await until(() => node.status(), ({ connected }) => connected, "connected");
  const nsp = freshNamespace();
  const [a, b] = await meet(t, [one, two], nsp);
  await synced(b, a);
  const state = await cut(a, b);
  await b.emitWithAck("cast", {}, "missed");
  const back = comeBack(t, two, nsp, state);
  assert.equal((await back.socket).recovered, true);
  await until(() => settled(b), () => back.events.some(([name]) => name === "missed"), "the missed event");
});

test("hostile messages in the stream", async (t) => {
  const { a, b, events, unharmed } = await healthyPair(t, [one, two]);
  const log = `socket.io.log.${token(a.nsp)}`;
  const of = (nsp, data) => JSON.stringify({ uid: "foreign", nsp, type: 3, data });
  const packet = { type: 2, data: ["hostile"] };
  const wrong = [{}, { packet }, { packet: {}, opts }, { packet, opts: [] }].map((data) => of(a.nsp, data));
  const junk = [...JUNK.filter(({ length }) => length < 1_000_000), ...wrong];
  for (const payload of [...junk, of("/other", { packet, opts })]) await broker.publish(log, payload);
  await broker.publish(log, of(a.nsp, { packet: { type: 2, data: ["end"] }, opts }));
  await until(() => settled(a, b), () => events.every(({ has }) => has("end")), "the end");
  events.forEach(({ drop }) => drop("end"));
  for (const count of await unharmed()) assert.ok(count >= junk.length / 2, `${count} of ${junk.length}`);
});
