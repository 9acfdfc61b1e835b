// The peer Socket.IO for Node.js in its default configuration, which does not compress WebSocket messages.
// HTTP compression is off because the other peers have none. With BROKER_URL, it connects to other servers over Redis.
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { httpCompression: false });

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

async function main() {
  const url = process.env.BROKER_URL;
  if (url) {
    const clients = [createClient({ url }), createClient({ url })];
    await Promise.all(clients.map((client) => client.connect()));
    io.adapter(createAdapter(...clients));
  }
  http.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
}

main();
