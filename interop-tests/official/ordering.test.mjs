import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { alongside, client, collect, connected, everyWay, next, recorded, settled } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main");
const COUNT = 1_000;
const numbers = (count = COUNT) => Array.from({ length: count }, (_, i) => i);

everyWay(url("main"), (connect) => {
  test("a thousand messages from the server arrive in order", async (t) => {
    const socket = await connect(t);
    const got = collect(socket, "burst", COUNT);
    socket.emit("burst", COUNT);
    assert.deepEqual(await got, numbers());
  });

  test("a thousand messages to the server arrive in order", async (t) => {
    const socket = await connect(t);
    for (const i of numbers()) socket.emit("log", i);
    assert.deepEqual(await socket.emitWithAck("log-get"), numbers());
  });

  test("a thousand messages return in order", async (t) => {
    const socket = await connect(t);
    const got = collect(socket, "echo", COUNT);
    for (const i of numbers()) socket.emit("echo", i);
    assert.deepEqual(await got, numbers());
  });

  test("texts and binaries keep their common order", async (t) => {
    const socket = await connect(t);
    const got = collect(socket, "echo", 300);
    for (const i of numbers(300))
      socket.emit("echo", i, ...(i % 3 ? [] : [Buffer.from([i & 255]), { b: [Buffer.alloc(i)] }]));
    assert.deepEqual(await got, numbers(300));
    const burst = recorded(socket);
    socket.emit("burst-bin", 200);
    socket.emit("burst", 200);
    await settled(socket);
    assert.deepEqual(
      burst.map(([, i]) => i),
      [...numbers(200), ...numbers(200)],
    );
  });

  test("acknowledgements keep their place among events", async (t) => {
    const socket = await connect(t);
    const seen = [];
    socket.on("echo", (i) => seen.push(i));
    const answers = numbers(200).map((i) =>
      i % 2 ? socket.emitWithAck("echo", i).then((answer) => seen.push(answer)) : socket.emit("echo", i),
    );
    await Promise.all(answers);
    assert.deepEqual(
      seen.filter((i) => i % 2),
      numbers(200).filter((i) => i % 2),
    );
    assert.deepEqual(
      seen.filter((i) => i % 2 === 0),
      numbers(200).filter((i) => i % 2 === 0),
    );
  });

  test("namespaces of one connection keep their orders", async (t) => {
    const socket = await connect(t);
    const sockets = [socket, await connected(alongside(socket, "/custom"))];
    const got = sockets.map((each) => collect(each, "echo", 300));
    for (const i of numbers(300)) for (const each of sockets) each.emit("echo", i);
    assert.deepEqual(await Promise.all(got), [numbers(300), numbers(300)]);
  });

  test("broadcasts arrive in the order in which they were sent", async (t) => {
    const [sender, ...receivers] = await Promise.all([connect(t), connect(t), connect(t)]);
    await Promise.all(receivers.map((each) => each.emitWithAck("join", "ordered")));
    const got = receivers.map((each) => collect(each, "number", 300));
    for (const i of numbers(300)) sender.emit("cast", { via: "nsp", to: ["ordered"] }, "number", i);
    assert.deepEqual(await Promise.all(got), [numbers(300), numbers(300)]);
  });
});

describe("during the upgrade", () => {
  const transports = ["polling", "websocket"];
  const upgradeOf = (socket, count) =>
    new Promise((resolve) => socket.io.engine.once("upgrade", () => resolve(count())));

  test("a steady stream in both directions arrives once and in order", async (t) => {
    const streams = numbers(4).map(async () => {
      const socket = client(t, url("main"), { transports });
      let sent = 0;
      const upgradedAt = upgradeOf(socket, () => sent);
      // Each event from the server triggers one from the client, so both directions are in use during the upgrade.
      socket.on("tick", () => socket.emit("log", sent++));
      const ticks = collect(socket, "tick", COUNT, 20_000);
      await connected(socket);
      socket.emit("tick", COUNT, 1);
      assert.deepEqual(await ticks, numbers());
      assert.deepEqual(await socket.emitWithAck("log-get"), numbers());
      const at = await upgradedAt;
      assert.ok(at < COUNT, `upgraded at ${at}`);
    });
    await Promise.all(streams);
  });

  test("bursts around every step of it arrive once and in order", async (t) => {
    for (const _ of numbers(5)) {
      const socket = client(t, url("main"), { transports });
      const { engine } = socket.io;
      const burst = (() => {
        let sent = 0;
        return () => {
          for (let i = 0; i < COUNT / 4; i++) socket.emit("echo", sent++);
        };
      })();
      const got = collect(socket, "echo", COUNT);
      const done = next(engine, "upgrade");
      engine.once("upgrading", burst);
      engine.once("upgrade", burst);
      await connected(socket);
      burst();
      await done;
      burst();
      assert.deepEqual(await got, numbers());
    }
  });

  test("binaries arrive whole and in order", async (t) => {
    const socket = client(t, url("main"), { transports });
    const done = next(socket.io.engine, "upgrade");
    const events = recorded(socket);
    await connected(socket);
    let sent = 0;
    let upgraded = false;
    done.then(() => (upgraded = true));
    while (!upgraded || sent < 50) {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(sent);
      socket.emit("echo", sent++, number);
      await new Promise(setImmediate);
    }
    await settled(socket);
    assert.deepEqual(
      events.map(([, i]) => i),
      numbers(sent),
    );
    assert.ok(events.every(([, i, bytes]) => bytes.readUInt32BE() === i));
  });

  test("broadcasts and acknowledgements reach a client that is changing over", async (t) => {
    const sender = await connected(client(t, url("main"), { transports: ["websocket"] }));
    const receivers = numbers(10).map(() => client(t, url("main"), { transports }));
    const upgrades = receivers.map((each) => next(each.io.engine, "upgrade"));
    await Promise.all(receivers.map(async (each) => (await connected(each)).emitWithAck("join", "changing")));
    const got = receivers.map((each) => collect(each, "news", 500));
    for (const i of numbers(500)) await sender.emitWithAck("cast", { via: "nsp", to: ["changing"] }, "news", i);
    await Promise.all(upgrades);
    for (const each of await Promise.all(got)) assert.deepEqual(each, numbers(500));
  });
});
