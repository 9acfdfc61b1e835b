// Tests the official parsers against ours. Our server decodes and re-encodes packets that the official parser has
// encoded. The result must be the same bytes, which the official parser must decode to the same values.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as msgpackModule from "socket.io-msgpack-parser";
import * as json from "socket.io-parser";
import { startServer } from "./server.mjs";
import { Socket } from "./wire.mjs";

const msgpack = msgpackModule.default ?? msgpackModule;
const url = await startServer("main", "msgpack");
const ROUNDS = 600;
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** A reproducible random number generator: mulberry32. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EDGES = [7, 8, 15, 16, 31, 32, 33, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, -(2 ** bits) + 1, -(2 ** bits)]);
const NUMBERS = [0, -1, -32, -33, 0.1, -1.5, 1e21, 5e-324, Number.MAX_VALUE, Math.PI, 2 ** 53 + 2, ...EDGES].filter(
  // The official MessagePack encoder writes integers from 2^64 on incorrectly.
  (number) => !Number.isInteger(number) || Math.abs(number) <= 2 ** 53,
);
const LETTERS = ["a", "Z", "0", '"', "\\", "/", "\n", "\u0000", "\u001e", "\u007f", "é", "\u2028", "中", "\uffff", "😀"];
const LENGTHS = [0, 1, 2, 3, 15, 16, 31, 32, 33, 255, 256, 300];

class Random {
  constructor(seed) {
    this.next = generator(seed);
  }
  below(end) {
    return Math.floor(this.next() * end);
  }
  of(list) {
    return list[this.below(list.length)];
  }
  text() {
    const length = this.below(4) ? this.below(8) : this.of(LENGTHS);
    return Array.from({ length }, () => this.of(LETTERS)).join("");
  }
  value(depth, binaries) {
    const kind = this.below(depth > 0 ? 9 : 6);
    if (kind === 0) return this.of([null, true, false]);
    if (kind <= 2) return this.below(3) ? this.of(NUMBERS) : (this.next() - 0.5) * 10 ** this.below(16);
    if (kind <= 4) return this.text();
    if (kind === 5) return binaries.left-- > 0 ? Buffer.from(this.text()) : this.below(1000);
    const length = this.below(6) ? this.below(5) : this.of([15, 16, 17]);
    const values = Array.from({ length }, () => this.value(depth - 1, binaries));
    return kind <= 7 ? values : Object.fromEntries(values.map((value) => [`${this.text()}k`, value]));
  }
  /** Returns an event that the server sends back: as the same event if it has no id, else as its acknowledgement. */
  packet(nsp) {
    const binaries = { left: this.below(3) ? this.below(10) : 0 };
    const args = Array.from({ length: this.below(5) }, () => this.value(5, binaries));
    const packet = { type: 2, data: ["echo", ...args], nsp };
    return this.below(2) ? packet : { ...packet, id: this.of([0, 1, 12, 127, 128, 65536, 2 ** 32, 2 ** 53 - 1]) };
  }
}

function decoded(parser, messages) {
  const packets = [];
  const decoder = new parser.Decoder();
  decoder.on("decoded", (packet) => packets.push(packet));
  messages.forEach((message) => decoder.add(message));
  assert.equal(packets.length, 1);
  return packets[0];
}

/** Returns the expected packet, with its keys in the order of the official server. */
function expected({ data, nsp, id }) {
  return id === undefined ? { type: 2, data, nsp } : { id, type: 3, data: data.slice(1), nsp };
}

for (const [name, parser, profile] of [
  ["socket.io-parser", json, "main"],
  ["socket.io-msgpack-parser", msgpack, "msgpack"],
]) {
  test(`${ROUNDS} random packets go through ours and ${name} unchanged`, async (t) => {
    const random = new Random(SEED);
    const socket = await Socket.open(t, url(profile));
    const encode = (packet) => new parser.Encoder().encode(packet);
    // In Engine.IO 4, text has a packet type in front, and binary has none.
    const send = (packet) =>
      encode(packet).forEach((message) => socket.ws.send(typeof message === "string" ? `4${message}` : message));
    const receive = async () => {
      const message = await socket.receive();
      return typeof message === "string" ? message.slice(1) : message;
    };
    for (const nsp of ["/", "/custom"]) {
      send({ type: 0, nsp });
      const { type, nsp: joined } = decoded(parser, [await receive()]);
      assert.deepEqual([type, joined], [0, nsp]);
    }
    for (let round = 0; round < ROUNDS; round++) {
      const packet = random.packet(random.of(["/", "/custom"]));
      const answer = expected(packet);
      const bytes = encode(answer);
      const values = decoded(parser, bytes);
      send(packet);
      const received = [];
      while (received.length < bytes.length) received.push(await receive());
      const which = `seed ${SEED}, round ${round}`;
      assert.deepEqual(decoded(parser, received), values, which);
      assert.deepEqual(received, bytes, which);
    }
  });
}
