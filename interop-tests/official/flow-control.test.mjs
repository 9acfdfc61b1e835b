// Flow control with the default configuration: a client that reads as fast as it can is never disconnected and receives
// everything.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FlowServer, Link, askAll, assertEqual, everyWay, inOrder, isOurs, numbers, uncut } from "./flow-control.mjs";
import { next, within } from "./helpers.mjs";
import { Polling } from "./wire.mjs";

const MAX_PAYLOAD = 1_000_000;
const KIB = "x".repeat(1024);
const CAST = "x".repeat(100_000);
const server = await FlowServer.start();
let rooms = 0;

/** Defines the tests once for each profile with another parser or with recovery, over WebSocket. */
function everyProfile(define) {
  for (const profile of ["msgpack", "recovery"])
    describe(profile, () => define((t, options) => server.client(t, { profile, ...options }), profile));
}

// Tests that mostly wait run concurrently with the others.
describe("flow control", { concurrency: 2 }, () => {
  describe("over time", { concurrency: true }, () => {
    everyWay(server, farReaders);
    everyProfile(farReaders);
  });
  describe("at once", { concurrency: 1 }, () => {
    everyWay(server, (connect) => {
      main(connect);
      manyQuestions(connect);
    });
    everyProfile(main);
    describe("polling only", pollingOnly);
    describe("WebSocket only", websocketOnly);
    describe("memory", memory);
  });
});

function main(connect) {
  emits(connect);
  answers(connect);
  broadcasts(connect);
  questions(connect);
}

function emits(connect) {
  test("60,000 events of one handler arrive in order", async (t) => {
    const socket = await connect(t);
    socket.emit("burst", 60_000);
    await inOrder(socket, "burst", 60_000);
  });

  test("10,000 binary events of one handler arrive in order", async (t) => {
    const socket = await connect(t);
    socket.emit("burst-bin", 10_000);
    await inOrder(socket, "burst", 10_000, (i, bytes) => assert.equal(Buffer.from(bytes).readUInt32BE(), i));
  });
}

function answers(connect) {
  const sized = (count, size) => async (t) => {
    const socket = await connect(t);
    const got = await askAll(socket, count, () => ["big", size]);
    assert.ok(got.every((answer) => answer.length === size));
  };
  test("5,000 requests at once with answers of 1 kB", sized(5_000, 1_000));
  test("40 requests at once with answers of 30 kB", sized(40, 30_000));
  test("12 requests at once with answers of 600 kB", sized(12, 600_000));
}

/** The sender and the other members of the room must receive everything that the sender broadcasts. */
async function cast(sender, others) {
  const members = [sender, ...others];
  const room = `room-${rooms++}`;
  await Promise.all(members.map((socket) => socket.emitWithAck("join", room)));
  const all = members.map((socket) => inOrder(socket, "cast", 60));
  for (const i of numbers(60)) sender.emit("cast", room, i, CAST);
  await Promise.all(all);
}

const several = (count, connect) => Promise.all(numbers(count).map(connect));

function broadcasts(connect) {
  test("60 broadcasts of 100 kB reach the sender and four readers", async (t) =>
    cast(await connect(t), await several(4, () => connect(t))));
}

function farReaders(connect, profile = "default") {
  test("60 broadcasts of 100 kB reach a reader behind a link of 1 MB/s", async (t) => {
    const { url } = await Link.open(t, server.urls[profile], 1e6);
    const [sender, ...near] = await several(3, () => connect(t));
    await cast(sender, [...near, await connect(t, { url })]);
  });
}

/** Makes the client acknowledge `question` events. */
function answering(socket) {
  return socket.on("question", (...args) => args.pop()(args[0]));
}

function askedBack(connect, count, padding, ms) {
  return async (t) => {
    const socket = answering(await connect(t));
    const got = await askAll(socket, count, (i) => ["ask", i, ...padding], ms);
    assertEqual(got, numbers(count));
  };
}

function questions(connect) {
  // The server waits 10 s for the acknowledgement of an event that it emits.
  test("400 events, each of which asks the client back", askedBack(connect, 400, [], 5_000));

  test("2,000 questions of one handler", async (t) => {
    const socket = answering(await connect(t));
    const got = await uncut(socket, socket.emitWithAck("ask-many", 2_000), () => "2,000 questions: no answer", 5_000);
    assertEqual(got, numbers(2_000));
  });
}

function manyQuestions(connect) {
  test("10,000 events, each of which asks the client back", askedBack(connect, 10_000, [], 20_000));
  test("10,000 events of 1 KiB, each of which asks the client back", askedBack(connect, 10_000, [KIB], 20_000));
}

function pollingOnly() {
  const polling = { transports: ["polling"] };

  test("3,000 requests at once with answers of 1 kB", async (t) => {
    const socket = await server.client(t, polling);
    await askAll(socket, 3_000, () => ["big", 1_000]);
  });

  const note = (i) => `42["note",${i}]`;
  async function posted(packets) {
    const session = await Polling.open(server.urls.default);
    await session.join();
    await session.send(...packets);
    await session.send('420["notes"]');
    const answer = async () => {
      for (;;) {
        const found = (await session.receive()).find((packet) => packet.startsWith("430"));
        if (found) return JSON.parse(found.slice(3))[0];
      }
    };
    assertEqual(await within(answer(), "the answer"), numbers(packets.length));
  }
  for (const count of [4_096, 4_097, 20_000]) test(`a POST of ${count} packets`, () => posted(numbers(count).map(note)));

  test("a POST with as many packets as its bytes allow", () => {
    const packets = [];
    for (let bytes = 0; bytes <= MAX_PAYLOAD; bytes += packets.at(-1).length + 1) packets.push(note(packets.length));
    return posted(packets.slice(0, -1));
  });

  test("10,000 events that were emitted before the connection", async (t) => {
    const socket = await server.client(t, { ...polling, autoConnect: false });
    for (const i of numbers(10_000)) socket.emit("note", i);
    const connected = next(socket, "connect");
    socket.connect();
    await connected;
    const [got] = await askAll(socket, 1, () => ["notes"]);
    assertEqual(got, numbers(10_000));
  });
}

function websocketOnly() {
  test("an emit may be refused, and its client stays", async (t) => {
    const socket = await server.client(t);
    const came = [];
    socket.on("flood", (i) => came.push(i));
    // The total is 100 MB. The server may refuse part of it.
    const asked = socket.emitWithAck("flood", 1_000, 100_000);
    const { sent, error } = await uncut(socket, asked, () => `${came.length} of 1000 events of 100 kB arrived`);
    assert.ok(sent > 100, `${sent} were sent, then ${error}`);
    assertEqual(came, numbers(sent));
  });
}

/**
 * Tests the memory that slow clients cost the server. Node.js has no such limits, so only its acknowledgements are
 * checked.
 */
function memory() {
  const grown = async (most, during) => {
    const own = await FlowServer.start();
    const before = own.memory();
    let peak = before;
    const watching = setInterval(() => (peak = Math.max(peak, own.memory())), 100);
    await during(own).finally(() => clearInterval(watching));
    const more = Math.round(peak - before);
    if (isOurs) assert.ok(more <= most, `${more} MiB more, of ${most} at most`);
  };

  test("a client that asks for 60 MB and does not read for 3 s", (t) =>
    grown(16, async (own) => {
      const link = await Link.open(t, own.urls.default);
      const socket = await own.client(t, { url: link.url });
      link.rate = 0;
      const got = askAll(socket, 600, () => ["big", 100_000]);
      setTimeout(() => link.lift(), 3_000);
      await got;
    }));

  test("10,000 events of 1 KiB, each of which asks the client back", (t) =>
    grown(64, async (own) => {
      const socket = answering(await own.client(t));
      await askAll(socket, 10_000, (i) => ["ask", i, KIB]);
    }));
}
