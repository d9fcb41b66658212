// The tests of what a page sees are run against the sources and against holdline.js
// as it is served.

import { test } from "node:test";
import "./gateway.js"; // for it defines self
import { Holdline as source } from "../src/holdline.js";
import { Holdline as built } from "../holdline.mjs";

source.script = built.script;

/** Defines a test for each of them; fn gets the one. */
export function each(name, fn) {
  for (const [of, Holdline] of [["src", source], ["built", built]]) test(`${name} (${of})`, () => fn(Holdline));
}
