// The peer Socket.IO on the HTTP and WebSocket server of Bun, in its default configuration.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const engine = new Engine({ path: "/socket.io/" });
const io = new Server();
io.bind(engine);

io.on("connection", (socket) => {
  socket.join("r");
  socket.on("echo", (value) => socket.emit("echo", value));
  socket.on("echo-bin", (attachment) => socket.emit("echo-bin", attachment));
  socket.on("ack", (value, acknowledge) => acknowledge(value));
  socket.on("publish", (value) => io.to("r").emit("news", value));
  socket.on("publish-to", (room, value) => io.to(room).emit("news", value));
  socket.on("join", (room, acknowledge) => {
    socket.join(room);
    acknowledge();
  });
  socket.on("leave", (room, acknowledge) => {
    socket.leave(room);
    acknowledge();
  });
});

// Bun closes idle HTTP connections, which includes pending polls, after 10 s by default.
Bun.serve({ hostname: "127.0.0.1", port: Number(process.env.PORT), idleTimeout: 30, ...engine.handler() });
