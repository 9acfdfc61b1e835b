// Slow handlers disconnect no client. Slow clients are disconnected and are told the reason. Node.js does not
// disconnect slow clients, so those tests are skipped for it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FlowServer, Link, askAll, everyWay, isOurs, numbers } from "./flow-control.mjs";
import { freshKey, until, within } from "./helpers.mjs";
import { Polling } from "./wire.mjs";

const KIB = "x".repeat(1024);
const CAST = "x".repeat(100_000);
/** By this time, any limit has disconnected a slow client. */
const PATIENCE = 40_000;

const skip = !isOurs && "Node.js ends no client for being slow";
const server = await FlowServer.start();
const observer = await server.client({ after: () => {} });

const cast = (room, count) => {
  for (const i of numbers(count)) observer.emit("cast", room, i, CAST);
};

/** Resolves when the server has disconnected the session with this key, and checks the recorded reason. */
const ended = async (key, ms) => {
  const asked = () => observer.emitWithAck("reasons", key);
  const what = "the server ends a client that is slow";
  const [reason] = await until(asked, (list) => list.length > 0, what, ms);
  assert.match(reason, /slow ?consumer/i);
};

/**
 * Reads at most `rate` bytes per second while `casts` broadcasts are sent to the client's room. When the server has
 * disconnected the client, it reads at full speed and must find the limit in the close frame. The log must name the
 * limit.
 */
async function slow(t, { rate, casts, ms = PATIENCE, limit }) {
  const [key, link] = [freshKey(), await Link.open(t, server.urls.default)];
  const socket = await server.client(t, { url: link.url, auth: { key } });
  await socket.emitWithAck("join", key);
  const told = new Promise((resolve) => socket.once("disconnect", (_, { context }) => resolve(context)));
  link.rate = rate;
  cast(key, casts);
  await ended(key, ms);
  link.lift();
  const { code, reason } = await within(told, "the client is told");
  assert.equal(code, 1008);
  assert.match(reason, limit);
  assert.match(server.log, limit);
}

describe("over time", { concurrency: true }, () => {
  describe("slow handlers", () => everyWay(server, slowHandlers));
  describe("slow clients", { skip }, slowClients);
});

/** The server runs 64 handlers at a time, so 5,000 of them take until a client would miss the second ping. */
function slowHandlers(connect) {
  const loads = { "5,000 events": "", "5,000 events of 1 KiB": KIB };
  for (const [what, padding] of Object.entries(loads)) {
    test(`${what} whose handlers take 0.2 s, at a fifth of the default timing`, async (t) => {
      await askAll(await connect(t, { profile: "fifth" }), 5_000, () => ["slow", 200, padding], 40_000);
    });
    const skip = !process.env.FLOW_CONTROL_FULL && "80 s, with FLOW_CONTROL_FULL=1";
    test(`${what} whose handlers take 1 s, at default timing`, { skip }, async (t) => {
      await askAll(await connect(t), 5_000, () => ["slow", 1_000, padding], 120_000);
    });
  }
}

function slowClients() {
  // This is less than `max_buffered` and more than the buffers of the operating system.
  test("one that takes no byte is told so", (t) => slow(t, { rate: 0, casts: 9, limit: /write_timeout/ }));

  // This exceeds the hard limit of a session, which has no grace period.
  test("one that is owed too much is told so, at once", (t) =>
    slow(t, { rate: 0, casts: 800, ms: 10_000, limit: /max_\w+/ }));

  test("one that does not poll is ended", async () => {
    const key = freshKey();
    const session = await Polling.open(server.urls.default);
    await session.join(`40${JSON.stringify({ key })}`);
    await session.send(`42["join","${key}"]`);
    cast(key, 50);
    await ended(key, PATIENCE);
  });
}
