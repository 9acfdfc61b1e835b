// Attachments of the Postgres adapter, beside the other work of the connection that reads them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { collect } from "../official/helpers.mjs";
import { freshNamespace, join, meet, startFleet } from "./fleet.mjs";
import { startPostgres } from "./postgres.mjs";

test("namespaces are opened and closed while attachments are read", async (t) => {
  const postgres = await startPostgres();
  const nodes = await startFleet(postgres, { ADAPTER: "postgres" }, ["ours", "ours"]);
  const [a, b] = await meet(t, nodes);
  const count = 300;
  const arrived = collect(b, "large", count, 20_000);
  // A response of this size arrives in several parts.
  a.emit("cast-burst", { to: [b.id] }, "large", 0, count, Buffer.alloc(20_000));
  let isDone = false;
  const opened = (async () => {
    while (!isDone) (await join(t, nodes[1], freshNamespace())).disconnect();
  })();
  try {
    assert.deepEqual(await arrived, Array.from({ length: count }, (_, i) => i));
  } finally {
    isDone = true;
  }
  await opened;
  assert.equal((await nodes[1].status()).disconnections, 0);
});
