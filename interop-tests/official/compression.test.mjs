// Tests permessage-deflate on the profile that enables it, and compressed responses of long-polling.
import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { Sender } from "ws";
import { client, connected, next, settled, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { Polling, Socket } from "./wire.mjs";

const url = await startServer("main", "websocket");
const base = url("websocket");

const ALONE = "permessage-deflate; server_no_context_takeover";

/** Returns the number of bytes that the WebSocket reads while `action` runs. */
async function bytesRead(ws, action) {
  const before = ws._socket.bytesRead;
  await action();
  return ws._socket.bytesRead - before;
}

/** Returns the server's response to an upgrade request with this extension offer. */
async function negotiated(t, offer, profile = "websocket") {
  const headers = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...(offer && { "Sec-WebSocket-Extensions": offer }),
  };
  const request = http.get(`${url(profile)}/socket.io/?EIO=4&transport=websocket`, { headers });
  const [response, socket] = await within(
    new Promise((resolve, reject) => request.on("upgrade", (...got) => resolve(got)).on("error", reject)),
    "an upgrade",
  );
  t.after(() => socket.destroy());
  return response.headers["sec-websocket-extensions"];
}

describe("negotiation", () => {
  test("the server goes without context takeover, and the client if it offers to", async (t) => {
    for (const offer of ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-y, permessage-deflate"])
      assert.equal(await negotiated(t, offer), ALONE, offer);
    assert.equal(
      await negotiated(t, "permessage-deflate; client_no_context_takeover"),
      `${ALONE}; client_no_context_takeover`,
    );
  });

  test("a smaller window is granted", async (t) => {
    assert.equal(
      await negotiated(t, "permessage-deflate; server_max_window_bits=10"),
      `${ALONE}; server_max_window_bits=10`,
    );
  });

  test("what cannot be met is declined, and the WebSocket works without", async (t) => {
    for (const offer of [
      undefined,
      "permessage-bzip2",
      "permessage-deflate; unknown",
      "permessage-deflate; server_max_window_bits=16",
    ])
      assert.equal(await negotiated(t, offer), undefined, offer);
  });

  test("it is off unless it is asked for", async (t) => {
    assert.equal(await negotiated(t, "permessage-deflate", "main"), undefined);
  });
});

// The server does not share a small window between sockets: it compresses the messages for each socket separately.
const WINDOWS = { "the usual window": {}, "a small window": { serverMaxWindowBits: 9, clientMaxWindowBits: 9 } };

for (const [name, window] of Object.entries(WINDOWS))
  describe(`messages with ${name}`, () => {
    const open = async (t) => {
      const perMessageDeflate = { threshold: 0, ...window };
      const socket = await Socket.open(t, base, {}, { perMessageDeflate });
      assert.match(socket.ws.extensions, /permessage-deflate/);
      await socket.join();
      return socket;
    };

    test("of every size come back as they were", async (t) => {
      const socket = await open(t);
      for (const size of [0, 1, 1000, 1010, 1024, 4096, 65_535, 65_536, 600_000]) {
        const text = "größe😀".repeat(size / 8).padEnd(size, "x");
        socket.send(`421["echo",${JSON.stringify(text)}]`);
        assert.equal(await socket.receive(), `431[${JSON.stringify(text)}]`);
      }
    });

    test("shrink on the wire from the threshold on", async (t) => {
      const socket = await open(t);
      const echo = (text) =>
        bytesRead(socket.ws, async () => {
          socket.send(`42["echo","${text}"]`);
          assert.equal(await socket.receive(), `42["echo","${text}"]`);
        });
      assert.ok((await echo("x".repeat(900))) > 900);
      assert.ok((await echo("x".repeat(100_000))) < 1500);
    });

    test("may be binary, also such that does not shrink", async (t) => {
      const socket = await open(t);
      for (const bytes of [Buffer.alloc(50_000, 7), zlib.deflateRawSync(Buffer.from(String(Math.random()).repeat(99)))]) {
        socket.send('451-["echo",{"_placeholder":true,"num":0}]', bytes);
        assert.equal(await socket.receive(), '451-["echo",{"_placeholder":true,"num":0}]');
        assert.deepEqual(await socket.receive(), bytes);
      }
    });

    test("may come in fragments, with pings between", async (t) => {
      const socket = await open(t);
      const packet = `42["echo","${"fragment ".repeat(500)}"]`;
      for (let at = 0; at < packet.length; at += 1000) {
        socket.ws.send(packet.slice(at, at + 1000), { fin: at + 1000 >= packet.length });
        socket.ws.ping("between");
      }
      assert.equal(await socket.receive(), packet);
    });
  });

describe("hostile messages", () => {
  /** Returns a frame that is marked as compressed. */
  const frame = (payload, options) => {
    const mask = { mask: true, maskBuffer: Buffer.alloc(4), readOnly: true };
    return Buffer.concat(Sender.frame(payload, { fin: true, rsv1: true, opcode: 1, ...mask, ...options }));
  };
  const bomb = zlib.deflateRawSync(Buffer.alloc(200_000_000), { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);

  const cases = {
    "a bomb": [1009, frame(bomb)],
    "a bomb in fragments": [1009, frame(bomb.subarray(0, 9), { fin: false }), frame(bomb.subarray(9), { rsv1: false, opcode: 0 })],
    "no DEFLATE": [1007, frame(Buffer.from("ffffffffffff", "hex"))],
    "DEFLATE that breaks off": [1007, frame(zlib.deflateRawSync("x".repeat(50) + "yz").subarray(0, 4))],
    "no UTF-8 inside": [1007, frame(zlib.deflateRawSync(Buffer.from([0x34, 0xff])))],
    "a compressed ping": [1002, frame(Buffer.from("x"), { opcode: 9 })],
    "a compressed continuation": [1002, frame(Buffer.from("x"), { fin: false }), frame(Buffer.from("x"), { opcode: 0 })],
  };
  for (const [name, [code, ...frames]] of Object.entries(cases))
    test(`${name} ends with ${code}, and others do not notice`, async (t) => {
      const canary = await connected(client(t, base, { transports: ["websocket"] }));
      const socket = await Socket.open(t, base);
      await socket.join();
      for (const bytes of frames) socket.ws._socket.write(bytes);
      assert.equal(await socket.ended(), code);
      assert.equal(await canary.emitWithAck("echo", "alive"), "alive");
    });

  test("compressed messages are refused where nothing was negotiated", async (t) => {
    const socket = await Socket.open(t, base, {}, { perMessageDeflate: false });
    await socket.join();
    socket.ws._socket.write(frame(zlib.deflateRawSync('42["echo"]')));
    assert.equal(await socket.ended(), 1002);
  });
});

describe("the official client", () => {
  const open = async (t, options) =>
    connected(client(t, base, { transports: ["websocket"], perMessageDeflate: { threshold: 1024 }, ...options }));

  test("sends and receives large and small messages", async (t) => {
    const socket = await open(t);
    assert.match(socket.io.engine.transport.ws.extensions, /permessage-deflate/);
    for (const value of ["small", "large ".repeat(10_000), { list: Array(5000).fill("é😀") }, Buffer.alloc(70_000, 1)])
      assert.deepEqual(await socket.emitWithAck("echo", value), value);
  });

  test("gets broadcasts compressed, beside clients that take none", async (t) => {
    const sockets = await Promise.all([open(t), open(t), open(t, { perMessageDeflate: false }), open(t)]);
    for (const socket of sockets) await socket.emitWithAck("join", "all");
    const text = "to all of you ".repeat(5000);
    const read = await Promise.all(
      sockets.map((socket, i) =>
        bytesRead(socket.io.engine.transport.ws, async () => {
          const news = next(socket, "news");
          if (i === 0) await socket.emitWithAck("cast", { via: "nsp", to: ["all"] }, "news", text);
          assert.deepEqual(await news, [text]);
        }),
      ),
    );
    await settled(...sockets);
    for (const [i, bytes] of read.entries()) assert.ok(i === 2 ? bytes > text.length : bytes < 2000, `${i}: ${bytes}`);
  });
});

describe("long-polling", () => {
  /** Returns the next poll response of the session, without decompression. */
  const poll = (session, headers) =>
    within(
      new Promise((resolve, reject) => {
        http
          .get(session.address, { headers }, (response) => {
            const chunks = [];
            response.on("data", (chunk) => chunks.push(chunk));
            response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
          })
          .on("error", reject);
      }),
      "an answer",
    );

  const decoders = { gzip: zlib.gunzipSync, deflate: zlib.inflateSync, br: zlib.brotliDecompressSync };
  const accepted = [
    ["gzip, deflate", "gzip"],
    ["gzip, deflate, br, zstd", "gzip"],
    ["deflate", "deflate"],
    ["br", "br"],
    ["gzip;q=0.5, br;q=0.8", "br"],
    ["gzip;q=0, *", "br"],
  ];
  for (const [accept, coding] of accepted)
    test(`"${accept}" is answered with ${coding}`, async (t) => {
      const session = await Polling.open(url("main"));
      await session.join();
      const packet = `42["echo","${"polling ".repeat(1000)}"]`;
      await session.send(packet);
      const { headers, body } = await poll(session, { "accept-encoding": accept });
      assert.equal(headers["content-encoding"], coding);
      assert.match(headers.vary, /Accept-Encoding/);
      assert.equal(Number(headers["content-length"]), body.length);
      assert.ok(body.length < 200);
      assert.equal(decoders[coding](body).toString(), packet);
    });

  test("small answers, and clients that take none, get plain ones", async () => {
    const session = await Polling.open(url("main"));
    await session.join();
    for (const [size, accept] of [[900, "gzip"], [5000, "identity"], [5000, "gzip;q=0"], [5000, "zstd"]]) {
      const packet = `42["echo","${"x".repeat(size)}"]`;
      await session.send(packet);
      const { headers, body } = await poll(session, { "accept-encoding": accept });
      assert.equal(headers["content-encoding"], undefined);
      assert.equal(body.toString(), packet);
    }
  });
});
