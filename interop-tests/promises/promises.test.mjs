// Tests the promises of docs/promises.md from outside, each in its most relevant form.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { alongside, collect, connected, next, until } from "../official/helpers.mjs";
import { Socket } from "../official/wire.mjs";
import { Server } from "./server.mjs";

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** Resolves with the arguments of the acknowledgement of an event. */
const answer = (server, what, socket, ...event) =>
  server.within(new Promise((resolve) => socket.emit(...event, (...args) => resolve(args))), what);

/** Returns a client whose connection stays open after it leaves the namespace, since `away` is in another namespace. */
async function anchored(t, server, namespace) {
  const socket = await server.client(t, namespace);
  const away = await connected(alongside(socket, "/quick"));
  return { socket, away };
}

describe("1. Handlers of one socket start in the order of its events", () => {
  test("20,000 events, one after the other", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t);
    const count = 20_000;
    for (const i of numbers(count)) socket.emit("note", i);
    const notes = await server.until("notes", "all handlers have started", (list) => list.length === count);
    const late = notes.filter((n, i) => i > 0 && n < notes[i - 1]).length;
    assert.equal(late, 0, `${late} of ${count} handlers started after the one of a later event`);
  });
});

describe("2. No event is lost between CONNECT and the first handler", () => {
  test("a client speaks as soon as it is connected", async (t) => {
    const server = await Server.start(t);
    for (const i of numbers(1_000)) {
      const session = await Socket.open(t, server.url);
      const answered = new Promise((resolve) => {
        session.ws.on("message", (data) => {
          if (data.toString().startsWith("40")) session.send('42/quick,0["hello"]');
          if (data.toString().startsWith("43")) resolve();
        });
      });
      session.send("40/quick,");
      await server.within(answered, `the answer to client ${i}, that speaks as soon as it is connected`);
      session.ws.close();
    }
  });

  test("a client speaks while on_connect runs", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t, "/slow-connect");
    const answered = answer(server, "the answer to an event that comes while on_connect runs", socket, "hello");
    await server.settle();
    await server.open();
    assert.deepEqual(await answered, ["hello"]);
  });

  test("an event comes right behind CONNECT, while the admission runs", async (t) => {
    const server = await Server.start(t);
    const session = await Socket.open(t, server.url);
    const answered = new Promise((resolve) => {
      session.ws.on("message", (data) => data.toString() === '43/slow-admission,0["hello"]' && resolve());
    });
    const closed = session.closed.then(() => assert.fail("an event right behind CONNECT closes the connection"));
    session.send("40/slow-admission,", '42/slow-admission,0["hello"]');
    await server.settle();
    await server.open();
    await server.within(Promise.race([answered, closed]), "the answer to an event right behind CONNECT");
  });
});

describe("3. Handlers in flight are bounded, with back-pressure down to TCP", () => {
  test("40,000 events of 1 KiB while no handler returns", async (t) => {
    const server = await Server.start(t);
    const session = await Socket.open(t, server.url);
    session.send("40");
    const [count, padding] = [40_000, "x".repeat(1024)];
    const before = server.memory();
    for (const i of numbers(count)) session.send(`42["work",${i},"${padding}"]`);

    // Waits until the server has read everything, or has read nothing for 500 round trips.
    let [left, since] = [-1, 0];
    const isStill = (waiting) => {
      since = waiting === left ? since + 1 : 0;
      left = waiting;
      return waiting === 0 || since === 500;
    };
    await until(async () => (await server.ask("echo", 0), session.ws.bufferedAmount), isStill);
    const grown = Math.round(server.memory() - before);
    await server.open();
    const { most } = await server.until("load", "all handlers have run", ({ done }) => done === count);
    const seen = `${most} handlers at once, ${grown} MiB more, the client ${left ? "held" : "not held"} back`;
    assert.ok(most <= 256 && grown < 16 && left > 0, seen);
  });
});

describe("4. An acknowledgement resolves exactly once, on both sides", () => {
  test("the server asks a client that leaves", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t);
    const question = next(socket, "question");
    socket.emit("ask");
    await question;
    socket.disconnect();
    await server.until("outcomes", "the outcome of a question to a client that leaves", (list) => list.length > 0);
    await server.settle();
    assert.deepEqual(await server.ask("outcomes"), ["disconnected"]);
  });

  for (const [how, event] of Object.entries({
    "that panics": ["panic"],
    "that returns nothing": ["note", 1],
    "that cannot read the arguments": ["double", "x"],
  })) {
    test(`a client asks a handler ${how}`, async (t) => {
      const server = await Server.start(t);
      await answer(server, `the answer of a handler ${how}`, await server.client(t), ...event);
    });
  }
});

describe("5. A payload that does not fit the handler's type is answered and reported", () => {
  test("the client asks, and is told of the error", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t);
    for (const payload of ["x", -1, 2 ** 32, null, {}]) {
      const shown = JSON.stringify(payload);
      const given = await answer(server, `the answer to ${shown} for a number`, socket, "double", payload);
      const told = `${shown} for a number is answered with ${JSON.stringify(given)}`;
      assert.equal(typeof given[0]?.error, "string", told);
    }
  });

  test("the client does not ask, and the log tells of it", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t);
    const said = server.says(/expected u32/);
    socket.emit("double", "x");
    await server.within(said, "a line in the log");
  });

  test("a field gets its own attachment and no other", async (t) => {
    const server = await Server.start(t);
    const [a, b] = [Buffer.from("first"), Buffer.from("second")];
    const [given] = await answer(server, "the answer to binaries", await server.client(t), "second", { a, b });
    assert.equal(String(given), "second", `of {a: "first", b: "second"} the field b is read as "${given}"`);
  });
});

describe("6. What panics harms nobody else", () => {
  for (const [what, event] of Object.entries({ handler: "panic", payload: "unreadable" })) {
    test(`a panic in a ${what}, and its socket and others go on`, async (t) => {
      const server = await Server.start(t);
      const [socket, other] = [await server.client(t), await server.client(t)];
      socket.emit(event, 1);
      await answer(server, `the answer to others after a panic in a ${what}`, other, "echo", 1);
      await answer(server, `the answer to the same socket after a panic in a ${what}`, socket, "echo", 1);
    });
  }

  test("a panic in an admission refuses the client", async (t) => {
    const server = await Server.start(t);
    const socket = server.begin(t, "/panicking-admission");
    const refused = new Promise((resolve) => socket.once("connect_error", resolve));
    await server.within(refused, "the answer to CONNECT after a panic in an admission");
  });

  test("a panic in a disconnect hook, and the socket is out of its rooms", async (t) => {
    const server = await Server.start(t);
    const hall = ["members", "/panicking-farewell", "hall"];
    const socket = await server.client(t, "/panicking-farewell");
    await server.until(hall, "a socket is in its room", (count) => count === 1);
    // Closes the connection without a DISCONNECT, as when a tab is closed.
    socket.io.engine.close();
    await server.until(hall, "a socket leaves its rooms after a panic in a disconnect hook", (count) => count === 0);
  });
});

describe("7. Leaving a namespace leaves nothing behind", () => {
  test("a handler that outlasts its socket puts nobody into a room", async (t) => {
    const server = await Server.start(t);
    const { socket, away } = await anchored(t, server, "/");
    socket.emit("join-late", "late");
    await socket.emitWithAck("echo", 0);
    socket.disconnect();
    await away.emitWithAck("hello");
    await connected(socket.connect());
    const heard = [];
    socket.onAny((event) => heard.push(event));
    await server.open();
    await server.until("outcomes", "the handler has joined", (list) => list.length === 1);
    await server.ask("cast", ["late"]);
    await socket.emitWithAck("echo", 0);
    assert.deepEqual(heard, [], `after a client has come back, a handler of its last stay has it hear "${heard}"`);
    assert.equal(await server.ask("members", "/", "late"), 0, "a socket that has left is in a room");
  });

  test("a client comes back while the disconnect hook of its last stay runs", async (t) => {
    const server = await Server.start(t);
    const { socket, away } = await anchored(t, server, "/slow-farewell");
    socket.disconnect();
    await away.emitWithAck("hello");
    const back = new Promise((resolve) => socket.once("connect", resolve));
    socket.connect();
    await away.emitWithAck("hello");
    await server.open();
    await server.within(back, "the answer to CONNECT of a client that comes back while its disconnect hook runs");
    assert.deepEqual(await answer(server, "the answer to one that came back", socket, "hello"), ["hello"]);
  });
});

describe("8. A socket in two of the rooms gets a broadcast once", () => {
  test("broadcasts to rooms that overlap", async (t) => {
    const server = await Server.start(t);
    const socket = await server.client(t);
    for (const room of ["a", "b"]) await socket.emitWithAck("join", room);
    const heard = [];
    socket.onAny((event) => heard.push(event));
    const broadcasts = [["a", "b"], ["b", "b", "a"], ["a"]];
    for (const rooms of broadcasts) await server.ask("cast", rooms);
    await socket.emitWithAck("echo", 0);
    assert.equal(heard.length, broadcasts.length, `${broadcasts.length} broadcasts arrive ${heard.length} times`);
  });
});

describe("9. All members of a room see its broadcasts in one order", () => {
  test("four tasks broadcast at once", async (t) => {
    const server = await Server.start(t);
    const [tasks, events] = [4, 500];
    const members = await Promise.all(numbers(8).map(() => server.client(t)));
    await Promise.all(members.map((socket) => socket.emitWithAck("join", "storm")));
    const seen = members.map((socket) => collect(socket, "storm", tasks * events));
    server.watcher.emit("storm", tasks, events);
    const [first, ...others] = await server.within(Promise.all(seen), "all broadcasts");
    const differing = others.flatMap((list) => list.filter((event, at) => event !== first[at])).length;
    assert.equal(differing, 0, `${differing} of ${others.length * first.length} broadcasts came in another order`);
  });
});
