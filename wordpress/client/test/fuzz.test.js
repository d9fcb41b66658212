// Whatever a gateway, a proxy or another client says: nothing is thrown, nothing is
// polluted, and what is sensible is still heard and sent afterwards.

import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { each } from "./faces.js";
import { Gateway, message, pass, pending } from "./gateway.js";

let gateway, line, thrown;
const note = (e) => thrown.push(e);

beforeEach(() => {
  gateway = new Gateway();
  thrown = [];
  process.on("uncaughtException", note);
  process.on("unhandledRejection", note);
});
afterEach(async () => {
  line.close();
  await pass(10);
  process.off("uncaughtException", note);
  process.off("unhandledRejection", note);
  gateway.close();
});

const agent = { kind: "agent", id: 2, name: "Ada" };
const events = (sent) => [
  message(11, { from: agent, body: "Hello", sent_at: "2026-01-02T03:04:05Z", data: {} }),
  message(12, { client_id: "c".repeat(22), from: agent }),
  pending("c".repeat(22)), pending("d".repeat(22), { from: { kind: "visitor" } }),
  message(12, { type: "stored", client_id: "c".repeat(22), from: agent }),
  message(13, { type: "stored", client_id: sent, from: { kind: "visitor" } }),
  { type: "withdrawn", channel: "a/1", client_id: sent, from: { kind: "visitor" }, data: { reason: "closed", text: "over" } },
  { type: "delayed", channel: "a/1", client_id: sent, data: { reason: "unavailable", retry_ms: 10_000 } },
  { type: "typing", channel: "a/1", from: agent, data: { typing: true, expires_ms: 6000 } },
  { type: "presence", channel: "a/1", data: { present: [agent], left: [{ kind: "visitor", at: "2026-01-02T03:04:05Z" }] } },
  { type: "seen", channel: "a/1", from: agent, data: { up_to: 12 } },
  { type: "delivered", channel: "a/1", from: agent, data: { up_to: 12 } },
  { type: "signal", channel: "a/1", client_id: "s".repeat(22), from: agent, data: { to: { kind: "visitor" }, payload: { sdp: "v=0" } } },
  { type: "status", channel: "a/1", data: { state: "active" } },
  { type: "reset", channel: "a/1", cursor: "0" },
  { type: "edited", channel: "a/1", id: 11 },
  { type: "sent", channel: "a/1", client_id: sent, state: "pending", id: 14 },
  { type: "sent", channel: "a/1", client_id: sent, state: "failed", reason: "rate", error: "wait", retry_ms: 1000 },
  { type: "error", channel: "a/1", of: "typing", error: "no", reason: "bad_request" },
  { type: "hello", cursor: "10" }, { type: "pong", id: 7 }, { type: "reconnect", data: { after_ms: 1000 } },
];

let deep = {};
for (let i = 0; i < 100; i++) deep = { x: [deep] };
const odd = [null, undefined, 0, -1, 1.5, 1e308, "", "x", "a/1", "__proto__", "constructor", "toString", "state", "error", "sent", "message", [], {}, [[[]]],
  { toString: 1 }, { valueOf: null, toString: null }, { length: -1 }, { then: 1 }, true, false, "<img src=x onerror=alert(1)>", "\u0000\ud800", "9".repeat(400), deep,
  [null], ["__proto__"], { kind: { toString: 1 }, id: { toString: 1 } }, { up_to: { toString: 1 } }, { typing: 1, expires_ms: { toString: 1 } }];

function randomFrom(seed) { // mulberry32, so that a seed tells it all again
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** Another value in one place, or one place more or less. */
function mutated(value, dice) {
  const any = () => odd[dice(odd.length)];
  if (typeof value !== "object" || value === null || !dice(8)) return any();
  const copy = Array.isArray(value) ? [...value] : { ...value };
  const keys = Object.keys(copy);
  const key = keys.length && dice(5) ? keys[dice(keys.length)] : ["__proto__", "constructor", "prototype", "id", "client_id", "from", "data", "pending", "cursor", "channel", "to"][dice(11)];
  if (!dice(4)) delete copy[key];
  else Object.defineProperty(copy, key, { value: mutated(Object.hasOwn(copy, key) ? copy[key] : any(), dice), enumerable: true, configurable: true, writable: true });
  return copy;
}

for (const rung of ["ws", "sse", "poll"]) {
  each(`thousands of mutations over ${rung}`, async (Holdline) => {
    const seed = Number(process.env.SEED) || Math.floor(Math.random() * 2 ** 31);
    console.log(`seed ${seed}`);
    const dice = randomFrom(seed);
    const queue = [];
    if (rung !== "ws") gateway.on.ws = (s) => s.end();
    if (rung === "poll") gateway.on.sse = () => Promise.reject(new TypeError("Failed to fetch"));
    gateway.on.poll = async ({ query }) => {
      await gateway.answer("", query.get("wait") === "0" ? 0 : 50);
      const list = queue.splice(0);
      const answer = { cursor: `${dice(1e6)}`, events: list };
      return gateway.answer(list.length && !dice(20) ? mutated(answer, dice) : answer);
    };
    const say = (value, whole) => {
      let text = JSON.stringify(value) ?? "undefined";
      if (!whole && !dice(30)) text = text.slice(0, dice(text.length + 1));
      if (rung === "ws") gateway.sockets[0]?.say(text);
      else if (rung === "poll") queue.push(value);
      else try { gateway.streams.at(-1)?.say(`data: ${text}\nid: 10\n\n`); } catch { /* it has ended */ }
    };
    line = new Holdline({ url: "http://x.test/v1", channels: ["a/1"], share: false });
    const heard = [];
    for (const type of new Set(events("").map((e) => e.type))) line.on(type, (e) => heard.push(e));
    line.on("sent", ({ client_id, state }) => assert.equal(typeof client_id + typeof state, "stringstring"));
    await pass(500);
    let sent = line.send("a/1", "first");
    for (let i = 0; i < 4000; i++) {
      const all = events(sent);
      let event = all[dice(all.length)];
      for (let n = dice(4); n > 0; n--) event = mutated(event, dice);
      gateway.outcome = () => mutated({ state: ["pending", "stored", "failed"][dice(3)], id: dice(100), reason: "rate", retry_ms: 10 }, dice) ?? undefined;
      say(event);
      if (i % 10 === 0) {
        sent = line.send("a/1", `${i}`);
        line.typing("a/1").seen("a/1", i).signal("a/1", agent, {});
        await pass(i % 50 ? 10 : 200);
        if (!(i % 100)) for (const s of await line.sends()) line.drop(s.client_id);
      }
    }
    queue.length = 0;
    gateway.outcome = () => ({ state: "stored", id: 424241 });
    await pass(400_000); // as long as a hint may keep it away
    assert.equal(line.state, "open");
    const news = [];
    line.on("sent", (s) => s.body === "last" && news.push(s.state));
    line.send("a/1", "last");
    const good = message(424242, { from: agent, body: "after all that" });
    // An answer may go to a poll that has been given up: a gateway tells it again.
    if (rung === "poll") gateway.on.poll = ({ query }) => gateway.answer({ cursor: good.cursor, events: query.get("cursor") === good.cursor ? [] : [good] }, 50);
    else say(good, true);
    await pass(60_000);
    assert.deepEqual(news.slice(0, 2), ["pending", "stored"]); // and perhaps seen, which may have been said of a billion ids
    assert.deepEqual(heard.filter((e) => e.body === "after all that").map((e) => e.id), [424242]);
    assert.equal({}.polluted, undefined);
    assert.deepEqual(Object.keys(Object.prototype), []);
    assert.deepEqual(thrown, []);
  });
}
