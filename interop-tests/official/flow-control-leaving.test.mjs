// A client that disconnects is removed at once, even while its events wait for slow handlers.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FlowServer, everyWay, isEmpty, numbers, uncut } from "./flow-control.mjs";
import { alongside } from "./helpers.mjs";
import { Polling } from "./wire.mjs";

const KIB = "x".repeat(1024);
const server = await FlowServer.start();
const observer = await server.client({ after: () => {} });
let rooms = 0;

describe("leaving is noticed at once", () => {
  everyWay(server, leaving);
  describe("a transport that ends", ends);
});

/** Joins a room and emits events whose handlers take 90 s. Returns the room when 50 handlers have started. */
async function busy(socket, count = 300, padding = "") {
  const room = `room-${rooms++}`;
  await socket.emitWithAck("join", room);
  let began = 0;
  const busy = new Promise((resolve) => socket.on("began", () => ++began === 50 && resolve()));
  for (const _ of numbers(count)) socket.emit("hang", 90_000, padding);
  await uncut(socket, busy, () => `${began} handlers began`);
  return room;
}

/** Waits until another client sees the room empty, for one second at most. */
const isOut = (room) => isEmpty(observer, room, 1_000);

/** Tests the disconnects that every transport supports. */
function leaving(connect) {
  test("a client that leaves the namespace", async (t) => {
    const socket = await connect(t);
    const other = alongside(socket, "/other");
    const room = await busy(socket);
    socket.disconnect();
    await isOut(room);
    // The connection stays open for the other namespace.
    await uncut(other, other.emitWithAck("echo"), () => "the other namespace does not answer");
  });

  test("a client that closes its connection", async (t) => {
    const socket = await connect(t);
    const room = await busy(socket);
    socket.io.engine.close();
    await isOut(room);
  });
}

function ends() {
  const websocket = (what, end, load) =>
    test(what, async (t) => {
      const socket = await server.client(t);
      const room = await busy(socket, ...load);
      end(socket.io.engine.transport.ws);
      await isOut(room);
    });
  for (const [amount, load] of Object.entries({ "300 events": [300], "200 events of 1 KiB": [200, KIB] })) {
    websocket(`a close frame behind ${amount}`, (ws) => ws.close(), load);
    websocket(`FIN behind ${amount}`, (ws) => ws._socket.end(), load);
    websocket(`RST behind ${amount}`, (ws) => ws._socket.resetAndDestroy(), load);
  }
  // This is more than the server buffers for one client, so it has stopped reading.
  websocket("RST behind 8 MB", (ws) => ws._socket.resetAndDestroy(), [8_000, KIB]);

  test("a poll that its client gives up", async (t) => {
    const session = await Polling.open(server.urls.default);
    await session.join();
    await session.send('420["join","given-up"]', ...numbers(300).map(() => '42["hang",90000,""]'));
    const giveUp = new AbortController();
    let packets = 0;
    while (packets < 50) packets += (await session.receive()).length;
    const poll = session.poll({ signal: giveUp.signal });
    // A client cannot observe that its poll is parked. These round trips give the poll time to arrive.
    for (const _ of numbers(20)) await observer.emitWithAck("echo");
    giveUp.abort();
    await assert.rejects(poll);
    await isOut("given-up");
  });
}
