import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const file = (name) => new URL(`../${name}`, import.meta.url);

for (const [name, most] of [["jquery.holdline.js", 2048], ["wplc.js", 4096]]) {
  test(`${name} is built from these sources`, () => {
    const dir = mkdtempSync(join(tmpdir(), "hl"));
    try {
      const { scripts } = JSON.parse(readFileSync(file("package.json"), "utf8"));
      const build = scripts.build.replace("esbuild", "node_modules/.bin/esbuild").replace("--outdir=.", `--outdir=${dir} --log-level=error`);
      execFileSync("sh", ["-c", build], { cwd: file(".") });
      assert.ok(readFileSync(join(dir, name), "utf8") === readFileSync(file(name), "utf8"), "run npm run build");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test(`${name} has at most ${most} bytes when it is compressed`, () => {
    assert.ok(gzipSync(readFileSync(file(name)), { level: 9 }).length <= most);
  });
}
