// What is said by this browser's people: line.send and what becomes of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { each } from "./faces.js";
import { message, pass } from "./gateway.js";
import { browser, gateway, newBrowser, openLine } from "./scene.js";
import { Holdline as source } from "../src/holdline.js";

function open(Holdline, options) {
  const line = openLine(Holdline, { channels: ["a/1", "b/1"], ...options });
  line.news = []; // body state
  line.on("sent", (s) => line.news.push(`${s.body} ${s.state}`));
  return line;
}

/** Opens a tab of the browser. */
const openTab = (Holdline, options) => browser.tab(() => ({ line: open(Holdline, { share: true, worker: "", ...options }) }));

const own = { kind: "visitor" };
const row = (send, id, more) => message(id, { channel: send.channel, client_id: send.client_id, from: own, body: send.body, ...more });
const bodies = () => gateway.sends.map((s) => s.body);
const without = (...rungs) => {
  for (const rung of rungs) gateway.on[rung] = rung === "ws" ? (s) => s.end() : () => Promise.reject(new TypeError("Failed to fetch"));
};

for (const rungs of [[], ["ws"], ["ws", "sse"]]) {
  each(`a send goes through pending and stored to delivered and seen, without ${rungs.join(", ") || "nothing"}`, async (Holdline) => {
    without(...rungs);
    const events = [];
    gateway.on.poll = ({ query }) => gateway.answer({ cursor: "10", events: query.get("wait") === "0" ? [] : events.splice(0) }, query.get("wait") === "0" ? 0 : 50);
    const tell = (...list) => {
      if (!rungs.length) gateway.sockets[0].say(...list);
      else if (rungs.length === 1) for (const e of list) gateway.streams.at(-1).say(`data: ${JSON.stringify(e)}\n\n`);
      else events.push(...list);
    };
    const line = open(Holdline);
    await pass(500);
    const id = line.send("a/1", "Hello");
    assert.match(id, /^[\w-]{22}$/);
    await pass(200);
    assert.deepEqual(gateway.sends, [{ type: "send", channel: "a/1", client_id: id, body: "Hello" }]);
    assert.deepEqual(line.news, ["Hello pending"]);
    tell(row(gateway.sends[0], 11, { pending: true, id: undefined, cursor: undefined }));
    tell(row(gateway.sends[0], 11, { type: "stored" }));
    await pass(200);
    const receipt = (type, upTo, kind = "agent") => ({ type, channel: "a/1", from: { kind, id: 2 }, data: { up_to: upTo } });
    tell(receipt("delivered", 10), receipt("seen", 11, "visitor"), receipt("delivered", 11), receipt("seen", 12));
    await pass(200);
    assert.deepEqual(line.news, ["Hello pending", "Hello stored", "Hello delivered", "Hello seen"]);
    assert.deepEqual(await line.sends(), []);
    assert.equal(gateway.sends.length, 1);
  });

  each(`sends of a channel come one by one, in order, without ${rungs.join(", ") || "nothing"}`, async (Holdline) => {
    without(...rungs);
    const line = open(Holdline);
    await pass(500);
    let most = 0, open1 = 0;
    gateway.outcome = () => {
      most = Math.max(most, ++open1);
      setTimeout(() => open1--, 4);
      return { state: "pending" };
    };
    for (let i = 0; i < 30; i++) line.send("a/1", i);
    await pass(5000);
    assert.deepEqual(bodies(), Array.from({ length: 30 }, (_, i) => `${i}`));
    assert.equal(most, 1);
  });
}

each("what is said offline is pending at once and sent when the line is back", async (Holdline) => {
  without("ws", "sse", "poll");
  const line = open(Holdline);
  await pass(3000);
  for (const body of ["one", "two", "three"]) line.send("a/1", body);
  line.send("b/1", "elsewhere");
  await pass(10);
  assert.deepEqual(line.news, ["one pending", "two pending", "three pending", "elsewhere pending"]);
  assert.deepEqual((await line.sends()).map((s) => s.body), ["one", "two", "three", "elsewhere"]);
  await pass(10_000);
  assert.deepEqual(bodies(), []);
  gateway.on.ws = (s) => s.say({ type: "hello" });
  await pass(40_000);
  assert.deepEqual(bodies().filter((b) => b !== "elsewhere"), ["one", "two", "three"]);
  assert.equal(new Set(gateway.sends.map((s) => s.client_id)).size, 4);
});

each("an answer that is lost is asked for again under the same id, and nothing overtakes", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  gateway.outcome = () => undefined; // it dies before it answers
  line.send("a/1", "one");
  line.send("a/1", "two");
  await pass(100);
  gateway.sockets[0].end();
  gateway.outcome = () => ({ state: "pending" });
  await pass(3000);
  assert.deepEqual(bodies(), ["one", "one", "two"]);
  assert.equal(gateway.sends[0].client_id, gateway.sends[1].client_id);
});

each("a server that is silent is asked again after a while", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  gateway.outcome = () => undefined;
  line.send("a/1", "one");
  await pass(14_000);
  assert.equal(gateway.sends.length, 1);
  gateway.outcome = () => ({ state: "stored", id: 11 });
  await pass(5000);
  assert.equal(gateway.sends.length, 2);
  assert.deepEqual(line.news, ["one pending", "one stored"]);
});

each("what was accepted is asked about after a reconnect, in order, and the oldest after 30 s", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  for (const body of ["one", "two", "three"]) line.send("a/1", body);
  await pass(500);
  assert.deepEqual(bodies(), ["one", "two", "three"]);
  await pass(29_000);
  assert.equal(gateway.sends.length, 3);
  await pass(25_000);
  assert.deepEqual(bodies().slice(3), ["one"]);
  gateway.sends.length = 0;
  gateway.sockets[0].end();
  await pass(3000);
  assert.deepEqual(bodies(), ["one", "two", "three"]);
  gateway.sockets[0].say(row(gateway.sends[1], 12));
  await pass(100);
  assert.deepEqual(line.news.slice(3), ["two stored"]);
  assert.deepEqual((await line.sends()).map((s) => s.body), ["one", "three"]);
});

each("a row with another's kind or channel settles nothing", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  line.send("a/1", "one");
  await pass(100);
  const [send] = gateway.sends;
  gateway.sockets[0].say(row(send, 11, { from: { kind: "agent", id: 2 } }), row(send, 12, { channel: "b/1" }), row(send, 13, { from: null }), row(send, "x"));
  await pass(100);
  assert.deepEqual(line.news, ["one pending"]);
});

for (const rungs of [[], ["ws"]]) {
  for (const reason of ["rate", "full", "unavailable"]) {
    each(`refused for now (${reason}) is tried again after retry_ms, without ${rungs.join(", ") || "nothing"}`, async (Holdline) => {
      without(...rungs);
      const line = open(Holdline);
      await pass(500);
      gateway.outcome = () => ({ state: "failed", reason, error: "wait", retry_ms: 2000 });
      line.send("a/1", "one");
      line.send("a/1", "two");
      await pass(1900);
      assert.deepEqual(bodies(), ["one"]);
      gateway.outcome = () => ({ state: "pending" });
      await pass(2000);
      assert.deepEqual(bodies(), ["one", "one", "two"]);
      assert.deepEqual(line.news, ["one pending", "two pending"]);
    });
  }

  each(`refused for good fails with the reason and blocks nothing, without ${rungs.join(", ") || "nothing"}`, async (Holdline) => {
    without(...rungs);
    const line = open(Holdline);
    await pass(500);
    gateway.outcome = ({ body }) => (body === "one" ? { state: "failed", reason: "closed", error: "the chat is over" } : { state: "pending" });
    const failed = [];
    line.on("sent", (s) => s.state === "failed" && failed.push(s));
    const id = line.send("a/1", "one");
    line.send("a/1", "two");
    await pass(1000);
    assert.deepEqual(bodies(), ["one", "two"]);
    assert.deepEqual(failed.map(({ client_id, reason, error }) => [client_id, reason, error]), [[id, "closed", "the chat is over"]]);
    assert.deepEqual((await line.sends()).map((s) => `${s.body} ${s.state}`), ["one failed", "two pending"]);
    gateway.outcome = () => ({ state: "stored", id: 12 });
    line.retry(id);
    await pass(1000);
    assert.deepEqual(line.news.slice(3), ["one pending", "one stored"]);
    assert.equal(gateway.sends.at(-1).client_id, id);
  });
}

each("a proxy's own no fails, a proxy's gateway error does not", async (Holdline) => {
  without("ws");
  const line = open(Holdline);
  await pass(500);
  gateway.on.send = () => gateway.answer("<h1>Too large</h1>", 1, { status: 413 });
  line.send("a/1", "one");
  await pass(1000);
  assert.deepEqual(line.news, ["one pending", "one failed"]);
  gateway.on.send = () => gateway.answer("<h1>Bad gateway</h1>", 1, { status: 502 });
  line.send("a/1", "two");
  await pass(60_000);
  gateway.on.send = () => gateway.answer("<h1>Log in to this hotel</h1>");
  await pass(60_000);
  gateway.on.send = () => gateway.answer("null");
  await pass(60_000);
  gateway.on.send = () => gateway.answer({ state: "stored", id: 11 });
  await pass(60_000);
  assert.deepEqual(line.news.slice(2), ["two pending", "two stored"]);
});

each("what a WebSocket dies of is posted", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  const { said } = gateway;
  let times = 0;
  gateway.said = () => {
    if (++times === 2) gateway.said = said;
    gateway.sockets[0].end(1009, "message is too big");
  };
  gateway.on.send = () => gateway.answer({ error: "the message is too long", reason: "too_long" }, 1, { status: 413 });
  line.send("a/1", "x".repeat(60_000));
  line.send("a/1", "two");
  await pass(3000);
  assert.deepEqual(line.news.map((n) => n.slice(-12)), ["xxxx pending", "two pending", "xxxxx failed"]);
  assert.equal(gateway.count("ws"), 3);
  assert.equal(gateway.sends.at(-1).body, "two");
});

each("there is a bound", async (Holdline) => {
  without("ws", "sse", "poll");
  const line = open(Holdline);
  await pass(200);
  for (let i = 0; i < 201; i++) line.send("a/1", i);
  line.send("a/1", "x".repeat(70_000));
  await pass(2000);
  assert.equal(line.news.filter((n) => n.endsWith("failed")).length, 2);
  assert.ok(line.news.includes("200 failed"));
});

each("a send that is dropped is not sent", async (Holdline) => {
  without("ws", "sse", "poll");
  const line = open(Holdline);
  await pass(200);
  const id = line.send("a/1", "one");
  line.send("a/1", "two");
  line.drop(id);
  await pass(100);
  assert.deepEqual((await line.sends()).map((s) => s.body), ["two"]);
  gateway.on.ws = (s) => s.say({ type: "hello" });
  await pass(60_000);
  assert.ok(!bodies().includes("one"));
  assert.ok(line.news.includes("one dropped"));
});

each("withdrawn is failed", async (Holdline) => {
  const line = open(Holdline);
  await pass(200);
  const client_id = line.send("a/1", "one");
  await pass(100);
  const failed = [];
  line.on("sent", (s) => failed.push(s.state, s.reason, s.error));
  gateway.sockets[0].say({ type: "withdrawn", channel: "a/1", client_id, from: own, data: { reason: "closed", text: "the chat is over" } });
  await pass(100);
  assert.deepEqual(failed, ["failed", "closed", "the chat is over"]);
});

each("an agent's sends are an agent's", async (Holdline) => {
  const line = open(Holdline, { as: "agent" });
  await pass(200);
  line.send("a/1", "one");
  line.send("a/1", "two", { as: "visitor" });
  await pass(100);
  assert.deepEqual(gateway.sends.map((s) => s.as), ["agent", "visitor"]);
  assert.equal(gateway.asked[0].query.get("as"), "agent");
  gateway.sockets[0].say(row(gateway.sends[0], 11, { from: { kind: "agent", id: 1 } }), row(gateway.sends[1], 12));
  await pass(100);
  assert.deepEqual(line.news.slice(2), ["one stored", "two stored"]);
});

each("a token that has expired is renewed, and the send is not lost", async (Holdline) => {
  let tokens = 0;
  const line = open(Holdline, { getToken: () => `t${++tokens}` });
  await pass(200);
  gateway.outcome = () => (tokens < 2 ? { state: "failed", reason: "forbidden", error: "login or token is no longer valid" } : { state: "stored", id: 11 });
  line.send("a/1", "one");
  await pass(3000);
  assert.equal(tokens, 2);
  assert.deepEqual(line.news, ["one pending", "one stored"]);
});

// ---- Several tabs, and what outlives them.

each("what was not sent outlives a reload, and only one tab sends it", async (Holdline) => {
  newBrowser();
  without("ws", "sse", "poll");
  const first = openTab(Holdline);
  await pass(3000);
  first.line.send("a/1", "one");
  first.line.send("a/1", "two");
  await pass(500);
  assert.equal(browser.stored.size, 2);
  first.line.close();
  const tabs = [openTab(Holdline), openTab(Holdline)];
  await pass(3000);
  for (const { line } of tabs) assert.deepEqual((await line.sends()).map((s) => s.body), ["one", "two"]);
  gateway.outcome = ({ body }) => ({ state: "stored", id: body === "one" ? 11 : 12 });
  gateway.on.ws = (s) => s.say({ type: "hello" });
  await pass(40_000);
  assert.deepEqual(bodies(), ["one", "two"]);
  for (const { line } of tabs) assert.deepEqual(line.news.slice(-2), ["one stored", "two stored"]);
  assert.equal(browser.stored.size, 0);
});

each("a tab that leads and dies loses no send and no order", async (Holdline) => {
  newBrowser();
  const leader = openTab(Holdline);
  await pass(3000);
  const other = openTab(Holdline);
  await pass(3000);
  assert.equal(browser.holder(), leader);
  assert.equal(gateway.sockets.length, 1);
  gateway.outcome = () => undefined;
  for (const [tab, body] of [[other, "one"], [leader, "two"], [other, "three"]]) {
    tab.line.send("a/1", body);
    await pass(100);
  }
  await pass(200);
  assert.deepEqual(bodies(), ["one"]);
  gateway.outcome = () => ({ state: "pending" });
  browser.crash(leader, gateway);
  await pass(3000);
  assert.equal(gateway.sockets.length, 1);
  assert.deepEqual(bodies(), ["one", "one", "two", "three"]);
});

each("without a place to keep them, the tabs that live still know", async (Holdline) => {
  newBrowser();
  globalThis.indexedDB = undefined;
  const leader = openTab(Holdline);
  await pass(3000);
  const other = openTab(Holdline);
  await pass(3000);
  gateway.outcome = () => undefined;
  other.line.send("a/1", "one");
  await pass(200);
  gateway.outcome = () => ({ state: "pending" });
  browser.crash(leader, gateway);
  await pass(3000);
  assert.deepEqual(bodies(), ["one", "one"]);
});

each("a store that never answers holds nothing up", async (Holdline) => {
  newBrowser();
  globalThis.indexedDB = { open: () => ({}) };
  const { line } = openTab(Holdline);
  await pass(200);
  line.send("a/1", "one");
  await pass(5000);
  assert.deepEqual(bodies(), ["one"]);
});

each("others' sends are not sent", async (Holdline) => {
  newBrowser();
  without("ws", "sse", "poll");
  const first = openTab(Holdline, { token: "one's" });
  await pass(3000);
  first.line.send("a/1", "one");
  await pass(500);
  first.line.close();
  gateway.on.ws = (s) => s.say({ type: "hello" });
  const second = openTab(Holdline, { token: "another's" });
  await pass(5000);
  assert.equal(second.line.state, "open");
  assert.deepEqual(bodies(), []);
  assert.equal(browser.stored.size, 1);
});

test("lost lines, answers and leaders: every send comes, none out of order", async () => {
  newBrowser();
  let seed = Number(process.env.SEED) || Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  const dice = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) % n;
  const stored = new Map(); // client_id → id: the server's memory
  const first = []; // bodies in the order of their first arrival
  gateway.outcome = ({ client_id, body }) => {
    if (!dice(6)) return undefined; // it never comes
    if (!dice(6)) return { state: "failed", reason: "rate", retry_ms: dice(500) };
    if (!stored.has(client_id)) {
      stored.set(client_id, 100 + stored.size);
      first.push(body);
    }
    if (!dice(6)) { // it comes, and the answer is lost
      gateway.sockets[0]?.end();
      return undefined;
    }
    return dice(2) ? { state: "stored", id: stored.get(client_id) } : { state: "pending" };
  };
  let tabs = [openTab(source), openTab(source), openTab(source)];
  await pass(3000);
  for (let i = 0; i < 60; i++) {
    tabs[dice(tabs.length)].line.send("a/1", i);
    await pass(1 + dice(300)); // nobody speaks in two tabs at once
    if (dice(4) === 0) gateway.sockets[0]?.end();
    if (i % 20 === 10) {
      const leader = browser.holder();
      await pass(50); // what was said is kept by now
      browser.crash(leader, gateway);
      tabs = [...tabs.filter((t) => t !== leader), openTab(source)];
    }
  }
  await pass(20 * 60_000);
  assert.deepEqual(first, Array.from({ length: 60 }, (_, i) => `${i}`));
});
