import assert from "node:assert/strict";
import { test } from "node:test";
import { alongside, connected, everyWay, next, recorded, settled, within } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = await startServer("main");
const acked = (socket, ...event) =>
  within(
    new Promise((resolve) => socket.emit(...event, (...answer) => resolve(answer))),
    `acknowledgement of "${event[0]}"`,
  );

everyWay(url("main"), (connect) => {
  test("the client gets all arguments of an acknowledgement", async (t) => {
    const socket = await connect(t);
    for (const values of [[], [null], [1, "two", { three: [3] }], ["😀\u2028"]]) {
      assert.deepEqual(await acked(socket, "echo", ...values), values);
    }
  });

  test("an acknowledgement carries binaries, nested and empty", async (t) => {
    const socket = await connect(t, "/custom");
    const [first, second, third] = await acked(socket, "echo", Buffer.from([1, 2]), { b: [Buffer.alloc(0)] }, "x");
    assert.deepEqual([...first], [1, 2]);
    assert.equal(second.b[0].length, 0);
    assert.equal(third, "x");
    const counted = Buffer.from(Array.from({ length: 300 }, (_, i) => i & 255));
    assert.ok(counted.equals(await socket.emitWithAck("bigbin", 300)));
  });

  test("a handler without a result acknowledges with no arguments", async (t) => {
    const socket = await connect(t);
    assert.deepEqual(await acked(socket, "join", "room"), []);
    assert.deepEqual(await acked(socket, "leave", "room"), []);
  });

  test("a hundred questions at once get their own answers", async (t) => {
    const socket = await connect(t);
    const questions = Array.from({ length: 100 }, (_, i) => i);
    assert.deepEqual(await Promise.all(questions.map((i) => socket.emitWithAck("echo", i))), questions);
  });

  test("later answers overtake and still find their question", async (t) => {
    const socket = await connect(t);
    const order = [];
    const ask = async (ms, name) => order.push(await socket.emitWithAck("ack-later", ms, name));
    await Promise.all([ask(150, "late"), ask(1, "soon")]);
    assert.deepEqual(order, ["soon", "late"]);
    const [first, second] = await acked(socket, "ack-later", 1, Buffer.from([9]), "x");
    assert.deepEqual([[...first], second], [[9], "x"]);
  });

  test("a slow handler does not hold up the next events", async (t) => {
    const socket = await connect(t);
    const slow = socket.emitWithAck("ack-later", 200, "slow");
    let done = false;
    slow.then(() => (done = true));
    assert.equal(await socket.emitWithAck("echo", "quick"), "quick");
    assert.ok(!done);
    assert.equal(await slow, "slow");
  });

  test("a silent handler lets the client time out", async (t) => {
    const socket = await connect(t);
    await assert.rejects(socket.timeout(50).emitWithAck("ack-none"), /operation has timed out/);
    assert.equal(await socket.emitWithAck("echo", 1), 1);
  });

  test("only the first acknowledgement counts", async (t) => {
    const socket = await connect(t);
    const answers = [];
    socket.emit("ack-twice", (answer) => answers.push(answer));
    await settled(socket);
    assert.deepEqual(answers, ["first"]);
  });

  test("the server asks and gets all arguments of the answer", async (t) => {
    const socket = await connect(t);
    socket.on("question", (...args) => args.pop()(...args, "answered"));
    for (const values of [[], [1], ["é", null, { a: [] }]]) {
      const result = next(socket, "ask-result");
      socket.emit("ask", "question", ...values);
      assert.deepEqual(await result, [...values, "answered"]);
    }
    socket.on("nothing", (answer) => answer());
    const empty = next(socket, "ask-result");
    socket.emit("ask", "nothing");
    assert.deepEqual(await empty, []);
  });

  test("the server asks with binaries and gets binaries", async (t) => {
    const socket = await connect(t);
    socket.on("question", (binary, answer) => answer({ back: binary }, Buffer.from([3])));
    const result = next(socket, "ask-result");
    socket.emit("ask", "question", Buffer.from([1, 2]));
    const [first, second] = await result;
    assert.deepEqual([...first.back], [1, 2]);
    assert.deepEqual([...second], [3]);
  });

  test("the server asks again and again, answered out of order", async (t) => {
    const socket = await connect(t);
    const waiting = [];
    const all = new Promise((resolve) =>
      socket.on("question", (i, answer) => waiting.push([i, answer]) === 20 && resolve()),
    );
    const results = recorded(socket);
    for (let i = 0; i < 20; i++) socket.emit("ask", "question", i);
    await within(all, "twenty questions");
    for (const [i, answer] of waiting.toReversed()) answer(i * 10);
    await settled(socket);
    const answers = results.filter(([name]) => name === "ask-result").map(([, value]) => value);
    assert.deepEqual(
      answers.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i * 10),
    );
  });

  test("the server's question times out, and a late answer is ignored", async (t) => {
    const socket = await connect(t);
    const question = next(socket, "question");
    const result = next(socket, "ask-result");
    socket.emit("ask-within", 50, "question", "value");
    const [value, answer] = await question;
    assert.equal(value, "value");
    assert.deepEqual(await result, ["timeout"]);
    const results = recorded(socket);
    answer("late");
    await settled(socket);
    assert.deepEqual(results, []);
  });

  test("the server's question is answered in time", async (t) => {
    const socket = await connect(t);
    socket.on("question", (value, answer) => answer(value, [2], Buffer.from([1])));
    const result = next(socket, "ask-result");
    socket.emit("ask-within", 4_000, "question", "value");
    const [error, value, list, binary] = await result;
    assert.deepEqual([error, value, list, [...binary]], [null, "value", [2], [1]]);
  });

  test("namespaces of one connection keep their questions apart", async (t) => {
    const socket = await connect(t);
    const other = await connected(alongside(socket, "/custom"));
    const both = [socket, other];
    const answers = await Promise.all(
      both.flatMap((each) => [1, 2, 3].map((i) => each.emitWithAck("echo", each.nsp, i))),
    );
    assert.deepEqual(answers, ["/", "/", "/", "/custom", "/custom", "/custom"]);
    for (const each of both) each.on("question", (answer) => answer(each.nsp));
    const results = both.map((each) => next(each, "ask-result"));
    for (const each of both) each.emit("ask", "question");
    assert.deepEqual(await Promise.all(results), [["/"], ["/custom"]]);
  });

  test("a client that leaves while it is asked harms no one", async (t) => {
    const socket = await connect(t);
    const other = await connect(t);
    const question = next(socket, "question");
    socket.emit("ask", "question");
    await question;
    socket.disconnect();
    assert.equal(await other.emitWithAck("echo", 1), 1);
  });
});
