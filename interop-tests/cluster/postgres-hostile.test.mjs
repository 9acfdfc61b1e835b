// Hostile notifications and attachments on the channels of the Postgres adapter, and the emitter of Node.js.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Emitter } from "@socket.io/postgres-emitter";
import { next, settled, until } from "../official/helpers.mjs";
import { heardBy, meet, startNode } from "./fleet.mjs";
import { hostile } from "./heartbeats-hostile.mjs";

const { broker, nodes } = await hostile("postgres");

describe("references and emitters, postgres", { concurrency: false }, () => {
  test("references to no attachment", async (t) => {
    const [a, b] = await meet(t, nodes);
    const before = (await nodes[0].status()).malformed;
    const ids = ["1000000", "-1", "", "x", "9".repeat(30), "1;", 1.5, null, [], {}, true, Number.MAX_SAFE_INTEGER];
    for (const attachmentId of ids) await broker.notify(`socket.io#${a.nsp}`, JSON.stringify({ uid: "uid", type: 3, attachmentId }));
    await until(() => nodes[0].status(), ({ malformed }) => malformed - before === ids.length, "all are counted");
    const event = next(b, "x");
    await a.emitWithAck("cast", { to: [b.id] }, "x", 1);
    assert.deepEqual(await event, [1]);
    assert.equal((await nodes[0].status()).disconnections, 0);
  });

  test("old attachments are deleted, young ones are not", async (t) => {
    const count = async () => (await broker.query("SELECT count(*)::int AS count FROM swept_attachments")).rows[0].count;
    const options = { ADAPTER: "postgres", ...broker.env, KEY: "swept", CLEANUP_INTERVAL_MS: "1000" };
    const node = await startNode("ours", options);
    t.after(() => node.end("SIGKILL"));
    const insert = (age) => broker.query(`INSERT INTO swept_attachments (created_at) VALUES (now() - interval '${age}')`);
    await insert("1 hour");
    await insert("-1 hour");
    await until(count, (rows) => rows === 1, "one row is left");
  });

  test("the emitter of Node.js", async (t) => {
    const [a, b] = await meet(t, nodes);
    await b.emitWithAck("join", "room");
    const events = [a, b].map(heardBy);
    // When a query fails, the emitter publishes an event `error`, which fails too, and so on without end. At the end of the
    // file, a query may fail.
    const query = (...args) => broker.query(...args).catch(() => new Promise(() => {}));
    const emitter = new Emitter({ query }, a.nsp);
    const taken = async () => {
      // Like the events before, with an attachment. Other ones would overtake them.
      emitter.emit("end", Buffer.from([1]));
      await until(() => settled(a, b), () => events.every(({ has }) => has("end")), "the end");
      return events.map(({ take }) => take().filter(([name]) => name !== "end"));
    };
    const values = [1, "😀", null, { deep: [Buffer.from([1, 2])] }, "x".repeat(9_000)];
    for (const args of [[1, null], values, ["x".repeat(20_000)]]) {
      emitter.emit("in", ...args);
      assert.deepEqual(await taken(), [[["in", ...args]], [["in", ...args]]]);
      emitter.to("room").emit("in", ...args);
      assert.deepEqual(await taken(), [[], [["in", ...args]]]);
      emitter.except("room").emit("in", ...args);
      assert.deepEqual(await taken(), [[["in", ...args]], []]);
    }
    emitter.serverSideEmit("note", 1);
    for (const socket of [a, b]) {
      assert.deepEqual(await until(() => socket.emitWithAck("sse-log"), ({ length }) => length > 0), [["note", 1]]);
    }
    emitter.in(b.id).socketsJoin("joined");
    await until(() => a.emitWithAck("members", ["joined"]), (ids) => ids.join() === b.id);
    emitter.socketsLeave("joined");
    await until(() => a.emitWithAck("members", ["joined"]), ({ length }) => length === 0);
    assert.equal(await a.emitWithAck("servers"), 2);
    const gone = next(b, "disconnect");
    emitter.in("room").disconnectSockets();
    await gone;
  });
});
