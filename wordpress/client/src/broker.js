// Broker and tabs speak over a bus: a BroadcastChannel, or functions of this page
// where there is none.

import { BEAT, SECOND, now } from "./words.js";
import { Asides } from "./asides.js";
import { Line } from "./line.js";
import { Outbox } from "./outbox.js";
import { subjectOf } from "./shown.js";

const MAX_STATES = 2000;

const rooms = new Map();

export function busOf(name, local, hear) {
  if (!local) {
    const channel = new BroadcastChannel(name);
    channel.onmessage = (m) => hear(m.data);
    return { post: (m) => channel.postMessage(m), close: () => channel.close() };
  }
  const room = rooms.get(name) || new Set();
  rooms.set(name, room.add(hear));
  return {
    post: (m) => queueMicrotask(() => room.forEach((other) => other !== hear && other(m))),
    close: () => {
      room.delete(hear);
      if (!room.size) rooms.delete(name);
    },
  };
}

/** A place in what was said is [term, n]: the nth word of a broker's term. */
export const isBefore = (a, b) => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);

/** Holds one line for all members on a bus. There is one Broker at a time. */
export class Broker {
  /** kind is what is told to the tabs: worker, leader or tab; owner whose sends are theirs. */
  constructor(name, kind, owner = name) {
    this.kind = kind;
    this.members_ = new Map();
    this.states = new Map(); // subject → last event about it, for who comes later
    const open = () => this.line && this.line.current && this.line;
    this.outbox_ = new Outbox(owner, open, (sends) => this.post("sent", { sends }));
    this.asides_ = new Asides(open);
    this.term = now();
    this.n = 0;
    this.bus_ = busOf(name, kind === "tab", (m) => this.hear_(m));
    this.timer = setInterval(() => this.beat_(), BEAT);
    this.beat_();
  }

  /** Every member answers with its join; who has not for long is gone. */
  beat_() {
    this.members_.forEach((m, id) => { if (now() - m.heard_ > 7 * BEAT) this.leave_(id); });
    this.post("lead");
    this.outbox_.run_();
  }

  post(t, more) {
    this.bus_.post({ t, term: this.term, kind: this.kind, ...more });
  }

  hear_(m) {
    const { line } = this;
    if (m.t === "lead" && m.term > this.term) this.close(); // somebody else leads
    else if (m.t === "join") this.join(m);
    else if (m.t === "leave") this.leave_(m.id);
    else if (m.t === "send") this.outbox_.add_(m.sends);
    else if (m.t === "say") this.asides_.add_(m.words);
    else if (m.t === "token" && this.tokenCame_) this.tokenCame_(m.token);
    else if (m.t === "wake" && line) line.wake(m.hard);
    else if (m.t === "ping" && line) line.latency().then((ms) => this.post("pong", { to: m.id, ms }), () => {});
  }

  join(m) {
    const known = this.members_.get(m.id);
    const changed = !known || m.channels.join() !== known.channels.join();
    this.members_.set(m.id, { ...m, heard_: now(), fresh_: changed || known.fresh_ });
    if (!known) {
      this.post("here", { to: m.id });
      this.outbox_.loaded_.then(() => this.post("sent", { to: m.id, sends: [...this.outbox_.sends_.values()] }));
    }
    if (!this.line) this.start(m);
    if (!this.begun) return this.gather_(m.id);
    if (!changed) return;
    const { line } = this;
    if (m.token && m.token !== line.token) {
      line.token = m.token;
      line.renewed_ = false;
    }
    if (line.state === "refused") line.connect(); // a new tab may know better
    this.cover_();
  }

  start({ url, as, memory, token }) {
    const line = this.line = new Line(url, as, memory, {
      events: (events, cursor) => this.events(events, cursor),
      state: (told) => {
        this.told = told;
        this.post("state", told);
        this.welcome_();
        if (told.state !== "open") return;
        this.cover_(); // more may have been wanted meanwhile
        this.outbox_.opened_();
        this.asides_.run_();
      },
      sent: (answer) => this.outbox_.answered_(answer),
      error: (why) => this.post("error", { why }),
      token: () => this.token(),
      remember: (remembered) => this.post("memory", { memory: remembered }),
    });
    line.token = token;
    this.first = null;
  }

  /**
   * Lets the tabs of a broker that has gone say who they are, before the line is
   * begun for all of them: who answered first is asked once more, and by the time
   * that answer is here so are the others'. A timer would not do: the new leader
   * may be a hidden tab, where browsers make a second of every pause.
   */
  gather_(id) {
    if (this.first === id) return this.begin_();
    if (this.first) return;
    this.first = id;
    this.post("lead");
  }

  /** Begins where the member stands that has heard least. */
  begin_() {
    let first = null;
    this.members_.forEach((m) => { if (m.cursor && m.at && (!first || isBefore(m.at, first.at))) first = m; });
    this.begun = first ? first.at : [0, 0];
    if (first) this.line.cursor = first.cursor;
    this.cover_();
  }

  /** Makes the line read what the members want, no more and no less. */
  async cover_() {
    if (this.covering_) return;
    this.covering_ = true;
    while (await this.coverOnce_());
    this.covering_ = false;
    this.welcome_(); // for those who need nothing new
  }

  /** Takes one step towards that; tells whether there may be another. */
  async coverOnce_() {
    const { line } = this;
    const want = [...new Set([...this.members_.values()].flatMap((m) => m.channels))].sort();
    if (!line || !want.length) return false;
    const { channels } = line.current || line;
    const added = want.filter((name) => !channels.includes(name));
    if (added.length && line.current) {
      const why = await line.extend_([...new Set([...channels, ...want])].sort());
      if (why && line === this.line) this.exclude_(added, why);
      return true;
    }
    if (want.join() === line.channels.join()) return false;
    line.channels = want;
    if (!line.current) {
      line.connect();
    } else { // it reads too much, which does no harm for a moment
      clearTimeout(line.shrink_);
      line.shrink_ = setTimeout(() => line.current && line.swap_([line.current.rung]), 2 * SECOND);
    }
    return false;
  }

  /** New channels that may not be read: the rest stays as it is, and who asked is told. */
  exclude_(channels, why) {
    this.members_.forEach((m) => { m.channels = m.channels.filter((name) => !channels.includes(name)); });
    this.post("error", { why, channels });
  }

  /** Tells new members that from here on they hear everything. */
  welcome_() {
    const { line } = this;
    if (!line || !line.current) return;
    this.members_.forEach((m, id) => {
      if (!m.fresh_ || !m.channels.every((name) => line.current.channels.includes(name))) return;
      m.fresh_ = false;
      const states = [...this.states.values()].filter((e) => m.channels.includes(e.channel));
      this.post("welcome", { to: id, n: this.n, cursor: line.cursor, states, told: this.told });
    });
  }

  events(events, cursor) {
    for (const e of events) {
      this.keep_(e);
      this.outbox_.heard_(e);
    }
    this.n++;
    this.post("events", { n: this.n, begun: this.begun, events, cursor });
  }

  /** Keeps what a tab that comes later could hear from nobody else. */
  keep_(e) {
    const { states } = this;
    const key = subjectOf(e);
    states.delete(key);
    if (!key || e.type === "typing" || e.type === "signal" || (e.client_id && !e.pending)) return;
    states.set(key, e);
    if (states.size > MAX_STATES) states.delete(states.keys().next().value);
  }

  /** Asks one member for a fresh token: the newest is the likeliest to live. */
  token() {
    const able = [...this.members_].filter(([, m]) => m.renews).pop();
    if (!able) return "";
    return new Promise((resolve) => {
      this.tokenCame_ = resolve;
      this.post("token?", { to: able[0] });
      setTimeout(resolve, 10 * SECOND, "");
    });
  }

  leave_(id) {
    this.members_.delete(id);
    if (!this.line) return;
    if (this.members_.size) {
      if (this.begun) this.cover_();
      else if (this.first === id) this.first = null; // the next beat finds another
      return;
    }
    this.line.close();
    this.line = this.begun = null;
    this.states.clear();
  }

  close() {
    clearInterval(this.timer);
    this.members_.clear();
    this.leave_();
    this.bus_.close();
  }
}
