// The server of `official/flow-control*.test.mjs`, written with socket.io. `src/bin/flow-control.rs` documents its
// events.
import { createServer } from "node:http";
import { Server } from "socket.io";
import * as msgpack from "socket.io-msgpack-parser";

const PROFILES = {
  default: {},
  heartbeat: { pingInterval: 300, pingTimeout: 500 },
  fifth: { pingInterval: 5_000, pingTimeout: 4_000 },
  msgpack: { parser: msgpack.default ?? msgpack },
  recovery: { connectionStateRecovery: {} },
};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function commands(namespace, reasons) {
  namespace.on("connection", (socket) => {
    const notes = [];
    const { key } = socket.handshake.auth;
    const list = key && (reasons[key] ??= []);
    if (list) socket.on("disconnect", (reason) => list.push(reason));
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("burst", (n) => {
      for (let i = 0; i < n; i++) socket.emit("burst", i);
    });
    socket.on("burst-bin", (n) => {
      for (let i = 0; i < n; i++) {
        const bytes = Buffer.alloc(4);
        bytes.writeUInt32BE(i);
        socket.emit("burst", i, bytes);
      }
    });
    socket.on("flood", (n, size, ack) => {
      for (let i = 0; i < n; i++) socket.emit("flood", i, "x".repeat(size));
      ack({ sent: n });
    });
    socket.on("big", (n, ack) => ack("x".repeat(n)));
    socket.on("slow", async (ms, _, ack) => {
      await sleep(ms);
      ack();
    });
    socket.on("hang", async (ms) => {
      socket.emit("began");
      await sleep(ms);
    });
    socket.on("ask", async (...args) => {
      const ack = args.pop();
      ack(await socket.emitWithAck("question", ...args));
    });
    socket.on("ask-many", async (n, ack) => {
      ack(await Promise.all(Array.from({ length: n }, (_, i) => socket.emitWithAck("question", i))));
    });
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("count", async (room, ack) => ack((await namespace.in(room).fetchSockets()).length));
    socket.on("cast", (room, ...args) => namespace.to(room).emit("cast", ...args));
    socket.on("note", (n) => notes.push(n));
    socket.on("notes", (ack) => ack(notes));
    socket.on("reasons", (name, ack) => ack(reasons[name] ?? []));
  });
}

for (const [name, options] of Object.entries(PROFILES)) {
  const http = createServer();
  const io = new Server(http, options);
  const reasons = {};
  for (const path of ["/", "/other"]) commands(io.of(path), reasons);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  console.log(`${name} http://127.0.0.1:${http.address().port}`);
}
console.log("ready");
