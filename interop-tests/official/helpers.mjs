// What the suites share: deadlines instead of sleeps, and clients that end with their test.
import { describe } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";

const DEADLINE = 5_000;

/** The path of a program of this repository, built in the profile `PROFILE`: `release`, or `debug`. */
export const program = (name) =>
  fileURLToPath(new URL(`../../target/${process.env.PROFILE ?? "release"}/${name}`, import.meta.url));

/** The promise's value, or an error that names what did not happen in time. */
export function within(promise, what, ms = DEADLINE) {
  const late = new Error(`${what}: not within ${ms} ms`);
  let timer;
  const deadline = new Promise((_, reject) => (timer = setTimeout(reject, ms, late)));
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** The arguments of the next event of that name. */
export const next = (emitter, name) =>
  within(new Promise((resolve) => emitter.once(name, (...args) => resolve(args))), `event "${name}"`);

/** The first arguments of the next `count` events of that name. */
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

/** Every event that the socket gets from now on, as [name, ...arguments]. */
export function recorded(socket) {
  const events = [];
  socket.onAny((...event) => events.push(event));
  return events;
}

/** Asks again until the answer passes: each question is a round trip, so this waits for the server, not for a clock. */
export function until(question, passes, what = `until ${passes}`, ms) {
  let over = false;
  const asking = (async () => {
    while (!over) {
      const answer = await question();
      if (passes(answer)) return answer;
    }
  })();
  return within(asking, what, ms).finally(() => (over = true));
}

/** What the server recorded about the ends of the sockets whose auth had this key. */
export const records = (socket, key, count = 1) =>
  until(
    () => socket.emitWithAck("reasons", key),
    (list) => list.length >= count,
  );

let keys = 0;
/** A key that no other test uses. */
export const freshKey = () => `key-${process.pid}-${keys++}`;

/** Resolves when everything the server sent to the sockets before it answers this has arrived. */
export const settled = (...sockets) => Promise.all(sockets.map((socket) => socket.emitWithAck("echo")));

/** The socket, whose questions fail by name instead of waiting for ever. */
function impatient(socket) {
  const ask = socket.emitWithAck.bind(socket);
  socket.emitWithAck = (...event) => within(ask(...event), `acknowledgement of "${event[0]}"`);
  return socket;
}

/** A client that is closed when the test ends. It connects by itself; nothing is waited for. */
export function client(t, url, options = {}) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  t.after(() => socket.io._close());
  return impatient(socket);
}

/** Waits until the socket is connected; says why if it was refused. */
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

/** A further namespace over the connection of `socket`. */
export const alongside = (socket, namespace, auth) => impatient(socket.io.socket(namespace, { auth }));

const both = ["polling", "websocket"];
const WAYS = {
  "polling only": { transports: ["polling"] },
  "websocket only": { transports: ["websocket"] },
  "polling, about to upgrade": { transports: both },
  "polling, upgraded": { transports: both, upgraded: true },
};

/**
 * Defines the tests once for each way to reach the server. They get `connect(t, namespace, options)`,
 * which resolves to a connected socket, and `start` with the same arguments, which does not wait.
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
