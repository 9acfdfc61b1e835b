// Connection state recovery at another server, between each two servers of a fleet.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { io } from "socket.io-client";
import { connected, next, recorded, settled, until } from "../official/helpers.mjs";
import { hasNode, startBroker } from "./brokers.mjs";
import { acquainted, freshNamespace, join, meet, startFleet, startNode, synced } from "./fleet.mjs";

/** The arguments of an event without the offset. */
const plain = (events) => events.map((event) => event.slice(0, -1)).filter(([name]) => !/^(probe|mark)-/.test(name));

/** Ends the connection of a client, and waits until its server has saved the session. */
export async function cut(socket, other) {
  const { id } = socket;
  const state = { pid: socket._pid, offset: socket._lastOffset, id };
  socket.io.engine.close();
  await until(() => other.emitWithAck("members", []), (ids) => !ids.includes(id), "the socket is gone");
  return state;
}

/** Connects a client with the state of another one, which is what the client does when it reconnects. */
export function comeBack(t, server, nsp, { pid, offset }) {
  const socket = io(`${server.url}${nsp}`, { transports: ["websocket"], forceNew: true, autoConnect: false });
  t.after(() => socket.close());
  Object.assign(socket, { _pid: pid, _lastOffset: offset });
  const events = recorded(socket);
  return { socket: connected(socket.connect()), events };
}

/** Defines the tests for an adapter that has an event log. */
export async function recovery(adapter) {
  const env = { ADAPTER: adapter, RECOVERY_MS: "20000" };
  const broker = await startBroker(adapter);
  const [one, two, node] = await startFleet(broker, env, ["ours", "ours", hasNode(adapter) ? "node" : "ours"]);
  const mixed = hasNode(adapter) && { "ours -> Node.js": [one, node], "Node.js -> ours": [node, two] };
  const pairs = { "ours -> ours": [one, two], ...mixed };
  for (const [name, [from, to]] of Object.entries(pairs)) {
    describe(name, { concurrency: 4 }, () => {
      test("a client returns to another server with all that it missed", async (t) => {
        const nsp = freshNamespace();
        const [a, b] = await meet(t, [from, to], nsp);
        await a.emitWithAck("join", "r");
        await a.emitWithAck("data-set", { name: "Ann" });
        await synced(b, a, "r");
        const state = await cut(a, b);
        const missed = [["one", 1], ["two", Buffer.from([1, 2])], ["three", { a: [null] }]];
        for (const [event, value] of missed) await b.emitWithAck("cast", { to: ["r"] }, event, value);
        await b.emitWithAck("cast", { to: ["other"] }, "not for it");
        await b.emitWithAck("cast", { except: ["r"] }, "not for it");
        await b.emitWithAck("cast", {}, "for all");
        const back = comeBack(t, to, nsp, state);
        const socket = await back.socket;
        assert.equal(socket.id, state.id);
        assert.equal(socket.recovered, true);
        assert.deepEqual((await socket.emitWithAck("rooms")).sort(), [socket.id, "r"].sort());
        assert.deepEqual(await socket.emitWithAck("data-get"), { name: "Ann" });
        assert.equal((await socket.emitWithAck("whoami")).recovered, true);
        await b.emitWithAck("cast", { to: ["r"] }, "live");
        await synced(b, socket);
        assert.deepEqual(plain(back.events), [...missed, ["for all"], ["live"]]);
      });

      test("a session is recovered once, and not in another namespace", async (t) => {
        const nsp = freshNamespace();
        const [a, b] = await meet(t, [from, to], nsp);
        const state = await cut(a, b);
        // A server of Node.js does not save the namespace.
        if (from.kind === "ours" && to.kind === "ours") {
          const other = await comeBack(t, to, freshNamespace(), state).socket;
          assert.equal(other.recovered, false);
          return;
        }
        const returned = await comeBack(t, to, nsp, state).socket;
        assert.equal(returned.recovered, true);
        // The session of a connected socket is saved too.
        returned.disconnect();
        await until(() => b.emitWithAck("members", []), (ids) => !ids.includes(state.id), "the socket is gone");
        const again = await comeBack(t, from, nsp, state).socket;
        assert.equal(again.recovered, false);
        assert.notEqual(again.id, state.id);
      });

      test("wrong claims are refused", async (t) => {
        const nsp = freshNamespace();
        const [a, b] = await meet(t, [from, to], nsp);
        const state = await cut(a, b);
        for (const offset of ["", "x", "1-", "99999999999999-0", "-1-0", "18446744073709551616-0", undefined]) {
          assert.equal((await comeBack(t, to, nsp, { pid: "x".repeat(20), offset }).socket).recovered, false);
        }
        assert.equal((await comeBack(t, to, nsp, { ...state, offset: "1-1" }).socket).recovered, false);
      });

      test("a client that leaves by itself is not recovered", async (t) => {
        const nsp = freshNamespace();
        const [a, b] = await meet(t, [from, to], nsp);
        const state = { pid: a._pid, offset: a._lastOffset, id: a.id };
        a.disconnect();
        await until(() => b.emitWithAck("members", []), (ids) => !ids.includes(state.id), "the socket is gone");
        assert.equal((await comeBack(t, to, nsp, state).socket).recovered, false);
      });
    });
  }

  test("a server that shuts down hands its clients over", async (t) => {
    const leaving = await startNode("ours", { ...broker.env, ...env });
    const nsp = freshNamespace();
    const a = await join(t, leaving, nsp, { reconnection: false });
    const b = await join(t, one, nsp);
    await acquainted(a, b);
    await a.emitWithAck("join", "r");
    const state = { pid: a._pid, offset: a._lastOffset, id: a.id };
    assert.equal(await leaving.end(), 0);
    await b.emitWithAck("cast", { to: ["r"] }, "missed");
    const back = comeBack(t, two, nsp, state);
    const socket = await back.socket;
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, state.id);
    assert.deepEqual(plain(back.events), [["missed"]]);
  });

  for (const to of hasNode(adapter) ? [two, node] : [two]) {
    test(`the clients of a server that is killed return to another one (${to.kind})`, async (t) => {
      const doomed = await startNode("ours", { ...broker.env, ...env });
      const nsp = freshNamespace();
      const sockets = await Promise.all(Array.from({ length: 20 }, () => join(t, doomed, nsp, { reconnection: false })));
      const b = await join(t, one, nsp);
      await acquainted(b, sockets[0]);
      await Promise.all(sockets.flatMap((socket, i) => ["r", `r-${i}`].map((room) => socket.emitWithAck("join", room))));
      await sockets[1].emitWithAck("leave", "r-1");
      await sockets[2].emitWithAck("data-set", { name: "Ann" });
      await sockets[2].emitWithAck("join", "last");
      await synced(b, sockets[0], "r");
      await Promise.all(sockets.map((socket) => settled(socket)));
      const states = sockets.map((socket) => ({ pid: socket._pid, offset: socket._lastOffset, id: socket.id }));
      await doomed.end("SIGKILL");
      await b.emitWithAck("cast", { to: ["r"] }, "missed", 1);
      for (const i of sockets.keys()) await b.emitWithAck("cast", { to: [`r-${i}`] }, "own", i);
      const backs = states.map((state) => comeBack(t, to, nsp, state));
      const returned = await Promise.all(backs.map(({ socket }) => socket));
      for (const [i, socket] of returned.entries()) {
        assert.equal(socket.recovered, true);
        assert.equal(socket.id, states[i].id);
      }
      await b.emitWithAck("cast", { to: ["r"] }, "live");
      await synced(b, returned[0], "r");
      await Promise.all(returned.map((socket) => settled(socket)));
      for (const [i, { events }] of backs.entries()) {
        assert.deepEqual(plain(events), [["missed", 1], ...(i === 1 ? [] : [["own", i]]), ["live"]]);
      }
      assert.deepEqual(await returned[2].emitWithAck("data-get"), { name: "Ann" });
      assert.deepEqual((await returned[2].emitWithAck("rooms")).sort(), [returned[2].id, "last", "r", "r-2"].sort());
    });
  }

  for (const to of [one, two]) {
    test(`a client returns before its end is noticed (to ${to === one ? "the same" : "another"} server)`, async (t) => {
      const nsp = freshNamespace();
      const [a, b] = await meet(t, [one, two], nsp);
      await a.emitWithAck("join", "r");
      await synced(b, a, "r");
      const state = { pid: a._pid, offset: a._lastOffset, id: a.id };
      const gone = next(a, "disconnect");
      const back = comeBack(t, to, nsp, state);
      const socket = await back.socket;
      assert.deepEqual([socket.recovered, socket.id], [true, state.id]);
      await gone;
      assert.deepEqual(await b.emitWithAck("members", ["r"]), [state.id]);
      await b.emitWithAck("cast", { to: ["r"] }, "live");
      await synced(b, socket, "r");
      assert.deepEqual(plain(back.events), [["live"]]);
    });
  }

  test("events of all servers have one order", async (t) => {
    const [a, b, c] = await meet(t, [one, two, node]);
    const events = [a, b].map((socket) => recorded(socket));
    await Promise.all([a, b, c].map((socket, i) => socket.emitWithAck("cast-burst", {}, "n", i * 1000, 200)));
    for (const from of [a, b, c]) for (const to of [a, b]) if (from !== to) await synced(from, to);
    const [first, second] = events.map((all) => plain(all).map(([, n]) => n));
    assert.equal(first.length, 600);
    assert.deepEqual(first, second);
  });
  return { broker, env, one, two };
}
