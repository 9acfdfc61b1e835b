// Takes the screenshots of the README, `docs/chat.png` and `docs/live-room.jpg`: `npm run screenshots` after
// `cargo build --release -p chat -p live-room`, or PROFILE=debug and `cargo build -p chat -p live-room`. CHROMIUM selects
// another browser. The emojis need a font, such as the Debian package `fonts-noto-color-emoji`.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { program, within } from "../official/helpers.mjs";

const docs = (name) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
const VIEWPORT = { width: 880, height: 560 };
const BOTS = 500;
const WAIT = 20_000;

const servers = [];
process.once("exit", () => servers.forEach((server) => server.kill("SIGKILL")));

/** Starts an example, and returns the addresses that it prints. */
async function start(name, args, count) {
  const server = spawn(program(name), args, { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  servers.push(server);
  const found = [];
  for await (const line of createInterface({ input: server.stdout })) {
    const address = /(http:\S+)$/.exec(line);
    if (address) found.push(address[1]);
    if (found.length === count) return found;
  }
  throw new Error(`${name} ended`);
}

async function open(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: VIEWPORT, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  await page.goto(url);
  return page;
}

async function chat(browser) {
  const [url] = await within(start("chat", [], 1), "the chat starts", WAIT);
  const talk = [
    ["Ada", "Is anybody here?"],
    ["Bruno", "Yes, just came in from the phone."],
    ["Clara", "Me too, in another window. Do you see what I type while I type it?"],
    ["Bruno", "I see that you do."],
    ["Ada", "And a late joiner sees all of this."],
  ];
  const pages = new Map();
  for (const [name] of talk) {
    if (pages.has(name)) continue;
    const page = await open(browser, `${url}/#lobby`);
    await page.getByLabel("Nickname").fill(name);
    await page.getByRole("button", { name: "Join" }).click();
    await page.getByRole("log").waitFor();
    pages.set(name, page);
  }
  for (const [name, text] of talk) {
    const page = pages.get(name);
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.getByRole("button", { name: "Send", exact: true }).click();
    for (const other of pages.values()) await other.locator(".bubble", { hasText: text }).waitFor();
  }
  await pages.get("Bruno").getByLabel("Message", { exact: true }).pressSequentially("With");
  const ada = pages.get("Ada");
  await ada.locator("#typing", { hasText: "Bruno is typing" }).waitFor();
  await ada.screenshot({ path: docs("chat.png") });
}

async function liveRoom(browser) {
  const [, host] = await within(start("live-room", ["--bots", String(BOTS)], 2), "the live room starts", WAIT);
  const page = await open(browser, host, { viewport: { width: 1040, height: 640 } });
  await page.fill("#name", "Maya");
  await page.click("#join button");
  await page.waitForSelector("#text:enabled");
  await page.click("#open-panel");
  const reaches = ([selector, min]) => Number(document.querySelector(selector).textContent.replaceAll(",", "")) >= min;
  await page.waitForFunction(reaches, ["#p-connections", BOTS]);
  await page.waitForFunction(reaches, ["#likes", 100]);
  await page.locator("#p-latency", { hasText: "ms" }).waitFor();
  await page.locator("#comments li").nth(9).waitFor();
  // A chart of fifteen seconds.
  await page.waitForFunction(() => document.querySelector("#p-chart polyline").points.length >= 15);
  await page.screenshot({ path: docs("live-room.jpg"), type: "jpeg", quality: 65 });
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-quic"],
});
await chat(browser);
await liveRoom(browser);
await browser.close();
process.exit();
