// Tests raw Socket.IO packets over both transports.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startServer } from "./server.mjs";
import { LINES } from "./wire.mjs";

const url = await startServer("main", "fast");
const PLACE = (num) => `{"_placeholder":true,"num":${num}}`;
const CONNECTED = /^40(\/[\w-]+,)?\{"sid":"[\w-]{20,}"\}$/;

for (const [transport, Line] of Object.entries(LINES)) {
  describe(transport, () => {
    const open = (t, profile = "main") => Line.open(t, url(profile));

    async function joined(t, packet = "40", profile = "main") {
      const line = await open(t, profile);
      assert.match((await line.join(packet))[0], CONNECTED);
      return line;
    }

    /** Sends the packets and compares the packets in response. */
    async function exchange(line, sent, received) {
      line.send(...sent);
      const got = [];
      for (const _ of received) got.push(await line.receive());
      assert.deepEqual(got, received);
    }

    const assertAlive = (line, namespace = "") =>
      exchange(line, [`42${namespace}["echo","alive"]`], [`42${namespace}["echo","alive"]`]);

    describe("connecting", () => {
      for (const [sent, received] of [
        ["40", /^40\{"sid":"[\w-]{20,}"\}$/],
        ["40{}", /^40\{"sid":"[\w-]{20,}"\}$/],
        ['40{"token":"x"}', /^40\{"sid":"[\w-]{20,}"\}$/],
        ["40/custom,", /^40\/custom,\{"sid":"[\w-]{20,}"\}$/],
        ["40/custom", /^40\/custom,\{"sid":"[\w-]{20,}"\}$/],
        ['40/custom,{"token":"x"}', /^40\/custom,\{"sid":"[\w-]{20,}"\}$/],
        ["40/zzz,", '44/zzz,{"message":"Invalid namespace"}'],
        ["40/zzz?x=1,{}", '44/zzz?x=1,{"message":"Invalid namespace"}'],
        ["40/no,", '44/no,{"message":"no entry"}'],
        ["40/auth,", '44/auth,{"message":"unauthorized","data":{"code":401,"given":null}}'],
        ['40/auth,{"token":"x"}', '44/auth,{"message":"unauthorized","data":{"code":401,"given":"x"}}'],
      ]) {
        test(sent, async (t) => {
          const line = await open(t);
          line.send(sent);
          const got = await line.receive();
          if (typeof received === "string") assert.equal(got, received);
          else assert.match(got, received);
        });
      }

      test("the socket's id is not the session's", async (t) => {
        const line = await open(t);
        const [packet] = await line.join();
        assert.notEqual(JSON.parse(packet.slice(2)).sid, line.handshake.sid);
      });

      test("a refused namespace leaves the connection open", async (t) => {
        const line = await open(t);
        await exchange(line, ["40/no,"], ['44/no,{"message":"no entry"}']);
        line.send("40");
        assert.match(await line.receive(), CONNECTED);
        await assertAlive(line);
      });

      test("events on connection come after the answer", async (t) => {
        const line = await joined(t, "40/early,");
        for (const i of [1, 2, 3]) assert.equal(await line.receive(), `42/early,["early",${i}]`);
      });

      test("joining no namespace in time ends the connection", async (t) => {
        await (await open(t, "fast")).ended();
      });

      test("failing to join in time ends the connection", async (t) => {
        const line = await open(t, "fast");
        await exchange(line, ["40/no,"], ['44/no,{"message":"no entry"}']);
        await line.ended();
      });
    });

    describe("events", () => {
      for (const args of [
        "",
        "1",
        '"two",[3],{"b":null,"a":1.5}',
        '"\\u0000\\u2028\\ud800 é 😀"',
        "-0.5e-7,12345678901234567890",
        '{"_placeholder":true,"num":0}',
      ]) {
        test(`["echo",${args}]`, async (t) => {
          const line = await joined(t);
          line.send(`42["echo"${args && `,${args}`}]`, `4212["echo"${args && `,${args}`}]`);
          const [event, ack] = [await line.receive(), await line.receive()];
          // The server may serialize the text differently, so only the values and the packet prefix are compared.
          assert.equal(event.slice(0, 2), "42");
          assert.equal(ack.slice(0, 4), "4312");
          assert.deepEqual(JSON.parse(event.slice(2)), JSON.parse(`["echo"${args && `,${args}`}]`));
          assert.deepEqual(JSON.parse(ack.slice(4)), JSON.parse(`[${args}]`));
        });
      }

      test("names may be anything but reserved", async (t) => {
        const line = await joined(t);
        line.send('42["emit-me","na\\"me \\n 😀",1]');
        assert.deepEqual(JSON.parse((await line.receive()).slice(2)), ['na"me \n 😀', 1]);
        line.send('42[5,"a number as name"]', '42["connection"]', '42["message",1]', '42["error"]');
        await assertAlive(line);
      });

      test("acknowledgements keep their ids", async (t) => {
        const line = await joined(t);
        await exchange(
          line,
          ['420["echo"]', '421["echo",1]', '42999999999["echo",2]', '427["join","a"]'],
          ["430[]", "431[1]", "43999999999[2]", "437[]"],
        );
      });

      test("only one acknowledgement leaves the server", async (t) => {
        const line = await joined(t);
        await exchange(line, ['425["ack-twice"]', '426["echo"]'], ['435["first"]', "436[]"]);
      });

      test("nothing is acknowledged unasked", async (t) => {
        const line = await joined(t);
        line.send('42["join","a"]', '42["rooms"]', '42["whoami"]');
        await assertAlive(line);
      });

      test("the server's questions have ids, and take answers once", async (t) => {
        const line = await joined(t);
        line.send('42["ask","question",1]');
        const [, id] = /^42(\d+)\["question",1\]$/.exec(await line.receive());
        await exchange(line, [`43${id}["yes"]`, `43${id}["again"]`, "43999[]"], ['42["ask-result","yes"]']);
        await assertAlive(line);
      });

      test("namespaces are named", async (t) => {
        const line = await joined(t, "40/custom,");
        await exchange(
          line,
          ['42/custom,["echo",1]', '42/custom,12["echo",2]'],
          ['42/custom,["echo",1]', "43/custom,12[2]"],
        );
      });
    });

    describe("binaries", () => {
      const [one, two] = [Buffer.from([1]), Buffer.from([2, 2])];
      for (const [what, sent, received] of [
        ["an event", [`451-["echo",${PLACE(0)}]`, one], [`451-["echo",${PLACE(0)}]`, one]],
        [
          "an empty one",
          [`451-["echo",${PLACE(0)}]`, Buffer.alloc(0)],
          [`451-["echo",${PLACE(0)}]`, Buffer.alloc(0)],
        ],
        [
          "two",
          [`452-["echo",${PLACE(0)},{"a":[${PLACE(1)}]}]`, one, two],
          [`452-["echo",${PLACE(0)},{"a":[${PLACE(1)}]}]`, one, two],
        ],
        ["an acknowledgement", [`451-7["echo",${PLACE(0)}]`, one], [`461-7[${PLACE(0)}]`, one]],
      ]) {
        test(what, async (t) => exchange(await joined(t), sent, received));
      }

      test("a namespace's", async (t) => {
        const line = await joined(t, "40/custom,");
        await exchange(line, [`451-/custom,3["echo",${PLACE(0)}]`, one], [`461-/custom,3[${PLACE(0)}]`, one]);
      });

      test("an answer with binaries", async (t) => {
        const line = await joined(t);
        line.send('42["ask","question"]');
        const [, id] = /^42(\d+)\["question"\]$/.exec(await line.receive());
        await exchange(line, [`461-${id}[${PLACE(0)}]`, one], [`451-["ask-result",${PLACE(0)}]`, one]);
      });

      test("ten in one packet", async (t) => {
        const line = await joined(t);
        const many = Array.from({ length: 10 }, (_, i) => Buffer.from([i]));
        const packet = `4510-["echo",${many.map((_, i) => PLACE(i)).join()}]`;
        await exchange(line, [packet, ...many], [packet, ...many]);
      });
    });

    describe("leaving", () => {
      test("one namespace leaves the others", async (t) => {
        const line = await joined(t);
        line.send("40/custom,");
        await line.receive();
        line.send("41");
        await assertAlive(line, "/custom,");
        line.send("40");
        assert.match(await line.receive(), CONNECTED);
        await assertAlive(line);
      });

      test("the last namespace leaves the connection", async (t) => {
        const line = await joined(t, "40/custom,");
        line.send("41/custom,", "40/custom,");
        assert.match(await line.receive(), CONNECTED);
      });

      test("late packets for a namespace just left are ignored", async (t) => {
        const line = await joined(t);
        line.send("40/custom,");
        await line.receive();
        line.send("41/custom,", '42/custom,["echo",1]', '42/custom,5["echo",1]', "43/custom,0[]", "41/custom,");
        await assertAlive(line);
      });

      test("late packets cross the server's goodbye", async (t) => {
        const line = await joined(t);
        line.send("40/custom,");
        await line.receive();
        await exchange(line, ['42/custom,["bye",false]', '42/custom,["echo",1]'], ["41/custom,"]);
        await assertAlive(line);
      });

      test("nothing follows the server's goodbye", async (t) => {
        const line = await joined(t);
        line.send("40/custom,");
        await line.receive();
        await exchange(line, ['42/custom,["bye-then-emit"]'], ["41/custom,"]);
        await assertAlive(line);
      });

      test("the server's goodbye to all ends the connection", async (t) => {
        const line = await joined(t);
        await exchange(line, ['42["bye",true]'], ["41"]);
        await line.ended();
      });
    });
  });
}
