// Tests clients that await one message before they listen for the next, as the official protocol suites do.
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { WebSocket } from "ws";
import { startServer } from "./server.mjs";
import { within } from "./helpers.mjs";

const url = await startServer("main");
const ATTEMPTS = 20;

const opened = (t, EIO) => {
  const ws = new WebSocket(`${url("main").replace("http", "ws")}/socket.io/?EIO=${EIO}&transport=websocket`);
  t.after(() => ws.terminate());
  return ws;
};

/**
 * Runs an exchange several times, and requires that most of them succeed: `ws` emits all messages of one read at once,
 * and the kernel joins messages for a client that is not scheduled in time. A server that sends them with one write
 * fails every time.
 */
async function mostly(exchange) {
  const attempts = Array.from({ length: ATTEMPTS }, () => exchange);
  let complete = 0;
  for (const attempt of attempts) {
    complete += await within(attempt(), "the exchange", 1000).then(
      () => 1,
      () => 0,
    );
  }
  assert.ok(complete > ATTEMPTS / 2, `${complete} of ${ATTEMPTS}`);
}

describe("a listener that is added after the previous message", () => {
  for (const EIO of [3, 4])
    test(`receives the open packet of protocol ${EIO}`, (t) =>
      mostly(async () => {
        const ws = opened(t, EIO);
        await once(ws, "open");
        const [packet] = await once(ws, "message");
        assert.match(packet.toString(), /^0\{/);
      }));

  test("receives an event that is sent on connection", (t) =>
    mostly(async () => {
      const ws = opened(t, 4);
      await once(ws, "message");
      ws.send("40/early,");
      const [response] = await once(ws, "message");
      assert.match(response.toString(), /^40\/early,\{/);
      const [event] = await once(ws, "message");
      assert.equal(event.toString(), '42/early,["early",1]');
    }));
});
