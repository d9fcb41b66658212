// What a test of pages begins with and leaves behind: a gateway, the lines that were
// opened to it and, for some, a browser.

import { afterEach, beforeEach } from "node:test";
import { Browser } from "./browser.js";
import { Gateway, pass } from "./gateway.js";

export let gateway, browser;
let lines;

beforeEach(() => {
  gateway = new Gateway();
  lines = [];
});
afterEach(async () => {
  lines.forEach((line) => line.close());
  await pass(10);
  browser?.close();
  browser = undefined;
  gateway.close();
});

/** Gives the test a browser, with nothing in it yet. */
export function newBrowser() {
  browser = new Browser();
}

/** Opens a page's line, which shares nothing unless the options say so. */
export function openLine(Holdline, options) {
  const line = new Holdline({ url: "http://x.test/v1", channels: ["a/1"], share: false, ...options });
  lines.push(line);
  return line;
}
