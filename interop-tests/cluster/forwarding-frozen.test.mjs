// A server whose sessions are reached through another one, and that freezes.
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { after, test } from "node:test";
import { within } from "../official/helpers.mjs";
import { forwarding, startNode } from "./fleet.mjs";
import { HOST } from "./processes.mjs";

/** The time after which requests fail, as docs/deployment.md states it, with 2 s for a connection and 1 s for a busy machine. */
const FROZEN_MS = 10_000 + 2_000 + 1_000;
const UNKNOWN = { status: 400, body: '{"code":1,"message":"Session ID unknown"}' };

const start = async () => startNode("ours", { ADAPTER: "none", ...(await forwarding()) });
const [owner, through, third] = await Promise.all([start(), start(), start()]);
after(() => Promise.all([owner, through, third].map((server) => server.end("SIGKILL"))));

/** A session of one server whose requests reach another. */
class Session {
  #agents = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  constructor(server, port) {
    Object.assign(this, { server, port, path: "/socket.io/?EIO=4&transport=polling", echos: 0 });
    after(() => this.#agents.forEach((agent) => agent.destroy()));
  }

  send(body, port = this.port) {
    const headers = body ? { "content-type": "text/plain;charset=UTF-8", "content-length": body.length } : {};
    const options = { agent: this.#agents[body ? 1 : 0], host: HOST, port, method: body ? "POST" : "GET", headers };
    return new Promise((resolve, reject) => {
      const sent = request({ ...options, path: this.path }, (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => resolve({ status: response.statusCode, body: text }));
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }

  async open() {
    const { body } = await this.send("", this.server.port);
    this.path += `&sid=${JSON.parse(body.slice(1)).sid}`;
    await this.send("40");
    await this.send("");
    return this;
  }

  async echo() {
    const [polled, posted] = await Promise.all([this.send(""), this.send(`42${this.echos}["echo",1]`)]);
    assert.equal(posted.body, "ok");
    assert.equal(polled.body, `43${this.echos++}[1]`);
  }
}

const open = (server) => new Session(server, through.port).open();

/** Resolves with the response and the time that it took. */
async function timed(response) {
  const begin = performance.now();
  return [await response, performance.now() - begin];
}

test("requests for a frozen server fail in time, others notice nothing, and it continues", async (t) => {
  const [polling, posting] = await Promise.all([open(owner), open(owner)]);
  const others = await Promise.all([open(through), open(third)]);
  await Promise.all([polling, posting, ...others].map((session) => session.echo()));
  await owner.freeze();
  let isOver = false;
  // The longest time of an echo of the other sessions, while the requests for the frozen server wait.
  const unaffected = others.map(async (session) => {
    let longest = 0;
    while (!isOver) longest = Math.max(longest, (await timed(session.echo()))[1]);
    return longest;
  });
  const pending = [polling.send(""), posting.send('420["echo",1]')].map(timed);
  for (const [response, ms] of await within(Promise.all(pending), "the pending requests fail", FROZEN_MS)) {
    assert.deepEqual(response, UNKNOWN);
    t.diagnostic(`a pending request failed after ${Math.round(ms)} ms`);
  }
  // No other server accepts the session, so the client opens a new one.
  const [response, ms] = await within(timed(posting.send("")), "another request fails", 3_000);
  assert.deepEqual(response, UNKNOWN);
  t.diagnostic(`another request failed after ${Math.round(ms)} ms`);
  isOver = true;
  for (const longest of await Promise.all(unaffected)) {
    t.diagnostic(`the slowest echo of another session took ${Math.round(longest)} ms`);
    assert.ok(longest < 1_000);
  }
  assert.ok(others.every(({ echos }) => echos > 100));
  owner.thaw();
  // The next attempt to connect is a second after the last one. The client has not missed a packet.
  const polled = async () => {
    while ((await polling.send("")).body !== '431[1]');
  };
  const posted = async () => {
    while ((await polling.send('421["echo",1]')).body !== "ok");
  };
  await within(Promise.all([polled(), posted()]), "the session continues", 5_000);
  await (await open(owner)).echo();
});
