import assert from "node:assert/strict";
import { test } from "node:test";
import { hello, nothing, open, pass, row } from "./page.js";

const text = JSON.stringify;

/** A page whose visitor's first loop waits for the line. */
async function waiting() {
  const page = await open();
  const loop = page.visitor();
  page.asked[0].answer(nothing);
  assert.equal(page.asked.length, 0);
  return { page, loop };
}

/** A page whose line is live, with the loop that waits now. */
async function held() {
  const { page, loop } = await waiting();
  page.line.open(3);
  page.asked[0].answer(nothing); // what may have come before the line was live
  assert.equal(page.asked.length, 0);
  return { page, loop, before: page.requests.length };
}

test("a visitor's loop waits without a request and brings what PHP says", async () => {
  const { page, loop, before } = await held();
  assert.ok(loop.taken);
  pass(10_000);
  assert.equal(page.requests.length, before);
  page.line.say("message", row(7));
  assert.equal(page.asked.length, 1);
  const { data } = page.asked[0];
  assert.deepEqual([data.short_poll, data.status, data.wplcsession], [true, 3, "1000"]);
  assert.equal(loop.answer, undefined);
  page.asked[0].answer(hello());
  assert.equal(loop.answer, text(hello()));
  assert.equal(loop.headers, "X-From: server\r\n");
});

test("an idle tab asks once in a hold", async () => {
  const { page, before } = await held();
  for (let i = 0; i < 10; i++) {
    pass(25_000);
    assert.equal(page.asked.length, 1);
    page.asked[0].answer(nothing);
    pass(1500);
    const next = page.visitor();
    assert.ok(next.taken);
    assert.equal(page.asked.length, 0);
  }
  assert.equal(page.requests.length, before + 10);
});

test("what came before the line was live is asked for", async () => {
  const { page, loop } = await waiting();
  pass(2000);
  page.line.open(3);
  assert.equal(page.asked.length, 1);
  page.asked[0].answer(hello());
  assert.equal(loop.answer, text(hello()));
});

test("a line that does not come leaves the loop to the server", async () => {
  const { page, loop } = await waiting();
  pass(3100);
  assert.equal(page.asked.length, 1);
  assert.equal(page.asked[0].data.short_poll, false);
  page.asked[0].answer(hello());
  assert.equal(loop.answer, text(hello()));
  assert.equal(page.visitor().taken, false);
});

test("a line that goes down in the middle becomes an ordinary loop at once", async () => {
  const { page, loop } = await held();
  page.line.fail();
  assert.equal(page.asked.length, 1);
  assert.equal(page.asked[0].data.short_poll, false);
  page.asked[0].answer(hello());
  assert.equal(loop.answer, text(hello()));
  assert.equal(page.visitor().taken, false);
  page.asked[0].answer("");
  page.line.open(3); // back: asked once, then waiting
  const next = page.visitor();
  page.asked[0].answer(nothing);
  assert.ok(next.taken && page.asked.length === 0);
});

test("a line that polls is left alone", async () => {
  const { page } = await waiting();
  page.line.open(3, "poll");
  pass(4000);
  page.asked[0].answer("");
  assert.equal(page.visitor().taken, false);
});

test("a refused line is not asked for again at once", async () => {
  const { page } = await waiting();
  page.line.say("error", { reason: "channel" });
  assert.ok(page.line.closed);
  page.asked[0].answer("");
  assert.equal(page.visitor().taken, false);
  assert.equal(page.lines.length, 1);
  pass(61_000);
  page.visitor();
  assert.equal(page.lines.length, 2);
});

test("a change of status is asked for once", async () => {
  const { page, loop } = await held();
  page.line.status(8); // PHP's held loop says nothing about it
  page.asked[0].answer({ ...nothing, status: "8" });
  assert.equal(loop.answer, undefined);
  page.line.status(8);
  assert.equal(page.asked.length, 0);
  page.line.status(10);
  page.asked[0].answer({ ...nothing, status: "10" });
  assert.equal(loop.answer, text({ ...nothing, status: "10" }));
});

test("a visitor's own words and what is not stored are no news", async () => {
  const { page } = await held();
  page.line.say("message", row(8, 2, { from: { kind: "visitor" } }));
  page.line.say("message", row(0, 1, { id: undefined, pending: true, client_id: "c1234567" }));
  assert.equal(page.asked.length, 0);
  page.line.say("stored", row(9, 1, { client_id: "c1234567" }));
  assert.equal(page.asked.length, 1);
});

test("the client is kept from saying that a message was delivered", async () => {
  const { page } = await held();
  for (const event of [row(7), row(8, 0, { from: { kind: "system" } }), row(9, 2, { from: { kind: "visitor" } })]) {
    page.line.say("message", event);
    assert.equal(event.from.kind, "visitor"); // as which it listens
  }
  assert.equal(page.line.options.as, "visitor");
});

test("news that comes while PHP is asked is asked for again", async () => {
  const { page, loop } = await held();
  page.line.say("message", row(7));
  page.line.say("message", row(8));
  assert.equal(page.asked.length, 1);
  page.asked[0].answer(nothing); // it looked before the second
  assert.equal(page.asked.length, 1);
  page.asked[0].answer({ ...nothing, status: 3, data: { 8: { msg: "x" } } });
  assert.match(loop.answer, /"8"/);
});

test("news that an answer has told is not asked for again", async () => {
  const { page } = await held();
  page.line.say("message", row(7));
  page.line.say("message", row(8));
  page.asked[0].answer({ ...nothing, status: 3, data: { 7: {}, 8: {} } });
  const next = page.visitor();
  page.asked[0].answer(nothing); // once, as a sign that the page has the answer
  assert.equal(next.answer, undefined);
  assert.equal(page.asked.length, 0);
});

test("an error of the short request is none of the page's", async () => {
  const { page, loop } = await held();
  page.line.say("message", row(7));
  page.asked[0].answer("bad gateway", 502);
  assert.equal(loop.answer, undefined);
  assert.equal(page.asked[0].data.short_poll, false);
  page.asked[0].answer(hello());
  assert.equal(loop.answer, text(hello()));
});

test("answers that somebody has broken end it all", async () => {
  const { page, loop } = await held();
  page.line.say("message", row(7));
  page.asked[0].answer("<b>Notice</b>: undefined { index");
  assert.equal(page.asked[0].data.short_poll, false);
  page.asked[0].answer("x");
  assert.equal(loop.answer, "x");
  assert.equal(page.visitor().taken, false);
});

test("an aborted loop asks nothing and says nothing", async () => {
  const { page, loop, before } = await held();
  loop.abort();
  page.line.say("message", row(7));
  page.line.fail();
  pass(60_000);
  assert.equal(page.requests.length, before);
  assert.equal(loop.answer, undefined);
});

test("an aborted loop aborts its request", async () => {
  const { page, loop } = await held();
  page.line.say("message", row(7));
  const request = page.asked[0];
  loop.abort();
  assert.ok(request.aborted);
  assert.equal(loop.answer, undefined);
});

test("another tab that has the chat now ends the loop as PHP does", async () => {
  const { page, loop } = await held();
  page.other("43", "2000");
  assert.equal(loop.answer, undefined);
  page.other("42", "2000");
  assert.equal(JSON.parse(loop.answer).status, 11);
  assert.equal(page.storage.get("holdline wplc page").split(" ")[1], "1000");
});

for (const [name, data, more] of [
  ["without a chat", { cid: "" }],
  ["with a chat that is no number", { cid: "[object Object]" }],
  ["of a visitor who waits for an agent", { status: 2 }],
  ["of a visitor whom nobody answered", { status: 12 }],
  ["that asks for an answer at once", { short_poll: true }],
  ["of a dashboard", { action: "wplc_admin_long_poll" }],
  ["in Node mode", { socket: true }],
  ["of somebody else", { action: "heartbeat" }],
  ["that is synchronous", {}, { async: false }],
]) {
  test(`a request ${name} is left alone`, async () => {
    const { page } = await held();
    assert.equal(page.loop({ action: "wplc_call_to_server_visitor", cid: "42", status: 3, wplcsession: "1000", ...data }, more).taken, false);
  });
}

test("a chat of another number gets a line of its own", async () => {
  const { page } = await held();
  page.visitor({ cid: "43" });
  assert.deepEqual(page.line.options.channels, ["wplc/43"]);
  assert.ok(page.lines[0].closed);
  assert.equal(page.lines.length, 2);
});

test("an agent's loop asks only when there is news, as itself", async () => {
  const page = await open();
  assert.equal(page.agent({ first_run: true }).taken, false);
  page.asked[0].answer({ chat_history: { 5: {} }, action: "wplc_chat_history" });
  assert.deepEqual(page.line.options.channels, ["wplc/42", "wplc/42/agent"]);
  page.line.open(3);
  assert.equal(page.agent().taken, false); // what came before the line
  page.asked[0].answer("");
  const before = page.requests.length, loop = page.agent();
  assert.ok(loop.taken);
  page.line.say("message", row(6, 1));
  page.line.say("message", row(7, 0));
  assert.equal(page.requests.length, before);
  page.line.say("message", row(8, 2));
  assert.equal(page.asked.length, 1);
  assert.equal(page.asked[0].data.short_poll, undefined);
  page.asked[0].answer({ chat_message: { 8: {} }, action: "wplc_new_chat_message" });
  assert.match(loop.answer, /chat_message/);
  const next = page.agent();
  assert.equal(page.asked.length, 0);
  pass(25_000);
  assert.equal(next.answer, "");
  assert.equal(page.requests.length, before + 1);
  const last = page.agent();
  page.line.status(1);
  page.asked[0].answer({ chat_status: "1", action: "wplc_update_chat_status" });
  assert.match(last.answer, /"1"/);
});

test("the line is given up when no loop has come for long", async () => {
  const { page, loop } = await held();
  loop.abort();
  pass(90_000);
  assert.ok(page.line.closed);
});

test("a visitor's cookie is enough on the page's own origin", async () => {
  const { rights } = await import("../src/script.js");
  assert.deepEqual(rights("/holdline/v1"), {});
});
