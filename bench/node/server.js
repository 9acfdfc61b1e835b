// The peer Socket.IO for Node.js in its default configuration, which does not compress WebSocket messages.
// HTTP compression is off because the other peers have none. With BROKER_URL, it connects to other servers over Redis.
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const handle = require("./handlers.js");

const http = createServer();
const io = new Server(http, { httpCompression: false });

handle(io);

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
