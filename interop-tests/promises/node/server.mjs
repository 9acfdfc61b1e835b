// The server of `promises/`, written with socket.io as in its documentation. `../README.md` documents its events.
import { createServer } from "node:http";
import { Server } from "socket.io";

let open;
// All handlers and hooks wait at the gate until it is opened. It is never closed again.
const gate = new Promise((resolve) => (open = resolve));
const notes = [];
const outcomes = [];
let [running, most, done] = [0, 0, 0];

const http = createServer();
const io = new Server(http);
const hello = (ack) => ack("hello");

io.on("connection", (socket) => {
  socket.on("echo", (value, ack) => ack(value));
  socket.on("open", (ack) => {
    open();
    ack();
  });
  socket.on("note", (n) => notes.push(n));
  socket.on("notes", (ack) => ack(notes));
  socket.on("outcomes", (ack) => ack(outcomes));
  socket.on("work", async () => {
    most = Math.max(most, ++running);
    await gate;
    running--;
    done++;
  });
  socket.on("load", (ack) => ack({ most, done }));
  socket.on("ask", async () => {
    try {
      outcomes.push(await socket.timeout(60_000).emitWithAck("question"));
    } catch (error) {
      outcomes.push(error.message);
    }
  });
  socket.on("panic", () => {
    throw new Error("a handler");
  });
  socket.on("double", (n, ack) => ack(n * 2));
  socket.on("unreadable", () => {
    throw new Error("a payload of the user's own type");
  });
  socket.on("second", ({ b }, ack) => ack(b));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  // This handler continues after its client has left.
  socket.on("join-late", async (room) => {
    await gate;
    socket.join(room);
    socket.emit("late");
    outcomes.push("late");
  });
  socket.on("members", async (namespace, room, ack) =>
    ack((await io.of(namespace).in(room).fetchSockets()).length),
  );
  socket.on("cast", (rooms, ack) => {
    io.to(rooms).emit("cast");
    ack();
  });
  socket.on("storm", (tasks, events) => {
    for (let task = 0; task < tasks; task++) {
      (async () => {
        for (let event = 0; event < events; event++) {
          io.to("storm").emit("storm", `${task}:${event}`);
          await null;
        }
      })();
    }
  });
});

io.of("/quick").on("connection", (socket) => socket.on("hello", hello));
io.of("/slow-connect").on("connection", async (socket) => {
  // Represents data that the hook loads before it registers its handlers.
  await gate;
  socket.on("hello", hello);
});
io.of("/slow-admission")
  .use((_, next) => gate.then(() => next()))
  .on("connection", (socket) => socket.on("hello", hello));
io.of("/panicking-admission").use(() => {
  throw new Error("the admission");
});
io.of("/panicking-farewell").on("connection", (socket) => {
  socket.on("disconnect", () => {
    throw new Error("the farewell");
  });
  socket.join("hall");
});
io.of("/slow-farewell").on("connection", (socket) => {
  socket.on("hello", hello);
  socket.on("disconnect", () => gate);
});

http.listen(0, "127.0.0.1", () => console.log(`listening on ${http.address().port}`));
