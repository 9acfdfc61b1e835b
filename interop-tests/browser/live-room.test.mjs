// Tests the live room in a real browser, as the host on a desktop and as a viewer on a phone, among 500 bots:
// `node --test browser/live-room.test.mjs` after `cargo build --release -p live-room`, or PROFILE=debug and
// `cargo build -p live-room`. CHROMIUM selects another browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { program, within } from "../official/helpers.mjs";

const screenshots = fileURLToPath(new URL("screenshots/", import.meta.url));
const BOTS = 500;
const DESKTOP = { viewport: { width: 1180, height: 720 } };
// Without a graphics card, each moving picture takes most of a core.
const STILL = { ...DESKTOP, reducedMotion: "reduce" };
const PHONE = { reducedMotion: "reduce", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const WAIT = 20_000;
const MARKUP = "<img src=x onerror=alert(1)> & <b>bold</b>";

let server;
let browser;
let addresses;
let host;
let viewer;
const errors = [];

async function start() {
  const env = { ...process.env, PORT: "0" };
  server = spawn(program("live-room"), ["--bots", String(BOTS)], { env, stdio: ["ignore", "pipe", "inherit"] });
  const found = [];
  for await (const line of createInterface({ input: server.stdout })) {
    found.push(/(http:\S+)$/.exec(line)[1]);
    if (found.length === 2) return found;
  }
  throw new Error("the server ended");
}

async function open(url, options, name) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  await page.fill("#name", name);
  await page.click("#join button");
  await page.waitForSelector("#text:enabled");
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

const shows = (page, text) => page.locator("#comments li", { hasText: text }).first().waitFor();
/** Waits until the number in an element is at least `min`. */
const reaches = (page, selector, min) =>
  page.waitForFunction(
    ([selector, min]) => Number(document.querySelector(selector).textContent.replaceAll(",", "")) >= min,
    [selector, min],
  );

before(async () => {
  mkdirSync(screenshots, { recursive: true });
  [browser, addresses] = await Promise.all([
    chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-quic",
      ],
    }),
    within(start(), "the server starts", WAIT),
  ]);
  host = await open(addresses[1], DESKTOP, "Maya");
  viewer = await open(addresses[0], PHONE, "Viewer");
});

after(async () => {
  await browser?.close();
  const exit = once(server, "exit");
  server.kill("SIGINT");
  await within(exit, "the server ends", WAIT);
});

describe("the live room", () => {
  it("counts the viewers, and their comments arrive", async () => {
    await reaches(viewer, "#viewers", BOTS + 2);
    await reaches(viewer, "#likes", 100);
    await viewer.locator("#comments li").nth(9).waitFor();
  });

  it("shows what is written as text", async () => {
    await say(viewer, MARKUP);
    await shows(host, MARKUP);
    assert.equal(await host.locator("#comments img, .flying img").count(), 0);
  });

  it("lets the host pin, slow down and mute", async () => {
    await say(viewer, "please pin this");
    const comment = host.locator("#comments li", { hasText: "please pin this" });
    await comment.getByRole("button", { name: "Pin" }).click();
    await viewer.locator("#pinned", { hasText: "please pin this" }).waitFor();
    await host.selectOption("#slow", "30");
    await viewer.waitForSelector("#text[placeholder*='30 s']");
    await say(viewer, "too early");
    await viewer.locator("#notice", { hasText: "slow mode: wait" }).waitFor();
    assert.equal(await viewer.inputValue("#text"), "too early", "the text is kept");
    await host.selectOption("#slow", "0");
    await host.locator("#comments li", { hasText: MARKUP }).first().getByRole("button", { name: "Mute" }).click();
    await viewer.locator("#comments li", { hasText: MARKUP }).first().waitFor({ state: "detached" });
    await say(viewer, "hello?");
    await viewer.locator("#notice", { hasText: "the host has muted you" }).waitFor();
  });

  it("shows what the server does", async () => {
    await host.click("#open-panel");
    await reaches(host, "#p-connections", BOTS + 2);
    await reaches(host, "#p-sent", BOTS);
    await host.locator("#p-latency", { hasText: "ms" }).waitFor();
    await host.screenshot({ path: `${screenshots}live-room-host.png` });
    await host.emulateMedia({ reducedMotion: "reduce" });
    await viewer.screenshot({ path: `${screenshots}live-room-phone.png` });
  });

  it("has missed nothing after an interruption", async () => {
    const late = await open(addresses[0], STILL, "Late");
    // Comments leave the page after a while, so those that arrive are recorded.
    await late.evaluate(() => {
      window.arrived = [];
      const record = (changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach(({ textContent }) => arrived.push(textContent)));
      new MutationObserver(record).observe(document.querySelector("#comments"), { childList: true });
    });
    await late.context().setOffline(true);
    await late.waitForSelector("#text:disabled");
    await say(host, "only while you were away");
    await shows(host, "only while you were away");
    await late.context().setOffline(false);
    await late.waitForFunction(() => arrived.some((text) => text.includes("only while you were away")));
    await late.context().close();
  });

  it("ends when the host closes it", async () => {
    await host.click("#close");
    await viewer.locator("#live", { hasText: "ENDED" }).waitFor();
    assert.deepEqual(errors.filter((error) => !error.includes("ERR_INTERNET_DISCONNECTED")), []);
  });
});
