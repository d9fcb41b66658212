// Makes holdline.js of src. Two minifiers, for each finds what the other does not;
// names that end in _ are this code's own and may become any others.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** What holdline.js is to be. */
export async function bundle() {
  const hash = createHash("sha256");
  for (const name of readdirSync(here("src")).sort()) hash.update(readFileSync(here(`src/${name}`)));
  const { outputFiles } = await build({
    entryPoints: [here("src/main.js")],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2020",
    mangleProps: /[a-z]_$/,
    legalComments: "none",
    // Tabs and workers of two builds do not understand each other.
    define: { BUILD: String(hash.digest().readUInt16BE()) },
  });
  let code = outputFiles[0].text;
  for (let round = 0; round < 2; round++) { // the second finds what the first has laid open
    ({ code } = await minify(code, {
      ecma: 2020,
      compress: { passes: 2, unsafe_arrows: true, pure_getters: true, hoist_vars: true, sequences: false, reduce_funcs: round > 0 },
    }));
  }
  return `/*! Holdline, MIT licence */\n${code}\n`;
}

if (process.argv[1] === here("build.mjs")) writeFileSync(here("holdline.js"), await bundle());
