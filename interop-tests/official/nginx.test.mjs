// Sends the requests of `socketio/tests/it/advisories/http.rs`, and others that smuggle, through nginx: it and the
// server must agree about where each request ends.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { after, describe, test } from "node:test";
import { startNginx } from "../cluster/nginx.mjs";
import { HOST, freePort } from "../cluster/processes.mjs";
import { within } from "./helpers.mjs";
import { startServer } from "./server.mjs";

/**
 * Passes connections on to the server, and records the statuses of its responses in `statuses`. Emits `data` when nginx
 * sends anything.
 */
async function startRelay(server, statuses) {
  const relay = createServer((proxy) => {
    const upstream = connect(new URL(server).port, HOST);
    proxy.on("data", () => relay.emit("data"));
    for (const [from, to] of [[proxy, upstream], [upstream, proxy]]) {
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
      from.pipe(to);
    }
    let received = "";
    upstream.on("data", (data) => {
      received += data.toString("latin1");
      // A status line may be split between two reads.
      const found = [...received.matchAll(/HTTP\/1\.1 (\d{3}) [^\n]*\n/g)];
      statuses.push(...found.map(([, status]) => status));
      if (found.length) received = received.slice(found.at(-1).index + found.at(-1)[0].length);
    });
  });
  relay.listen(0, HOST);
  after(() => relay.close());
  await once(relay, "listening");
  return relay;
}

/** Starts nginx with a port for each way. The log of a way has the statuses of its server. */
async function start(ways) {
  const ports = [];
  for (const _ of ways) ports.push(await freePort());
  // The proxy options are those of docs/deployment.md.
  const http = `
      log_format upstream '$upstream_status';
      client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
      ${ways.map(
        ({ relay, buffering }, index) => `
      upstream way${index} { server ${HOST}:${relay.address().port}; keepalive 1; }
      server {
        listen ${HOST}:${ports[index]};
        access_log ${index}.log upstream;
        location / {
          proxy_pass http://way${index};
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
          proxy_set_header Host $http_host;
          proxy_set_header X-Forwarded-For $remote_addr;
          proxy_buffering off;
          proxy_request_buffering ${buffering};
          proxy_next_upstream off;
        }
      }`,
      ).join("")}`;
  return { ports, folder: await startNginx(ports.at(-1), http) };
}

/**
 * Sends bytes and returns all that comes back until nginx closes the connection. With a relay, what follows the first
 * head is sent when nginx has passed on the head or responded to it.
 */
async function exchange(port, bytes, relay) {
  const socket = connect(port, HOST);
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  const received = [];
  socket.on("data", (data) => received.push(data));
  const head = relay ? bytes.indexOf("\r\n\r\n") + 4 : 0;
  socket.write(bytes.slice(0, head), "latin1");
  const passed = relay && new Promise((resolve) => [relay, socket].forEach((each) => each.once("data", resolve)));
  await within(Promise.race([passed, closed]), "nginx reads the head");
  socket.write(bytes.slice(head), "latin1");
  await within(closed, "nginx ends the connection");
  return Buffer.concat(received).toString("latin1");
}

const END = "GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const OPEN = "/socket.io/?EIO=4&transport=polling";

/** Opens a session and returns the target of its requests. */
async function session(port) {
  const opened = await exchange(port, END.replace("/health", OPEN));
  const [, sid] = opened.match(/"sid":"([^"]*)"/);
  return `${OPEN}&sid=${sid}`;
}

// The response to any of them is another one than that to `/health`. The last one waits for the next request.
const HIDDEN = [
  `GET ${OPEN} HTTP/1.1\r\nHost: test\r\n\r\n`,
  "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n",
  "GET /hidden HTTP/1.1\r\nX: ",
];

/** Returns the names and the bytes of all requests, with what they hide. `target` is that of an open session. */
function requests(target, hidden) {
  const get = `GET ${OPEN} HTTP/1.1\r\nHost: test\r\n`;
  const post = `POST ${target} HTTP/1.1\r\nHost: test\r\n`;
  const length = `Content-Length: ${hidden.length}\r\n`;
  const chunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
  const chunked = "Transfer-Encoding: chunked\r\n";
  const origin = "Origin: http://allowed.example\r\n";
  const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
  return Object.entries({
    // Those of the advisories.
    "two codings": `${post}Transfer-Encoding: chunked, identity\r\n\r\n${chunk}`,
    "an unknown coding": `${post}Transfer-Encoding: xchunked\r\n\r\n${chunk}`,
    "a signed length": `${post}Content-Length: +${hidden.length}\r\n\r\n${hidden}`,
    "two lengths": `${post}Content-Length: 0\r\n${length}\r\n${hidden}`,
    "a length of words": `${post}Content-Length: one\r\n\r\n${hidden}`,
    "a chunk of 17 digits": `${post}${chunked}\r\nf0000000000000003\r\n${hidden}`,
    "a space before the colon": `${post}Content-Length : ${hidden.length}\r\n\r\n${hidden}`,
    "a folded header": `${post}Content-Length: 0\r\n X: y\r\n${length}\r\n${hidden}`,
    "a header without a name": `${post}: 1\r\n${length}\r\n${hidden}`,
    "a zero in a header": `${post}X: \0\r\n${length}\r\n${hidden}`,
    "a broken preface of HTTP/2": `PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n${hidden}`,
    "a length beside chunks": `${get}${chunked}${length}\r\n0\r\n\r\n${hidden}`,
    "chunks beside a length": `${post}${length}${chunked}\r\n${chunk}`,
    "the body of a GET": `${get}${length}\r\n${hidden}`,
    // Bodies that both must read to the same end.
    "a POST": `${post}${length}\r\n${hidden}`,
    "chunks of a POST": `${post}${chunked}\r\n${chunk}`,
    "chunks of a GET": `${get}${chunked}\r\n${chunk}`,
    "two requests": `${post}Content-Length: 1\r\n\r\n6${hidden}`,
    "a list of lengths": `${post}Content-Length: 0, ${hidden.length}\r\n\r\n${hidden}`,
    "a length with zeros": `${post}Content-Length: 000${hidden.length}\r\n\r\n${hidden}`,
    "a hexadecimal length": `${post}Content-Length: 0x${hidden.length.toString(16)}\r\n\r\n${hidden}`,
    "a length with another name": `${post}Content_Length: 0\r\n${length}\r\n${hidden}`,
    "a length that is hop-by-hop": `${post}Connection: Content-Length\r\n${length}\r\n${hidden}`,
    "chunks that are hop-by-hop": `${post}Connection: Transfer-Encoding\r\n${chunked}\r\n${chunk}`,
    "a coding in capitals": `${post}Transfer-Encoding: CHUNKED\r\n\r\n${chunk}`,
    "a coding after a tab": `${post}Transfer-Encoding:\tchunked\r\n\r\n${chunk}`,
    "a coding after a vertical tab": `${post}Transfer-Encoding: \x0bchunked\r\n\r\n${chunk}`,
    "a coding twice": `${post}${chunked}${chunked}\r\n${chunk}`,
    "chunks of HTTP/1.0": `${post.replace("1.1", "1.0")}${chunked}\r\n${chunk}`,
    "an extension of a chunk": `${post}${chunked}\r\n1;a="\r\n6\r\n0\r\n\r\n${hidden}`,
    "an extension with a line feed": `${post}${chunked}\r\n1;a\n6\r\n0\r\n\r\n${hidden}`,
    "a chunk without an end": `${post}${chunked}\r\n1\r\n6x\r\n0\r\n\r\n${hidden}`,
    "a signed chunk": `${post}${chunked}\r\n+1\r\n6\r\n0\r\n\r\n${hidden}`,
    "a trailer": `${post}${chunked}\r\n1\r\n6\r\n0\r\n${length}\r\n${hidden}`,
    "lines without a carriage return": `${post}${length}\r\n${hidden}`.replaceAll("\r", ""),
    "a carriage return in a header": `${post}X: a\rContent-Length: 0\r\n${length}\r\n${hidden}`,
    "a line break in the target": `${get.replace("?", "%0d%0aX:%20y?")}${length}\r\n${hidden}`,
    "an absolute target": `POST http://other${target} HTTP/1.1\r\nHost: test\r\n${length}\r\n${hidden}`,
    "an expectation": `${post}Expect: 100-continue\r\n${length}\r\n${hidden}`,
    // Responses that must not have a body, or not another one.
    "a HEAD": `${get.replace("GET", "HEAD")}\r\n`,
    "a HEAD of another page": "HEAD /health HTTP/1.1\r\nHost: test\r\n\r\n",
    "a preflight": `${get.replace("GET", "OPTIONS")}${origin}Access-Control-Request-Method: GET\r\n\r\n`,
    // A proxy that expects a 101 would pass on what follows.
    "an upgrade without a version": `${get.replace("polling", "websocket")}${websocket}\r\n${hidden}`,
    "an upgrade of a POST": `${post}${websocket}Sec-WebSocket-Version: 13\r\n${length}\r\n${hidden}`,
    "an upgrade to HTTP/2": `${get}${h2c}\r\n${hidden}`,
  });
}

const ways = [];
for (const path of ["on", "off"]) {
  process.env.SHORT_PATH = path;
  const server = (await startServer("main"))("main");
  for (const buffering of ["on", "off"]) {
    const statuses = [];
    const name = `short path ${path}, proxy_request_buffering ${buffering}`;
    ways.push({ name, statuses, buffering, relay: await startRelay(server, statuses) });
  }
}
const { ports, folder } = await start(ways);

describe("requests through nginx", () => {
  for (const [index, { name, statuses, buffering, relay }] of ways.entries()) {
    test(name, async () => {
      const log = `${folder}/${index}.log`;
      const proxied = () => readFileSync(log, "latin1").split("\n").filter((line) => /\d/.test(line));
      let reached = 0;
      for (const hidden of HIDDEN) {
        for (const at of requests("", hidden).keys()) {
          const [what, request] = requests(await session(ports[index]), hidden)[at];
          const [logged, answered] = [proxied().length, statuses.length];
          // Without buffering, nginx passes chunks on as chunks, but only if they follow the head.
          await exchange(ports[index], request + END, buffering === "off" && relay);
          // It takes the connection that nginx has kept.
          const canary = await exchange(ports[index], END);
          assert.match(canary, /^HTTP\/1\.1 200 [^]*\r\n\r\nok$/, what);
          const sent = proxied().slice(logged);
          const seen = statuses.slice(answered).filter((status) => status !== "100");
          assert.deepEqual(seen, sent, `${what}: the responses of the server, and those that nginx waited for`);
          reached += sent.length - 1;
        }
      }
      assert.ok(reached > 50, `only ${reached} requests reached the server`);
    });
  }
});
