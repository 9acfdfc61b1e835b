// Tests the application of examples/table-game end to end with the official client.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { client, next, program, within } from "./helpers.mjs";

const BINARY = process.env.TABLE_GAME ?? program("table-game");

let server;
let url;

before(async () => {
  server = spawn(BINARY, { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => server.kill("SIGKILL"));
  [url] = await within(once(createInterface({ input: server.stdout }), "line"), "the server is ready");
});

after(() => server.kill("SIGKILL"));

/** Returns the cookie and the token of a player. */
async function signIn(name) {
  const response = await fetch(`${url}/sign-in/${name}`, { method: "POST" });
  const [cookie] = response.headers.get("set-cookie").split(";");
  return { cookie, token: await response.text() };
}

/** Resolves with the connection error of a client. */
async function refused(t, namespace, options) {
  const [error] = await next(client(t, url + namespace, options), "connect_error");
  return error.message;
}

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`cookie, presence and announcements, ${transports}`, async (t) => {
    const name = `Ann-${transports.join("-")}`;
    const { cookie } = await signIn(name);
    const lobby = client(t, url, { transports, extraHeaders: { cookie } });
    const [names] = await next(lobby, "present");
    assert.deepEqual(names, [name]);
    const announced = next(lobby, "announcement");
    const response = await fetch(`${url}/announce`, { method: "POST", body: "Tea is ready." });
    assert.equal(response.status, 200);
    assert.deepEqual(await announced, ["Tea is ready."]);

    const bob = client(t, url, { transports, extraHeaders: { cookie: (await signIn("Bob")).cookie } });
    assert.deepEqual(await next(lobby, "present"), [[name, "Bob"]]);
    bob.disconnect();
    assert.deepEqual(await next(lobby, "present"), [[name]]);
    const gone = next(lobby, "disconnect");
    lobby.disconnect();
    await gone;
  });
}

test("nobody comes in without a cookie or a token", async (t) => {
  assert.equal(await refused(t, "/"), "not signed in");
  assert.equal(await refused(t, "/game"), "no token");
  assert.equal(await refused(t, "/game", { auth: { token: "made up" } }), "unknown token");
});

test("turns with acknowledgements and timeouts in both directions", async (t) => {
  const { token } = await signIn("Ann");
  const player = client(t, `${url}/game`, { auth: { token } });
  player.once("your turn", (_turn, answer) => answer(7));
  assert.deepEqual(await next(player, "turn over"), ["Ann", 7]);
  assert.equal(await player.timeout(1_000).emitWithAck("points"), 7);
  // The client has no listener for the next turn, so it times out.
  assert.deepEqual(await next(player, "turn over"), ["Ann", null]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => player.emitWithAck("points")));
  const refusals = answers.filter((answer) => answer.error === "not so fast");
  assert.ok(refusals.length >= 10 && refusals.length <= 15, `${refusals.length} were refused`);
});

test("metrics, and a graceful end", async (t) => {
  const { cookie } = await signIn("Ann");
  const lobby = client(t, url, { extraHeaders: { cookie } });
  await next(lobby, "present");
  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(metrics, /^socketio_sockets\{namespace="\/"\} 1$/m);
  assert.match(metrics, /^socketio_connect_errors_total\{namespace="\/game"\} 2$/m);
  const [ended, exited] = [next(lobby, "disconnect"), once(server, "exit")];
  server.kill("SIGINT");
  assert.match((await ended)[0], /^transport (close|error)$/);
  assert.deepEqual(await within(exited, "the server has ended"), [0, null]);
});
