// Tests raw packets of Engine.IO 3 and Socket.IO protocol 4, which clients of version 2 speak.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { client, connected, freshKey, next, records, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { Polling, request, Socket } from "./wire.mjs";

const url = await startServer("main", "fast");
// The codec of the version 2 client.
const parser = createRequire(createRequire(import.meta.url).resolve("socket.io-client-v2"))("engine.io-parser");

const MISMATCH = { status: 400, body: '{"code":3,"message":"Bad request"}' };
const UNKNOWN = { status: 400, body: '{"code":1,"message":"Session ID unknown"}' };
const WEBSOCKET = { EIO: "3", transport: "websocket" };

/** Encodes packets with their length in UTF-16 code units, the unit of JavaScript strings. */
const payload = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

function packets(data) {
  const list = [];
  parser.decodePayload(data, "nodebuffer", ({ type, data }) => list.push(data === undefined ? [type] : [type, data]));
  return list;
}

/** A polling session of protocol 3. The test makes each request. */
class Old {
  static async open(profile = "main", query = {}) {
    const session = new Old();
    session.base = url(profile);
    session.query = { EIO: "3", transport: "polling", ...query };
    const { status, body } = await request(session.base, session.query);
    assert.equal(status, 200, body);
    const [length, packet] = [body.slice(0, body.indexOf(":")), body.slice(body.indexOf(":") + 1)];
    assert.deepEqual([Number(length), packet[0]], [packet.length, "0"]);
    session.handshake = JSON.parse(packet.slice(1));
    session.query.sid = session.handshake.sid;
    assert.equal((await session.poll()).body, "2:40", "in the namespace without asking");
    return session;
  }

  poll(options) {
    return request(this.base, this.query, options);
  }

  post(body, options) {
    return request(this.base, this.query, { method: "POST", body, ...options });
  }

  async send(...list) {
    const { status, body } = await this.post(payload(...list));
    assert.deepEqual([status, body], [200, "ok"]);
  }

  /** Polls and returns the body as bytes. */
  async bytes() {
    const response = await within(fetch(`${this.base}/socket.io/?${new URLSearchParams(this.query)}`), "a poll");
    return { type: response.headers.get("content-type"), body: Buffer.from(await response.arrayBuffer()) };
  }

  /** Starts a poll while nothing is queued. Round trips on other requests give the poll time to be parked. */
  async park() {
    const answer = this.poll();
    for (let i = 0; i < 5; i++) await fetch(`${this.base}/health`);
    return { answer };
  }

  websocket(t, query = {}) {
    return new Socket(t, this.base, { ...this.query, transport: "websocket", ...query });
  }

  async assertClosed() {
    const { status, body } = await this.post("1:2");
    assert.deepEqual({ status, body }, UNKNOWN);
  }
}

async function openSocket(t, profile = "main", query = {}) {
  const socket = await Socket.open(t, url(profile), { EIO: "3", ...query });
  assert.equal(await socket.receive(), "40");
  return socket;
}

async function upgraded(t, session, query) {
  const socket = session.websocket(t, query);
  await next(socket.ws, "open");
  socket.send("2probe");
  assert.equal(await socket.receive(), "3probe");
  socket.send("5", '42["echo","up"]');
  assert.equal(await socket.receive(), '42["echo","up"]');
  return socket;
}

describe("opening", () => {
  test("a session over polling", async () => {
    for (const EIO of ["3", "2", "abc"]) {
      const { handshake } = await Old.open("main", { EIO });
      assert.deepEqual(
        { ...handshake, sid: "" },
        { sid: "", upgrades: ["websocket"], pingInterval: 20000, pingTimeout: 15000, maxPayload: 1000000 },
      );
    }
    const response = await fetch(`${url("main")}/socket.io/?transport=polling`);
    assert.match(await response.text(), /^\d+:0\{"sid":/);
    assert.equal(response.headers.get("content-type"), "text/plain; charset=UTF-8");
  });

  test("a session over a WebSocket", async (t) => {
    assert.deepEqual((await openSocket(t)).handshake.upgrades, []);
  });

  test("a session keeps its revision", async (t) => {
    const old = await Old.open();
    const current = await Polling.open(url("main"));
    for (const [session, EIO] of [
      [old, "4"],
      [current, "3"],
    ]) {
      const { status, body } = await request(url("main"), { ...session.query, EIO });
      assert.deepEqual({ status, body }, MISMATCH);
      assert.deepEqual(await session.websocket(t, { EIO }).response(), MISMATCH);
    }
    await old.send('42["echo","still here"]');
    assert.equal((await old.poll()).body, payload('42["echo","still here"]'));
  });
});

describe("payloads", () => {
  test("lengths count UTF-16 code units", async () => {
    const session = await Old.open();
    await session.send('42["echo","€hé😀"]', '42["echo",1]', '42["echo",",2:4:\u{2028}"]');
    let body = "";
    while (packets(body || "0:").length < 3) body += (await session.poll()).body;
    assert.equal(body, payload('42["echo","€hé😀"]', '42["echo",1]', '42["echo",",2:4:\u{2028}"]'));
  });

  const EVENT = '451-["echo",{"_placeholder":true,"num":0}]';
  const encode = (list, binary) => new Promise((resolve) => parser.encodePayload(list, binary, resolve));
  const messages = [
    { type: "message", data: EVENT.slice(1) },
    { type: "message", data: Buffer.from([1, 2, 3, 4]) },
  ];

  test("are binary for clients that read bytes", async () => {
    const session = await Old.open();
    const body = await encode(messages, true);
    const headers = { "content-type": "application/octet-stream" };
    assert.equal((await session.post(body, { headers })).body, "ok");
    const answer = await session.bytes();
    assert.equal(answer.type, "application/octet-stream");
    assert.deepEqual(answer.body, body);
    assert.deepEqual(answer.body.subarray(-8), Buffer.from([1, 5, 0xff, 4, 1, 2, 3, 4]));
    await session.send('42["echo","text"]');
    const text = await session.bytes();
    assert.deepEqual([text.type, String(text.body)], ["text/plain; charset=UTF-8", payload('42["echo","text"]')]);
  });

  test("hold base64 for those that do not", async () => {
    const session = await Old.open("main", { b64: "1" });
    await session.send(EVENT, "b4AQIDBA==");
    const answer = await session.bytes();
    assert.equal(answer.type, "text/plain; charset=UTF-8");
    assert.equal(String(answer.body), payload(EVENT, "b4AQIDBA=="));
    assert.equal(String(answer.body), await encode(messages, false));
  });

  test("large ones", async () => {
    const session = await Old.open();
    await session.send('421["bigbin",300000]');
    const [[, text], [type, data]] = packets((await session.bytes()).body);
    assert.equal(text, '61-1[{"_placeholder":true,"num":0}]');
    assert.equal(type, "message");
    assert.deepEqual(data, Buffer.from(Array.from({ length: 300_000 }, (_, i) => i & 255)));
  });

  test("an empty batch holds nothing", async () => {
    const session = await Old.open();
    await session.post("0:");
    await session.send('42["echo"]');
    assert.equal((await session.poll()).body, payload('42["echo"]'));
  });

  for (const bad of ["", "4", "x:4", ":4", "3:4", "1:7", "1:", "2:b4x", "-1:4", "99999999999:4", "1:9", "2:4😀"]) {
    test(`${JSON.stringify(bad)} ends the session, after what came before it`, async (t) => {
      const key = freshKey();
      const session = await Old.open("main", { key });
      const { answer } = await session.park();
      await session.post((bad && payload('42["log",1]')) + bad);
      assert.match((await answer).body, /1:1$/);
      await session.assertClosed();
      const observer = await connected(client(t, url("main"), { transports: ["websocket"] }));
      assert.equal((await records(observer, key))[0].reason, "parse error");
    });
  }

  for (const bad of [[], [0], [0, 1], [0, 2, 255, 52], [2, 1, 255, 52], [1, 1, 255, 2], [1, 9, 9, 9, 9, 9, 255, 4]]) {
    test(`the bytes ${bad} end the session`, async () => {
      const session = await Old.open();
      await session.post(Buffer.from(bad), { headers: { "content-type": "application/octet-stream" } });
      await session.assertClosed();
    });
  }
});

describe("WebSocket", () => {
  const EVENT = '451-["echo",{"_placeholder":true,"num":0}]';

  test("binary messages have their type before their bytes", async (t) => {
    const old = await openSocket(t);
    const up = await upgraded(t, await Old.open());
    for (const socket of [old, up]) {
      for (const bytes of [[1, 2, 3], [], Array.from({ length: 200 }, () => 4), Array.from({ length: 66_000 }, () => 9)]) {
        socket.send(EVENT, Buffer.from([4, ...bytes]));
        assert.equal(await socket.receive(), EVENT);
        assert.deepEqual(await socket.receive(), Buffer.from([4, ...bytes]));
      }
    }
  });

  test("a broadcast reaches each revision in its own form", async (t) => {
    const room = freshKey();
    const old = await openSocket(t);
    const base64 = await openSocket(t, "main", { b64: "1" });
    const current = await Socket.open(t, url("main"));
    await current.join();
    for (const socket of [old, base64, current]) {
      socket.send(`421["join","${room}"]`);
      assert.equal(await socket.receive(), "431[]");
    }
    current.send(`451-["cast",{"via":"nsp","to":["${room}"]},"x",{"_placeholder":true,"num":0}]`, Buffer.from([7]));
    for (const [socket, form] of [
      [old, Buffer.from([4, 7])],
      [base64, "b4Bw=="],
      [current, Buffer.from([7])],
    ]) {
      assert.equal(await socket.receive(), '451-["x",{"_placeholder":true,"num":0}]');
      assert.deepEqual(await socket.receive(), form);
    }
  });

  test("base64 is read and, where it was asked for, written", async (t) => {
    for (const [query, form] of [
      [{ b64: "1" }, "b4AQID"],
      [{}, Buffer.from([4, 1, 2, 3])],
    ]) {
      const socket = await openSocket(t, "main", query);
      socket.send(EVENT, "b4AQID");
      assert.deepEqual([await socket.receive(), await socket.receive()], [EVENT, form]);
      const up = await upgraded(t, await Old.open(), query);
      up.send(EVENT, "b4AQID");
      assert.deepEqual([await up.receive(), await up.receive()], [EVENT, form]);
    }
  });

  for (const [what, bad] of [
    ["an empty binary message", Buffer.alloc(0)],
    ["a binary message of another type", Buffer.from([2])],
    ["base64 without a type", "bAQID"],
    ["an unknown type", "9"],
    ["an empty message", ""],
  ]) {
    test(`${what} ends the session`, async (t) => {
      const socket = await openSocket(t);
      socket.send(bad);
      assert.equal(await socket.ended(), 1002);
    });
  }
});

describe("upgrade", () => {
  test("is probed, releases the poll and takes over", async (t) => {
    const session = await Old.open();
    const { answer } = await session.park();
    const socket = session.websocket(t);
    await next(socket.ws, "open");
    socket.send("2probe");
    assert.equal(await socket.receive(), "3probe");
    assert.equal((await answer).body, "1:6");
    await session.send('42["echo","before"]');
    socket.send("5", '42["echo","after"]');
    assert.equal(await socket.receive(), '42["echo","before"]');
    assert.equal(await socket.receive(), '42["echo","after"]');
    const { status, body } = await session.poll();
    assert.deepEqual({ status, body }, MISMATCH);
  });
});

describe("heartbeat", () => {
  const SILENCE = 300 + 500;

  test("the client pings, the server answers", async (t) => {
    const session = await Old.open();
    for (const ping of ["2", "2probe"]) {
      await session.send(ping);
      assert.equal((await session.poll()).body, "1:3");
      const { answer } = await session.park();
      await session.send(ping);
      assert.equal((await answer).body, "1:3");
    }
    for (const socket of [await openSocket(t), await upgraded(t, session)]) {
      for (const ping of ["2", "2probe"]) {
        socket.send(ping);
        assert.equal(await socket.receive(), "3");
      }
    }
  });

  test("a pong from the client is an error", async (t) => {
    const socket = await openSocket(t);
    socket.send("3");
    assert.equal(await socket.ended(), 1002);
    const session = await Old.open();
    await session.send("3");
    await session.assertClosed();
  });

  const opened = {
    polling: async () => {
      const session = await Old.open("fast");
      return { end: () => session.poll() };
    },
    websocket: async (t) => {
      const socket = await openSocket(t, "fast");
      return { end: () => socket.ended(), ping: () => socket.send("2"), answer: () => socket.receive() };
    },
    upgraded: async (t) => {
      const socket = await upgraded(t, await Old.open("fast"));
      return { end: () => socket.ended(), ping: () => socket.send("2"), answer: () => socket.receive() };
    },
  };

  for (const [how, open] of Object.entries(opened)) {
    test(`a silent client is given up after interval and timeout, ${how}`, async (t) => {
      const session = await open(t);
      const started = performance.now();
      await session.end();
      const took = performance.now() - started;
      assert.ok(took > SILENCE - 150 && took < SILENCE + 600, `${took} ms`);
    });
  }

  for (const how of ["websocket", "upgraded"]) {
    test(`pings keep a session alive, ${how}`, async (t) => {
      const session = await opened[how](t);
      const started = performance.now();
      while (performance.now() - started < 2 * SILENCE) {
        session.ping();
        assert.equal(await session.answer(), "3");
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    });
  }
});

describe("closing", () => {
  test("by the client", async () => {
    const session = await Old.open();
    const { answer } = await session.park();
    await session.send("1");
    assert.equal((await answer).body, "1:6");
    await session.assertClosed();
  });

  test("by the server", async (t) => {
    const session = await Old.open();
    const { answer } = await session.park();
    await session.send('42["drop"]');
    assert.equal((await answer).body, "1:1");
    const socket = await openSocket(t);
    socket.send('42["drop"]');
    assert.equal(await socket.ended(), 1000);
  });
});

describe("JSONP", () => {
  const form = (body) => ({
    method: "POST",
    body: new URLSearchParams({ d: body.replaceAll("\\n", "\\\n").replaceAll("\n", "\\n") }),
  });

  /** Runs the script as a page would. */
  function run({ status, headers, body }, index) {
    assert.equal(status, 200, body);
    // With `nosniff`, a browser runs scripts of a JavaScript type only.
    assert.equal(headers.get("content-type"), "text/javascript; charset=UTF-8");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    const answers = [];
    const ___eio = { [index]: (answer) => answers.push(answer) };
    new Function("___eio", body)(___eio);
    assert.equal(answers.length, 1);
    return answers[0];
  }

  test("polls are answered by scripts, packets come as forms", async () => {
    const query = { EIO: "3", transport: "polling", j: "x3" };
    const ask = (options) => request(url("main"), query, options);
    const open = run(await ask(), 3);
    assert.match(open, /^\d+:0\{/);
    query.sid = JSON.parse(open.slice(open.indexOf(":") + 2)).sid;
    query.j = "8";
    assert.equal(run(await ask(), 3), "2:40", "the first j counts");
    const event = `42${JSON.stringify(["echo", "a\n\\n\\ \u2028\u2029é😀&d=+%"])}`;
    const { status, body } = await ask(form(payload(event)));
    assert.deepEqual([status, body], [200, "ok"]);
    const answer = await ask();
    assert.ok(!/[\u2028\u2029]/.test(answer.body));
    assert.deepEqual(JSON.parse(packets(run(answer, 3))[0][1].slice(1)), JSON.parse(event.slice(2)));
    assert.equal((await ask(form(payload('451-["echo",{"_placeholder":true,"num":0}]', "b4AQ==")))).body, "ok");
    assert.equal(run(await ask(), 3), payload('451-["echo",{"_placeholder":true,"num":0}]', "b4AQ=="));
  });

  test("protocol 4 has it too", async () => {
    const query = { EIO: "4", transport: "polling", j: "0" };
    const ask = (options) => request(url("main"), query, options);
    query.sid = JSON.parse(run(await ask(), 0).slice(1)).sid;
    assert.equal((await ask(form("40"))).body, "ok");
    assert.match(run(await ask(), 0), /^40\{"sid"/);
    assert.equal((await ask(form('42["echo",1]\x1e42["echo",2]'))).body, "ok");
    assert.equal(run(await ask(), 0), '42["echo",1]\x1e42["echo",2]');
  });

  test("forms without packets are taken for nothing", async () => {
    const query = { EIO: "3", transport: "polling", j: "0" };
    const open = run(await request(url("main"), query), 0);
    query.sid = JSON.parse(open.slice(open.indexOf(":") + 2)).sid;
    assert.equal(run(await request(url("main"), query), 0), "2:40");
    for (const body of ["", "x=1", "d=1&d=2"]) {
      assert.equal((await request(url("main"), query, { method: "POST", body })).body, "ok", body);
    }
    assert.equal((await request(url("main"), query, form(payload('42["echo"]')))).body, "ok");
    assert.equal(run(await request(url("main"), query), 0), payload('42["echo"]'));
  });
});

describe("Socket.IO", () => {
  test("events that come before the answer wait for it", async (t) => {
    const socket = new Socket(t, url("main"), WEBSOCKET);
    await next(socket.ws, "open");
    socket.send('42["echo",1]');
    assert.match(await socket.receive(), /^0\{/);
    assert.deepEqual([await socket.receive(), await socket.receive()], ["40", '42["echo",1]']);
  });

  test("namespaces are joined with a query", async (t) => {
    const socket = await openSocket(t);
    socket.send("40/custom,");
    assert.equal(await socket.receive(), "40/custom,");
    socket.send("40/auth?token=secret&u=%20b&u=c,");
    assert.equal(await socket.receive(), "40/auth,");
    assert.equal(await socket.receive(), '42/auth,["welcome",{"token":"secret","u":[" b","c"]}]');
    socket.send('42/auth?token=secret,1["echo",1]');
    assert.equal(await socket.receive(), "43/auth,1[1]");
    socket.send(`40/early?long=${"x".repeat(5000)},`);
    assert.equal(await socket.receive(), "40/early,");
  });

  test("refusals are plain JSON", async (t) => {
    const socket = await openSocket(t);
    for (const [connect, answer] of [
      ["40/no,", '44/no,"no entry"'],
      ["40/auth,", '44/auth,{"code":401,"given":null}'],
      ["40/auth?token=%22,", '44/auth,{"code":401,"given":"\\""}'],
      ["40/nowhere?x=1,", '44/nowhere,{"message":"Invalid namespace"}'],
    ]) {
      socket.send(connect);
      assert.equal(await socket.receive(), answer);
    }
  });

  test("a second CONNECT closes the connection", async (t) => {
    const socket = await openSocket(t);
    socket.send("40");
    assert.equal(await socket.ended(), 1002);
  });

  test("an event for a namespace that was not joined closes the connection", async (t) => {
    const socket = await openSocket(t);
    socket.send('42/custom?x=1,["echo",1]');
    assert.equal(await socket.ended(), 1002);
  });

  test("leaving a namespace", async (t) => {
    const socket = await openSocket(t);
    socket.send("40/custom,");
    assert.equal(await socket.receive(), "40/custom,");
    socket.send("41/custom,", "40/custom,");
    assert.equal(await socket.receive(), "40/custom,");
    socket.send('42/custom,["bye"]');
    assert.equal(await socket.receive(), "41/custom,");
  });
});
