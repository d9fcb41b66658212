// Tries each transport at its own address and tells what became of it.
"use strict";

const SECOND = 1000;
const FIRST_BYTE = 3 * SECOND; // Holdline's client gives a stream as long
const HOLD = 25; // seconds that the client's polls are held
const $ = (id) => document.getElementById(id);
const base = location.pathname.replace(/\/check\/?$/, "");
const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));
const median = (list) => list.slice().sort((a, b) => a - b)[Math.floor(list.length / 2)];
const ms = (n) => `${n < 10 ? n.toFixed(1) : n.toFixed(0)} ms`;
const seconds = (n) => `${(n / SECOND).toFixed(n < 9950 ? 1 : 0)} s`;

const RUNGS = { ws: "WebSocket", sse: "Event stream (SSE)", poll: "Long poll", short: "Short poll" };
const IN_WORDS = { ws: "a WebSocket", sse: "an event stream", poll: "a long poll", short: "a short poll" };
const BUSY = "Too many checks are running at this moment.";

/** A check that Holdline itself has put off. */
const isBusy = (answer) => answer && answer.report && answer.report.reason === "limit_check";

// What to change, by the server that answers; `any` is for those that are not named.
const ADVICE = {
  upgrade: {
    nginx: "`proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;`",
    apache: "`upgrade=websocket` at the ProxyPass (Apache 2.4.47 or later), or mod_proxy_wstunnel",
    litespeed: "a `websocket` proxy for this address",
    iis: "the WebSocket Protocol feature and `webSocket enabled=\"true\"`",
    any: "the headers `Connection: Upgrade` and `Upgrade: websocket` must be passed on, over HTTP/1.1",
  },
  buffer: {
    nginx: "`proxy_buffering off;` and no `proxy_ignore_headers X-Accel-Buffering`",
    apache: "`flushpackets=on` at the ProxyPass",
    caddy: "`flush_interval -1` in reverse_proxy",
    iis: "`responseBufferLimit=\"0\"` for the proxy",
    any: "buffering must be off for this path",
  },
  compress: {
    nginx: "`gzip off;`",
    apache: "no mod_deflate and no mod_brotli: `SetEnv no-gzip 1`",
    caddy: "no `encode`",
    any: "streams must not be compressed",
  },
  timeout: {
    nginx: "`proxy_read_timeout 75s;`",
    apache: "`timeout=75` at the ProxyPass",
    iis: "a proxy time-out of 75 seconds",
    any: "a time-out of at least 75 seconds for this path",
  },
  host: {
    nginx: "`proxy_set_header Host $host;`",
    apache: "`ProxyPreserveHost On`",
    any: "the header `Host` must be passed on as it comes",
  },
  forwarded: {
    nginx: "`proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;`, and the proxy’s address in Holdline’s `trusted_proxies`",
    any: "`X-Forwarded-For` and `X-Forwarded-Proto` must be passed on, and the proxy’s address must be in Holdline’s `trusted_proxies`",
  },
};

/** One run of the check. */
class Check {
  constructor() {
    this.id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
    this.result = {}; // by rung: {state, title, delay, words}
    this.facts = [];
    this.offset = 0; // of the server's clock, in ms
    this.heartbeat = 15 * SECOND;
    this.items = {};
    $("rungs").replaceChildren(...Object.keys(RUNGS).map((rung) => {
      const item = $("rung").content.firstElementChild.cloneNode(true);
      item.querySelector("h3").textContent = RUNGS[rung];
      this.items[rung] = item;
      this.show(rung, "busy", "trying …");
      return item;
    }));
    $("facts").replaceChildren();
  }

  address(endpoint, query) {
    return `${base}/${endpoint}?${new URLSearchParams({ check: this.id, ...query })}`;
  }

  async ask(wait, n) {
    const query = { wait, host: location.hostname.replace(/^\[|\]$/g, ""), n };
    const began = performance.now();
    const response = await fetch(this.address("poll", query), { cache: "no-store", credentials: "omit" });
    const answered = performance.timeOrigin + performance.now();
    const took = answered - performance.timeOrigin - began;
    const report = await response.json().catch(() => null);
    const ok = response.ok && report && Number.isFinite(report.now);
    return { ok, status: response.status, report, took, answered, headers: response.headers };
  }

  show(rung, state, title, words = "", delay = "") {
    this.result[rung] = { state, title, words, delay };
    const item = this.items[rung];
    item.dataset.state = state;
    for (const [name, text] of Object.entries({ state: title, words, delay })) {
      item.querySelector(`.${name}`).textContent = text;
    }
  }

  async run() {
    const began = performance.now();
    const total = () => Math.max(this.heartbeat + 5 * SECOND, HOLD * SECOND) + 2 * SECOND;
    const ticking = setInterval(() => { $("progress").value = Math.min(99, (performance.now() - began) / total() * 100); }, 250);
    try {
      await this.short();
      if (this.result.short.state !== "bad") {
        await Promise.all([this.ws(), this.sse(), this.poll()]);
      } else {
        for (const rung of ["ws", "sse", "poll"]) this.show(rung, "bad", "not tried", "Nothing answers at all.");
      }
    } finally {
      clearInterval(ticking);
    }
  }

  // ---- Short polls come first: they tell the time and how requests arrive.

  async short() {
    const trips = [];
    performance.clearResourceTimings();
    try {
      for (let n = 0; n < 9; n++) trips.push(await this.ask(0, n));
    } catch (e) {
      return this.show("short", "bad", "no answer", String(e.message));
    }
    const bad = trips.find((t) => !t.ok);
    if (bad) {
      const said = bad.report && bad.report.error;
      return this.show("short", "bad", `status ${bad.status}`, said || "Something else than Holdline answers at this address.");
    }
    const best = trips.reduce((a, b) => (a.took < b.took ? a : b));
    const last = trips[trips.length - 1];
    this.doubt = best.took / 2; // as NTP has it
    this.offset = best.report.now - (best.answered - best.took / 2);
    this.heartbeat = last.report.heartbeat_ms;
    this.server = kindOf(last.headers.get("Server") || "");
    const timings = performance.getEntriesByType("resource").filter((t) => t.name.includes(this.id));
    const reused = timings.filter((t) => t.connectEnd === t.connectStart).length;
    this.show("short", "good", "gets through",
      `${timings[0] && timings[0].nextHopProtocol || "HTTP"}; ${reused >= timings.length - 2 ? "connections are kept" : "a new connection for each request"}; fastest ${ms(best.took)}.`,
      `${ms(median(trips.map((t) => t.took)))} there and back`);
    this.describe(last, timings, reused);
  }

  /** What the requests and answers say of the proxies between. */
  describe({ report, headers }, timings, reused) {
    const facts = this.facts;
    const fact = (name, text, state = "good", kind) => facts.push({ name, text, state, kind });
    fact("Answers", headers.get("Server") || "a server that does not say its name");
    fact("To the browser", (timings[0] && timings[0].nextHopProtocol) || "unknown");
    fact("To Holdline", report.protocol, report.protocol === "HTTP/1.0" ? "fair" : "good");
    if (reused < timings.length - 2) fact("Keep-alive", "every request costs a new connection", "fair");
    const coding = headers.get("Content-Encoding");
    fact("Compression", coding ? `answers are compressed (${coding})` : "none added");
    const scopes = { public: report.address, private: "a private address", loopback: "this server itself", none: "none" };
    const behind = report.scope !== "public" && !/^(localhost|127\.|\[::1\]|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(location.host);
    fact("Your address", scopes[report.scope] + (behind ? ": the proxy’s, so that all visitors count as one" : ""),
      behind ? "bad" : "good", behind ? "forwarded" : "");
    const https = location.protocol === "https:";
    fact("Encrypted", https === report.https ? (https ? "yes, and Holdline knows" : "no") : "yes, but Holdline is not told",
      https === report.https ? "good" : "fair", https === report.https ? "" : "forwarded");
    fact("Name of the site", report.same_host ? "passed on" : "replaced by the proxy",
      report.same_host ? "good" : "fair", report.same_host ? "" : "host");
    const off = Math.abs(this.offset);
    fact("Server’s clock", off > this.doubt + 100 ? `${seconds(off)} ${this.offset > 0 ? "ahead of" : "behind"} this device’s` : "the same as this device’s",
      off > 60 * SECOND ? "fair" : "good");
    $("facts").replaceChildren(...facts.map(({ name, text, state }) => {
      const row = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = text;
      dd.dataset.state = state;
      row.append(dt, dd);
      return row;
    }));
  }

  // ---- WebSocket: opens, echoes, lives through the pause between two heartbeats.

  async ws() {
    let socket, heard = () => {};
    const closed = new Promise((end) => {
      try {
        socket = new WebSocket(new URL(this.address("ws"), location.href).href.replace(/^http/, "ws"), "holdline.v1");
      } catch (e) {
        return end({ reason: e.message });
      }
      socket.onclose = end;
      socket.onopen = () => heard();
      socket.onmessage = (m) => heard(m);
    });
    const next = (wait) => Promise.race([
      new Promise((hear) => { heard = () => hear(true); }), closed.then(() => false), pause(wait).then(() => false)]);
    if (!await next(2 * FIRST_BYTE)) {
      if (socket) socket.close();
      return this.refusedSocket();
    }
    const opened = performance.now();
    const trips = [];
    const ping = async () => {
      const began = performance.now();
      socket.send(JSON.stringify({ type: "ping", id: trips.length }));
      if (!await next(FIRST_BYTE)) return false;
      trips.push(performance.now() - began);
      return true;
    };
    let answers = true;
    for (let i = 0; i < 9 && answers; i++) answers = await ping();
    const delay = trips.length ? `${ms(median(trips))} there and back` : "";
    const quiet = Math.min(this.heartbeat + 5 * SECOND, 28 * SECOND);
    const ticking = setInterval(() => {
      this.show("ws", "busy", "open", `Held for ${Math.floor((performance.now() - opened) / SECOND)} of ${quiet / SECOND} s …`, delay);
    }, SECOND);
    const cut = answers && await Promise.race([closed, pause(quiet - (performance.now() - opened))]);
    clearInterval(ticking);
    const age = performance.now() - opened;
    if (cut) this.show("ws", "fair", `cut after ${seconds(age)}`, `A connection on which nobody spoke was ended (code ${cut.code}).`, delay);
    else if (!answers || !await ping()) this.show("ws", "bad", "goes silent", "It opens, and then nothing comes through.", delay);
    else this.show("ws", "good", "gets through", `Open for ${seconds(age)}, longer than any pause between two heartbeats.`, delay);
    socket.close();
  }

  async refusedSocket() {
    const answer = await this.ask(0, "ws").catch(() => ({}));
    const why = answer.report && answer.report.handshake;
    if (why && why.startsWith("too many checks")) return this.show("ws", "none", "not tried", BUSY);
    this.show("ws", "bad", "blocked", why ? `Holdline was asked, but: ${why}` : "The request never reached Holdline: something before it refused.");
  }

  // ---- SSE: the first byte at once, five events a tick apart, then a heartbeat.

  async sse() {
    const began = performance.now(), abort = new AbortController();
    const at = { first: 0, events: [], heartbeat: 0 };
    const late = setTimeout(() => this.show("sse", "busy", "nothing yet", "No byte in 3 s: something holds the stream back."), FIRST_BYTE);
    const limit = setTimeout(() => abort.abort(), 33 * SECOND);
    let trouble = "", response;
    try {
      response = await fetch(this.address("sse"), { signal: abort.signal, cache: "no-store", credentials: "omit", headers: { Accept: "text/event-stream" } });
      if (!response.ok) {
        if (isBusy({ report: await response.json().catch(() => null) })) return this.show("sse", "none", "not tried", BUSY);
        throw new Error(`status ${response.status}`);
      }
      await this.readStream(response.body.getReader(), at, began);
    } catch (e) {
      trouble = abort.signal.aborted ? "" : String(e.message);
    } finally {
      clearTimeout(late);
      clearTimeout(limit);
      abort.abort();
    }
    this.judgeStream(at, performance.now() - began, trouble, response);
  }

  async readStream(reader, at, began) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const now = performance.now();
      at.first = at.first || now - began;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const sent = /^data: .*"now":([0-9.]+)/m.exec(block);
        if (sent) at.events.push({ at: now - began, delay: performance.timeOrigin + now + this.offset - Number(sent[1]) });
        else if (block === ":") at.heartbeat = now - began;
      }
      if (at.events.length === 5 && !at.heartbeat) this.show("sse", "busy", "open", "Waits for a heartbeat …", this.oneWay(at));
      if (at.heartbeat || (at.events.length === 5 && this.heartbeat > 28 * SECOND)) return;
    }
  }

  oneWay(at) {
    if (!at.events.length) return "";
    const delay = median(at.events.map((e) => e.delay));
    return delay > this.doubt ? `${ms(delay)} one way` : `under ${ms(2 * this.doubt)} one way`;
  }

  judgeStream(at, age, trouble, response) {
    const delay = this.oneWay(at);
    const coding = response && response.headers.get("Content-Encoding");
    const spread = at.events.length ? at.events[at.events.length - 1].at - at.events[0].at : 0;
    this.compressed = Boolean(coding);
    const packed = coding ? ` It is compressed (${coding}).` : "";
    if (!at.first && trouble && age < FIRST_BYTE) {
      this.show("sse", "bad", "blocked", `No stream: ${trouble}.`);
    } else if (!at.first || at.first > FIRST_BYTE) {
      const came = at.first ? `The first byte came after ${seconds(at.first)}` : `Not a byte came in ${seconds(age)}`;
      this.show("sse", "bad", "buffered", `${came}: something gathers the stream instead of passing it on.${packed}`);
    } else if (spread < 500) {
      this.show("sse", "bad", "buffered", `Events that were sent a quarter of a second apart came in one piece.${packed}`, delay);
    } else if (!at.heartbeat && this.heartbeat <= 28 * SECOND) {
      this.show("sse", "fair", `cut after ${seconds(age)}`, `A stream on which nobody spoke was ended before its heartbeat.${packed}`, delay);
    } else {
      this.show("sse", "good", "gets through", `First byte after ${ms(at.first)}; a heartbeat came.${packed}`, delay);
    }
  }

  // ---- Long poll: held as long as the client would hold it.

  async poll() {
    const more = [];
    let delay = "";
    const began = performance.now();
    const ticking = setInterval(() => {
      this.show("poll", "busy", "held", `For ${Math.floor((performance.now() - began) / SECOND)} of ${HOLD} s …`, delay);
    }, SECOND);
    const long = this.ask(HOLD, "hold").catch((e) => ({ ok: false, status: 0, error: e.message }));
    const held = long.then((answer) => ({ ...answer, took: performance.now() - began }));
    for (let i = 0; i < 3; i++) {
      const one = await this.ask(0.2, `delay${i}`).catch(() => null);
      if (one && one.ok) more.push(one.took - one.report.held_ms);
    }
    if (more.length) delay = `${ms(median(more))} there and back`;
    const answer = await held;
    clearInterval(ticking);
    if (answer.ok && answer.report.held_ms >= (HOLD - 0.1) * SECOND) {
      return this.show("poll", "good", "gets through", `Held for ${HOLD} s and answered.`, delay);
    }
    if (isBusy(answer)) return this.show("poll", "none", "not tried", BUSY);
    this.shorter = answer.took > 2.5 * SECOND; // the client's polls go below that time
    const how = answer.status ? `status ${answer.status}` : "the connection broke";
    const words = this.shorter ? " Polls are held for less than that instead." : " That is too short to be of use.";
    this.show("poll", "fair", `cut after ${seconds(answer.took)}`, `A request was ended while it was held: ${how}.${words}`, delay);
  }

  // ---- The verdict.

  /** Kinds of advice, most useful first. */
  problems() {
    const { ws, sse, poll } = this.result, list = [];
    if (this.result.short.state === "bad") return list;
    if (ws.state === "bad") list.push("upgrade");
    if (sse.state === "bad") list.push("buffer");
    if (this.compressed) list.push("compress");
    if ([ws, sse, poll].some((r) => r.state === "fair")) list.push("timeout");
    for (const kind of ["forwarded", "host"]) if (this.facts.some((f) => f.kind === kind)) list.push(kind);
    return list;
  }

  verdict() {
    const { result } = this, rungs = Object.keys(RUNGS);
    if (result.short.state === "bad") return { state: "bad", text: `Holdline cannot be reached here: ${result.short.title}.`, advice: [] };
    if (rungs.some((rung) => result[rung].state === "none")) {
      return { state: "fair", text: "Too many checks are running at this moment. Run it again in half a minute.", advice: [] };
    }
    const used = rungs.find((rung) => result[rung].state === "good" || (rung === "poll" && this.shorter));
    const flaws = (list) => list.filter((rung) => result[rung].state !== "good")
      .map((rung) => `${IN_WORDS[rung]} ${/^goes/.test(result[rung].title) ? "" : "is "}${result[rung].title}`).join(" and ");
    const above = flaws(rungs.slice(0, rungs.indexOf(used))), below = flaws(rungs.slice(rungs.indexOf(used) + 1));
    const problems = this.problems();
    const delay = result[used].delay ? ` (${result[used].delay})` : "";
    let text = `Pages will use ${IN_WORDS[used]}${delay}`;
    if (!above && !below) text = `Everything gets through: pages will use ${IN_WORDS[used]}${delay}`;
    if (above) text += `, because ${above}`;
    if (below) text += `. Should that fail: ${below}`;
    if (problems.includes("forwarded")) text += "; and Holdline is not told who asks";
    const titles = {
      upgrade: "Let WebSockets through", buffer: "Pass streams on at once", compress: "Leave streams uncompressed", timeout: "Hold longer", forwarded: "Say who asks", host: "Say which site it is",
    };
    const advice = problems.map((p) => `${titles[p]}: ${ADVICE[p][this.server] || ADVICE[p].any}.`);
    if (advice.length) advice.push(`\`holdline snippet ${this.server || "nginx"}\` prints a configuration that does all of it.`);
    const state = !problems.length ? "good" : used === "short" ? "bad" : "fair";
    return { state, text: `${text}.`, advice };
  }

  text({ text, advice }) {
    const rows = Object.entries(this.result).map(([rung, r]) => `- ${RUNGS[rung]}: ${[r.title, r.delay, r.words].filter(Boolean).join("; ")}`);
    const facts = this.facts.map((f) => `- ${f.name}: ${f.text}`);
    return [`Holdline check of ${location.origin}${base}, ${new Date().toISOString()}`, "", text, ...advice.map((a) => `* ${a}`), "",
      ...rows, "", ...facts, "", navigator.userAgent, ""].join("\n");
  }
}

/** Which of `holdline snippet`'s servers a Server header names; "" for none. */
function kindOf(server) {
  const known = { nginx: "nginx", openresty: "nginx", apache: "apache", caddy: "caddy", litespeed: "litespeed", "microsoft-iis": "iis" };
  const found = Object.keys(known).find((name) => server.toLowerCase().includes(name));
  return found ? known[found] : "";
}

/** Text in which what stands in `backquotes` is code, as nodes. */
function withCode(text) {
  return text.split("`").map((part, i) => {
    const node = document.createElement(i % 2 ? "code" : "span");
    node.textContent = part;
    return node;
  });
}

async function main() {
  $("again").disabled = $("copy").disabled = true;
  $("report").hidden = true;
  $("copied").textContent = "";
  $("verdict").dataset.state = "busy";
  $("sentence").textContent = "Trying each way in; this takes half a minute …";
  $("advice").replaceChildren();
  $("progress").hidden = false;
  const check = new Check();
  let verdict;
  try {
    await check.run();
    verdict = check.verdict();
  } catch (e) {
    verdict = { state: "bad", text: `The check itself failed: ${e.message}`, advice: [] };
  }
  $("progress").hidden = true;
  $("verdict").dataset.state = verdict.state;
  $("sentence").textContent = verdict.text;
  $("advice").replaceChildren(...verdict.advice.map((text) => {
    const item = document.createElement("li");
    item.append(...withCode(text));
    return item;
  }));
  $("report").value = check.text(verdict);
  $("again").disabled = $("copy").disabled = false;
}

$("again").onclick = main;
$("copy").onclick = async () => {
  const report = $("report");
  try {
    await navigator.clipboard.writeText(report.value);
    $("copied").textContent = "Copied.";
  } catch { // there is no clipboard without HTTPS
    report.hidden = false;
    report.select();
    $("copied").textContent = "Press Ctrl+C to copy.";
  }
};
main();
