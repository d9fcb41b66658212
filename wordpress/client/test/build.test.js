import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { bundle } from "../build.mjs";

const file = (name) => new URL(`../${name}`, import.meta.url);

test("holdline.js is built from these sources", async () => {
  assert.ok(readFileSync(file("holdline.js"), "utf8") === await bundle(), "run npm run build");
});

test("it has at most 8 KB when it is compressed", () => {
  const size = gzipSync(readFileSync(file("holdline.js")), { level: 9 }).length;
  console.log(`${size} bytes`);
  assert.ok(size <= 8192);
});

test("as a classic script it defines one name, as a module it exports it", async () => {
  const before = Object.keys(globalThis);
  globalThis.self = globalThis;
  const { Holdline } = await import("../holdline.mjs");
  assert.equal(typeof Holdline, "function");
  assert.match(Holdline.script, /\/holdline\.js$/);
  assert.deepEqual(Object.keys(globalThis).filter((name) => !before.includes(name)), ["self", "Holdline"]);
});
