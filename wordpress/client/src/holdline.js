import {
  BEAT, HOUR, SECOND, addressOf, askPoll, eventsIn, jitter, keyOf, newId, now, numberOf, parse, partyOf, pause, whyOf,
} from "./words.js";
import { Broker, busOf, isBefore } from "./broker.js";
import { Shown, subjectOf } from "./shown.js";

const MAX_SENDS = 2000; // of whose state a tab knows
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

const script = typeof document !== "undefined" && document.currentScript ? document.currentScript.src : "";

/** A tab's end of the line. See holdline.d.ts. */
export class Holdline {
  /** @param {import("../holdline").Options} options */
  constructor(options) {
    const { url, as, channels = [], cursor = "" } = options;
    this.options = options;
    this.url = new URL(url, self.location && location.href).href.replace(/\/$/, "");
    this.as = as;
    this.listeners_ = new Map();
    this.channels = [...new Set(channels)];
    this.cursor = cursor;
    this.shown_ = new Shown();
    this.sends_ = new Map(); // client_id → send, see outbox.js
    this.read_ = new Map(); // how far the other side has been told and has read
    this.typing_ = new Map(); // who is typing → the timer that ends it
    this.typedAt_ = new Map(); // channel → when we said that we are typing
    this.last_ = 0; // time of the last send, which no two have in common
    this.ready_ = new Promise((ready) => { this.isReady_ = ready; });
    this.told = { state: "connecting", transport: "" };
    this.pings_ = [];
    this.signals_ = [
      [self, "online", () => this.post("wake", { hard: true })],
      [self, "pagehide", () => this.stop()],
      [self, "pageshow", (e) => e.persisted && this.start()],
      [self.document, "visibilitychange", () => document.hidden || this.post("wake")],
    ].filter(([on]) => on && on.addEventListener);
    for (const [on, type, fn] of this.signals_) on.addEventListener(type, fn);
    this.start();
  }

  get state() { return this.told.state; }
  get transport() { return this.told.transport; }

  on(type, fn) {
    this.listeners_.set(type, (this.listeners_.get(type) || new Set()).add(fn));
    return this;
  }

  off(type, fn) {
    const set = this.listeners_.get(type);
    if (set && fn) set.delete(fn);
    else this.listeners_.delete(type);
    return this;
  }

  subscribe(channel, cursor) {
    if (!this.channels.includes(channel)) {
      this.channels = [...this.channels, channel];
      if (cursor) this.missing_.push([cursor, [channel]]);
      this.join();
    }
    return this;
  }

  unsubscribe(channel) {
    this.channels = this.channels.filter((name) => name !== channel);
    this.shown_.forget_(channel);
    this.join();
    return this;
  }

  close() {
    this.stop();
    this.closed = true;
    for (const [on, type, fn] of this.signals_) on.removeEventListener(type, fn);
    this.tell_({ state: "closed", transport: "" });
  }

  // ---- What the page says.

  send(channel, body, { as = this.as } = {}) {
    const id = newId();
    this.typedAt_.delete(channel);
    this.queue_({ client_id: id, channel, body: String(body), as, state: "pending" });
    return id;
  }

  async sends() {
    await this.ready_;
    return this.some_((s) => s.state === "pending" || s.state === "failed").map((s) => ({ ...s }));
  }

  retry(id) {
    const send = this.sends_.get(id);
    if (send && send.state === "failed") this.queue_({ ...send, state: "pending", reason: undefined, error: undefined });
    return this;
  }

  drop(id) {
    const send = this.sends_.get(id);
    if (send && STATES.indexOf(send.state) < 2) this.queue_({ ...send, state: "dropped" });
    return this;
  }

  typing(channel, on = true) {
    const before = this.typedAt_.get(channel) || 0;
    if (on ? now() - before < 2 * SECOND : !before) return this;
    this.typedAt_.set(channel, on ? now() : 0);
    return this.say_({ type: "typing", channel, typing: Boolean(on) });
  }

  seen(channel, id) {
    return this.say_({ type: "seen", channel, up_to: Number(id) });
  }

  signal(channel, to, payload) {
    return this.say_({ type: "signal", channel, client_id: newId(), to, payload });
  }

  latency() {
    return new Promise((resolve, reject) => {
      this.pings_.push(resolve);
      setTimeout(reject, 10 * SECOND, new Error("the server has not answered"));
      this.post("ping");
    });
  }

  // ---- Who holds the line: a SharedWorker, else the tab that has the lock, else
  // each tab its own.

  async start() {
    if (this.closed || this.started_) return;
    const run = this.started_ = {};
    this.id = newId();
    this.at = null; // no place yet: what is live counts from the welcome on
    this.term = 0; // of the broker that was last heard
    this.holding_ = 0; // replays under way
    this.kept_ = []; // what is live meanwhile
    this.missing_ = this.cursor ? [[this.cursor, this.channels]] : [];
    const { token, getToken, share } = this.options;
    this.token = this.token || token || (getToken && (await this.fresh_())) || "";
    if (run !== this.started_) return;
    this.name = `holdline ${keyOf(2, this.url, rightsOf(this.token), this.as)}`; // 2: what is said on the bus
    if (share === false || typeof BroadcastChannel === "undefined") return this.alone_();
    this.open(false);
    this.join();
    this.watch_ = setInterval(() => {
      if (now() - this.heard_ < 8 * BEAT) return;
      this.stop();
      this.start();
    }, BEAT);
    if (!this.startWorker_()) this.elect_();
  }

  open(local) {
    this.heard_ = now();
    this.bus_ = busOf(this.name, local, (m) => this.hear_(m));
  }

  alone_() {
    clearInterval(this.watch_);
    if (this.bus_) this.bus_.close();
    const owner = this.name;
    this.name += ` ${this.id}`;
    this.open(true);
    this.broker_ = new Broker(this.name, "tab", owner);
  }

  startWorker_() {
    const { worker } = this.options;
    const address = worker === undefined ? Holdline.script || script || `${this.url}/client.js` : worker;
    if (!address || typeof SharedWorker === "undefined") return false;
    const give = () => { if (this.bus_ && !this.term) this.elect_(); };
    try {
      this.worker = new SharedWorker(address, { name: this.name });
    } catch {
      return false; // another origin's script, or forbidden by a policy
    }
    this.worker.onerror = give;
    this.patience_ = setTimeout(give, 2 * SECOND);
    return true;
  }

  /** Leads as soon as nobody else does. */
  elect_() {
    const { locks } = navigator;
    if (!locks) return this.term ? undefined : this.alone_();
    if (this.election_) return;
    const election = this.election_ = new AbortController();
    locks.request(this.name, { signal: election.signal }, () => new Promise((release) => {
      if (election !== this.election_) return release();
      this.release_ = release;
      this.broker_ = new Broker(this.name, "leader");
    })).catch(() => {}); // the abort of stop()
  }

  stop() {
    if (!this.started_) return;
    this.started_ = null;
    this.post("leave");
    clearTimeout(this.patience_);
    clearInterval(this.watch_);
    if (this.broker_) this.broker_.close();
    if (this.election_) this.election_.abort();
    if (this.release_) this.release_();
    if (this.bus_) this.bus_.close();
    this.broker_ = this.election_ = this.release_ = this.bus_ = null;
  }

  // ---- What is said between a tab and its broker.

  say_(words) {
    this.post("say", { words: JSON.parse(JSON.stringify({ ...words, as: this.as })) }); // not all can be copied to a worker
    return this;
  }

  queue_(send) {
    send.at = this.last_ = Math.max(now(), this.last_ + 1);
    this.sends_.set(send.client_id, send);
    queueMicrotask(() => this.emit_("sent", { ...send })); // once the page has its id
    this.post("send", { sends: [send] });
  }

  post(t, more) {
    if (this.bus_) this.bus_.post({ t, id: this.id, ...more });
  }

  join() {
    const { url, as, channels, at, cursor, token } = this;
    this.post("join", { url, as, channels, at, cursor, token, renews: Boolean(this.options.getToken), memory: this.recall_() });
  }

  hear_(m) {
    if (m.t === "token") this.token = m.token || this.token;
    if (!m.term || m.term < this.term) return; // of another tab, or of a broker that has gone
    const first = m.term > this.term;
    this.term = m.term;
    this.heard_ = now();
    this.role = m.kind === "leader" && !this.broker_ ? "follower" : m.kind;
    // A worker that dies is replaced by a tab.
    if (first && m.kind === "worker" && navigator.locks) this.elect_();
    const mine = m.to === this.id;
    if (first) this.post("send", { sends: this.some_((s) => s.state === "pending" || s.state === "dropped") }); // it may have heard of none
    if (m.t === "lead") this.join();
    else if (m.t === "welcome" && mine) this.welcomed_(m);
    else if (m.t === "events") this.placed_(m);
    else if (m.t === "sent") this.sent_(m);
    else if (m.t === "state") this.tell_(m);
    else if (m.t === "error") this.failed_(m);
    else if (m.t === "memory") this.store_(m.memory);
    else if (m.t === "token?" && mine) this.fresh_().then((token) => this.post("token", { token: this.token = token || this.token }));
    else if (m.t === "pong" && mine) this.pings_.splice(0).forEach((resolve) => resolve(m.ms));
  }

  welcomed_(m) {
    if (this.at && (this.at[0] !== m.term || this.at[1] !== m.n)) this.missing_.push([this.cursor, this.channels]);
    this.at = [m.term, m.n];
    this.cursor = m.cursor || this.cursor;
    if (m.told.state !== this.state || m.told.transport !== this.transport) this.tell_(m.told);
    this.missing_.splice(0).forEach(([cursor, channels]) => this.replay_(cursor, channels));
    this.live_(m.states);
  }

  /** Hears the broker's next word, or finds that one is missing before it. */
  placed_(m) {
    if (!this.at) return;
    const next = m.term === this.at[0] ? m.n === this.at[1] + 1 : m.n === 1 && !isBefore(this.at, m.begun);
    const { cursor } = this;
    this.at = [m.term, m.n];
    this.cursor = m.cursor || cursor;
    if (!next && cursor) this.replay_(cursor, this.channels);
    this.live_(m.events);
  }

  live_(events) {
    if (this.holding_) this.kept_.push(...events);
    else this.deliver_(events);
  }

  /** Reads what came after a cursor, while what is live waits behind it. */
  async replay_(cursor, channels) {
    const run = this.started_;
    this.holding_++;
    for (let failures = 0, more = true; more; ) {
      try {
        const answer = await askPoll(addressOf(this, "poll", { channels: channels.join(), cursor, wait: 0 }), this.token);
        if (run !== this.started_) return;
        this.deliver_(eventsIn(answer.events));
        more = answer.events.length > 0 && answer.cursor !== cursor;
        cursor = answer.cursor;
      } catch (e) {
        const why = whyOf(e);
        more = !why.refused;
        if (why.refused) this.failed_({ why });
        else await pause(why.after || jitter(failures++));
        if (run !== this.started_) return;
      }
    }
    if (--this.holding_ === 0) this.deliver_(this.kept_.splice(0));
  }

  // ---- What the page hears.

  /** Hands events to the page, each once. */
  deliver_(events) {
    const got = new Map(); // channel → the last of the other side's messages
    for (const heard of events) {
      const { channel } = heard;
      // These three are this client's own words.
      if (["state", "error", "sent"].includes(heard.type) || !this.channels.includes(channel)) continue;
      const e = this.shown_.admit_(heard);
      if (!e) continue;
      const { type, id, data } = e;
      if (type === "typing") {
        this.typed_(e, data.typing, data.expires_ms);
        continue;
      }
      if (type === "message") this.typed_(e);
      this.emit_(type, e);
      if (partyOf(e.from).kind === (this.as || "visitor")) continue;
      if ((type === "message" || type === "stored") && numberOf(id) > (got.get(channel) || 0)) got.set(channel, id);
      else if (type === "delivered" || type === "seen") {
        const key = keyOf(channel, type);
        this.read_.set(key, Math.max(data.up_to, this.read_.get(key) || 0));
        this.tick_(channel);
      }
    }
    got.forEach((id, channel) => this.say_({ type: "delivered", channel, up_to: id }));
  }

  /** Somebody is typing, or not any more; after a while that is over by itself. */
  typed_({ channel, from }, on, after) {
    const event = { type: "typing", channel, from, data: { typing: Boolean(on) } };
    const key = subjectOf(event);
    const timer = this.typing_.get(key);
    clearTimeout(timer);
    this.typing_.delete(key);
    if (on) this.typing_.set(key, setTimeout(() => this.typed_(event), Math.min(numberOf(after) || 6 * SECOND, 60 * SECOND)));
    if (on || timer) this.emit_("typing", event);
  }

  /** Notes what became of sends, and tells the page what is news. */
  sent_({ sends, to }) {
    if (to && to !== this.id) return;
    if (to) this.isReady_();
    for (const send of sends) {
      const { client_id: id, channel, state } = send;
      const was = this.sends_.get(id);
      const rank = STATES.indexOf(state), before = was ? STATES.indexOf(was.state) : -1;
      if (rank === before || (before > 1 && rank < before)) continue;
      this.sends_.set(id, send);
      this.emit_("sent", { ...send });
      if (state === "stored") this.tick_(channel);
    }
    for (const [id, { state }] of this.sends_) if (this.sends_.size > MAX_SENDS && state !== "pending") this.sends_.delete(id);
  }

  /** Tells which sends the other side has been told and has read. */
  tick_(channel) {
    for (const state of ["delivered", "seen"]) {
      const to = this.read_.get(keyOf(channel, state));
      this.sent_({ sends: this.some_((s) => s.channel === channel && s.id <= to).map((s) => ({ ...s, state })) });
    }
  }

  some_(wanted) {
    return [...this.sends_.values()].filter(wanted);
  }

  tell_({ state, transport, wait, why }) {
    this.told = { state, transport, wait, why, role: this.role };
    this.emit_("state", this.told);
  }

  failed_({ why, channels }) {
    const mine = channels && channels.filter((name) => this.channels.includes(name));
    if (mine && !mine.length) return;
    if (mine) this.channels = this.channels.filter((name) => !mine.includes(name));
    this.emit_("error", { message: why.refused, status: why.status, reason: why.reason, channels: mine });
  }

  /** A listener's mistake is the page's to see and nobody else's to suffer. */
  emit_(type, event) {
    for (const fn of new Set([type, "*"].flatMap((name) => [...(this.listeners_.get(name) || [])]))) {
      try {
        fn(event, type);
      } catch (e) {
        setTimeout(() => { throw e; });
      }
    }
  }

  async fresh_() {
    const { getToken } = this.options;
    await null; // so that even what fails at once finds listeners
    try {
      return String((getToken && (await getToken())) || "");
    } catch (e) {
      this.emit_("error", { message: `getToken: ${e && e.message}`, status: 0, reason: "token" });
      return "";
    }
  }

  // ---- What worked on this site, for the next page. Storage may be forbidden.

  recall_() {
    try {
      const memory = parse(localStorage.getItem(`holdline ${this.url}`));
      return memory && now() - memory.at < 24 * HOUR ? memory : {};
    } catch {
      return {};
    }
  }

  store_(memory) {
    try {
      localStorage.setItem(`holdline ${this.url}`, JSON.stringify(memory));
    } catch { /* the next page finds out by itself */ }
  }
}
