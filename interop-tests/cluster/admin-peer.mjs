// A server of Node.js with `instrument` of the Admin UI, over the Redis of REDIS_URL, with the
// name SERVER_ID. Prints its address.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { instrument } = createRequire(new URL("../../examples/client-files/", import.meta.url))("@socket.io/admin-ui");

const clients = [0, 1].map(() => createClient({ url: process.env.REDIS_URL }));
await Promise.all(clients.map((client) => client.connect()));
const http = createServer();
const io = new Server(http, { adapter: createAdapter(...clients) });
instrument(io, { auth: false, mode: "development", serverId: process.env.SERVER_ID });
io.on("connection", (socket) => (socket.data.name = "Ann"));
http.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${http.address().port}`));
