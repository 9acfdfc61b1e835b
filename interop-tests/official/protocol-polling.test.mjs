// Tests Engine.IO over HTTP long-polling, request by request.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { describe, test } from "node:test";
import { client, connected, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { observed, Polling, SEPARATOR } from "./wire.mjs";

const url = await startServer("main", "fast");
const MISMATCH = '{"code":3,"message":"Bad request"}';

/** Opens a session in `/`. `reason` resolves with the disconnect reason on the server. */
async function watched(t, profile = "main") {
  const session = await Polling.open(url(profile));
  return { session, reason: await observed(t, url(profile), session) };
}

async function joined(profile = "main") {
  const session = await Polling.open(url(profile));
  await session.join();
  return session;
}

/** Starts a POST and waits for `100 Continue`. The caller must end the request. */
async function begun(session, headers) {
  const begun = http.request(session.address, {
    method: "POST",
    agent: false,
    headers: { expect: "100-continue", ...headers },
  });
  const answer = new Promise((resolve) => {
    begun.once("response", (response) => resolve(response.resume().statusCode));
    begun.once("error", () => resolve("broken"));
  });
  begun.flushHeaders();
  await within(once(begun, "continue"), "100 Continue");
  return { begun, answer };
}

describe("messages", () => {
  test("a poll waits for a message", async () => {
    const session = await joined();
    const { answer } = await session.park();
    const posted = await session.post('42["echo",1]');
    assert.deepEqual([posted.status, posted.body], [200, "ok"]);
    assert.equal(posted.headers.get("content-type"), "text/html");
    assert.equal(posted.headers.get("cache-control"), "no-store");
    const { status, headers, body } = await answer;
    assert.deepEqual([status, body], [200, '42["echo",1]']);
    assert.equal(headers.get("content-type"), "text/plain; charset=UTF-8");
    assert.equal(headers.get("content-length"), "12");
    assert.equal(headers.get("cache-control"), "no-store");
  });

  test("several packets fit in one body, both ways", async () => {
    const session = await joined();
    await session.send('42["echo",1]', '42["echo","é😀"]', '4217["echo",3]');
    assert.deepEqual(await session.receive(), ['42["echo",1]', '42["echo","é😀"]', "4317[3]"]);
  });

  test("lengths are counted in bytes", async () => {
    const session = await joined();
    await session.send('42["echo","é😀"]');
    const { headers, body } = await session.poll();
    assert.equal(headers.get("content-length"), String(Buffer.byteLength(body)));
  });

  test("binaries travel as base64", async () => {
    const session = await joined();
    const packets = ['452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "bAQIDBA==", "b"];
    await session.send(...packets);
    assert.deepEqual(await session.receive(), packets);
  });

  test("packets of one message may come in several requests", async () => {
    const session = await joined();
    await session.send('42["echo",0]', '451-["echo",{"_placeholder":true,"num":0}]');
    await session.send("bAQ==", '42["echo",2]');
    const got = [];
    while (got.length < 4) got.push(...(await session.receive()));
    assert.deepEqual(got, ['42["echo",0]', '451-["echo",{"_placeholder":true,"num":0}]', "bAQ==", '42["echo",2]']);
  });

  test("a body may come in chunks that split characters", async () => {
    const session = await joined();
    const { begun: sending, answer } = await begun(session, { "transfer-encoding": "chunked" });
    for (const byte of Buffer.from('42["echo","😀"]')) sending.write(Buffer.from([byte]));
    sending.end();
    assert.equal(await within(answer, "a response"), 200);
    assert.deepEqual(await session.receive(), ['42["echo","😀"]']);
  });

  test("text of any type is taken", async () => {
    const session = await joined();
    for (const type of ["text/plain;charset=UTF-8", "text/html", "application/json"]) {
      const { status } = await session.post(`42["echo","${type}"]`, { headers: { "content-type": type } });
      assert.equal(status, 200);
      assert.deepEqual(await session.receive(), [`42["echo","${type}"]`]);
    }
  });

  test("a body of the largest size is taken", async () => {
    const session = await joined("fast");
    const packet = `42["echo","${"x".repeat(1000 - 13)}"]`;
    assert.equal(packet.length, 1000);
    await session.send(packet);
    assert.deepEqual(await session.receive(), [packet]);
  });

  test("a body over the largest size ends the session", async (t) => {
    for (const headers of [{}, { "transfer-encoding": "chunked" }]) {
      const { session, reason } = await watched(t, "fast");
      const sending = http.request(session.address, { method: "POST", agent: false, headers });
      sending.once("error", () => {});
      sending.end(`42["echo","${"x".repeat(1001 - 13)}"]`);
      const [response] = await within(once(sending, "response"), "a response");
      assert.equal(response.statusCode, 413);
      const body = Buffer.concat(await response.toArray()).toString();
      assert.equal(body, "");
      assert.equal(await reason(), "transport error");
      await session.assertClosed();
    }
  });

  test("the official client reports what was too large", async (t) => {
    for (const size of [1001, 50_000, 3_000_000]) {
      const socket = await connected(client(t, url("fast"), { transports: ["polling"] }));
      const gone = new Promise((resolve) => {
        // The client discards the response text after this event.
        socket.once("disconnect", (reason, details) => resolve([reason, details, details.context?.responseText]));
      });
      socket.emit("echo", "x".repeat(size));
      const [reason, details, text] = await within(gone, "the end");
      assert.equal(reason, "transport error");
      assert.equal(details.message, "xhr post error");
      assert.equal(details.description, 413);
      assert.equal(text, "");
    }
  });

  test("a poll and a close may come together", async () => {
    for (let i = 0; i < 20; i++) {
      const session = await joined();
      const [closed, polled] = await Promise.all([session.post("1"), session.poll()]);
      assert.deepEqual([closed.status, closed.body], [200, "ok"]);
      assert.deepEqual([polled.status, polled.body], [200, "6"]);
    }
  });

  test("other methods leave the session as it was", async () => {
    const session = await joined();
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      assert.ok((await session.poll({ method })).status >= 400);
    }
    await session.send('42["echo",1]');
    assert.deepEqual(await session.receive(), ['42["echo",1]']);
  });

  test("the session is on polling until it upgrades", async () => {
    const session = await joined();
    session.query.transport = "websocket";
    for (const answer of [await session.poll(), await session.post('42["echo"]')]) {
      assert.deepEqual([answer.status, answer.body], [400, MISMATCH]);
    }
    session.query.transport = "polling";
    await session.send('42["echo",1]');
    assert.deepEqual(await session.receive(), ['42["echo",1]']);
  });
});

describe("the end of a session", () => {
  test("a second poll ends it", async (t) => {
    const { session, reason } = await watched(t);
    const answers = await Promise.all([session.poll(), session.poll()]);
    assert.deepEqual(answers.map(({ status, body }) => `${status} ${body}`).sort(), ["200 1", "400 "]);
    assert.equal(await reason(), "transport error");
    await session.assertClosed();
  });

  test("a second request with data ends it", async (t) => {
    const { session, reason } = await watched(t);
    const { begun: sending, answer } = await begun(session, { "content-length": 100 });
    sending.write('42["echo"');
    assert.equal((await session.post('42["echo",1]')).status, 400);
    assert.equal(await reason(), "transport error");
    assert.notEqual(await within(answer, "the first request ends"), 200);
    await session.assertClosed();
  });

  test("a poll that the client gives up ends it", async (t) => {
    const { session, reason } = await watched(t);
    const poll = new AbortController();
    const answer = fetch(session.address, { signal: poll.signal }).catch(() => "given up");
    for (let i = 0; i < 5; i++) await fetch(`${url("main")}/health`);
    poll.abort();
    assert.equal(await answer, "given up");
    assert.equal(await reason(), "transport error");
    await session.assertClosed();
  });

  test("data that break off end it", async (t) => {
    const { session, reason } = await watched(t);
    const { begun: sending } = await begun(session, { "content-length": 100 });
    sending.write('42["echo"');
    sending.destroy();
    assert.equal(await reason(), "transport error");
    await session.assertClosed();
  });

  test("binary content ends it", async (t) => {
    const { session, reason } = await watched(t);
    const { status } = await session.post(Buffer.from([4]), {
      headers: { "content-type": "application/octet-stream" },
    });
    assert.equal(status, 400);
    assert.equal(await reason(), "transport error");
    await session.assertClosed();
  });

  test("the client closes it", async (t) => {
    const { session, reason } = await watched(t);
    const { answer } = await session.park();
    await session.send("1");
    assert.equal((await answer).body, "6");
    assert.equal(await reason(), "transport close");
    await session.assertClosed();
  });

  test("packets after the closing one are ignored", async (t) => {
    const { session, reason } = await watched(t);
    await session.send('42["log",1]', "1", '42["log",2]');
    assert.equal(await reason(), "transport close");
    assert.equal((await session.post("3")).status, 400);
    // A poll may have been in flight, so one late poll is completed.
    assert.deepEqual(await session.receive(), ["6"]);
    await session.assertClosed();
  });

  for (const [what, body] of [
    ["no packet", ""],
    ["an unknown packet type", "abc"],
    ["an empty packet", `42["echo",1]${SEPARATOR}`],
    ["a heartbeat in the wrong direction", "2"],
    ["base64 that is none", `451-["echo",{"_placeholder":true,"num":0}]${SEPARATOR}b*`],
  ]) {
    test(`${what} ends it`, async (t) => {
      const { session, reason } = await watched(t);
      const { answer } = await session.park();
      const { status } = await session.post(body);
      assert.ok([200, 400].includes(status), `status ${status}`);
      const last = await answer;
      assert.equal(last.status, 200);
      assert.equal(last.body.split(SEPARATOR).at(-1), "1");
      assert.equal(await reason(), what.startsWith("a heartbeat") ? "transport error" : "parse error");
      await session.assertClosed();
    });
  }
});

describe("heartbeat", () => {
  test("the server pings, again after each answer", async () => {
    const session = await Polling.open(url("fast"));
    await session.join();
    for (let i = 0; i < 3; i++) {
      const asked = performance.now();
      assert.deepEqual(await session.receive(), ["2"]);
      if (i > 0) assert.ok(performance.now() - asked > 250, "the interval has passed");
      await session.send("3");
    }
  });

  test("without an answer the session ends", async (t) => {
    const { session, reason } = await watched(t, "fast");
    assert.deepEqual(await session.receive(), ["2"]);
    assert.deepEqual(await session.receive(), ["1"]);
    assert.equal(await reason(), "ping timeout");
    await session.assertClosed();
  });

  test("a client that polls no more is noticed", async (t) => {
    const { session, reason } = await watched(t, "fast");
    assert.equal(await reason(), "ping timeout");
    await session.assertClosed();
  });
});
