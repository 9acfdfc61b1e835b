import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as msgpack from "socket.io-msgpack-parser";
import { connected, everyWay, next, recorded, settled, until } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const PARSERS = { recovery: {}, "recovery-msgpack": { parser: msgpack.default ?? msgpack } };
const url = await startServer(...Object.keys(PARSERS));

/** Options of a client that reconnects immediately. */
const EAGER = { reconnection: true, reconnectionDelay: 1, reconnectionDelayMax: 1, randomizationFactor: 0 };

for (const [profile, parser] of Object.entries(PARSERS)) {
  const withParser = (connect) => (t, namespace, options) => connect(t, namespace, { ...parser, ...options });
  describe(profile, () => everyWay(url(profile), (connect) => define(withParser(connect))));
}

function define(connect) {
  /** Closes the transport below the client and waits until the client has reconnected. */
  async function cut(socket) {
    const back = next(socket, "connect");
    socket.io.engine.close();
    await back;
    return socket.recovered;
  }

  /** Closes the transport and runs `meanwhile` before the client reconnects. */
  async function away(socket, meanwhile) {
    socket.io.reconnection(false);
    const gone = next(socket, "disconnect");
    socket.io.engine.close();
    await gone;
    await meanwhile();
    socket.io.reconnection(true);
    socket.connect();
    await connected(socket);
    return socket.recovered;
  }

  const names = (events) => events.map(([name]) => name);

  test("a client gets back its socket, its rooms and its data", async (t) => {
    const socket = await connect(t, "/", EAGER);
    assert.equal(socket.recovered, false);
    const { id } = socket;
    await socket.emitWithAck("join", "room");
    await socket.emitWithAck("data-set", { a: [1] });
    socket.emit("emit-me", "first");
    await next(socket, "first");
    assert.equal(await cut(socket), true);
    assert.equal(socket.id, id);
    const { sid, recovered } = await socket.emitWithAck("whoami");
    assert.deepEqual([sid, recovered], [id, true]);
    assert.deepEqual((await socket.emitWithAck("rooms")).sort(), [id, "room"].sort());
    assert.deepEqual(await socket.emitWithAck("data-get"), { a: [1] });
  });

  test("a client that never got an event comes back", async (t) => {
    const socket = await connect(t, "/", EAGER);
    const { id } = socket;
    assert.equal(await cut(socket), true);
    assert.equal(socket.id, id);
  });

  test("missed events arrive in order, and no other", async (t) => {
    const [socket, other] = await Promise.all([connect(t, "/custom", EAGER), connect(t, "/custom")]);
    await socket.emitWithAck("join", "team");
    const { id } = socket;
    const heard = recorded(socket);
    const cast = (options, ...event) => other.emitWithAck("cast", { via: "nsp", ...options }, ...event);
    await cast({ to: ["team"] }, "m0", "text");
    await settled(socket);
    const recovered = await away(socket, async () => {
      await cast({ to: ["team"] }, "m1", 1);
      await cast({}, "m2", new Uint8Array([1, 2, 3]));
      await cast({ to: ["others"] }, "no");
      await cast({ except: ["team"] }, "no");
      await cast({ to: [id] }, "m3");
    });
    assert.equal(recovered, true);
    await cast({ to: ["team"] }, "m4");
    await settled(socket);
    const events = heard.filter(([name]) => name !== "echo");
    assert.deepEqual(names(events), ["m0", "m1", "m2", "m3", "m4"]);
    assert.deepEqual([...events[2][1]], [1, 2, 3]);
    assert.equal(events[1][1], 1);
    // The offset is the last argument.
    assert.deepEqual(events.map((event) => typeof event.at(-1)), Array(5).fill("string"));
  });

  test("a volatile event with a text does no harm", async (t) => {
    const socket = await connect(t, "/", EAGER);
    socket.emit("volatile-burst", 3);
    await next(socket, "v-end");
    socket.emit("emit-me", "text", "no offset");
    await next(socket, "text");
    assert.equal(await cut(socket), true);
  });

  test("twice in a row", async (t) => {
    const socket = await connect(t, "/", EAGER);
    const { id } = socket;
    assert.equal(await cut(socket), true);
    assert.equal(await cut(socket), true);
    assert.equal(socket.id, id);
  });

  test("who comes too late is new, and is told so", async (t) => {
    const [socket, other] = await Promise.all([connect(t, "/", EAGER), connect(t)]);
    const { id } = socket;
    const recovered = await away(socket, () => other.emitWithAck("ack-later", 1_200));
    assert.equal(recovered, false);
    assert.notEqual(socket.id, id);
    // Sockets of the new session can be recovered again.
    assert.equal(await cut(socket), true);
  });

  test("who was disconnected is new", async (t) => {
    const socket = await connect(t, "/", EAGER);
    const { id } = socket;
    socket.disconnect();
    socket.connect();
    await connected(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
    const gone = next(socket, "disconnect");
    socket.emit("bye", false);
    await gone;
    socket.connect();
    await connected(socket);
    assert.equal(socket.recovered, false);
    await until(
      () => socket.emitWithAck("whoami"),
      ({ recovered }) => recovered === false,
    );
  });
}
