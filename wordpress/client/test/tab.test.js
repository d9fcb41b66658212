import assert from "node:assert/strict";
import { test } from "node:test";
import { message, pass, refused } from "./gateway.js";
import { busOf, newBroker, rooms } from "../src/broker.js";
import { each } from "./faces.js";
import { gateway, openLine } from "./scene.js";
import { Holdline as source, rightsOf } from "../src/holdline.js";

function open(Holdline, options) {
  const tab = openLine(Holdline, options);
  tab.heardOf = [];
  tab.errors = [];
  for (const type of ["message", "status", "reset", "edited"]) tab.on(type, (e) => tab.heardOf.push(e.id ?? e.type));
  tab.on("error", (e) => tab.errors.push(e.message));
  return tab;
}

each("each event is told once, whatever comes how often", async (Holdline) => {
  const tab = open(Holdline);
  await pass(200);
  assert.equal(tab.state, "open");
  const status = { type: "status", channel: "a/1", data: { state: "active" } };
  gateway.sockets[0].say(message(11), message(12), message(11), status, status, message(11, { type: "edited" }));
  gateway.sockets[0].say({ ...status, data: { state: "ended" } }, status, message(13, { channel: "b/1" }));
  await pass(100);
  assert.deepEqual(tab.heardOf, [11, 12, "status", 11, "status", "status"]);
});

each("what comes in one piece with the first sign of life is heard", async (Holdline) => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => gateway.stream(`: holdline\n\nid: 10\n\ndata: ${JSON.stringify(message(11))}\nid: 11\n\n`);
  const tab = open(Holdline);
  await pass(300);
  assert.deepEqual(tab.heardOf, [11]);
});

each("a reset makes ids begin again", async (Holdline) => {
  const tab = open(Holdline);
  await pass(200);
  gateway.sockets[0].say(message(11), { type: "reset", channel: "a/1", cursor: "0" }, message(11));
  await pass(100);
  assert.deepEqual(tab.heardOf, [11, "reset", 11]);
});

each("with a cursor the history comes first, in order, and live rows wait behind it", async (Holdline) => {
  gateway.on.poll = async ({ query }) => {
    const from = Number(query.get("cursor"));
    await gateway.answer("", 500);
    if (from === 5) gateway.sockets[0].say(message(9), message(10));
    return gateway.answer({ cursor: String(Math.min(from + 2, 9)), events: [6, 7, 8, 9].filter((id) => id > from && id <= from + 2).map((id) => message(id)) });
  };
  const tab = open(Holdline, { cursor: "5" });
  await pass(4000);
  assert.deepEqual(tab.heardOf, [6, 7, 8, 9, 10]);
});

each("a history that cannot be had for a while is asked for again", async (Holdline) => {
  let tries = 0;
  gateway.on.poll = ({ query }) => {
    if (++tries < 4) throw new TypeError("Failed to fetch");
    return gateway.answer({ cursor: "6", events: query.get("cursor") === "5" ? [message(6)] : [] });
  };
  const tab = open(Holdline, { cursor: "5" });
  await pass(20_000);
  assert.deepEqual(tab.heardOf, [6]);
});

test("a word of the broker that was missed is read again", async () => {
  gateway.on.poll = ({ query }) => gateway.answer({ cursor: "13", events: [12, 13].filter((id) => id > query.get("cursor")).map((id) => message(id)) });
  const tab = open(source);
  await pass(200);
  gateway.sockets[0].say(message(11));
  await pass(10);
  const [room] = rooms.values(), all = [...room];
  room.clear(); // the tab is frozen
  gateway.sockets[0].say(message(12), message(13));
  await pass(10);
  all.forEach((hear) => room.add(hear));
  gateway.sockets[0].say(message(14));
  await pass(500);
  assert.deepEqual(tab.heardOf, [11, 12, 13, 14]);
});

each("a listener's mistake is not the others'", async (Holdline) => {
  const tab = open(Holdline);
  const thrown = [];
  process.once("uncaughtException", (e) => thrown.push(e.message));
  tab.on("state", () => { throw new Error("the page's own"); });
  await pass(200);
  gateway.sockets[0].say(message(11));
  await pass(100);
  assert.deepEqual(tab.heardOf, [11]);
});

each("off takes listeners away", async (Holdline) => {
  const tab = open(Holdline);
  const one = [], all = [];
  const fn = (e) => one.push(e.id);
  tab.on("message", fn).on("message", (e) => all.push(e.id));
  await pass(200);
  gateway.sockets[0].say(message(11));
  await pass(10);
  tab.off("message", fn);
  gateway.sockets[0].say(message(12));
  await pass(10);
  tab.off("message");
  gateway.sockets[0].say(message(13));
  await pass(10);
  assert.deepEqual([one, all, tab.heardOf], [[11], [11, 12], [11, 12]]);
});

each("a channel that may not be read is told and given up, the others go on", async (Holdline) => {
  const tab = open(Holdline);
  await pass(200);
  gateway.on.poll = () => refused(403, "you may not read b/1", "channel");
  tab.subscribe("b/1");
  await pass(500);
  assert.deepEqual(tab.errors, ["you may not read b/1"]);
  assert.deepEqual(tab.channels, ["a/1"]);
  gateway.sockets[0].say(message(11));
  await pass(10);
  assert.deepEqual(tab.heardOf, [11]);
});

each("a channel that is wanted while the line is lost is read when it is back", async (Holdline) => {
  const tab = open(Holdline);
  await pass(200);
  gateway.on.poll = ({ query }) => gateway.answer({ cursor: query.get("cursor"), events: [] }, 300);
  tab.subscribe("b/1");
  await pass(100);
  gateway.sockets[0].end(); // the poll is still under way
  await pass(3000);
  assert.equal(gateway.asked.at(-1).endpoint, "ws");
  assert.equal(gateway.asked.at(-1).query.get("channels"), "a/1,b/1");
  gateway.sockets[0].say(message(11, { channel: "b/1" }));
  await pass(10);
  assert.deepEqual(tab.heardOf, [11]);
});

each("a channel that is given up and wanted again is kept", async (Holdline) => {
  const tab = open(Holdline, { channels: ["a/1", "b/1"] });
  await pass(200);
  tab.unsubscribe("b/1");
  await pass(500);
  tab.subscribe("b/1");
  await pass(5000);
  gateway.sockets[0].end();
  await pass(2000);
  assert.equal(gateway.asked.at(-1).query.get("channels"), "a/1,b/1");
  tab.unsubscribe("b/1");
  await pass(5000);
  assert.equal(gateway.asked.at(-1).query.get("channels"), "a/1");
  assert.equal(gateway.sockets.length, 1);
});

test("a refused line is tried again when somebody new comes", async () => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => refused(401, "log in first", "nobody");
  const tab = open(source);
  await pass(60_000);
  assert.equal(tab.state, "refused");
  const before = gateway.count();
  const bus = busOf([...rooms.keys()][0], true, () => {});
  bus.post_(["join", "new", { url: "http://x.test/v1", channels: ["a/1"], cursor: "", token: "" }]);
  await pass(60_000);
  assert.equal(gateway.count(), before + 2);
});

each("getToken is asked at the start and once after a refusal", async (Holdline) => {
  const asked = [];
  gateway.on.ws = (s, { token }) => (token === "t2" ? s.say({ type: "hello" }) : s.end());
  gateway.on.sse = () => refused(401, "the token has expired", "token");
  const tab = open(Holdline, { getToken: async () => { asked.push(Date.now()); return `t${asked.length}`; } });
  await pass(5000);
  assert.equal(tab.state, "open");
  assert.equal(asked.length, 2);
});

each("a getToken that fails is told", async (Holdline) => {
  const tab = open(Holdline, { getToken: () => { throw new Error("no session"); } });
  await pass(200);
  assert.deepEqual(tab.errors, ["getToken: no session"]);
});

each("close ends everything", async (Holdline) => {
  const tab = open(Holdline);
  await pass(200);
  tab.close();
  await pass(100);
  assert.equal(tab.state, "closed");
  assert.equal(gateway.sockets.length, 0);
  const { length } = gateway.asked;
  await pass(120_000);
  assert.equal(gateway.asked.length, length);
});

test("tabs share a line only with the same rights", () => {
  const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;
  assert.deepEqual(rightsOf(jwt({ sub: "a", channels: ["x"], exp: 1 })), rightsOf(jwt({ sub: "a", channels: ["x"], exp: 2 })));
  assert.notDeepEqual(rightsOf(jwt({ sub: "a", channels: ["x"] })), rightsOf(jwt({ sub: "a", channels: ["y"] })));
  assert.equal(rightsOf("opaque"), "opaque");
  assert.equal(rightsOf("a.b.c"), "a.b.c");
});

// ---- The broker, with members that the test plays.

function members(name, ...joins) {
  const heard = [];
  const bus = busOf(name, true, (m) => {
    heard.push(m);
    if (m[0] === "lead") joins.forEach(({ id, ...join }) => bus.post_(["join", id, { url: "http://x.test/v1", token: "", ...join }]));
  });
  return { bus, heard };
}

test("a new leader begins where the member stands that has heard least", async () => {
  const { bus } = members("heir",
    { id: "1", channels: ["a/1"], at: 509, cursor: "109" },
    { id: "2", channels: ["b/1"], at: 507, cursor: "107" },
    { id: "3", channels: ["a/1"], at: 499, cursor: "88" },
    { id: "4", channels: ["c/1"], at: null, cursor: "" });
  const broker = newBroker("heir", "tab", "heir");
  await new Promise((done) => setImmediate(done));
  assert.equal(gateway.count(), 1, "it has begun without a timer, which a hidden tab has only once a second");
  await pass(500);
  const { query } = gateway.asked[0];
  assert.equal(query.get("cursor"), "88");
  assert.equal(query.get("channels"), "a/1,b/1,c/1");
  assert.equal(gateway.count(), 1);
  bus.post_(["leave", "4"]);
  await pass(5000);
  assert.equal(gateway.asked.at(-1).query.get("channels"), "a/1,b/1");
  for (const id of ["1", "2", "3"]) bus.post_(["leave", id]);
  await pass(10);
  assert.equal(gateway.sockets.length, 0, "nobody listens any more");
  broker.close_();
  bus.close_();
});

test("members that answer no longer are gone", async () => {
  const { bus, heard } = members("gone");
  const broker = newBroker("gone", "tab", "gone");
  const join = ["join", "1", { url: "http://x.test/v1", channels: ["a/1"], at: null, cursor: "" }];
  bus.post_(join);
  await pass(10);
  bus.post_(join); // the answer to its question
  await pass(60_000);
  assert.equal(gateway.sockets.length, 1);
  await pass(120_000);
  assert.equal(gateway.sockets.length, 0);
  assert.ok(heard.some((m) => m[0] === "welcome"));
  broker.close_();
  bus.close_();
});

test("the broker that came first gives way", async () => {
  const { bus } = members("two", { id: "1", channels: ["a/1"], at: null, cursor: "" });
  const first = newBroker("two", "tab", "two");
  await pass(200);
  const second = newBroker("two", "tab", "two");
  await pass(500);
  assert.equal(gateway.sockets.length, 1);
  first.close_();
  second.close_();
  bus.close_();
});

// ---- Anything may come over a network.

const odd = [null, undefined, 0, -1, 1e308, "", "x", "__proto__", "constructor", "state", "error", [], {}, [[[]]], { toString: 1 }, { valueOf: null }, true,
  "<img src=x onerror=alert(1)>", "\u0000\ud800", "9".repeat(400), { after_ms: "soon" }, { after_ms: -5 }, { after_ms: 1e99 }];

each("no payload breaks it", async (Holdline) => {
  let seed = Number(process.env.SEED) || Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  const dice = (n) => { // mulberry32, so that a seed tells it all again
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
  const any = () => odd[dice(odd.length)];
  const tab = open(Holdline);
  let last = 0;
  tab.on("message", (e) => { if (e.body === "after all that") last = e.id; });
  await pass(200);
  for (let i = 0; i < 3000; i++) {
    const event = { type: dice(4) ? ["message", "status", "hello", "pong", "reset", "typing"][dice(6)] : any() };
    for (const key of ["id", "channel", "cursor", "data", "from", "body", "sent_at", "__proto__"]) if (dice(2)) event[key] = any();
    if (dice(2)) event.channel = "a/1";
    let text = JSON.stringify(dice(20) ? event : any()) ?? "undefined";
    if (!dice(10)) text = text.slice(0, dice(text.length + 1));
    const socket = gateway.sockets[0];
    if (socket) socket.say(text);
    if (i % 100 === 0) await pass(200);
  }
  let deep = "1";
  for (let i = 0; i < 20_000; i++) deep = `[${deep}]`;
  gateway.sockets[0].say(`{"type":"status","channel":"a/1","data":{"x":${deep}}}`);
  gateway.sockets[0].say(message(424242, { body: "after all that" }));
  await pass(60_000);
  assert.equal(tab.state, "open");
  assert.equal(last, 424242);
  assert.equal({}.polluted, undefined);
});
