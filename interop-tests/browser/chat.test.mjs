// Tests the chat example in a real browser, on a desktop and on a phone: `node --test browser/chat.test.mjs` after
// `cargo build --release -p chat`, or PROFILE=debug and `cargo build -p chat`. CHAT_BIN selects another server,
// CHROMIUM another browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { program } from "../official/helpers.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const binary = process.env.CHAT_BIN ?? program("chat");
const screenshots = here("screenshots/");

const DESKTOP = { viewport: { width: 1100, height: 720 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const WAIT = 15_000; // for every expected change of a page
const RECONNECT = 30_000; // the client waits up to five seconds between two attempts

let server;
let browser;
let url;
let ada; // on the desktop
let bruno; // on the phone
let clara; // joins later
const complaints = []; // errors that the pages report while the server runs
let listening = true;

async function startServer(port) {
  server = spawn(binary, { env: { ...process.env, PORT: String(port) }, stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(server, "exit").then(([code, signal]) => { throw new Error(`the server ended: ${code ?? signal}`); });
  gone.catch(() => {}); // Avoids an unhandled rejection when a test stops the server.
  const lines = createInterface({ input: server.stdout });
  const address = (async () => {
    for await (const line of lines) {
      const found = /^chat: (http:\/\/127\.0\.0\.1:\d+)$/.exec(line);
      if (found) return found[1];
    }
    return gone;
  })();
  return Promise.race([address, gone]);
}

async function stopServer(signal) {
  if (server.exitCode !== null || server.signalCode !== null) return [server.exitCode, server.signalCode];
  const exit = once(server, "exit");
  server.kill(signal);
  return exit;
}

async function openPage(options, hash = "#lobby", prepare = async () => {}) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (listening && message.type() === "error") complaints.push(message.text());
  });
  await prepare(page);
  await page.goto(`${url}/${hash}`);
  return page;
}

async function enter(page, nickname) {
  await page.getByLabel("Nickname").fill(nickname);
  await page.getByRole("button", { name: "Join" }).click();
}

async function joined(page, nickname) {
  await enter(page, nickname);
  await page.getByRole("log").waitFor();
}

const bubble = (page, text) => page.locator(".message", { has: page.getByText(text, { exact: true }) });
const notice = (page, text) => page.locator(".notice", { hasText: text });

async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
}

/** Sends a message and waits for the acknowledgement. */
async function saidBy(page, text) {
  await say(page, text);
  await ticked(page, text);
}

const ticked = (page, text, timeout = WAIT) => bubble(page, text).getByRole("img", { name: "Delivered" }).waitFor({ timeout });

/** Waits until an element has the given text. */
async function reads(locator, text, timeout = WAIT) {
  await locator.filter({ hasText: typeof text === "string" ? new RegExp(`^${text}$`) : text }).waitFor({ timeout });
}

const texts = (page) => page.locator(".bubble p").allTextContents();
const members = async (page) => (await page.locator("#members bdi").allTextContents()).sort();
const membersAre = (page, names, timeout = WAIT) => page.waitForFunction(
  (names) => [...document.querySelectorAll("#members bdi")].map((element) => element.textContent).sort().join() === names,
  [...names].sort().join(),
  { timeout },
);
const snap = (page, name) => page.screenshot({ path: `${screenshots}${name}.png` });

describe("the chat example", { timeout: 180_000 }, () => {
  before(async () => {
    mkdirSync(screenshots, { recursive: true });
    url = await startServer(0);
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-quic",
      ],
    });
    ada = await openPage({ ...DESKTOP, colorScheme: "light" });
    bruno = await openPage({ ...PHONE, colorScheme: "dark" });
  });

  after(async () => {
    await browser?.close();
    if (server) await stopServer("SIGKILL");
  });

  it("refuses a nickname that is empty or too long and says why", async () => {
    await snap(ada, "join-desktop-light");
    for (const nickname of ["", "   ", "x".repeat(25)]) {
      await enter(ada, nickname);
      await reads(ada.getByRole("alert"), "A nickname has 1 to 24 characters\\.");
      assert.ok(await ada.getByRole("button", { name: "Join" }).isEnabled());
      assert.ok(await ada.getByRole("log").isHidden());
    }
    await enter(bruno, "");
    await reads(bruno.getByRole("alert"), "A nickname has 1 to 24 characters\\.");
    await snap(bruno, "refused-phone-dark");
    // The rejected attempts close their connection during the upgrade, which the browser reports as errors.
    complaints.length = 0;
  });

  it("lets two people into one room and shows them to each other", async () => {
    await joined(ada, " Ada ");
    await joined(bruno, "x".repeat(24));
    await notice(ada, `${"x".repeat(24)} joined`).waitFor();
    await bruno.getByRole("button", { name: "Rooms and people" }).click();
    await bruno.getByRole("button", { name: "Leave the chat" }).click();
    await notice(ada, `${"x".repeat(24)} left`).waitFor();
    await joined(bruno, "Bruno");
    await notice(ada, "Bruno joined").waitFor();
    await membersAre(ada, ["Ada", "Bruno"]);
    assert.deepEqual(await members(bruno), ["Ada", "Bruno"]);
    await reads(ada.locator("#room-people"), "You, Bruno");
  });

  it("talks over WebSocket after the upgrade", async () => {
    for (const page of [ada, bruno]) {
      // The page shows `io.engine.transport.name`. On the phone, that text is in the closed drawer, so it is not
      // visible.
      await page.waitForFunction(() => document.getElementById("transport").textContent === "websocket");
    }
  });

  it("carries messages both ways, in order and acknowledged", async () => {
    await saidBy(ada, "Is anybody here?");
    await bubble(bruno, "Is anybody here?").waitFor();
    await saidBy(bruno, "Yes, just came in from the phone.");
    await bubble(ada, "Yes, just came in from the phone.").waitFor();
    for (let n = 1; n <= 5; n++) await say(ada, `number ${n}`); // without waiting for the acknowledgements
    await saidBy(bruno, "– first line\n– second line");
    await ticked(ada, "number 5");
    await bubble(ada, "– first line\n– second line").waitFor();
    await bubble(bruno, "number 5").waitFor();
    const seen = await texts(ada);
    assert.equal(seen.length, 8);
    assert.deepEqual(seen.filter((text) => text.startsWith("number")), [1, 2, 3, 4, 5].map((n) => `number ${n}`));
    assert.deepEqual(await texts(bruno), seen, "both see one order");
    assert.equal(await ada.locator(".mine").count(), 6);
    assert.equal(await ada.getByRole("img", { name: "Delivered" }).count(), 6);
    assert.equal(await bruno.locator(".mine").count(), 2);
  });

  it("shows what people write as text, never as markup", async () => {
    const text = `<img src="x" onerror="document.title='broken'"><b>bold</b> & "quotes"`;
    await saidBy(bruno, text);
    await bubble(ada, text).waitFor();
    assert.equal(await ada.locator("#log img, #log b").count(), 0);
    assert.equal(await ada.title(), "#lobby");
  });

  it("hints at typing until the message is there", async () => {
    await bruno.getByLabel("Message", { exact: true }).pressSequentially("hm");
    await reads(ada.locator("#typing"), "Bruno is typing…");
    await snap(ada, "room-desktop-light");
    await saidBy(bruno, "hm");
    await bubble(ada, "hm").waitFor();
    assert.equal(await ada.locator("#typing").textContent(), "");
  });

  it("tells why a message was not taken and lets it be tried again", async () => {
    await ada.locator("#text").evaluate((text) => text.removeAttribute("maxlength"));
    await say(ada, "y".repeat(2_001));
    const failed = ada.locator('.message[data-state="failed"]');
    await reads(failed.locator(".failure span"), "A message has 1 to 2000 characters\\.");
    await failed.getByRole("button", { name: "Try again" }).click();
    await reads(failed.locator(".failure span"), "A message has 1 to 2000 characters\\.");
    await snap(ada, "failed-desktop-light");
    await failed.getByRole("button", { name: "Remove" }).click();
    await failed.waitFor({ state: "detached" });
    await saidBy(ada, "z".repeat(2_000));
    await bubble(bruno, "z".repeat(2_000)).waitFor();
    assert.equal((await texts(bruno)).some((text) => text.startsWith("y")), false);
  });

  it("gives a late joiner the history", async () => {
    const before = await texts(bruno);
    clara = await openPage({ ...DESKTOP, colorScheme: "dark" });
    await joined(clara, "Clara");
    await bubble(clara, "Is anybody here?").waitFor();
    assert.deepEqual(await texts(clara), before);
    assert.deepEqual(await members(clara), ["Ada", "Bruno", "Clara"]);
    await notice(ada, "Clara joined").waitFor();
    await snap(clara, "room-desktop-dark");
  });

  it("remembers no more than fifty messages of a room", async () => {
    await clara.goto(`${url}/#many`); // Only the fragment changes, so the page is not reloaded.
    await reads(clara.locator("#room-name"), "many");
    for (let n = 1; n <= 60; n++) await say(clara, `line ${n}`);
    await ticked(clara, "line 60");
    const late = await openPage(DESKTOP, "#many");
    await joined(late, "Late");
    await bubble(late, "line 60").waitFor();
    assert.deepEqual(await texts(late), Array.from({ length: 50 }, (_, n) => `line ${n + 11}`));
    await late.context().close();
    await notice(clara, "Late left").waitFor();
  });

  it("keeps rooms apart", async () => {
    await notice(ada, "Clara left").waitFor(); // She moved to the other room.
    await saidBy(clara, "only here");
    await saidBy(ada, "only in the lobby");
    await bubble(bruno, "only in the lobby").waitFor();
    await saidBy(clara, "and again");
    // The acknowledged message was sent to its recipients before the messages that the pages show now.
    for (const page of [ada, bruno]) assert.equal(await bubble(page, "only here").count(), 0);
    assert.equal(await bubble(clara, "only in the lobby").count(), 0);
    const room = (page, name) => page.locator("#rooms button", { hasText: name });
    await reads(room(ada, "lobby").locator(".count"), "2");
    await reads(room(ada, "many").locator(".count"), "1");
    await room(clara, "lobby").click();
    await bubble(clara, "only in the lobby").waitFor();
    assert.equal(new URL(clara.url()).hash, "#lobby");
    assert.equal(await bubble(clara, "only here").count(), 0);
    await room(ada, "many").waitFor({ state: "detached" }); // The last member left, so the room is removed.
    await clara.goBack();
    await bubble(clara, "only here").waitFor();
    assert.equal(await bubble(clara, "only here").getByRole("img", { name: "Delivered" }).count(), 1, "still known as hers");
    await clara.goForward();
    await bubble(clara, "only in the lobby").waitFor();
  });

  it("tells when somebody leaves", async () => {
    await clara.context().close();
    const left = notice(ada, "Clara left");
    await left.nth(1).waitFor(); // The first notice is from the change of rooms.
    await membersAre(ada, ["Ada", "Bruno"]);
    await membersAre(bruno, ["Ada", "Bruno"]);
  });

  it("does not say a message twice when its acknowledgement was lost", async () => {
    let lose = false;
    const dora = await openPage(DESKTOP, "#lobby", (page) => page.routeWebSocket(/socket\.io/, (socket) => {
      const upstream = socket.connectToServer();
      upstream.onMessage((message) => {
        if (!lose || !String(message).startsWith("43")) return socket.send(message);
        lose = false;
        socket.close();
        upstream.close();
      });
    }));
    await joined(dora, "Dora");
    await reads(dora.locator("#transport"), "websocket");
    lose = true;
    await say(dora, "said once");
    await bubble(ada, "said once").waitFor();
    await reads(dora.getByRole("status").first(), "Connection lost\\. Reconnecting…");
    await ticked(dora, "said once", RECONNECT);
    await saidBy(dora, "and this after it");
    await bubble(ada, "and this after it").waitFor();
    for (const page of [ada, dora]) assert.equal(await bubble(page, "said once").count(), 1);
    assert.equal(await dora.locator(".mine").count(), 2);
    await dora.context().close();
    await membersAre(ada, ["Ada", "Bruno"]);
  });

  it("fits a phone", async () => {
    await snap(bruno, "room-phone-dark");
    const small = () => bruno.locator("button, input, textarea").evaluateAll((elements) => elements
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .map((element) => [element.id || element.getAttribute("aria-label"), element.getBoundingClientRect()])
      .filter(([, box]) => box.width < 44 || box.height < 44)
      .map(([name, box]) => `${name}: ${box.width} x ${box.height}`));
    assert.deepEqual(await small(), []);
    await bruno.getByRole("button", { name: "Rooms and people" }).tap();
    await bruno.getByRole("button", { name: "Close rooms and people" }).waitFor();
    await bruno.waitForFunction(() => document.getElementById("side").getBoundingClientRect().left === 0);
    assert.deepEqual(await small(), []);
    await snap(bruno, "people-phone-dark");
    await bruno.keyboard.press("Escape");
    await bruno.getByRole("button", { name: "Close rooms and people" }).waitFor({ state: "hidden" });
    // An on-screen keyboard covers the lower half. The field must stay above it, and the last message above the field.
    await bruno.setViewportSize({ width: 390, height: 420 });
    await bruno.waitForFunction(() => {
      const last = document.querySelector("#log > :last-child").getBoundingClientRect();
      const field = document.getElementById("text").getBoundingClientRect();
      return field.bottom <= innerHeight && last.bottom <= field.top && document.documentElement.scrollWidth <= innerWidth;
    });
    await snap(bruno, "keyboard-phone-dark");
    await bruno.setViewportSize(PHONE.viewport);
  });

  it("did all that without a complaint of the browser", () => {
    assert.deepEqual(complaints, []);
  });

  it("comes back into the room after a restart of the server", async () => {
    listening = false; // From now on, the pages report failing connections as errors, which is correct.
    const [code] = await stopServer("SIGINT");
    assert.equal(code, 0, "the server shuts down in order");
    for (const page of [ada, bruno]) await reads(page.getByRole("status").first(), "Connection lost\\. Reconnecting…");
    await say(ada, "written while away");
    await bubble(ada, "written while away").getByRole("img", { name: "Sending" }).waitFor();
    await snap(ada, "reconnecting-desktop-light");
    await snap(bruno, "reconnecting-phone-dark");
    const before = await texts(bruno);
    assert.equal(await startServer(new URL(url).port), url);
    await membersAre(ada, ["Ada", "Bruno"], RECONNECT);
    await membersAre(bruno, ["Ada", "Bruno"], RECONNECT);
    for (const page of [ada, bruno]) await page.locator("#banner").waitFor({ state: "hidden", timeout: RECONNECT });
    await ticked(ada, "written while away");
    await saidBy(bruno, "back again");
    await bubble(ada, "back again").waitFor();
    await bubble(bruno, "written while away").waitFor();
    assert.deepEqual(await texts(bruno), [...before, "written while away", "back again"], "nothing lost, nothing twice");
  });

  it("notices a server that dies without a word", async () => {
    await stopServer("SIGKILL");
    await reads(ada.getByRole("status").first(), "Connection lost\\. Reconnecting…");
    await startServer(new URL(url).port);
    await membersAre(ada, ["Ada", "Bruno"], RECONNECT);
    await saidBy(ada, "and once more");
    await bubble(bruno, "and once more").waitFor({ timeout: RECONNECT });
  });
});
