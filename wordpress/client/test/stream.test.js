import assert from "node:assert/strict";
import { test } from "node:test";
import { eventLines } from "../src/transports.js";

const text = [
  ": holdline\nretry: 1500\n\n:\nid: 7\n\n",
  'event: message\ndata: {"type":"message","body":"a\\nb € 😀"}\nid: 8\n\n',
  ":\n\n",
  'data:{"type":"status"}\r\nid:9\r\n\r\n',
  'data: {"type":\ndata: "reset"}\n\n',
].join("");

test("a stream reads the same wherever it is cut", () => {
  for (let i = 0; i <= text.length; i++) {
    const read = eventLines();
    const first = read(text.slice(0, i)), rest = read(text.slice(i));
    assert.deepEqual([...first.events, ...rest.events].map((e) => e.type), ["message", "status", "reset"]);
    assert.equal(rest.id || first.id, "9");
  }
});

test("what is no JSON is no event", () => {
  assert.deepEqual(eventLines()("data: {\n\n").events, [null]);
});

test("an event without an end is not read for ever", () => {
  const read = eventLines();
  assert.throws(() => { for (;;) read("data: " + "x".repeat(1 << 20)); }, { lost_: "too long" });
});
