import assert from "node:assert/strict";
import { test } from "node:test";
import { everyWay, next, recorded, records, freshKey, connected } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main");

const TEXTS = {
  nothing: "",
  Latin: "é ß ñ",
  "Chinese and Japanese": "中文 日本語",
  "beyond the basic plane": "😀 𝔘 👩‍👩‍👧‍👦",
  "right to left": "שלום \u202e مرحبا \u202c",
  "line and paragraph separators": "\u2028 and \u2029",
  "control characters": "\u0000\u0001\b\t\n\f\r\u001b\u001f\u007f\u0085",
  "the payload separator": "a\u001eb\\u001ec",
  "byte order mark and noncharacters": "\ufeff \uffff \u{10ffff}",
  "quotes and slashes": '"\'`\\/ </script> \\u0041 \\\\"',
  "lone surrogates": "\ud800 \udfff x\udc00\ud800",
  "what looks like a packet": '42["echo"]',
};
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

/** Converts all binaries to one class, since the class depends on the parser and the transport. */
function plain(value) {
  if (ArrayBuffer.isView(value))
    return { bytes: [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const VALUES = {
  "no arguments": [],
  null: [null],
  booleans: [true, false],
  numbers: [0, -1, 1.5, 1e21, 9007199254740991, 5e-324, -0.1],
  "empty containers": [[], {}, ""],
  "a nested object": [{ b: 1, a: { z: [1, { y: null }], "": "empty key" }, 2: "numeric key", "ключ 😀": "key" }],
  "twenty arguments": Array.from({ length: 20 }, (_, i) => i),
  "a deep value": [Array.from({ length: 100 }).reduce((inner) => [inner], "bottom")],
  "one binary": [BYTES],
  "an empty binary": [Buffer.alloc(0)],
  "several binaries": [Buffer.from([1]), Buffer.from([2, 2]), Buffer.from([3, 3, 3])],
  "a typed array": [Uint8Array.of(255, 0, 1)],
  "nested binaries": [
    { list: [Buffer.from([1]), { deep: Buffer.from([2]) }], text: "between", last: Buffer.from([3]) },
  ],
  "binaries between other values": [1, Buffer.from([1]), "two", Buffer.alloc(0), null, { b: BYTES }, []],
  "ten binaries": Array.from({ length: 10 }, (_, i) => Buffer.alloc(i, i)),
  "what looks like a placeholder": [{ _placeholder: true, num: 0 }],
};

everyWay(url("main"), (connect) => {
  for (const [what, values] of [
    ...Object.entries(VALUES),
    ...Object.entries(TEXTS).map(([name, text]) => [name, [text]]),
  ]) {
    test(`event with ${what} returns as it was`, async (t) => {
      const socket = await connect(t, "/custom");
      const answer = next(socket, "echo");
      socket.emit("echo", ...values);
      assert.deepEqual(plain(await answer), plain(values));
    });
  }

  test("texts as keys and event names", async (t) => {
    const socket = await connect(t);
    for (const text of Object.values(TEXTS).filter((text) => text.isWellFormed())) {
      const answer = next(socket, `event ${text}`);
      socket.emit("emit-me", `event ${text}`, { [text]: text });
      assert.deepEqual(await answer, [{ [text]: text }]);
    }
  });

  test("the server sees values as the kinds they are", async (t) => {
    const socket = await connect(t);
    const values = [null, BYTES, Buffer.alloc(0), [1, 2], { a: 1 }, "x", 1.5, true, [Buffer.from([1])], {}];
    assert.deepEqual(await socket.emitWithAck("describe", ...values), [
      "null",
      "binary:256",
      "binary:0",
      "array:2",
      "object",
      "string",
      "number",
      "boolean",
      "array:1",
      "object",
    ]);
  });

  test("values and binaries are kept by the server and returned", async (t) => {
    const socket = await connect(t);
    const values = ["text", 1, null, { deep: [Buffer.from([7, 8])], a: 1 }, BYTES];
    for (const value of values) socket.emit("log", value);
    assert.deepEqual(plain(await socket.emitWithAck("log-get")), plain(values));
    await socket.emitWithAck("data-set", { picture: BYTES, name: "n" });
    assert.deepEqual(plain(await socket.emitWithAck("data-get")), plain({ picture: BYTES, name: "n" }));
  });

  test("events without a handler do no harm", async (t) => {
    const socket = await connect(t);
    socket.emit("not-handled", 1, BYTES);
    assert.equal(await socket.emitWithAck("echo", 1), 1);
  });

  test("the server emits a burst, with and without binaries", async (t) => {
    const socket = await connect(t);
    const events = recorded(socket);
    socket.emit("burst", 100);
    socket.emit("burst-bin", 100);
    await socket.emitWithAck("echo");
    assert.deepEqual(
      events.slice(0, 100),
      Array.from({ length: 100 }, (_, i) => ["burst", i]),
    );
    assert.deepEqual(
      plain(events.slice(100)),
      Array.from({ length: 100 }, (_, i) => ["burst", i, { bytes: [0, 0, 0, i] }]),
    );
  });

  test("large texts and binaries in both directions", async (t) => {
    const socket = await connect(t);
    const text = "é😀x".repeat(40_000);
    assert.equal(Buffer.byteLength(text), 280_000);
    assert.equal(await socket.emitWithAck("echo", text), text);
    const binary = Buffer.alloc(500_000, BYTES);
    assert.ok(binary.equals(await socket.emitWithAck("echo", binary)));
    assert.equal(await socket.emitWithAck("big", 300_000), "x".repeat(300_000));
    assert.ok(binary.equals(await socket.emitWithAck("bigbin", 500_000)));
    assert.equal((await socket.emitWithAck("big", 900_000)).length, 900_000);
  });

  for (const [what, tooLarge] of [
    ["text", "x".repeat(1_000_001)],
    ["binary", Buffer.alloc(1_000_001)],
  ]) {
    test(`a ${what} over the limit ends the connection, not the server`, async (t) => {
      const observer = await connect(t);
      const key = freshKey();
      const socket = await connect(t, "/", { auth: { key } });
      const ended = next(socket, "disconnect");
      socket.emit("echo", tooLarge);
      const [reason] = await ended;
      // Over polling, the rejection of the POST and the last poll response race, so either may be the reason.
      const expected = { polling: /^transport (error|close)$/, websocket: /^transport close$/ };
      assert.match(reason, expected[socket.io.engine.transport.name]);
      const [record] = await records(observer, key);
      assert.equal(record.reason, "transport error");
      socket.connect();
      await connected(socket);
      assert.equal(await socket.emitWithAck("echo", "again"), "again");
    });
  }
});
