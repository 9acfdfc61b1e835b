// Prints which server keeps which promise, as the table of docs/promises.md. Each argument is a name and the command of
// a server: `"Node.js=node node/server.mjs"`.
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("promises.test.mjs", import.meta.url));

/** Returns, for each promise, how it was broken. */
async function check(command) {
  process.env.PROMISES_SERVER = command;
  const promises = new Map();
  let seen = new Set();
  for await (const { type, data } of run({ files: [FILE], timeout: 120_000 })) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details.type === "suite") {
      promises.set(data.name, seen);
      seen = new Set();
    } else if (type === "test:fail") {
      seen.add(data.details.error.cause?.message.split("\n")[0] ?? data.name);
    }
  }
  return promises;
}

const servers = process.argv.slice(2).map((server) => server.split(/=(.*)/s));
const results = [];
for (const [, command] of servers) results.push(await check(command));

const print = (...cells) => console.log(`| ${cells.join(" | ")} |`);
print("", ...servers.map(([name]) => name));
print("---", ...servers.map(() => "---"));
for (const promise of results[0].keys()) {
  const verdict = (promises) => {
    const seen = [...promises.get(promise)];
    return seen.length ? `broken: ${seen.join("; ")}` : "holds";
  };
  print(promise, ...results.map(verdict));
}
