// What others say: each message shown once, pending or stored; typing, presence,
// receipts and signals.

import assert from "node:assert/strict";
import { each } from "./faces.js";
import { message, pass, pending } from "./gateway.js";
import { browser, gateway, newBrowser, openLine } from "./scene.js";

const TYPES = ["message", "stored", "withdrawn", "delayed", "typing", "presence", "seen", "delivered", "signal", "status"];

function open(Holdline, options) {
  const line = openLine(Holdline, options);
  line.heard = [];
  for (const type of TYPES) line.on(type, (e) => line.heard.push([type, e]));
  line.short = () => line.heard.splice(0).map(([type, e]) => [type, e.id ?? e.client_id ?? JSON.stringify(e.data)].join(" "));
  return line;
}

const agent = { kind: "agent", id: 2 };
const stored = (client_id, id, more) => message(id, { type: "stored", client_id, from: agent, ...more });
const withdrawn = (client_id) => ({ type: "withdrawn", channel: "a/1", client_id, from: agent, data: { reason: "closed" } });

for (const [name, said, want] of [
  ["pending, then stored", [pending("c1"), stored("c1", 11)], ["message c1", "stored 11"]],
  ["stored that was never shown is a message", [stored("c1", 11)], ["message 11"]],
  ["a row that ends a pending one is stored, whatever it is called", [pending("c1"), message(11, { client_id: "c1", from: agent })], ["message c1", "stored 11"]],
  ["pending is told again and again", [pending("c1"), pending("c1"), stored("c1", 11), pending("c1"), stored("c1", 11), message(11, { client_id: "c1", from: agent })], ["message c1", "stored 11"]],
  ["a row before its pending one", [message(11, { client_id: "c1", from: agent }), pending("c1"), stored("c1", 11)], ["message 11"]],
  ["the same id of another kind or channel is another", [pending("c1"), pending("c1", { from: { kind: "visitor" } }), stored("c1", 11)], ["message c1", "message c1", "stored 11"]],
  ["withdrawn", [pending("c1"), withdrawn("c1"), withdrawn("c1")], ["message c1", "withdrawn c1"]],
  ["withdrawn and never shown", [withdrawn("c1")], []],
  ["withdrawn is not what is stored", [stored("c1", 11), withdrawn("c1")], ["message 11"]],
  ["withdrawn, and tried again", [pending("c1"), withdrawn("c1"), pending("c1"), stored("c1", 11)], ["message c1", "withdrawn c1", "message c1", "stored 11"]],
  ["two rows of one client id are two", [stored("c1", 11), stored("c1", 12)], ["message 11", "message 12"]],
  ["without a client id", [stored(undefined, 11), stored(undefined, 12), stored(undefined, 11)], ["message 11", "message 12"]],
  ["after a reset ids begin again", [pending("c1"), stored("c1", 11), { type: "reset", channel: "a/1" }, stored("c1", 11)], ["message c1", "stored 11", "message 11"]],
  ["signals are told once", [1, 2, 1].map((n) => ({ type: "signal", channel: "a/1", client_id: `s${n}`, from: agent, data: { to: { kind: "visitor" }, payload: n } })), ["signal s1", "signal s2"]],
  ["a signal is no message", [pending("c1"), { type: "signal", channel: "a/1", client_id: "c1", from: agent, data: {} }], ["message c1", "signal c1"]],
  ["presence is whole", [{}, {}, { present: [agent] }, {}].map((data) => ({ type: "presence", channel: "a/1", data })), ["presence {}", 'presence {"present":[{"kind":"agent","id":2}]}', "presence {}"]],
  ["receipts only go up, each reader's", [[5, 2], [5, 2], [4, 2], [4, 3], [7, 2]].map(([up_to, id]) => ({ type: "seen", channel: "a/1", from: { kind: "agent", id }, data: { up_to } })), ["seen {\"up_to\":5}", "seen {\"up_to\":4}", "seen {\"up_to\":7}"]],
  ["delayed is passed on", [{ type: "delayed", channel: "a/1", client_id: "c1", from: agent, data: { reason: "unavailable" } }], ["delayed c1"]],
]) {
  each(`heard: ${name}`, async (Holdline) => {
    const line = open(Holdline);
    await pass(200);
    gateway.sockets[0].say(...said);
    await pass(100);
    assert.deepEqual(line.short(), want);
  });
}

each("a change of the line and polls that repeat what is pending tell nothing twice", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  gateway.sockets[0].say(pending("c1"), pending("c2"));
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => Promise.reject(new TypeError("Failed to fetch"));
  let row = false;
  gateway.on.poll = ({ query }) => gateway.answer({ cursor: row ? "11" : "10~x", events: row ? [message(11, { client_id: "c1", from: agent }), pending("c2")] : [pending("c1"), pending("c2")] }, Math.min(500, query.get("wait") * 1000));
  gateway.sockets[0].end();
  await pass(5000);
  assert.equal(line.transport, "poll");
  row = true;
  await pass(5000);
  assert.deepEqual(line.short(), ["message c1", "message c2", "stored 11"]);
});

each("a tab that comes later hears the state of things, and what is pending behind the history", async (Holdline) => {
  newBrowser();
  const tab = (options) => browser.tab(() => ({ line: open(Holdline, { share: true, worker: "", ...options }) })).line;
  tab();
  await pass(3000);
  const seen = (up_to) => ({ type: "seen", channel: "a/1", from: agent, data: { up_to } });
  gateway.sockets[0].say(
    { type: "status", channel: "a/1", data: { state: "active" } }, { type: "presence", channel: "a/1", data: { present: [] } },
    seen(4), seen(9), pending("c1"), pending("c2"), stored("c1", 11), pending("c3"), withdrawn("c3"),
    { type: "typing", channel: "a/1", from: agent, data: { typing: true } });
  await pass(100);
  gateway.on.poll = ({ query }) => gateway.answer({ cursor: "11", events: query.get("cursor") === "5" ? [message(6)] : [] }, 100);
  const late = tab({ cursor: "5" });
  await pass(3000);
  assert.equal(gateway.sockets.length, 1);
  assert.deepEqual(late.short(), ["message 6", 'status {"state":"active"}', 'presence {"present":[]}', 'seen {"up_to":9}', "message c2"]);
});

// ---- Typing.

const typing = (on, more) => ({ type: "typing", channel: "a/1", from: agent, data: { typing: on, expires_ms: 6000 }, ...more });

each("typing ends by itself, by a word or by a message", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  gateway.sockets[0].say(typing(true));
  await pass(4000);
  gateway.sockets[0].say(typing(true));
  await pass(5500);
  assert.deepEqual(line.short(), ['typing {"typing":true}', 'typing {"typing":true}']);
  await pass(1000);
  gateway.sockets[0].say(typing(false));
  await pass(100);
  assert.deepEqual(line.short(), ['typing {"typing":false}']);
  gateway.sockets[0].say(typing(true), typing(false));
  await pass(7000);
  assert.deepEqual(line.short(), ['typing {"typing":true}', 'typing {"typing":false}']);
  gateway.sockets[0].say(typing(true), message(10, { from: { kind: "visitor" } }), pending("c1"), stored("c1", 11));
  await pass(7000);
  assert.deepEqual(line.short(), ['typing {"typing":true}', "message 10", 'typing {"typing":false}', "message c1", "stored 11"]);
});

each("an absurd expiry is kept within reason", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  for (const expires_ms of [1e99, -5, "soon", { toString: 1 }, null]) {
    gateway.sockets[0].say(typing(true, { data: { typing: true, expires_ms } }));
    await pass(61_000);
    assert.deepEqual(line.short(), ['typing {"typing":true}', 'typing {"typing":false}']);
  }
});

each("that we are typing is said every 2 s at most, and once when it ends", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  const said = () => gateway.asides.splice(0).map((w) => w.typing);
  for (let i = 0; i < 50; i++) {
    line.typing("a/1");
    await pass(100);
  }
  assert.deepEqual(said(), [true, true, true]);
  line.typing("a/1", false).typing("a/1", false);
  await pass(100);
  assert.deepEqual(said(), [false]);
  line.typing("a/1");
  line.send("a/1", "Hello");
  line.typing("a/1");
  await pass(100);
  assert.deepEqual(said(), [true, true], "who has sent begins anew");
});

// ---- Receipts and signals.

each("what was heard of the other side is reported, coalesced, by one tab", async (Holdline) => {
  newBrowser();
  const tab = () => browser.tab(() => ({ line: open(Holdline, { share: true, worker: "" }) })).line;
  tab();
  await pass(3000);
  tab();
  await pass(3000);
  gateway.sockets[0].say(message(11, { from: agent }), message(12, { from: agent }), pending("c1"), message(13, { from: { kind: "visitor" } }));
  await pass(900);
  assert.deepEqual(gateway.asides, []);
  await pass(300);
  assert.deepEqual(gateway.asides, [{ type: "delivered", channel: "a/1", up_to: 12 }]);
  for (let id = 20; id < 40; id++) {
    gateway.sockets[0].say(message(id, { from: agent }));
    await pass(100);
  }
  await pass(2000);
  assert.ok(gateway.asides.length <= 4, `${gateway.asides.length} reports`);
  assert.equal(gateway.asides.at(-1).up_to, 39);
});

each("an agent reports the visitor's", async (Holdline) => {
  open(Holdline, { as: "agent" });
  await pass(200);
  gateway.sockets[0].say(message(11, { from: { kind: "visitor" } }), message(12, { from: agent }));
  await pass(2000);
  assert.deepEqual(gateway.asides, [{ type: "delivered", channel: "a/1", up_to: 11, as: "agent" }]);
});

each("seen is said once, and again only further on; without a line it waits", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  line.seen("a/1", 11).seen("a/1", 11).seen("a/1", 10);
  await pass(100);
  gateway.on.ws = (s) => s.end();
  gateway.sockets[0].end();
  line.seen("a/1", 12).seen("a/1", 13).typing("a/1").signal("a/1", agent, "gone");
  gateway.on.ws = (s) => s.say({ type: "hello" });
  await pass(5000);
  assert.deepEqual(gateway.asides, [{ type: "seen", channel: "a/1", up_to: 11 }, { type: "seen", channel: "a/1", up_to: 13 }]);
});

each("without a WebSocket they are posted one after the other, the latest of each", async (Holdline) => {
  gateway.on.ws = (s) => s.end();
  const line = open(Holdline);
  await pass(500);
  let under = 0, most = 0;
  gateway.on.signal = async ({ words }) => {
    most = Math.max(most, ++under);
    gateway.asides.push(words);
    await gateway.answer("", 300);
    under--;
    return gateway.answer("nonsense", 0, { status: 500 });
  };
  for (let id = 1; id <= 20; id++) line.seen("a/1", id);
  line.signal("a/1", agent, { sdp: "x" }).signal("a/1", agent, { sdp: "y" });
  await pass(3000);
  assert.equal(most, 1);
  assert.deepEqual(gateway.asides.map((w) => w.up_to ?? w.payload.sdp), [1, 20, "x", "y"]);
});

each("a signal goes to one party, with an id and any JSON", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  line.signal("a/1", agent, { sdp: "v=0", list: [1, null, { f: () => {} }] });
  await pass(10);
  const [{ client_id, ...rest }] = gateway.asides;
  assert.match(client_id, /^[\w-]{22}$/);
  assert.deepEqual(rest, { type: "signal", channel: "a/1", to: agent, payload: { sdp: "v=0", list: [1, null, {}] } });
});

each("receipts that come before the answer are not forgotten", async (Holdline) => {
  const line = open(Holdline);
  const news = [];
  line.on("sent", (s) => news.push(s.state));
  await pass(200);
  gateway.outcome = () => undefined;
  const client_id = line.send("a/1", "Hello");
  await pass(10);
  gateway.sockets[0].say({ type: "seen", channel: "a/1", from: agent, data: { up_to: 11 } }, { type: "sent", channel: "a/1", client_id, state: "stored", id: 11 });
  await pass(100);
  assert.deepEqual(news, ["pending", "stored", "seen"]);
});

each("what is nested deeper than a browser copies is left out", async (Holdline) => {
  newBrowser();
  const { line } = browser.tab(() => ({ line: open(Holdline, { share: true, worker: "" }) }));
  await pass(3000);
  const deep = "[".repeat(20_000) + "]".repeat(20_000);
  gateway.sockets[0].say(`{"type":"status","channel":"a/1","data":{"x":${deep}}}`, message(11));
  await pass(100);
  assert.deepEqual(line.short(), ["message 11"]);
});
