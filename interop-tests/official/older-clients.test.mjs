// Tests the npm packages of client versions 2 and 3 together with the current client.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { client, collect, connected, freshKey, next, records, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const require = createRequire(import.meta.url);
const url = await startServer("main", "fast", "strict");
const both = ["polling", "websocket"];
const WAYS = { "polling only": ["polling"], "websocket only": ["websocket"], upgrade: both };

/** Version-specific names and behavior. */
const VERSIONS = {
  "version 2": {
    io: require("socket.io-client-v2"),
    protocol: 3,
    refused: "error",
    message: (error) => error.message ?? error,
    admit: (params) => ({ query: new URLSearchParams(params).toString() }),
    pings: (socket, count) => collect(socket, "pong", count),
    end: (manager) => manager.close(),
  },
  "version 3": {
    io: require("socket.io-client-v3"),
    protocol: 4,
    refused: "connect_error",
    message: (error) => error.message,
    admit: (params) => ({ auth: params }),
    // The engine of this version responds to each ping and reports it as `pong`.
    pings: (socket, count) => collect(socket.io.engine, "pong", count),
    end: (manager) => manager._close(),
  },
};

/** Resolves with the argument of the acknowledgement, or with all arguments if there are several. */
const ask = (socket, ...event) => {
  const answer = new Promise((resolve) =>
    socket.emit(...event, (...args) => resolve(args.length > 1 ? args : args[0])),
  );
  return within(answer, `acknowledgement of "${event[0]}"`);
};

/** Returns a list to which every later event of this name is appended. */
function heard(socket, name) {
  const events = [];
  socket.on(name, (...args) => events.push(args));
  return events;
}

for (const [version, { io, protocol, refused, message, admit, pings, end }] of Object.entries(VERSIONS)) {
  const start = (t, address, options) => {
    const socket = io(address, { forceNew: true, reconnection: false, ...options });
    t.after(() => end(socket.io));
    return socket;
  };

  for (const [way, transports] of Object.entries(WAYS)) {
    /** Resolves with a connected socket after the upgrade to its last transport. */
    const connect = async (t, namespace = "/", { profile = "main", ...options } = {}) => {
      const socket = start(t, url(profile) + namespace, { transports, ...options });
      const upgrade = way === "upgrade" && next(socket.io.engine, "upgrade");
      await Promise.all([next(socket, "connect"), upgrade]);
      return socket;
    };

    describe(`${version}, ${way}`, () => {
      test("connects and says who it is", async (t) => {
        const socket = await connect(t);
        const me = await ask(socket, "whoami");
        assert.equal(me.protocol, protocol);
        assert.equal(me.transport, transports.at(-1));
        assert.equal(me.nsp, "/");
        assert.match(me.sid, /^[\w-]{20}$/);
        assert.notEqual(me.sid, me.eid, "the session's id is a secret, the socket's is not");
        // Version 2 derives the socket id from the session id and ignores the id from the server.
        assert.equal(socket.id, protocol === 3 ? me.eid : me.sid);
      });

      test("shows the server its query", async (t) => {
        const socket = await connect(t, "/", { query: { a: "1", "ü&=": "ö ?" } });
        const { query, auth } = await ask(socket, "handshake");
        assert.deepEqual([query.a, query["ü&="], query.EIO], ["1", "ö ?", String(protocol)]);
        assert.deepEqual(auth, {});
      });

      test("joins namespaces with a query or an auth payload", async (t) => {
        const socket = await connect(t);
        const custom = socket.io.socket("/custom");
        const authorized = socket.io.socket("/auth", admit({ token: "secret", u: " ü,?&" }));
        const [[welcome]] = await Promise.all([
          next(authorized, "welcome"),
          next(authorized, "connect"),
          next(custom, "connect"),
        ]);
        assert.deepEqual(welcome, { token: "secret", u: " ü,?&" });
        const all = [socket, custom, authorized];
        const answers = await Promise.all(all.map((each) => ask(each, "whoami")));
        assert.deepEqual(
          answers.map(({ nsp }) => nsp),
          ["/", "/custom", "/auth"],
        );
        assert.equal(new Set(answers.map(({ eid }) => eid)).size, 1);
        assert.equal(new Set(answers.map(({ sid }) => sid)).size, 3);
      });

      test("is refused", async (t) => {
        const socket = await connect(t);
        const [error] = await next(socket.io.socket("/no"), refused);
        assert.equal(message(error), "no entry");
        const [unauthorized] = await next(socket.io.socket("/auth", admit({ token: "guess" })), refused);
        assert.deepEqual(unauthorized.data ?? unauthorized, { code: 401, given: "guess" });
        const [unknown] = await next(socket.io.socket("/nowhere"), refused);
        assert.equal(message(unknown), "Invalid namespace");
        assert.equal(await ask(socket, "echo", "still here"), "still here");
      });

      test("gets what the server emits on connection, in order", async (t) => {
        const socket = start(t, `${url("main")}/early`, { transports });
        assert.deepEqual(await collect(socket, "early", 3), [1, 2, 3]);
      });

      test("events and acknowledgements carry any JSON", async (t) => {
        const socket = await connect(t);
        const values = [1, "€hé😀\u2028\\n\n\x1e:2:4", null, [true, { a: [] }], ""];
        assert.deepEqual(await ask(socket, "echo", ...values), values);
        socket.emit("echo", ...values);
        assert.deepEqual(await next(socket, "echo"), values);
        assert.equal((await ask(socket, "big", 300_000)).length, 300_000);
        assert.equal(await ask(socket, "echo", "€".repeat(100_000)), "€".repeat(100_000));
      });

      test("events and acknowledgements carry binary data", async (t) => {
        const socket = await connect(t);
        const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
        const [first, second] = await ask(socket, "echo", { bytes }, Buffer.alloc(0));
        assert.ok(bytes.equals(Buffer.from(first.bytes)));
        assert.equal(Buffer.from(second).length, 0);
        socket.emit("echo", Buffer.from([4, 0, 255]));
        assert.deepEqual([...(await next(socket, "echo"))[0]], [4, 0, 255]);
        assert.deepEqual(await ask(socket, "describe", bytes, 1), ["binary:70000", "number"]);
        const numbered = heard(socket, "burst");
        socket.emit("burst-bin", 50);
        await ask(socket, "echo");
        assert.deepEqual(
          numbered.map(([i, number]) => [i, Buffer.from(number).readUInt32BE()]),
          Array.from({ length: 50 }, (_, i) => [i, i]),
        );
      });

      test("answers what the server asks", async (t) => {
        const socket = await connect(t);
        socket.on("question", (value, answer) => answer("answered", Buffer.from([value])));
        socket.emit("ask", "question", 7);
        const [text, bytes] = await next(socket, "ask-result");
        assert.deepEqual([text, ...bytes], ["answered", 7]);
      });

      test("is reached in rooms beside the current client", async (t) => {
        const socket = await connect(t, "/custom");
        const current = await connected(client(t, `${url("main")}/custom`, { transports }));
        const room = freshKey();
        const { sid } = await ask(socket, "whoami");
        for (const each of [socket, current]) await ask(each, "join", room);
        assert.deepEqual((await ask(socket, "rooms")).sort(), [sid, room].sort());
        const events = [socket, current].map((each) => heard(each, "cast"));
        const cast = async (...event) => {
          await ask(current, "cast", { via: "nsp", to: [room] }, "cast", ...event);
          await Promise.all([socket, current].map((each) => ask(each, "echo")));
          return events.map((list) => list.splice(0));
        };
        assert.deepEqual(await cast("text", 1), [[["text", 1]], [["text", 1]]]);
        for (const [[bytes, text]] of await cast(Buffer.from([1, 2, 3]), "é")) {
          assert.deepEqual([[...bytes], text], [[1, 2, 3], "é"]);
        }
        await ask(current, "cast", { via: "nsp", to: [sid] }, "cast", "to its id");
        assert.deepEqual((await cast("x"))[0], [["to its id"], ["x"]]);
        await ask(socket, "leave", room);
        assert.deepEqual(await cast("left"), [[], [["left"]]]);
      });

      test("leaves, and the server knows why", async (t) => {
        const observer = await connected(client(t, url("main"), { transports: ["websocket"] }));
        for (const [leave, clientReason, reason] of [
          [(socket) => socket.disconnect(), "io client disconnect", "client namespace disconnect"],
          [(socket) => socket.emit("bye"), "io server disconnect", "server namespace disconnect"],
          [(socket) => socket.emit("drop"), "transport close", "forced close"],
          [(socket) => socket.io.engine.close(), "forced close", "transport close"],
        ]) {
          const key = freshKey();
          const socket = await connect(t, "/", { query: { key } });
          const ended = next(socket, "disconnect");
          leave(socket);
          assert.equal((await ended)[0], clientReason);
          const [record] = await records(observer, key);
          assert.equal(record.reason, reason);
        }
      });

      test("leaves one namespace and comes back", async (t) => {
        const socket = await connect(t);
        const custom = socket.io.socket("/custom");
        await next(custom, "connect");
        custom.disconnect();
        assert.equal(await ask(socket, "echo", 1), 1);
        custom.connect();
        await next(custom, "connect");
        assert.equal((await ask(custom, "whoami")).nsp, "/custom");
      });

      test("stays alive over several heartbeats", async (t) => {
        const socket = await connect(t, "/", { profile: "fast" });
        const ended = heard(socket, "disconnect");
        await pings(socket, 4);
        assert.equal(await ask(socket, "echo", "alive"), "alive");
        assert.deepEqual(ended, []);
      });
    });
  }
}

test("version 2 is refused where it is not allowed", async (t) => {
  const { io, end } = VERSIONS["version 2"];
  for (const transports of [["polling"], ["websocket"]]) {
    const socket = io(url("strict"), { path: "/bb", forceNew: true, reconnection: false, transports });
    t.after(() => end(socket.io));
    await next(socket, "connect_error");
  }
});
