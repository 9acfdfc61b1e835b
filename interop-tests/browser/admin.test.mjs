// Tests the official Admin UI in a real browser with two servers: `node --test browser/admin.test.mjs` after
// `cargo build --release`, or PROFILE=debug and `cargo build`. CHROMIUM selects another browser. Without access to the
// internet, the UI has no icons.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { cpuTime } from "../cluster/processes.mjs";
import { startServers } from "../official/admin-servers.mjs";
import { within } from "../official/helpers.mjs";

const UI = fileURLToPath(new URL("../../examples/client-files/node_modules/@socket.io/admin-ui/ui/dist", import.meta.url));
const screenshots = fileURLToPath(new URL("screenshots/", import.meta.url));
const WAIT = 20_000;
const MANY = Number(process.env.SOCKETS ?? 10_000);

let browser;

const start = (env) => startServers({ UI, ...env });

/** Opens the UI of a server. Scripts must not fail; what is loaded from elsewhere may. */
async function open(address) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1400, height: 800 } });
  const page = await context.newPage();
  const errors = [];
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED|CONNECTION)/.test(message.text())) errors.push(message.text());
  });
  await page.goto(`${address}/socket.io/admin/`);
  return { page, errors };
}

async function logIn(page, address, password) {
  await page.getByLabel("Server URL").fill(address);
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Connect" }).click();
}

/** Goes to a page of the UI, and waits until the page before is gone. */
async function show(page, title) {
  await page.evaluate((title) => (location.hash = title === "Dashboard" ? "#/" : `#/${title.toLowerCase()}/`), title);
  await page.waitForFunction((title) => {
    const pages = [...document.querySelectorAll(".v-breadcrumbs")];
    return pages.length === 1 && pages[0].innerText.trim() === title;
  }, title);
}

const row = (page, text) => page.locator("tbody tr", { hasText: text });
/** Waits for the number in a row of the dashboard. */
const reads = (page, name, count) =>
  page.waitForFunction(
    ([name, count]) =>
      [...document.querySelectorAll("tr")].some(({ cells }) => {
        const number = cells[1].querySelector("h2") ?? cells[1];
        return cells[0].textContent.trim() === name && Number(number.textContent) === count;
      }),
    [name, count],
  );

before(async () => {
  mkdirSync(screenshots, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-quic",
    ],
  });
});
after(() => browser?.close());

describe("the Admin UI of two servers", async () => {
  const { addresses } = await start({});
  let page;
  let errors;
  const clients = [];

  before(async () => {
    for (const address of addresses) {
      const client = io(address, { forceNew: true, reconnection: false });
      clients.push(client);
      await within(once(client, "connect"), "a client connects");
    }
    ({ page, errors } = await open(addresses[0]));
  });
  after(() => clients.forEach((client) => client.disconnect()));

  it("refuses a wrong password", async () => {
    await logIn(page, addresses[0], "wrong");
    await page.getByText("Invalid credentials").waitFor();
  });

  it("lets the right password in, and shows both servers", async () => {
    await logIn(page, addresses[0], "changeit");
    await page.locator(".v-dialog--active").waitFor({ state: "hidden" });
    await reads(page, "Healthy", 2);
    // Two clients and the page.
    await reads(page, "WebSocket", 3);
    await page.screenshot({ path: `${screenshots}admin-dashboard.png` });
    await show(page, "Servers");
    await row(page, "one").waitFor();
    await row(page, "two").waitFor();
    await page.screenshot({ path: `${screenshots}admin-servers.png` });
  });

  it("shows the clients of both servers", async () => {
    await show(page, "Sockets");
    for (const client of clients) await row(page, client.id).waitFor();
    await page.screenshot({ path: `${screenshots}admin-sockets.png` });
    await show(page, "Clients");
    await row(page, "WebSocket").nth(2).waitFor();
  });

  it("counts what is sent", async () => {
    const bytes = () =>
      page.evaluate(() => {
        const { aggregatedEvents } = document.querySelector("#app").__vue__.$store.state.main;
        return aggregatedEvents.filter(({ type }) => type === "bytesIn").reduce((sum, { count }) => sum + count, 0);
      });
    const earlier = await bytes();
    clients.forEach((client) => client.emit("echo", "x".repeat(100_000)));
    await page.waitForFunction((min) => {
      const { aggregatedEvents } = document.querySelector("#app").__vue__.$store.state.main;
      return aggregatedEvents.filter(({ type }) => type === "bytesIn").reduce((sum, { count }) => sum + count, 0) > min;
    }, earlier + 200_000);
  });

  it("shows rooms and events", async () => {
    clients[1].emit("join", "lobby");
    await show(page, "Rooms");
    await row(page, "lobby").waitFor();
    await page.screenshot({ path: `${screenshots}admin-rooms.png` });
    clients[1].emit("hello", { to: "world" });
    await show(page, "Events");
    await row(page, "hello").first().waitFor();
    await page.screenshot({ path: `${screenshots}admin-events.png` });
  });

  it("disconnects a client of the other server", async () => {
    const { id } = clients[1];
    await show(page, "Sockets");
    const disconnected = once(clients[1], "disconnect");
    await row(page, id).locator("button").click();
    assert.deepEqual((await within(disconnected, "the client is disconnected"))[0], "io server disconnect");
    // The click also opens the page of the socket.
    await show(page, "Sockets");
    await row(page, id).waitFor({ state: "detached" });
    await row(page, clients[0].id).waitFor();
    await show(page, "Dashboard");
    await reads(page, "/", 1);
    // The client closes a connection without namespaces.
    await reads(page, "WebSocket", 2);
  });

  it("remembers the login", async () => {
    await page.reload();
    await reads(page, "Healthy", 2);
    assert.equal(await page.locator(".v-dialog--active").count(), 0);
    assert.deepEqual(errors, []);
  });
});

describe(`the Admin UI of a server with ${MANY} sockets`, async () => {
  const { addresses, child } = await start({ SERVERS: "1" });
  const clients = [];

  /** Opens a connection that joins `/`, and does nothing more than to answer pings. */
  const connect = (address) =>
    new Promise((resolve, reject) => {
      const client = new WebSocket(`${address.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
      clients.push(client);
      client.on("error", reject);
      client.on("open", () => client.send("40"));
      client.on("message", (data) => {
        const text = data.toString();
        if (text.startsWith("40")) resolve();
        if (text === "2") client.send("3");
      });
    });

  before(async () => {
    for (let at = 0; at < MANY; at += 250) {
      const batch = Array.from({ length: Math.min(250, MANY - at) }, () => connect(addresses[0]));
      await within(Promise.all(batch), "250 clients connect", WAIT);
    }
  });
  after(() => clients.forEach((client) => client.terminate()));

  it("stays usable, and costs little", async (test) => {
    const { page, errors } = await open(addresses[0]);
    await logIn(page, addresses[0], "changeit");
    await page.locator(".v-dialog--active").waitFor({ state: "hidden" });
    await reads(page, "WebSocket", MANY + 1);
    const began = performance.now();
    await show(page, "Sockets");
    await page.getByText("1-20 of 500").waitFor();
    const shown = performance.now() - began;
    await page.screenshot({ path: `${screenshots}admin-many.png` });
    // The longest time for which the page does not react.
    const stalled = page.evaluate(async () => {
      let longest = 0;
      let last = performance.now();
      for (const end = last + 5_000; last < end; ) {
        await new Promise((resolve) => setTimeout(resolve));
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }
      return longest;
    });
    const before = await cpuTime(child.pid);
    const stall = await stalled;
    const share = ((await cpuTime(child.pid)) - before) / 5;
    const figures = `sockets after ${shown.toFixed()} ms, longest stall ${stall.toFixed()} ms, server ${(100 * share).toFixed(2)} % of a core`;
    test.diagnostic(figures);
    assert.ok(shown < 5_000 && stall < 2_000 && share < 0.2, figures);
    // Another socket is shown instead of one that disconnects.
    const id = await page.locator("tbody tr td").first().innerText();
    await row(page, id).locator("button").click();
    await show(page, "Sockets");
    await row(page, id).waitFor({ state: "detached" });
    await page.getByText("1-20 of 500").waitFor();
    assert.deepEqual(errors, []);
  });
});
