// The features of a cluster with the NATS adapter, and its subjects.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { until } from "../official/helpers.mjs";
import { heard, heardBy, meet, synced } from "./fleet.mjs";
import { features } from "./features.mjs";
import { token } from "./nats-adapter.mjs";

const { broker, nodes } = await features("nats");

describe("subjects", { concurrency: false }, () => {
  test("a server is subscribed to the rooms that have sockets on it, and receives the messages of no other ones", async (t) => {
    const [a, b] = await meet(t, nodes.slice(0, 2));
    const subject = (room) => `socket.io.${token(a.nsp)}.room.${token(room)}`;
    const isSubscribed = async (room) => (await broker.subjects()).includes(subject(room));
    const received = [];
    const spy = await broker.connect();
    t.after(() => spy.close());
    spy.subscribe(`socket.io.${token(a.nsp)}.>`, { callback: (_, message) => received.push(message) });
    await spy.flush();
    await b.emitWithAck("join", "r1");
    await until(() => isSubscribed("r1"), Boolean, "a subscription");
    await heard(a, b, { to: ["r1"] });
    const isOf = ({ data }, text) => Buffer.from(data).includes(text);
    const event = heardBy(b);
    await a.emitWithAck("cast", { to: ["r1"] }, "one room");
    await a.emitWithAck("cast", { to: ["r1", "r2"] }, "two rooms");
    await a.emitWithAck("cast", { to: ["r2"] }, "no room");
    await synced(a, b);
    assert.deepEqual(event.take(), [["one room"], ["two rooms"]]);
    const [one, two, none] = await until(
      () => ["one room", "two rooms", "no room"].map((text) => received.find((message) => isOf(message, text))),
      (messages) => messages.every(Boolean),
      "all messages",
    );
    assert.deepEqual([one.subject, none.subject], [subject("r1"), subject("r2")]);
    assert.equal(two.subject, broker.channel(a.nsp));
    assert.equal(two.headers.get("Sio-Rooms"), `${token("r1")} ${token("r2")}`);
    await b.emitWithAck("leave", "r1");
    await until(() => isSubscribed("r1"), (is) => !is, "no subscription");
  });

  test("messages for several rooms that nobody has here are not decoded", async (t) => {
    const [a, b] = await meet(t, nodes.slice(0, 2));
    await b.emitWithAck("join", "r1");
    await heard(a, b, { to: ["r1"] });
    const before = await nodes[1].status();
    const client = await broker.connect();
    t.after(() => client.close());
    const { headers: create } = await import("nats");
    const publish = async (...rooms) => {
      const headers = create();
      headers.set("Sio-Rooms", rooms.map(token).join(" "));
      client.publish(broker.channel(a.nsp), "no message", { headers });
      await client.flush();
      await synced(a, b);
      return (await nodes[1].status()).malformed - before.malformed;
    };
    assert.equal(await publish("r2", "r3"), 0);
    assert.equal(await publish("r1", "r2"), 1);
  });

  test("a message that is longer than NATS allows is dropped, and the connection stays", async (t) => {
    const [a, b] = await meet(t, nodes.slice(0, 2));
    const before = await nodes[0].status();
    const events = heardBy(b);
    await a.emitWithAck("cast", {}, "big", "x".repeat(1_100_000));
    await a.emitWithAck("cast", {}, "small", 1);
    await synced(a, b);
    assert.deepEqual(events.take(), [["small", 1]]);
    const { dropped, disconnections, connected } = await nodes[0].status();
    assert.deepEqual([dropped - before.dropped, disconnections, connected], [1, before.disconnections, true]);
  });
});
