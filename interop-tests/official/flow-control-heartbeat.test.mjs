// Whatever waits for slow handlers, pings go on: here every 300 ms, and 500 ms for the pong. Nothing else runs in this
// process, because the client ends its connection by itself when it has no time to read a ping.
import { before, describe, test } from "node:test";
import { FlowServer, askAll, everyWay } from "./flow-control.mjs";

const LOADS = [
  [130, 2_500, ""],
  [400, 2_000, ""],
  [400, 2_000, "x".repeat(4_096)],
];
const server = await FlowServer.start();

describe("a fast heartbeat goes on", { concurrency: true }, () => {
  // The first time of everything takes longest: it is for clients with the usual heartbeat.
  before(async () => {
    const t = { after: () => {} };
    for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]])
      for (const [count, , padding] of LOADS)
        await askAll(await server.client(t, { transports }), count, () => ["slow", 1, padding]);
  });

  everyWay(server, (connect) => {
    for (const [count, ms, padding] of LOADS)
      test(`${count} events of ${padding.length} bytes whose handlers take ${ms} ms`, async (t) => {
        const socket = await connect(t, { profile: "heartbeat" });
        await askAll(socket, count, () => ["slow", ms, padding], 30_000);
      });
  });
});
