import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Gateway, message, pass, refused } from "./gateway.js";
import { newLine } from "../src/line.js";
import { jitter } from "../src/words.js";

const MINUTE = 60_000;
let gateway, line, said;

beforeEach(() => { gateway = new Gateway(); });
afterEach(() => {
  line?.close_();
  gateway.close();
});

function begin(memory, token = () => "") {
  said = { events: [], states: [], errors: [], memories: [], pongs: [] };
  line = newLine("http://x.test/v1", undefined, memory, {
    events: (events) => said.events.push(...events),
    state: (told) => said.states.push(told),
    error: (why) => said.errors.push(why),
    pong: (ms) => said.pongs.push(ms),
    remember: (m) => said.memories.push(JSON.parse(JSON.stringify(m))),
    token,
  });
  line.channels = ["a/1"];
  line.connect_();
}

const transport = () => said.states.at(-1).transport;
const no = () => Promise.reject(new TypeError("Failed to fetch"));
const never = () => new Promise(() => {});

const cutHolds = ({ query }) => (query.get("wait") === "0" ? gateway.answer({ cursor: "10", events: [] }) : gateway.answer("", 1000, { status: 504 }));

for (const [want, on] of [
  ["ws", {}],
  ["sse", { ws: (s) => s.end() }],
  ["poll", { ws: (s) => s.end(), sse: never }],
  ["short", { ws: (s) => s.end(), sse: never, poll: cutHolds }],
]) {
  test(`${want} is reached when all above it is blocked, and remembered`, async () => {
    Object.assign(gateway.on, on);
    begin();
    await pass(6000);
    assert.equal(transport(), want);
    if (want === "ws") return assert.deepEqual(said.memories, []);
    const memory = said.memories.at(-1);
    line.close_();
    begin(memory);
    const before = gateway.count();
    await pass(100);
    assert.equal(transport(), want);
    assert.ok(gateway.count() <= before + 2, "it tries nothing else first");
  });
}

test("a stream without a first byte is abandoned after 3 s", async () => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => gateway.stream(); // head, and nothing more
  begin();
  await pass(2900);
  assert.equal(gateway.count("poll"), 0);
  await pass(200);
  assert.equal(transport(), "poll");
});

test("a captive portal's page is no stream", async () => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => new Response("<h1>Log in</h1>", { headers: { "Content-Type": "text/html" } });
  begin();
  await pass(500);
  assert.equal(transport(), "poll");
});

test("it comes back by its cursor", async () => {
  begin();
  await pass(200);
  gateway.sockets[0].say(message(11), message(12));
  gateway.sockets[0].end(1001, "going away");
  await pass(1100);
  assert.equal(gateway.asked.at(-1).query.get("cursor"), "12");
  assert.equal(line.state, "open");
  assert.deepEqual(said.events.map((e) => e.id), [11, 12]);
});

test("the server's hint is obeyed", async () => {
  begin();
  await pass(10_000);
  gateway.sockets[0].say({ type: "reconnect", data: { after_ms: 7000 } });
  gateway.sockets[0].end(4011, "server is leaving, reconnect");
  await pass(6800);
  assert.equal(gateway.count("ws"), 1);
  await pass(300);
  assert.equal(gateway.count("ws"), 2);
});

test("an absurd hint is kept within reason", async () => {
  for (const [hint, early, late] of [[1e99, 299_000, 301_500], [0, 0, 300]]) {
    begin();
    await pass(10_000);
    gateway.sockets[0].say({ type: "reconnect", data: { after_ms: hint } });
    gateway.sockets[0].end(4011);
    const before = gateway.count("ws");
    if (early) await pass(early);
    assert.equal(gateway.count("ws"), before, "it is not back at once");
    await pass(late - early);
    assert.equal(gateway.count("ws"), before + 1);
    line.close_();
  }
});

test("what once worked here is not believed for ever", async () => {
  Object.assign(gateway.on, { sse: no, poll: no });
  begin({ rung: 2 });
  await pass(2000);
  assert.equal(transport(), "ws");
});

test("a busy server's Retry-After is obeyed on all rungs", async () => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => new Response('{"error":"too many connections","reason":"limit_connections"}', { status: 503, headers: { "Retry-After": "5" } });
  begin();
  await pass(4900);
  assert.equal(gateway.count(), 2);
  assert.match(said.states.at(-1).why, /too many/);
  await pass(300);
  assert.equal(gateway.count(), 4);
});

test("a refusal is met with one fresh token and then with silence", async () => {
  let tokens = 0;
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => refused(401, "the token has expired", "token");
  begin({}, () => `fresh ${++tokens}`);
  await pass(10 * MINUTE);
  assert.equal(tokens, 1);
  assert.equal(gateway.count(), 4);
  assert.equal(gateway.asked.at(-1).token, "fresh 1");
  assert.deepEqual(said.errors, [{ refused_: "the token has expired", status: 401, reason: "token" }]);
  assert.equal(line.state, "refused");
});

test("a token that runs out while the line is open is renewed each time", async () => {
  let tokens = 0;
  begin({}, () => `fresh ${++tokens}`);
  for (let i = 0; i < 3; i++) {
    await pass(MINUTE);
    gateway.sockets[0].end(4009, "login or token is no longer valid");
  }
  await pass(1000);
  assert.equal(tokens, 3);
  assert.equal(line.state, "open");
});

test("a proxy's own 403 is no refusal", async () => {
  gateway.on.ws = (s) => s.end();
  gateway.on.sse = () => new Response("<h1>Forbidden</h1>", { status: 403 });
  begin();
  await pass(500);
  assert.equal(transport(), "poll");
  assert.deepEqual(said.errors, []);
});

for (const [code, comes] of [[1001, true], [1006, true], [1011, true], [4001, false], [4003, false], [4008, true], [4010, true], [4011, true], [4012, false], [4150, true]]) {
  test(`close code ${code}: ${comes ? "comes back" : "stays away"}`, async () => {
    begin();
    await pass(200);
    gateway.sockets.at(-1).end(code);
    await pass(2000);
    assert.equal(line.state, comes ? "open" : "refused");
  });
}

test("a WebSocket cut every 5 s is given up after three cuts", async () => {
  gateway.on.ws = (s) => { s.say({ type: "hello", cursor: "10" }); setTimeout(() => s.end(), 5000 + Math.random() * 100); };
  begin();
  await pass(20_000);
  assert.equal(gateway.count("ws"), 3);
  assert.equal(transport(), "sse");
  await pass(30 * MINUTE);
  assert.equal(gateway.count("ws"), 3, "nor is it tried again soon");
});

test("a WebSocket cut every 60 s is replaced before that", async () => {
  gateway.on.ws = (s) => { s.say({ type: "hello", cursor: "10" }); setTimeout(() => s.end(), MINUTE); };
  begin();
  await pass(4 * MINUTE);
  const { length } = said.states.filter((s) => s.state === "waiting");
  await pass(20 * MINUTE);
  assert.equal(said.states.filter((s) => s.state === "waiting").length, length, "no cut is met again");
  assert.equal(transport(), "ws");
});

test("ends at different ages teach nothing", async () => {
  begin();
  for (const age of [5000, 9000, 30_000, 6000]) {
    await pass(age);
    gateway.sockets[0].end();
    await pass(1100);
  }
  assert.equal(transport(), "ws");
  assert.deepEqual(line.memory.life, []);
});

test("a hold that a gateway cuts at 10 s is asked to be shorter, without a loss of the line", async () => {
  gateway.on.poll = ({ query }) => {
    const wait = Number(query.get("wait"));
    return wait > 10 ? gateway.answer("", 10_000, { status: 504 }) : gateway.answer({ cursor: "10", events: [] }, wait * 1000);
  };
  begin({ rung: 2, ban: [Infinity, Infinity] });
  await pass(2 * MINUTE);
  assert.equal(said.states.filter((s) => s.state === "waiting").length, 0);
  const waits = gateway.asked.map((a) => Math.round(a.query.get("wait")));
  assert.deepEqual(waits.slice(0, 4), [0, 25, 8, 8]);
});

test("something better is tried again, and replaces without a gap", async () => {
  gateway.on.ws = (s) => s.end();
  begin();
  await pass(1000);
  assert.equal(transport(), "sse");
  gateway.on.ws = (s) => { s.say({ type: "hello" }); s.say(message(11), message(12)); };
  gateway.streams[0].say('data: {"type":"message","channel":"a/1","id":11,"cursor":"11"}\nid: 11\n\n');
  await pass(30_000);
  assert.equal(transport(), "ws");
  assert.equal(gateway.asked.at(-1).query.get("cursor"), "11");
  assert.deepEqual(said.states.map((s) => s.state), ["connecting", "open", "open"]);
  assert.deepEqual([...new Set(said.events.map((e) => e.id))], [11, 12]);
});

test("a silent WebSocket is asked, and left when it does not answer", async () => {
  begin();
  await pass(MINUTE);
  assert.equal(gateway.count("ws"), 1);
  assert.ok(gateway.sockets[0].sent.length >= 2);
  gateway.sockets[0].mute = true;
  await pass(MINUTE);
  assert.ok(gateway.count("ws") >= 2);
});

test("a silent stream is left", async () => {
  begin({ rung: 1, ban: [Infinity] });
  await pass(39_000);
  assert.equal(gateway.count("sse"), 1);
  await pass(10_000);
  assert.equal(gateway.count("sse"), 2);
});

test("it waits no longer when the network is back", async () => {
  Object.assign(gateway.on, { ws: (s) => s.end(), sse: no, poll: no });
  begin();
  await pass(5 * MINUTE);
  while (line.state !== "waiting") await pass(100); // it may be trying just now
  gateway.on.ws = (s) => s.say({ type: "hello" });
  line.wake_(true);
  await pass(100);
  assert.equal(line.state, "open");
});

test("tries without a network grow rare", async () => {
  Object.assign(gateway.on, { ws: (s) => s.end(), sse: no, poll: no });
  begin();
  await pass(20 * MINUTE);
  const rounds = gateway.count("ws");
  assert.ok(rounds > 30 && rounds < 150, `${rounds} rounds in 20 minutes`);
});

test("full jitter", () => {
  for (let failures = 0; failures < 50; failures++) {
    const top = Math.min(30_000, 500 * 2 ** failures);
    for (let i = 0; i < 100; i++) {
      const wait = jitter(failures);
      assert.ok(wait >= 0 && wait <= top);
    }
  }
});

test("more channels begin at the present, and what is read goes on", async () => {
  begin();
  await pass(200);
  gateway.sockets[0].say(message(11));
  const answers = [
    { cursor: "15", events: [message(12), message(13, { channel: "b/1" }), message(15, { channel: "b/1" })] },
    { cursor: "15", events: [] },
  ];
  gateway.on.poll = () => gateway.answer(answers.shift());
  const done = line.extend_(["a/1", "b/1"]);
  await pass(200);
  assert.equal(await done, undefined);
  assert.equal(gateway.asked.at(-1).query.get("channels"), "a/1,b/1");
  assert.equal(gateway.asked.at(-1).query.get("cursor"), "15");
  assert.deepEqual(said.events.map((e) => e.id), [11, 12]);
  assert.equal(gateway.sockets.length, 1);
});

test("more channels that are refused leave the line as it is", async () => {
  begin();
  await pass(200);
  gateway.on.poll = () => refused(403, "you may not read b/1", "channel");
  const done = line.extend_(["a/1", "b/1"]);
  await pass(200);
  assert.equal((await done).refused_, "you may not read b/1");
  assert.deepEqual(line.channels, ["a/1"]);
  assert.equal(line.state, "open");
});

test("latency over a WebSocket, and without one", async () => {
  begin();
  await pass(200);
  for (const end of [() => {}, () => { gateway.on.ws = (s) => s.end(); gateway.sockets[0].end(); }]) {
    end();
    await pass(1500);
    said.pongs.length = 0;
    line.latency_();
    await pass(100);
    assert.equal(said.pongs.length, 1);
    assert.ok(said.pongs[0] >= 0 && said.pongs[0] <= 100);
  }
  assert.equal(gateway.count("info"), 1);
});
