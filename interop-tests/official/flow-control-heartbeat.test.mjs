// Pings continue while events wait for slow handlers. The server pings every 300 ms and waits 500 ms for the pong. No
// other test runs in this process: the client disconnects by itself if the process is too busy to read a ping.
import { before, describe, test } from "node:test";
import { FlowServer, askAll, everyWay } from "./flow-control.mjs";

const LOADS = [
  [130, 2_500, ""],
  [400, 2_000, ""],
  [400, 2_000, "x".repeat(4_096)],
];
const server = await FlowServer.start();

describe("a fast heartbeat goes on", { concurrency: true }, () => {
  // The first run of each code path is slow, so warm up with clients that have the default heartbeat.
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
