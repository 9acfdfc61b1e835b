// Tests valid and invalid handshake requests of Engine.IO.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startServer } from "./server.mjs";
import { Polling, request, Socket } from "./wire.mjs";

const url = await startServer("main", "fast", "strict", "polling", "websocket");
const OPEN = { EIO: "4", transport: "polling" };

const ERRORS = {
  transport: '{"code":0,"message":"Transport unknown"}',
  session: '{"code":1,"message":"Session ID unknown"}',
  method: '{"code":2,"message":"Bad handshake method"}',
  request: '{"code":3,"message":"Bad request"}',
  version: '{"code":5,"message":"Unsupported protocol version"}',
};

describe("polling", () => {
  test("opens a session", async () => {
    const { status, headers, body } = await request(url("main"), OPEN);
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "text/plain; charset=UTF-8");
    assert.equal(headers.get("content-length"), String(body.length));
    assert.equal(headers.get("cache-control"), "no-store");
    const sid = JSON.parse(body.slice(1)).sid;
    assert.match(sid, /^[\w-]{20,}$/);
    assert.equal(
      body,
      `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":20000,"pingTimeout":15000,"maxPayload":1000000}`,
    );
  });

  test("advertises the profile's times and limits", async () => {
    const { handshake } = await Polling.open(url("fast"));
    assert.deepEqual(
      { ...handshake, sid: "" },
      { sid: "", upgrades: ["websocket"], pingInterval: 300, pingTimeout: 500, maxPayload: 1000 },
    );
  });

  test("advertises no upgrade where there is none", async () => {
    assert.deepEqual((await Polling.open(url("polling"))).handshake.upgrades, []);
    assert.deepEqual((await Polling.open(url("strict"), {}, { path: "/bb" })).handshake.upgrades, []);
  });

  test("gives each session an id of its own", async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => Polling.open(url("main"))));
    assert.equal(new Set(sessions.map(({ handshake }) => handshake.sid)).size, 20);
  });

  test("takes an empty sid for none, and the last of several values", async () => {
    await Polling.open(url("main"), { sid: "" });
    const response = await fetch(`${url("main")}/socket.io/?EIO=3&EIO=4&transport=x&transport=polling`);
    assert.equal(response.status, 200);
    await response.text();
  });

  for (const [what, query, error] of [
    ["no transport", { EIO: "4" }, "transport"],
    ["an unknown transport", { EIO: "4", transport: "abc" }, "transport"],
    ["an inherited name as transport", { EIO: "4", transport: "constructor" }, "transport"],
    ["a prototype as transport", { EIO: "4", transport: "__proto__" }, "transport"],
    ["WebTransport, which is not HTTP", { EIO: "4", transport: "webtransport" }, "transport"],
    ["an unknown transport and session", { EIO: "4", transport: "abc", sid: "zzz" }, "transport"],
    ["an unknown session", { ...OPEN, sid: "zzz" }, "session"],
    ["a prototype as session", { ...OPEN, sid: "__proto__" }, "session"],
    ["a WebSocket without an upgrade", { EIO: "4", transport: "websocket" }, "request"],
  ]) {
    test(`refuses ${what}`, async () => {
      const { status, headers, body } = await request(url("main"), query);
      assert.deepEqual([status, body], [400, ERRORS[error]]);
      assert.equal(headers.get("content-type"), "application/json");
    });
  }

  for (const EIO of ["3", "5", "abc", "", undefined]) {
    test(`refuses the protocol version ${EIO}`, async () => {
      const { status, body } = await request(url("polling"), {
        transport: "polling",
        ...(EIO !== undefined && { EIO }),
      });
      assert.deepEqual([status, body], [400, ERRORS.version]);
    });
  }

  for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
    test(`refuses to open a session with ${method}`, async () => {
      const { status, body } = await request(url("main"), OPEN, { method });
      assert.deepEqual([status, body], [400, ERRORS.method]);
    });
  }

  test("refuses polling where it is off", async () => {
    const { status, body } = await request(url("websocket"), OPEN);
    assert.deepEqual([status, body], [400, ERRORS.transport]);
  });
});

describe("WebSocket", () => {
  test("opens a session", async (t) => {
    const socket = new Socket(t, url("main"));
    const packet = await socket.receive();
    const sid = JSON.parse(packet.slice(1)).sid;
    assert.equal(
      packet,
      `0{"sid":"${sid}","upgrades":[],"pingInterval":20000,"pingTimeout":15000,"maxPayload":1000000}`,
    );
  });

  for (const [what, query, error] of [
    ["no transport", { EIO: "4" }, "transport"],
    ["an unknown transport", { EIO: "4", transport: "abc" }, "transport"],
    ["a prototype as transport", { EIO: "4", transport: "__proto__" }, "transport"],
    ["an unknown session", { EIO: "4", transport: "websocket", sid: "zzz" }, "session"],
  ]) {
    test(`refuses ${what} before the upgrade`, async (t) => {
      const socket = new Socket(t, url("main"), query);
      assert.deepEqual(await socket.response(), { status: 400, body: ERRORS[error] });
    });
  }

  test("refuses other protocol versions before the upgrade", async (t) => {
    for (const query of [{ EIO: "3" }, { EIO: "5" }, {}]) {
      const socket = new Socket(t, url("websocket"), { transport: "websocket", ...query });
      assert.deepEqual(await socket.response(), { status: 400, body: ERRORS.version });
    }
  });

  test("refuses a WebSocket where it is off", async (t) => {
    const socket = new Socket(t, url("polling"));
    assert.deepEqual(await socket.response(), { status: 400, body: ERRORS.transport });
  });
});
