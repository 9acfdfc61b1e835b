// One server without an adapter: all commands work, and it is alone.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { next, settled, until } from "../official/helpers.mjs";
import { freshNamespace, heardBy, join, startFleet } from "./fleet.mjs";

const [ours, node] = await startFleet(undefined, { ADAPTER: "none" }, ["ours", "node"]);

for (const server of [ours, node]) {
  const three = (t, namespace = freshNamespace()) => Promise.all([1, 2, 3].map(() => join(t, server, namespace)));

  describe(server.kind, { concurrency: 4 }, () => {
    test("it says who it is", async (t) => {
      assert.equal(await (await fetch(`${server.url}/health`)).text(), "ok");
      const nsp = freshNamespace();
      const a = await join(t, server, nsp);
      const expected = { node: server.name, sid: a.id, nsp, transport: "websocket", recovered: false };
      assert.deepEqual(await a.emitWithAck("whoami"), expected);
      const { engine, sockets } = await a.emitWithAck("stats");
      assert.ok(engine >= 1);
      assert.equal(sockets, 1);
      const polling = await join(t, server, nsp, { transports: ["polling"] });
      assert.equal((await polling.emitWithAck("whoami")).transport, "polling");
      assert.equal((await polling.emitWithAck("stats")).sockets, 2);
    });

    test("echo, emit-me, rooms and data", async (t) => {
      const [a] = await three(t);
      assert.deepEqual(await a.emitWithAck("echo", { x: Buffer.from([1]) }), { x: Buffer.from([1]) });
      const mine = next(a, "mine");
      a.emit("emit-me", "mine", 1, null, Buffer.from([2]));
      assert.deepEqual(await mine, [1, null, Buffer.from([2])]);
      assert.equal(await a.emitWithAck("data-get"), null);
      await a.emitWithAck("data-set", { x: [1, null] });
      assert.deepEqual(await a.emitWithAck("data-get"), { x: [1, null] });
      await a.emitWithAck("join", "r");
      assert.deepEqual((await a.emitWithAck("rooms")).sort(), [a.id, "r"].sort());
      await a.emitWithAck("leave", "r");
      assert.deepEqual(await a.emitWithAck("rooms"), [a.id]);
    });

    test("broadcasts, with and without acknowledgements", async (t) => {
      const sockets = await three(t);
      const [a, b, c] = sockets;
      const events = sockets.map(heardBy);
      const cast = async (target) => {
        await a.emitWithAck("cast", target, "in");
        await settled(...sockets);
        return events.map(({ take }) => take().length);
      };
      await b.emitWithAck("join", "r");
      assert.deepEqual(await cast({}), [1, 1, 1]);
      assert.deepEqual(await cast({ via: "socket" }), [0, 1, 1]);
      assert.deepEqual(await cast({ to: ["r", c.id] }), [0, 1, 1]);
      assert.deepEqual(await cast({ except: ["r"], local: true }), [1, 0, 1]);
      assert.deepEqual(await cast({ volatile: true }), [1, 1, 1]);
      sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
      b.on("some", (ack) => ack("b"));
      const answers = await a.emitWithAck("cast-ack", { timeout: 4_000, via: "socket" }, "ask");
      assert.deepEqual([answers.timedOut, answers.responses.sort()], [false, [1, 2]]);
      const some = await a.emitWithAck("cast-ack", { timeout: 300, local: true }, "some");
      // In Node.js, a local broadcast with acknowledgements has no result.
      assert.deepEqual(some, { timedOut: true, responses: ["b"] });
    });

    test("sockets and rooms", async (t) => {
      const sockets = await three(t);
      const [a, b] = sockets;
      const ids = sockets.map(({ id }) => id).sort();
      assert.deepEqual(await a.emitWithAck("members", []), ids);
      const { error, sockets: found } = await a.emitWithAck("fetch", {});
      assert.deepEqual([error, found.map(({ id }) => id)], [null, ids]);
      await a.emitWithAck("join-cast", { via: "socket" }, "r", "joined");
      assert.deepEqual((await a.emitWithAck("members", ["r"])).length, 2);
      await a.emitWithAck("room-leave", "r", "r");
      assert.deepEqual(await a.emitWithAck("members", ["r"]), []);
      b.on("ask", (ack) => ack("b"));
      assert.deepEqual(await a.emitWithAck("remote", b.id, "ask", 4_000, "ask"), { timedOut: false, response: "b" });
      const gone = next(b, "disconnect");
      await a.emitWithAck("room-kick", { to: [b.id] }, false);
      await gone;
      await until(() => a.emitWithAck("members", []), ({ length }) => length === 2);
    });

    test("there are no other servers", async (t) => {
      const [a] = await three(t);
      assert.equal(await a.emitWithAck("servers"), 1);
      await a.emitWithAck("sse", "note", 1);
      assert.deepEqual(await a.emitWithAck("sse-log"), []);
      assert.deepEqual(await a.emitWithAck("sse-ack", "ask-name"), { error: null, responses: [] });
      assert.equal(await a.emitWithAck("all-rooms"), null);
    });

    test("bye and drop", async (t) => {
      for (const [event, reason, ...args] of [
        ["bye", "io server disconnect"],
        ["bye", "io server disconnect", true],
        ["drop", "transport close"],
      ]) {
        const a = await join(t, server);
        const gone = next(a, "disconnect");
        a.emit(event, ...args);
        assert.equal((await gone)[0], reason);
      }
    });

    test("unknown namespaces are refused", async (t) => {
      for (const nsp of ["/dyn-", "/dyn-1x", "/any-", "/other"]) {
        await assert.rejects(join(t, server, nsp), /Invalid namespace/);
      }
      for (const nsp of ["/dyn-007", "/any-#?[a]*\\ 😀/b"]) await join(t, server, nsp);
    });
  });
}

test("SIGTERM ends the server with status 0", async (t) => {
  const a = await join(t, ours);
  const gone = next(a, "disconnect");
  assert.equal(await ours.end(), 0);
  await gone;
});
