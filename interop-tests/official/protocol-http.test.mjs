// Tests the HTTP side of the protocol: origins, hooks, headers and cookies.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { describe, test } from "node:test";
import { client, connected, upgraded, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";
import { Polling } from "./wire.mjs";

const url = await startServer("main", "fast", "strict", "polling", "websocket");
const ALLOWED = "http://allowed.example";
const EVIL = "http://evil.example";
const POLLING = { EIO: "4", transport: "polling" };
const WEBSOCKET = { EIO: "4", transport: "websocket" };
const HANDSHAKE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Sends a request and returns the raw response. `fetch` cannot send these headers and does not show those of a 101. */
async function ask(t, base, query, { method = "GET", headers = {}, body, path = "/socket.io/" } = {}) {
  const upgrade = query.transport === "websocket" ? HANDSHAKE : {};
  const sent = httpRequest(`${base}${path}?${new URLSearchParams(query)}`, {
    method,
    headers: { ...upgrade, ...headers },
  });
  t.after(() => sent.destroy());
  sent.on("error", () => {});
  sent.end(body);
  const [response] = await within(Promise.race([once(sent, "response"), once(sent, "upgrade")]), "a response");
  if (response.statusCode === 101) return { status: 101, headers: response.headers };
  const chunks = await response.toArray();
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

const ways = (sid) => [
  ["polling", POLLING, {}, 200],
  ["WebSocket", WEBSOCKET, {}, 101],
  ["POST", { ...POLLING, sid }, { method: "POST", body: "40" }, 200],
  ["poll", { ...POLLING, sid }, {}, 200],
  ["upgrade", { ...WEBSOCKET, sid }, {}, 101],
];

describe("origins", () => {
  for (const origin of [EVIL, "null", "https://allowed.example", `${ALLOWED}:8080`, `${ALLOWED}.evil.example`]) {
    test(`refuses pages of ${origin} on every transport`, async (t) => {
      const { handshake } = await Polling.open(url("main"));
      for (const [what, query, options] of ways(handshake.sid)) {
        const { status, headers, body } = await ask(t, url("main"), query, { ...options, headers: { origin } });
        assert.deepEqual([status, body], [403, '{"code":4,"message":"Origin not allowed"}'], what);
        assert.equal(headers["content-type"], "application/json");
        assert.equal(headers["access-control-allow-origin"], undefined);
      }
    });
  }

  test("lets pages of an allowed origin read everything", async (t) => {
    const { handshake } = await Polling.open(url("main"));
    const failing = ["error", { EIO: "4", transport: "abc" }, {}, 400];
    for (const [what, query, options, expected] of [...ways(handshake.sid), failing]) {
      const { status, headers } = await ask(t, url("main"), query, { ...options, headers: { origin: ALLOWED } });
      assert.equal(status, expected, what);
      assert.equal(headers["access-control-allow-origin"], ALLOWED, what);
      assert.equal(headers["access-control-allow-credentials"], "true", what);
      assert.equal(headers.vary, "Origin", what);
    }
  });

  test("lets its own pages, and clients that are no browsers, in as ever", async (t) => {
    for (const profile of ["main", "fast"]) {
      for (const headers of [{}, { origin: url(profile) }]) {
        const { handshake } = await Polling.open(url(profile));
        for (const [what, query, options, expected] of ways(handshake.sid)) {
          const answer = await ask(t, url(profile), query, { ...options, headers });
          assert.equal(answer.status, expected, what);
          assert.equal(answer.headers["access-control-allow-origin"], undefined, what);
        }
      }
    }
  });

  test("answers preflights", async (t) => {
    const headers = {
      origin: ALLOWED,
      "access-control-request-method": "POST",
      "access-control-request-headers": "x-custom",
    };
    const answer = await ask(t, url("main"), POLLING, { method: "OPTIONS", headers });
    assert.deepEqual([answer.status, answer.body], [204, ""]);
    assert.equal(answer.headers["access-control-allow-origin"], ALLOWED);
    assert.equal(answer.headers["access-control-allow-credentials"], "true");
    assert.equal(answer.headers["access-control-allow-methods"], "GET,POST");
    assert.equal(answer.headers["access-control-allow-headers"], "x-custom");
    assert.equal(answer.headers.vary, "Origin");
  });

  test("says nothing, and answers no preflight, where no other origin is allowed", async (t) => {
    const preflight = await ask(t, url("fast"), POLLING, { method: "OPTIONS" });
    assert.deepEqual([preflight.status, preflight.body], [400, '{"code":2,"message":"Bad handshake method"}']);
    const { headers } = await ask(t, url("fast"), POLLING);
    assert.deepEqual([headers.vary, headers["access-control-allow-origin"]], [undefined, undefined]);
  });

  test("lets the official client in by its origin", async (t) => {
    const extraHeaders = { origin: ALLOWED };
    await upgraded(await connected(client(t, url("main"), { extraHeaders })));
    const refused = client(t, url("main"), { extraHeaders: { origin: EVIL }, transports: ["websocket"] });
    const [error] = await within(once(refused, "connect_error"), "the refusal");
    assert.match(error.description.message, /403/);
  });
});

describe("allow_request", () => {
  for (const [profile, path, ...queries] of [
    ["main", "/socket.io/", POLLING, WEBSOCKET],
    ["strict", "/bb", POLLING, WEBSOCKET],
    ["polling", "/socket.io/", POLLING],
    ["websocket", "/socket.io/", WEBSOCKET],
  ]) {
    test(`refuses with its message (${profile})`, async (t) => {
      for (const query of queries) {
        const { status, headers, body } = await ask(t, url(profile), { ...query, deny: "1" }, { path });
        assert.deepEqual([status, body], [403, '{"code":4,"message":"denied by query"}'], query.transport);
        assert.equal(headers["content-type"], "application/json");
        assert.equal(headers["x-bb-initial"] ?? headers["x-bb-each"] ?? headers["set-cookie"], undefined);
      }
    });
  }

  test("is asked about upgrades too, and a refused one harms nothing", async (t) => {
    const session = await Polling.open(url("main"));
    const { status } = await ask(t, url("main"), { ...WEBSOCKET, sid: session.handshake.sid, deny: "" });
    assert.equal(status, 403);
    assert.match((await session.join())[0], /^40/);
  });
});

test("initial headers are on the handshake, others on every answer", async (t) => {
  const { handshake } = await Polling.open(url("main"));
  for (const [what, query, options] of ways(handshake.sid)) {
    const { headers } = await ask(t, url("main"), query, options);
    assert.equal(headers["x-bb-initial"], query.sid ? undefined : "1", what);
    assert.equal(headers["x-bb-each"], "1", what);
  }
  const { headers } = await ask(t, url("main"), { EIO: "4", transport: "abc" });
  assert.equal(headers["x-bb-each"], undefined);
});

test("the cookie is sent with a new session only, where it is on", async (t) => {
  const { headers, body } = await ask(t, url("main"), POLLING);
  const { sid } = JSON.parse(body.slice(1));
  assert.deepEqual(headers["set-cookie"], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
  const websocket = await ask(t, url("main"), WEBSOCKET);
  assert.match(websocket.headers["set-cookie"][0], /^io=[\w-]{20}; Path=\/; HttpOnly; SameSite=Lax$/);
  for (const [what, query, options] of ways(sid).filter(([, query]) => query.sid)) {
    assert.equal((await ask(t, url("main"), query, options)).headers["set-cookie"], undefined, what);
  }
  assert.equal((await ask(t, url("fast"), POLLING)).headers["set-cookie"], undefined);
});
