// The peer Socket.IO on the HTTP and WebSocket server of Bun, in its default configuration.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import handle from "../node/handlers.js";

const engine = new Engine({ path: "/socket.io/" });
const io = new Server();
io.bind(engine);
handle(io);

// Bun closes idle HTTP connections, which includes pending polls, after 10 s by default.
Bun.serve({ hostname: "127.0.0.1", port: Number(process.env.PORT), idleTimeout: 30, ...engine.handler() });
