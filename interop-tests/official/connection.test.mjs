import assert from "node:assert/strict";
import { test } from "node:test";
import { alongside, client, collect, connected, everyWay, next, recorded, settled } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main", "strict", "polling", "websocket");

everyWay(url("main"), (connect, start, way) => {
  test("connects and says who it is", async (t) => {
    const socket = await connect(t);
    const me = await socket.emitWithAck("whoami");
    assert.equal(me.sid, socket.id);
    assert.equal(me.nsp, "/");
    assert.equal(me.protocol, 4);
    assert.equal(me.recovered, false);
    assert.notEqual(me.eid, me.sid, "the session's id is a secret, the socket's is not");
    if (way !== "polling, about to upgrade") assert.equal(me.transport, socket.io.engine.transport.name);
  });

  test("connects to a custom namespace", async (t) => {
    const socket = await connect(t, "/custom");
    assert.equal((await socket.emitWithAck("whoami")).nsp, "/custom");
  });

  test("connects to a namespace without handlers, which ignores events", async (t) => {
    const socket = await connect(t, "/silent");
    socket.emit("echo", 1);
    const main = await connected(alongside(socket, "/"));
    assert.equal(await main.emitWithAck("echo", 2), 2);
    assert.ok(socket.connected);
  });

  test("is admitted by its auth", async (t) => {
    const auth = { token: "secret", nested: { list: [1, "é", null] } };
    const socket = start(t, "/auth", { auth });
    const [[welcome]] = await Promise.all([next(socket, "welcome"), connected(socket)]);
    assert.deepEqual(welcome, auth);
    assert.deepEqual((await socket.emitWithAck("handshake")).auth, auth);
  });

  for (const [what, auth, given] of [
    ["a wrong token", { token: "guess" }, "guess"],
    ["a token of another type", { token: { a: [1] } }, { a: [1] }],
    ["no token", {}, null],
    ["no auth", undefined, null],
  ]) {
    test(`is refused with data for ${what}`, async (t) => {
      const socket = start(t, "/auth", { auth });
      const [error] = await next(socket, "connect_error");
      assert.equal(error.message, "unauthorized");
      assert.deepEqual(error.data, { code: 401, given });
      assert.ok(!socket.connected);
    });
  }

  test("is admitted on the second try over the same connection", async (t) => {
    const socket = start(t, "/auth", { auth: { token: "guess" } });
    await next(socket, "connect_error");
    socket.auth = { token: "secret" };
    socket.connect();
    await connected(socket);
    assert.equal(await socket.emitWithAck("echo", "in"), "in");
  });

  test("is refused without data", async (t) => {
    const [error] = await next(start(t, "/no"), "connect_error");
    assert.equal(error.message, "no entry");
    assert.equal(error.data, undefined);
  });

  for (const name of ["/nowhere", "/custom/", "/custom2", "/Custom", "/émoji😀"]) {
    test(`is told that ${name} does not exist`, async (t) => {
      const [error] = await next(start(t, name), "connect_error");
      assert.equal(error.message, "Invalid namespace");
      assert.equal(error.data, undefined);
    });
  }

  test("shows the server its query, headers and address", async (t) => {
    const extraHeaders = { "x-extra": "one" };
    const socket = await connect(t, "/", { query: { a: "1", "ü&=": "ö ?" }, extraHeaders });
    const handshake = await socket.emitWithAck("handshake");
    assert.equal(handshake.query.a, "1");
    assert.equal(handshake.query["ü&="], "ö ?");
    assert.equal(handshake.query.EIO, "4");
    assert.equal(handshake.headers["x-extra"], "one");
    assert.equal(handshake.headers.host, new URL(url("main")).host);
    assert.match(handshake.url, /^\/socket\.io\/\?/);
    assert.deepEqual(handshake.auth, {});
  });

  test("several namespaces share one connection", async (t) => {
    const socket = await connect(t);
    const others = ["/custom", "/early", "/slow"].map((name) => alongside(socket, name));
    const refused = alongside(socket, "/no");
    await Promise.all([...others.map(connected), next(refused, "connect_error")]);
    const all = [socket, ...others];
    const answers = await Promise.all(all.map((each) => each.emitWithAck("whoami")));
    assert.deepEqual(
      answers.map((answer) => answer.nsp),
      ["/", "/custom", "/early", "/slow"],
    );
    assert.equal(new Set(answers.map((answer) => answer.eid)).size, 1);
    assert.equal(new Set(answers.map((answer) => answer.sid)).size, 4);

    const heard = all.map(recorded);
    for (const each of all) each.emit("emit-me", "mine", each.id);
    await settled(...all);
    assert.deepEqual(
      heard,
      all.map((each) => [["mine", each.id]]),
    );
  });

  test("a slow admission does not hold up the other namespaces", async (t) => {
    const slow = start(t, "/slow");
    const order = [];
    const other = alongside(slow, "/");
    for (const each of [slow, other]) each.on("connect", () => order.push(each.nsp));
    await Promise.all([connected(slow), connected(other)]);
    assert.deepEqual(order, ["/", "/slow"]);
    assert.equal(await slow.emitWithAck("echo", "awake"), "awake");
  });

  test("leaving during a slow admission leaves the connection in order", async (t) => {
    const main = await connect(t);
    const slow = alongside(main, "/slow");
    slow.disconnect();
    // No round trip in between: the admission takes 150 ms.
    slow.connect();
    assert.equal(await main.emitWithAck("echo", 1), 1);
    await connected(slow);
    assert.equal(await slow.emitWithAck("echo", 2), 2);
  });

  test("gets what the server emits on connection, in order", async (t) => {
    const socket = start(t, "/early");
    assert.deepEqual(await collect(socket, "early", 3), [1, 2, 3]);
  });

  test("admission steps run in order, before the connection handler", async (t) => {
    assert.deepEqual(await next(start(t, "/order"), "order"), [["a", "b", "c"]]);
  });

  test("events emitted before the connection are delivered after it, in order", async (t) => {
    for (const namespace of ["/", "/slow"]) {
      const socket = start(t, namespace);
      for (let i = 0; i < 20; i++) socket.emit("echo", i);
      const binary = collect(socket, "echo", 21);
      socket.emit("echo", Buffer.from([1, 2]));
      const got = await binary;
      assert.deepEqual(
        got.slice(0, 20),
        Array.from({ length: 20 }, (_, i) => i),
      );
      assert.deepEqual([...got[20]], [1, 2]);
    }
  });

  test("fifty clients at once", async (t) => {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => connect(t, "/custom")));
    const answers = await Promise.all(sockets.map((socket, i) => socket.emitWithAck("echo", i)));
    assert.deepEqual(
      answers,
      sockets.map((_, i) => i),
    );
    assert.equal(new Set(sockets.map((socket) => socket.id)).size, 50);
    const stats = await sockets[0].emitWithAck("stats");
    assert.ok(stats.sockets >= 50 && stats.engine >= 50, JSON.stringify(stats));
  });
});

test("a polling-only server keeps the client on polling", async (t) => {
  const socket = client(t, url("polling"), { transports: ["polling", "websocket"] });
  const [[handshake]] = await Promise.all([next(socket.io.engine, "handshake"), connected(socket)]);
  assert.deepEqual(handshake.upgrades, []);
  assert.equal((await socket.emitWithAck("whoami")).transport, "polling");
});

test("a polling-only server refuses a WebSocket", async (t) => {
  const [error] = await next(client(t, url("polling"), { transports: ["websocket"] }), "connect_error");
  assert.equal(error.message, "websocket error");
});

test("a websocket-only server refuses polling", async (t) => {
  const [error] = await next(client(t, url("websocket"), { transports: ["polling"] }), "connect_error");
  assert.equal(error.message, "xhr poll error");
  assert.equal(error.context.status, 400);
});

test("a websocket-only server takes a WebSocket", async (t) => {
  const socket = await connected(client(t, url("websocket"), { transports: ["websocket"] }));
  assert.equal((await socket.emitWithAck("whoami")).transport, "websocket");
});

test("another path, without a trailing slash and without upgrades", async (t) => {
  const options = { path: "/bb", addTrailingSlash: false, transports: ["polling", "websocket"] };
  const socket = client(t, url("strict"), options);
  const [[handshake]] = await Promise.all([next(socket.io.engine, "handshake"), connected(socket)]);
  assert.deepEqual(handshake.upgrades, []);
  assert.match((await socket.emitWithAck("handshake")).url, /^\/bb\?/);
  const direct = await connected(client(t, url("strict"), { ...options, transports: ["websocket"] }));
  assert.equal(await direct.emitWithAck("echo", 1), 1);
});

test("foreign paths are the application's", async () => {
  const health = await fetch(`${url("main")}/health`);
  assert.equal(health.status, 200);
  assert.equal(await health.text(), "ok");
  assert.equal((await fetch(`${url("main")}/elsewhere`)).status, 404);
});
