// Takes the screenshots of the README, `docs/chat.png`, `docs/live-room.jpg` and `docs/admin-ui.png`: `npm run screenshots`
// after `cargo build --release -p chat -p live-room -p interop-tests`, or PROFILE=debug and the same without `--release`.
// `npm run screenshots -- admin-ui` takes one of them. CHROMIUM selects another browser. The emojis need a font, such as the
// Debian package `fonts-noto-color-emoji`.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";
import { program, within } from "../official/helpers.mjs";

const docs = (name) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
const modules = (path) => fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url));
const UI = fileURLToPath(new URL("../../examples/client-files/node_modules/@socket.io/admin-ui/ui/dist", import.meta.url));
const VIEWPORT = { width: 880, height: 560 };
const BOTS = 500;
const WAIT = 20_000;

const servers = [];
process.once("exit", () => servers.forEach((server) => server.kill("SIGKILL")));

/** Starts an example, and returns the addresses that it prints. */
async function start(name, args, count, env = {}) {
  const server = spawn(program(name), args, { env: { ...process.env, PORT: "0", ...env }, stdio: ["ignore", "pipe", "inherit"] });
  servers.push(server);
  const found = [];
  for await (const line of createInterface({ input: server.stdout })) {
    const address = /(http:\S+)$/.exec(line);
    if (address) found.push(address[1]);
    if (found.length === count) return found;
  }
  throw new Error(`${name} ended`);
}

async function open(browser, url, options = {}, prepare = () => {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: VIEWPORT, colorScheme: "light", ...options });
  await prepare(context);
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

/** Serves the fonts that the pages of the Admin UI load from elsewhere from npm packages. */
async function serveFonts(context) {
  const roboto = [300, 400, 500, 700].map((weight) => {
    const url = `https://fonts.gstatic.com/roboto-latin-${weight}-normal.woff2`;
    return `@font-face { font-family: Roboto; font-weight: ${weight}; src: url(${url}) }`;
  });
  const headers = { "access-control-allow-origin": "*" };
  await context.route(/^https:\/\/fonts\.googleapis\.com\//, (route) => route.fulfill({ contentType: "text/css", body: roboto.join("\n") }));
  await context.route(/^https:\/\/fonts\.gstatic\.com\//, (route) =>
    route.fulfill({ headers, path: modules(`@fontsource/roboto/files${new URL(route.request().url()).pathname}`) }));
  await context.route(/^https:\/\/cdn\.jsdelivr\.net\//, (route) =>
    route.fulfill({ headers, path: modules(new URL(route.request().url()).pathname.replace("/npm/@mdi/font@latest/", "@mdi/font/")) }));
}

async function adminUi(browser) {
  const addresses = await within(start("admin-servers", [], 2, { UI }), "the servers start", WAIT);
  const page = await open(browser, `${addresses[0]}/socket.io/admin/`, { viewport: { width: 1280, height: 800 } }, serveFonts);
  await page.getByLabel("Server URL").fill(addresses[0]);
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill("changeit");
  await page.getByRole("button", { name: "Connect" }).click();
  await page.locator(".v-dialog--active").waitFor({ state: "hidden" });
  // The charts count what happens while an administrator is connected.
  for (let at = 0; at < 12; at++) io(addresses[at % 2], { forceNew: true, transports: at % 4 === 3 ? ["polling"] : ["websocket"] });
  await page.locator("tr", { hasText: "HTTP long-polling" }).locator("h2", { hasText: "3" }).waitFor();
  await page.mouse.move(0, 0);
  // The chart of connections has a bar as soon as the servers have reported.
  await page.waitForFunction(() => {
    const { aggregatedEvents } = document.querySelector("#app").__vue__.$store.state.main;
    return aggregatedEvents.some(({ type, count }) => type === "rawConnection" && count > 1);
  });
  // The charts are animated: two equal pictures show the end.
  for (let before, now; !now?.equals(before ?? Buffer.alloc(0)); ) {
    [before, now] = [now, await page.screenshot({ path: docs("admin-ui.png") })];
    await page.waitForTimeout(200);
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-quic"],
});
const pictures = { chat, "live-room": liveRoom, "admin-ui": adminUi };
const [name] = process.argv.slice(2);
for (const take of name ? [pictures[name]] : Object.values(pictures)) await take(browser);
await browser.close();
process.exit();
