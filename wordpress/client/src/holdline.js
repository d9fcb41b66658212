import {
  BEAT, HOUR, SECOND, catchUp, inOrder, jitter, keyOf, newId, now, numberOf, parse, pause, putIn, whyOf,
} from "./words.js";
import { busOf, newBroker } from "./broker.js";
import { RECEIPTS, newShown, subjectOf } from "./shown.js";

/* global BUILD */
const VERSION = typeof BUILD === "undefined" ? 0 : BUILD; // two of them do not understand each other
const STATES = ["failed", "pending", "stored", "delivered", "seen", "dropped"]; // of a send

/** Whose token it is: tabs share a line only with the same rights. */
export function rightsOf(token) {
  if (!token) return "";
  try {
    const { sub, channels } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return [sub, channels];
  } catch {
    return token; // not a JWT
  }
}

const script = self.document?.currentScript?.src;

/**
 * A tab's end of the line. See holdline.d.ts.
 * @param {import("../holdline").Options} options
 */
export function Holdline({ url, as, channels = [], cursor = "", token, getToken, share, worker }) {
  const listeners = new Map(); // type → functions
  const shown = newShown();
  const sends = new Map(); // client_id → send, see outbox.js
  const read = new Map(); // how far the other side has been told and has read
  const typing = new Map(); // who is typing → the timer that ends it
  const typedAt = new Map(); // channel → when we said that we are typing
  const pings = []; // who waits for an answer
  let lastSaid = 0; // time of the last send, which no two have in common
  let told = { state: "connecting", transport: "" };
  let started, closed, role, name, id;
  let at; // number of the last word that was heard; none yet: what is live counts from the welcome on
  let term; // of the broker that was last heard
  let holding; // replays under way
  let kept; // what is live meanwhile
  let missing; // what is to be replayed: [cursor, channels]
  let heard, watch, patience, bus, broker, election, release, isReady;
  const ready = new Promise((resolve) => { isReady = resolve; });

  const signals = "online visibilitychange pagehide pageshow".split(" ");
  const signalled = ({ type, persisted }) => {
    const hard = type === "online";
    if (type === "pagehide") stop();
    else if (persisted) start();
    else if (hard || !document.hidden) post("wake", hard);
  };

  const line = {
    get state() { return told.state; },
    get transport() { return told.transport; },
    get role() { return role; },
    get channels() { return channels; },

    on(type, fn) {
      listeners.set(type, (listeners.get(type) || new Set()).add(fn));
      return line;
    },

    off(type, fn) {
      if (fn) listeners.get(type)?.delete(fn);
      else listeners.delete(type);
      return line;
    },

    subscribe(channel, from) {
      if (!channels.includes(channel)) {
        channels = [...channels, channel];
        if (from) missing.push([from, [channel]]);
        join();
      }
      return line;
    },

    unsubscribe(channel) {
      channels = channels.filter((other) => other !== channel);
      shown.forget_(channel);
      join();
      return line;
    },

    close() {
      stop();
      closed = true;
      for (const type of signals) self.removeEventListener?.(type, signalled);
      tell({ state: "closed", transport: "" });
    },

    latency: () => new Promise((resolve, reject) => {
      pings.push(resolve);
      setTimeout(reject, 10 * SECOND, new Error("no answer"));
      post("ping");
    }),

    send(channel, body, more) {
      const client_id = newId();
      typedAt.delete(channel);
      queue({ as, ...more, client_id, channel, body: `${body}` }, "pending");
      return client_id;
    },

    async sends() {
      await ready;
      return those(["pending", "failed"]).map((s) => ({ ...s }));
    },

    retry(client_id) {
      const send = sends.get(client_id);
      if (send?.state === "failed") queue(send, "pending");
      return line;
    },

    drop(client_id) {
      const send = sends.get(client_id);
      if (send && STATES.indexOf(send.state) < 2) queue(send, "dropped");
      return line;
    },

    typing(channel, on = true) {
      const before = typedAt.get(channel) || 0;
      if (on ? now() - before < 2 * SECOND : !before) return line;
      typedAt.set(channel, on ? now() : 0);
      return say({ type: "typing", channel, typing: Boolean(on) });
    },

    seen: (channel, upTo) => say({ type: "seen", channel, up_to: upTo }),
    signal: (channel, to, payload) => say({ type: "signal", channel, client_id: newId(), to, payload }),
  };

  // ---- Who holds the line: a SharedWorker, else the tab that has the lock, else
  // each tab its own.

  async function start() {
    if (closed || started) return;
    const run = started = {};
    id = newId();
    at = undefined;
    term = holding = 0;
    kept = [];
    missing = cursor ? [[cursor, channels]] : [];
    token = token || (await fresh());
    if (run !== started) return;
    name = `holdline ${keyOf(VERSION, url, rightsOf(token), as)}`;
    if (share === false || !self.BroadcastChannel) return alone();
    open(name);
    join();
    watch = setInterval(() => {
      if (now() - heard < 8 * BEAT) return;
      stop();
      start();
    }, BEAT);
    lead();
  }

  function open(where, local) {
    heard = now();
    bus = busOf(where, local, hear);
  }

  function alone() {
    clearTimeout(watch);
    bus?.close_();
    open(name + id, true);
    broker = newBroker(name + id, "tab", name);
  }

  function lead() {
    const address = worker ?? (Holdline.script || script || `${url}/client.js`);
    const give = () => { if (bus && !term) elect(); };
    if (!address) return elect(); // none is wanted
    try {
      line.worker = new SharedWorker(address, { name });
      line.worker.onerror = give;
      patience = setTimeout(give, 2 * SECOND);
    } catch { // there are none, it is another origin's script, or forbidden by a policy
      elect();
    }
  }

  /** Leads as soon as nobody else does. */
  function elect() {
    const { locks } = navigator;
    if (!locks) return term ? undefined : alone();
    if (election) return;
    const mine = election = new AbortController();
    locks.request(name, { signal: mine.signal }, () => new Promise((resolve) => {
      if (mine !== election) return resolve();
      release = resolve;
      broker = newBroker(name, "leader", name);
    })).catch(() => {}); // the abort of stop()
  }

  function stop() {
    if (!started) return;
    started = undefined;
    post("leave");
    clearTimeout(patience);
    clearTimeout(watch);
    broker?.close_();
    election?.abort();
    release?.();
    bus?.close_();
    broker = election = release = bus = undefined;
  }

  // ---- What is said between a tab and its broker.

  function post(word, ...more) {
    bus?.post_([word, id, ...more]);
  }

  function join() {
    post("join", { url, as, channels, at, cursor, token, renews_: Boolean(getToken), memory: recall() });
  }

  const hears = {
    lead: join,
    state: tell,
    error: failed,
    memory: store,
    "token?": () => fresh().then((newer) => post("token", token = newer || token)),
    pong: (ms) => pings.splice(0).forEach((resolve) => resolve(ms)),
    sent,

    welcome(n, stands, state, states) {
      if (at && at !== n) missing.push([cursor, channels]);
      at = n;
      cursor = stands || cursor;
      if (state.state !== told.state || state.transport !== told.transport) tell(state);
      missing.splice(0).forEach((gap) => replay(...gap));
      live(states);
    },

    /** The broker's next word, or one is missing before it. */
    events(n, begun, events, stands) {
      if (!at) return;
      const next = n === at + 1 || (n === term + 1 && at >= begun);
      const before = cursor;
      at = n;
      cursor = stands || before;
      if (!next && before) replay(before, channels);
      live(events);
    },
  };

  function hear([word, from, ...more]) {
    if (word === "token") token = more[0] || token; // of another tab
    if (!(from.term_ >= term)) return; // of another tab, or of a broker that has gone
    const { kind_: kind, to_: to } = from;
    const first = from.term_ > term;
    term = from.term_;
    heard = now();
    role = kind === "leader" && !broker ? "follower" : kind;
    if (first) {
      if (kind === "worker" && navigator.locks) elect(); // a worker that dies is replaced by a tab
      post("send", those(["pending", "dropped"])); // it may have heard of none
    }
    if (to && to !== id) return;
    hears[word]?.(...more);
    if (to && word === "sent") isReady();
  }

  /** Reads what came after a cursor, while what is live waits behind it. */
  async function replay(from, wanted) {
    const run = started;
    holding++;
    const who = { url, as, token, channels: wanted, cursor: from };
    for (let failures = 0, more = true; more; ) {
      more = false;
      try {
        await catchUp(who, (events) => {
          if (run === started) deliver(events);
          return run === started;
        });
      } catch (e) {
        const why = whyOf(e);
        more = !why.refused_;
        if (more) await pause(why.after_ || jitter(failures++));
        else failed(why);
      }
      if (run !== started) return;
    }
    if (--holding === 0) deliver(kept.splice(0));
  }

  function live(events) {
    if (holding) kept.push(...events);
    else deliver(events);
  }

  function say(words) {
    post("say", JSON.parse(JSON.stringify({ ...words, as }))); // not everything can be copied to a worker
    return line;
  }

  function queue({ client_id, channel, body, as }, state) {
    const send = { client_id, channel, body, as, state, at: lastSaid = Math.max(now(), lastSaid + 1) };
    sends.set(send.client_id, send);
    queueMicrotask(() => emit("sent", { ...send })); // once the page has its id
    post("send", [send]);
  }

  // ---- What the page hears.

  /** Hands events to the page, each once. */
  function deliver(events) {
    for (const told of events) {
      const { channel } = told;
      // These three are this client's own words.
      const e = !["state", "error", "sent"].includes(told.type) && channels.includes(channel) && shown.admit_(told);
      if (!e) continue;
      const { type, data } = e;
      if (type === "typing") {
        typed(e, data.typing, data.expires_ms);
        continue;
      }
      if (type === "message") typed(e);
      emit(type, e);
      if (e.from?.kind === (as || "visitor")) continue;
      if (type === "message" || type === "stored") say({ type: "delivered", channel, up_to: numberOf(e.id) });
      else if (RECEIPTS.includes(type)) {
        const key = keyOf(channel, type);
        read.set(key, Math.max(read.get(key) || 0, data.up_to));
        tick(channel);
      }
    }
  }

  /** Somebody is typing, or not any more; after a while that is over by itself. */
  function typed({ channel, from }, on, after) {
    const event = { type: "typing", channel, from, data: { typing: Boolean(on) } };
    const key = subjectOf(event);
    const timer = typing.get(key);
    clearTimeout(timer);
    typing.delete(key);
    if (on) typing.set(key, setTimeout(() => typed(event), Math.min(numberOf(after) || 6 * SECOND, 60 * SECOND)));
    if (on || timer) emit("typing", event);
  }

  /** Notes what became of sends, and tells the page what is news. */
  function sent(list) {
    for (const send of list) {
      const { client_id, channel, state } = send;
      const was = sends.get(client_id);
      const rank = STATES.indexOf(state), before = STATES.indexOf(was?.state);
      if (rank === before || (before > 1 && rank < before)) continue;
      putIn(sends, client_id, send);
      emit("sent", { ...send });
      if (state === "stored") tick(channel);
    }
  }

  /** Tells which sends the other side has been told and has read. */
  function tick(channel) {
    for (const state of RECEIPTS) {
      const upTo = read.get(keyOf(channel, state));
      sent(inOrder(sends).filter((s) => s.channel === channel && s.id <= upTo).map((s) => ({ ...s, state })));
    }
  }

  const those = (states) => inOrder(sends).filter((s) => states.includes(s.state));

  function tell(news) {
    told = { ...news, role };
    emit("state", told);
  }

  function failed(why, given) {
    const mine = given && given.filter((channel) => channels.includes(channel));
    if (mine && !mine.length) return;
    if (mine) channels = channels.filter((channel) => !mine.includes(channel));
    emit("error", { message: why.refused_, status: why.status, reason: why.reason, channels: mine });
  }

  /** A listener's mistake is the page's to see and nobody else's to suffer. */
  function emit(type, event) {
    for (const fn of [...(listeners.get(type) || [])]) {
      try {
        fn(event);
      } catch (e) {
        setTimeout(() => { throw e; });
      }
    }
  }

  async function fresh() {
    await null; // so that even what fails at once finds listeners
    try {
      return `${(await getToken?.()) || ""}`;
    } catch (e) {
      emit("error", { message: `getToken: ${e?.message}`, status: 0, reason: "token" });
      return "";
    }
  }

  // ---- What worked on this site, for the next page. Storage may be forbidden.

  function recall() {
    try {
      const memory = parse(localStorage.getItem(`holdline ${url}`));
      return now() - memory?.at < 24 * HOUR && memory;
    } catch { /* the ladder is tried from the top */ }
  }

  function store(memory) {
    try {
      localStorage.setItem(`holdline ${url}`, JSON.stringify(memory));
    } catch { /* the next page finds out by itself */ }
  }

  url = new URL(url, self.location?.href).href.replace(/\/$/, "");
  channels = [...new Set(channels)];
  for (const type of signals) self.addEventListener?.(type, signalled);
  start();
  return line;
}
