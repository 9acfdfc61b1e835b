import assert from "node:assert/strict";
import { test } from "node:test";
import * as msgpack from "socket.io-msgpack-parser";
import { alongside, client, connected, everyWay, next, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { Socket } from "./wire.mjs";

const address = (await startServer("msgpack"))("msgpack");
const parser = msgpack.default ?? msgpack;
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

everyWay(address, (connect, start) => {
  const join = (t, namespace, options) => connect(t, namespace, { parser, ...options });

  for (const [what, values] of Object.entries({
    "no arguments": [],
    "values of all types": [null, true, false, 0, -1, 1.5, 5e-324, "é 😀 \u2028", [], {}, { a: [{ "": null }] }],
    "large integers": [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 4294967295, 4294967296, -2147483649],
    "long lists": [Array.from({ length: 70_000 }, (_, i) => i)],
    "long text": ["é".repeat(100_000)],
    "binaries at any depth": [BYTES, { list: [Buffer.alloc(0), { deep: BYTES }] }, "between", Buffer.alloc(70_000, 7)],
    "more binaries than JSON may have": Array.from({ length: 100 }, (_, i) => Buffer.from([i])),
    "what looks like a placeholder, beside a binary": [{ _placeholder: true, num: 0 }, Buffer.from([1])],
    "numbers for keys": [{ 1: "one", 2: "two" }],
  })) {
    test(`an event with ${what} returns as it was`, async (t) => {
      const socket = await join(t, "/custom");
      socket.emit("echo", ...values);
      assert.deepEqual(await next(socket, "echo"), values);
      const answer = new Promise((resolve) => socket.emit("echo", ...values, (...args) => resolve(args)));
      assert.deepEqual(await within(answer, "acknowledgement"), values);
    });
  }

  test("the server finds the types of values", async (t) => {
    const socket = await join(t);
    const described = await socket.emitWithAck("describe", null, Buffer.alloc(3), [1, 2], { a: 1 }, "x", 1, true);
    assert.deepEqual(described, ["null", "binary:3", "array:2", "object", "string", "number", "boolean"]);
  });

  test("what JSON has no form for arrives as it would with JSON", async (t) => {
    const socket = await join(t);
    const date = new Date(1_700_000_000_123);
    const values = [undefined, { kept: 1, dropped: undefined }, date, new Date(NaN), NaN, Infinity, new Date(-1)];
    socket.emit("echo", ...values);
    const [, ...rest] = JSON.parse(JSON.stringify([0, ...values]));
    const echoed = await next(socket, "echo");
    // MessagePack timestamps cannot express an invalid date: encoders write the largest or smallest integer, or 1970.
    assert.deepEqual(echoed.toSpliced(3, 1), rest.toSpliced(3, 1));
  });

  test("a typed array is binary", async (t) => {
    const socket = await join(t);
    const echoed = await socket.emitWithAck("echo", Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    assert.equal(echoed.length, 3);
  });

  test("large values pass both ways", async (t) => {
    const socket = await join(t);
    assert.equal((await socket.emitWithAck("big", 900_000)).length, 900_000);
    assert.equal((await socket.emitWithAck("bigbin", 900_000)).length, 900_000);
    // Encoded as base64, the values also are below the limit of 1,000,000 bytes.
    const [text, bytes] = ["x".repeat(700_000), Buffer.alloc(700_000, 1)];
    assert.equal(await socket.emitWithAck("echo", text), text);
    assert.deepEqual(await socket.emitWithAck("echo", bytes), bytes);
  });

  test("the server asks and hears the answer", async (t) => {
    const socket = await join(t);
    socket.on("question", (value, answer) => answer(value, BYTES));
    socket.emit("ask", "question", { a: 1 });
    assert.deepEqual(await next(socket, "ask-result"), [{ a: 1 }, BYTES]);
  });

  test("namespaces share the connection", async (t) => {
    const socket = await join(t);
    const other = await connected(alongside(socket, "/custom"));
    assert.equal((await other.emitWithAck("whoami")).nsp, "/custom");
    other.disconnect();
    assert.equal((await socket.emitWithAck("whoami")).nsp, "/");
    const missing = alongside(socket, "/missing");
    assert.equal((await next(missing, "connect_error"))[0].message, "Invalid namespace");
  });

  test("auth decides", async (t) => {
    const auth = { token: "secret", nested: { list: [1, "é", null] } };
    const admitted = start(t, "/auth", { parser, auth });
    const [[welcome]] = await Promise.all([next(admitted, "welcome"), connected(admitted)]);
    assert.deepEqual(welcome, auth);
    const refused = start(t, "/auth", { parser, auth: { token: "guess" } });
    const [error] = await next(refused, "connect_error");
    assert.deepEqual([error.message, error.data], ["unauthorized", { code: 401, given: "guess" }]);
    const binary = start(t, "/auth", { parser, auth: { token: BYTES } });
    assert.equal((await next(binary, "connect_error"))[0].message, "auth must not hold binary data");
  });

  test("a broadcast reaches others, and a disconnect its socket", async (t) => {
    const [sender, receiver] = [await join(t), await join(t)];
    await receiver.emitWithAck("join", receiver.id + "-room");
    const news = next(receiver, "news");
    await sender.emitWithAck("cast", { via: "socket", to: [receiver.id + "-room"] }, "news", BYTES, 1);
    assert.deepEqual(await news, [BYTES, 1]);
    const gone = next(receiver, "disconnect");
    receiver.emit("bye");
    assert.equal((await gone)[0], "io server disconnect");
  });
});

test("a client with another parser is turned away", async (t) => {
  const socket = client(t, address, { transports: ["websocket"] });
  const [reason] = await next(socket.io, "close");
  assert.equal(reason, "transport close");
});

test("names that only a server may use end the connection", async (t) => {
  for (const name of ["connect", "disconnect", "connect_error", "disconnecting", "newListener", "removeListener"]) {
    const socket = await Socket.open(t, address);
    const encode = (packet) => new parser.Encoder().encode(packet)[0];
    socket.ws.send(encode({ type: 0, nsp: "/" }));
    await socket.receive();
    socket.ws.send(encode({ type: 2, data: [name], nsp: "/" }));
    assert.equal(await within(socket.closed, "close"), 1002, name);
  }
});
