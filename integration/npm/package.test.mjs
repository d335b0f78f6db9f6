// The package @signet-go/client as others see it: its size, its type declarations, and what npm would publish.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import * as esbuild from "esbuild";

const run = promisify(execFile);
const client = fileURLToPath(new URL("../../client/js/", import.meta.url));

test("the module has less than 4 kB, minified and compressed", async (t) => {
  const { outputFiles, warnings } = await esbuild.build({
    entryPoints: ["@signet-go/client"],
    absWorkingDir: import.meta.dirname,
    bundle: true,
    minify: true,
    format: "esm",
    target: ["chrome103", "firefox104", "safari16"], // what the documentation promises
    write: false,
  });
  assert.deepEqual(warnings, []);
  const [{ contents }] = outputFiles;
  const size = gzipSync(contents, { level: 9 }).length;
  t.diagnostic(`${contents.length} bytes minified, ${size} compressed`);
  assert.ok(size < 4000, `${size} bytes`);
});

test("the type declarations are right", async () => {
  await run(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "."], { cwd: import.meta.dirname }).catch((error) => {
    assert.fail(error.stdout + error.stderr);
  });
  await import("./types.mjs"); // the same file runs
});

test("npm publishes the module, its declarations and the documents", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts", "--offline"], { cwd: client });
  const [{ name, files }] = [JSON.parse(stdout)].flatMap((answer) => (Array.isArray(answer) ? answer : Object.values(answer)));
  assert.equal(name, "@signet-go/client");
  assert.deepEqual(files.map(({ path }) => path).sort(), ["README.md", "package.json", "signet.d.ts", "signet.js"]);
});
