// Tests Socket.IO packets that clients must not send.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startServer } from "./server.mjs";
import { LINES, observed } from "./wire.mjs";

const url = await startServer("main");
const PLACE = (num) => `{"_placeholder":true,"num":${num}}`;
const one = Buffer.from([1]);

const VIOLATIONS = [
  ["a second CONNECT", "40"],
  ["an event for a namespace never joined", '42/custom,["echo"]'],
  ["an answer for a namespace never joined", "43/custom,0[]"],
  ["a refusal from the client", '44{"message":"x"}'],
  ["an unknown packet type", "4abc"],
  ["a packet type beyond the last", '47["echo"]'],
  ["no packet at all", "4"],
  ["an event without a payload", "42"],
  ["an event with nothing but an id", "421"],
  ["an event without a name", "42[]"],
  ["an event that is an object", "42{}"],
  ["an event that is a text", '42"echo"'],
  ["an event named by an object", "42[{}]"],
  ["an event named by null", "42[null]"],
  ["an event that is not JSON", '42["echo"'],
  ["an event with something after it", '42["echo"]x'],
  ["a reserved event", '42["connect"]'],
  ["another reserved event", '42["disconnect"]'],
  ["CONNECT with a list", "40/custom,[]"],
  ["CONNECT with a text", '40/custom,"x"'],
  ["DISCONNECT with a payload", "41{}"],
  ["an answer that is an object", "431{}"],
  ["attachments without a count", `45-["echo",${PLACE(0)}]`],
  ["attachments without a dash", `451["echo",${PLACE(0)}]`],
  ["no attachments announced", '450-["echo"]'],
  ["too many attachments", `4511-["echo"]`],
  ["a placeholder beyond the attachments", `451-["echo",${PLACE(5)}]`, one],
  ["a placeholder before the first", `451-["echo",${PLACE(-1)}]`, one],
  ["a placeholder that is no number", '451-["echo",{"_placeholder":true,"num":"splice"}]', one],
  ["a text in place of an attachment", `451-["echo",${PLACE(0)}]`, '42["echo"]'],
  ["an attachment of nothing", one],
];

for (const [transport, Line] of Object.entries(LINES)) {
  describe(`what ends the connection over ${transport}:`, () => {
    for (const [what, ...packets] of VIOLATIONS) {
      test(what, async (t) => {
        const line = await Line.open(t, url("main"));
        const reason = await observed(t, url("main"), line);
        line.send(...packets);
        await line.ended();
        assert.match(await reason(), /^(forced close|forced server close|parse error)$/);
      });
    }

    test("an event before CONNECT", async (t) => {
      const line = await Line.open(t, url("main"));
      line.send('42["echo"]');
      await line.ended();
    });
  });
}

test("WebSockets are closed with a code that names a protocol error", async (t) => {
  const line = await LINES.websocket.open(t, url("main"));
  await line.join();
  line.send('42["echo"');
  assert.equal(await line.ended(), 1002);
});
