// The option `retries` of the official client, over connections that end between an event and its acknowledgement.
import assert from "node:assert/strict";
import { connect as open, createServer } from "node:net";
import { test } from "node:test";
import { client, connected, freshKey, until } from "./helpers.mjs";
import { startServer } from "./server.mjs";

const url = (await startServer("main"))("main");

/** Starts a proxy to the server. After `proxy.cut()`, a connection ends instead of passing on what the server sends next. */
async function startProxy(t) {
  const proxy = { cuts: 0, isArmed: false, cut: () => (proxy.isArmed = true) };
  const { hostname, port } = new URL(url);
  const server = createServer((downstream) => {
    const upstream = open(Number(port), hostname);
    const end = () => (downstream.destroy(), upstream.destroy());
    for (const socket of [downstream, upstream]) socket.on("error", end).on("close", end);
    downstream.on("data", (bytes) => upstream.write(bytes));
    upstream.on("data", (bytes) => {
      if (!proxy.isArmed) return downstream.write(bytes);
      proxy.isArmed = false;
      proxy.cuts += 1;
      end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  return proxy;
}

for (const transports of [["websocket"], ["polling"]]) {
  test(`an event that is sent again is handled once, over ${transports}`, async (t) => {
    const proxy = await startProxy(t);
    const auth = { user: freshKey() };
    const options = { transports, auth, retries: 5, ackTimeout: 2_000, reconnection: true, reconnectionDelay: 10 };
    const socket = await connected(client(t, `${proxy.url}/once`, options));
    const first = freshKey();
    for (let i = 0; i < 10; i++) {
      proxy.cut();
      assert.equal(await socket.emitWithAck("once", `${first} ${i}`), 1);
    }
    assert.equal(proxy.cuts, 10);
    // Without the middleware, the server handles an event twice whose acknowledgement was lost.
    const countAndCut = () => (proxy.cut(), socket.emitWithAck("count", freshKey()));
    await until(countAndCut, (calls) => calls === 2);
  });
}

test("another user with the same key does not get the acknowledgement", async (t) => {
  const key = freshKey();
  const join = async () => connected(client(t, `${url}/once`, { auth: { user: freshKey() } }));
  const [ann, bob] = [await join(), await join()];
  assert.equal(await ann.emitWithAck("once", key), 1);
  assert.equal(await bob.emitWithAck("once", key), 2);
  assert.equal(await ann.emitWithAck("once", key), 1);
});
