// Tests Engine.IO over WebSocket, message by message.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { next } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { observed, Socket } from "./wire.mjs";

const url = await startServer("main", "fast");

/** Opens a session in `/`. `reason` resolves with the disconnect reason on the server. */
async function watched(t, profile = "main") {
  const socket = await Socket.open(t, url(profile));
  return { socket, reason: await observed(t, url(profile), socket) };
}

describe("messages", () => {
  test("each packet is one message", async (t) => {
    const { socket } = await watched(t);
    socket.send('42["echo",1]', '42["echo","é😀"]', '4217["echo",3]');
    for (const packet of ['42["echo",1]', '42["echo","é😀"]', "4317[3]"])
      assert.equal(await socket.receive(), packet);
  });

  test("binaries are binary messages", async (t) => {
    const { socket } = await watched(t);
    const packets = [
      '452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
      Buffer.from([1, 2]),
      Buffer.alloc(0),
    ];
    socket.send(...packets);
    for (const packet of packets) assert.deepEqual(await socket.receive(), packet);
  });

  test("a binary may come as base64 text", async (t) => {
    const { socket } = await watched(t);
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', "bAQID");
    assert.equal(await socket.receive(), '451-["echo",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.receive(), Buffer.from([1, 2, 3]));
  });

  test("a message may come in fragments that split characters, with pings between", async (t) => {
    const { socket } = await watched(t);
    const bytes = Buffer.from('42["echo","😀é"]');
    for (const [i, byte] of bytes.entries()) {
      socket.ws.send(Buffer.from([byte]), { binary: false, fin: i === bytes.length - 1 });
      if (i % 5 === 0) socket.ws.ping("between");
    }
    assert.equal(await socket.receive(), '42["echo","😀é"]');
  });

  test("a WebSocket ping is answered with its payload", async (t) => {
    const { socket } = await watched(t);
    const pong = next(socket.ws, "pong");
    socket.ws.ping("payload");
    assert.equal((await pong)[0].toString(), "payload");
  });

  test("frames of every length form", async (t) => {
    const { socket } = await watched(t);
    for (const length of [0, 1, 111, 112, 113, 125, 126, 127, 65_520, 65_522, 65_523, 65_535, 65_536, 999_987]) {
      const packet = `42["echo","${"x".repeat(length)}"]`;
      socket.send(packet);
      assert.equal(await socket.receive(), packet);
    }
  });

  test("a message of the largest size is taken", async (t) => {
    const { socket } = await watched(t, "fast");
    const packet = `42["echo","${"x".repeat(1000 - 13)}"]`;
    socket.send(packet);
    assert.equal(await socket.receive(), packet);
  });
});

describe("the end of a session", () => {
  for (const [what, message, code, reason] of [
    ["a message over the largest size", `42["echo","${"x".repeat(1001 - 13)}"]`, 1009, "transport error"],
    ["a binary over the largest size", Buffer.alloc(1001), 1009, "transport error"],
    ["an unknown packet type", "abc", 1002, "parse error"],
    ["an empty message", "", 1002, "parse error"],
    ["a heartbeat in the wrong direction", "2", 1002, "transport error"],
  ]) {
    test(`${what} ends it`, async (t) => {
      const { socket, reason: seen } = await watched(t, "fast");
      socket.send(message);
      assert.equal(await socket.ended(), code);
      assert.equal(await seen(), reason);
    });
  }

  test("fragments over the largest size end it", async (t) => {
    const { socket, reason } = await watched(t, "fast");
    for (let i = 0; i < 11; i++) socket.ws.send("x".repeat(100), { fin: false });
    assert.equal(await socket.ended(), 1009);
    assert.equal(await reason(), "transport error");
  });

  test("text that is not UTF-8 ends it", async (t) => {
    const { socket, reason } = await watched(t);
    socket.ws.send(Buffer.from([0x34, 0x32, 0xff, 0xfe]), { binary: false });
    assert.equal(await socket.ended(), 1007);
    assert.equal(await reason(), "transport error");
  });

  for (const [what, frame] of [
    ["an unmasked frame", [0x81, 0x01, 0x33]],
    ["a reserved opcode", [0x83, 0x80, 0, 0, 0, 0]],
    ["a reserved bit", [0xc1, 0x81, 0, 0, 0, 0, 0x33]],
    ["a fragmented ping", [0x09, 0x80, 0, 0, 0, 0]],
    ["a continuation of nothing", [0x80, 0x80, 0, 0, 0, 0]],
  ]) {
    test(`${what} ends it`, async (t) => {
      const { socket, reason } = await watched(t);
      socket.ws._socket.write(Buffer.from(frame));
      assert.equal(await socket.ended(), 1002);
      assert.equal(await reason(), "transport error");
    });
  }

  test("the client's closing packet ends it", async (t) => {
    const { socket, reason } = await watched(t);
    socket.send("1");
    await socket.ended();
    assert.equal(await reason(), "transport close");
  });

  for (const code of [undefined, 1000, 1001, 3000]) {
    test(`the client's close frame with ${code ?? "no code"} is answered`, async (t) => {
      const { socket, reason } = await watched(t);
      socket.ws.close(code);
      assert.equal(await socket.ended(), code ?? 1005);
      assert.equal(await reason(), "transport close");
    });
  }

  test("the client's connection breaks", async (t) => {
    const { socket, reason } = await watched(t);
    socket.ws.terminate();
    assert.equal(await reason(), "transport close");
  });

  test("packets that mean nothing on an open session are ignored", async (t) => {
    const { socket } = await watched(t);
    socket.send("6", "3", '42["echo",1]');
    assert.equal(await socket.receive(), '42["echo",1]');
  });
});

describe("heartbeat", () => {
  test("the server pings, again after each answer", async (t) => {
    const socket = await Socket.open(t, url("fast"));
    await socket.join();
    for (let i = 0; i < 3; i++) {
      const asked = performance.now();
      assert.equal(await socket.receive(), "2");
      if (i > 0) assert.ok(performance.now() - asked > 250, "the interval has passed");
      socket.send("3");
    }
  });

  test("without an answer the session ends", async (t) => {
    const { socket, reason } = await watched(t, "fast");
    assert.equal(await socket.receive(), "2");
    await socket.ended();
    assert.equal(await reason(), "ping timeout");
  });
});
