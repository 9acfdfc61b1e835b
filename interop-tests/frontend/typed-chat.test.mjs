// Checks the typed chat with the TypeScript compiler: the frontend matches the events of the server, and does not
// compile if the name or the type of an event is changed.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const example = fileURLToPath(new URL("../../examples/typed-chat/", import.meta.url));
const copy = mkdtempSync(join(tmpdir(), "typed-chat-"));
after(() => rmSync(copy, { recursive: true }));
for (const name of ["package.json", "tsconfig.json", "frontend"]) {
  cpSync(join(example, name), join(copy, name), { recursive: true });
}
symlinkSync(join(example, "node_modules"), join(copy, "node_modules"), "dir");

const events = join(copy, "frontend/events.ts");
const generated = readFileSync(events, "utf8");

function compile() {
  const tsc = join(example, "node_modules/typescript/bin/tsc");
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "--noEmit"], { cwd: copy, encoding: "utf8" });
  return { status, output: stdout + stderr };
}

function compileWith(from, to) {
  assert.ok(generated.includes(from), `no \`${from}\` in the generated file`);
  writeFileSync(events, generated.replace(from, to));
  return compile();
}

describe("the frontend of the typed chat", () => {
  it("fits the events of the server", () => {
    const { status, output } = compileWith("", "");
    assert.equal(status, 0, output);
  });

  for (const [what, from, to, complaint] of [
    ["an event that it hears is renamed", "said:", "told:", /chat\.ts.*"said"/],
    ["an event that it sends is renamed", "say:", "tell:", /chat\.ts.*"say"/],
    ["a field is renamed", "text: string", "body: string", /chat\.ts.*'text'/],
    ["an event takes another argument", "say: (arg0: string", "say: (arg0: number", /chat\.ts.*'string'.*'number'/],
    ["an answer is of another type", "arg0: number | ErrorAnswer", "arg0: boolean", /chat\.ts.*'error'/],
  ]) {
    it(`does not compile if ${what}`, () => {
      const { status, output } = compileWith(from, to);
      assert.notEqual(status, 0, "it compiles");
      assert.match(output, complaint);
    });
  }
});
