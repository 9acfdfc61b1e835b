// Tests a browser over TLS, with Socket.IO and an application on one connection of HTTP/2. The server names the
// connection in the header `x-connection` of each response.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { program, within } from "../official/helpers.mjs";

const client = readFileSync(new URL("../node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url), "utf8");

describe("HTTP/2 over TLS in Chromium", () => {
  let server, browser, page, url;
  const statuses = [];
  // The connection of each response, by what was requested.
  const connections = [];

  before(async () => {
    server = spawn(program("https-server"), { stdio: ["ignore", "pipe", "inherit"] });
    process.once("exit", () => server.kill("SIGKILL"));
    const port = await within(
      new Promise((resolve) => createInterface({ input: server.stdout }).once("line", resolve)),
      "the port",
    );
    url = `https://localhost:${port}`;
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-quic",
      ],
    });
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    page = await context.newPage();
    const network = await context.newCDPSession(page);
    await network.send("Network.enable");
    const urls = new Map();
    network.on("Network.webSocketCreated", ({ requestId, url }) => urls.set(requestId, url));
    network.on("Network.webSocketHandshakeResponseReceived", ({ requestId, response }) => {
      statuses.push(response.status);
      connections.push(responseOf(urls.get(requestId), response));
    });
    network.on("Network.responseReceived", ({ response }) => {
      if (response.url.startsWith(url)) connections.push(responseOf(response.url, response));
    });
    await page.goto(url);
    await page.addScriptTag({ content: client });
  });

  after(async () => {
    await browser?.close();
    server?.kill();
  });

  test("requests use HTTP/2", async () => {
    assert.equal(await page.evaluate(async () => await (await fetch("/version")).text()), "HTTP/2.0");
  });

  test("a download is streamed while Socket.IO uses the same connection", async () => {
    const downloaded = page.evaluate(async () => {
      const socket = window.io({ transports: ["websocket"], forceNew: true });
      const reader = (await fetch("/download")).body.getReader();
      const produced = [];
      let size = 0;
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        size += read.value.length;
        // The server produces the next piece only after this event.
        if (size % 1_000_000 === 0) produced.push(await socket.emitWithAck("resume"));
      }
      socket.disconnect();
      return [size, produced];
    });
    assert.deepEqual(await within(downloaded, "the download"), [5_000_000, [1, 2, 3, 4, 5]]);
  });

  for (const transports of [["websocket"], ["polling", "websocket"]])
    test(`Socket.IO with ${transports} uses a WebSocket over HTTP/2`, async () => {
      statuses.length = 0;
      const result = await page.evaluate(async (transports) => {
        const socket = window.io({ transports, forceNew: true });
        await new Promise((resolve, reject) => {
          socket.on("connect_error", reject);
          socket.on("connect", () => {
            const { engine } = socket.io;
            if (engine.transport.name === "websocket") resolve();
            else engine.once("upgrade", resolve);
          });
        });
        const text = await socket.emitWithAck("echo", "hello");
        const { name } = socket.io.engine.transport;
        socket.disconnect();
        return [text, name];
      }, transports);
      assert.deepEqual(result, ["hello", "websocket"]);
      // The upgrade of HTTP/1.1 would be answered with 101.
      assert.deepEqual(statuses, [200]);
    });

  test("a WebSocket of the application uses HTTP/2", async () => {
    statuses.length = 0;
    const text = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const ws = new WebSocket(`wss://${location.host}/ws`);
          ws.onopen = () => ws.send("hello");
          ws.onerror = () => reject(new Error("failed"));
          ws.onmessage = ({ data }) => resolve(data);
        }),
    );
    assert.equal(text, "hello");
    assert.deepEqual(statuses, [200]);
  });

  test("the page, the polls, the WebSockets and the download use one connection", async () => {
    const requested = new Set(connections.map(([name]) => name));
    assert.deepEqual([...requested].sort(), [
      "GET /", "GET /download", "GET /socket.io/", "GET /version", "WebSocket /socket.io/", "WebSocket /ws",
    ]);
    const used = new Set(connections.map(([, connection]) => connection));
    assert.equal(used.size, 1, JSON.stringify(connections));
    assert.match([...used][0], /^\d+$/);
  });
});

/** Returns what was requested and the connection that the server names in the response. */
function responseOf(url, { headers }) {
  const { protocol, pathname } = new URL(url);
  return [`${protocol === "wss:" ? "WebSocket" : "GET"} ${pathname}`, headers["x-connection"]];
}
