// Helpers of all suites. They use deadlines instead of sleeps, and close their clients at the end of the test.
import { describe } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";

const DEADLINE = 5_000;

/** Returns the path of a program of this repository, built in the profile `PROFILE`: `release` or `debug`. */
export const program = (name) =>
  fileURLToPath(new URL(`../../target/${process.env.PROFILE ?? "release"}/${name}`, import.meta.url));

/** Resolves like `promise`, or rejects with an error that names what did not happen in time. */
export function within(promise, what, ms = DEADLINE) {
  const late = new Error(`${what}: not within ${ms} ms`);
  let timer;
  const deadline = new Promise((_, reject) => (timer = setTimeout(reject, ms, late)));
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** Resolves with the arguments of the next event of this name. */
export const next = (emitter, name) =>
  within(new Promise((resolve) => emitter.once(name, (...args) => resolve(args))), `event "${name}"`);

/** Resolves with the first arguments of the next `count` events of this name. */
export function collect(emitter, name, count, ms) {
  const got = [];
  const all = new Promise((resolve) => {
    emitter.on(name, function take(value) {
      got.push(value);
      if (got.length === count) resolve(got);
    });
  });
  return within(all, `${count} events "${name}"`, ms);
}

/** Returns a list to which every event of the socket is appended as [name, ...arguments]. */
export function recorded(socket) {
  const events = [];
  socket.onAny((...event) => events.push(event));
  return events;
}

/**
 * Repeats `question` until its result passes. Each call is a round trip, so this waits for the server and not for a
 * timer.
 */
export function until(question, passes, what = `until ${passes}`, ms) {
  let over = false;
  const asking = (async () => {
    while (!over) {
      const answer = await question();
      if (passes(answer)) return answer;
      // Without this, a question that needs no round trip would keep the process from receiving anything.
      await setImmediate();
    }
  })();
  return within(asking, what, ms).finally(() => (over = true));
}

/**
 * Resolves with the server's disconnect records of the sockets with this `key` in their auth, at least `count` of them.
 */
export const records = (socket, key, count = 1) =>
  until(
    () => socket.emitWithAck("reasons", key),
    (list) => list.length >= count,
  );

let keys = 0;
/** Returns a key that no other test uses. */
export const freshKey = () => `key-${process.pid}-${keys++}`;

/** Resolves when the sockets have received everything that the server sent them before this call. */
export const settled = (...sockets) => Promise.all(sockets.map((socket) => socket.emitWithAck("echo")));

/** Makes acknowledgements of the socket time out with an error instead of waiting forever. */
function impatient(socket) {
  const ask = socket.emitWithAck.bind(socket);
  socket.emitWithAck = (...event) => within(ask(...event), `acknowledgement of "${event[0]}"`);
  return socket;
}

/**
 * Returns a client that is closed at the end of the test. It connects by itself, and this function does not wait for
 * it.
 */
export function client(t, url, options = {}) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  t.after(() => socket.io._close());
  return impatient(socket);
}

/** Waits until the socket is connected. Rejects with the reason if the server rejects the connection. */
export async function connected(socket) {
  if (socket.connected) return socket;
  const refused = new Promise((_, reject) => socket.once("connect_error", reject));
  refused.catch(() => {});
  await Promise.race([next(socket, "connect"), refused]);
  return socket;
}

export async function upgraded(socket) {
  if (socket.io.engine.transport.name !== "websocket") await next(socket.io.engine, "upgrade");
  return socket;
}

/** Returns a socket in another namespace over the same connection. */
export const alongside = (socket, namespace, auth) => impatient(socket.io.socket(namespace, { auth }));

const both = ["polling", "websocket"];
const WAYS = {
  "polling only": { transports: ["polling"] },
  "websocket only": { transports: ["websocket"] },
  "polling, about to upgrade": { transports: both },
  "polling, upgraded": { transports: both, upgraded: true },
};

/**
 * Defines the tests once for each transport. They get `connect(t, namespace, options)`, which resolves to a connected
 * socket, and `start` with the same arguments, which does not wait.
 */
export function everyWay(url, define) {
  for (const [name, way] of Object.entries(WAYS)) {
    const start = (t, namespace = "/", options = {}) =>
      client(t, url + namespace, { transports: way.transports, ...options });
    const connect = async (t, namespace, options) => {
      const socket = await connected(start(t, namespace, options));
      return way.upgraded ? upgraded(socket) : socket;
    };
    describe(name, () => define(connect, start, name));
  }
}
