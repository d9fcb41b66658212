import {
  BEAT, HOUR, POLL, RUNGS, SECOND, SHORT, SSE, WS, addressOf, ask, askPoll, eventsIn, jitter, now, parse, pause, whyOf,
} from "./words.js";
import { Connection } from "./connection.js";

const FIRST_BYTE = 3 * SECOND; // a transport that works has said something by then

/**
 * A line: at most one live connection, over the best transport that works, which
 * comes back by its cursor. `to` is who is told: events(events, cursor),
 * state(told), error(why), token() → a fresh token, "" or a promise of one,
 * remember(memory), sent(answer to what was sent over a WebSocket).
 */
export class Line {
  constructor(url, as, memory, to) {
    Object.assign(this, { url, as, to, channels: [], cursor: "", token: "", state: "closed", current: null, attempt_: null });
    this.failures_ = 0; // connections in a row that did not live long, for the pauses
    this.rounds_ = 0; // times in a row that nothing on the ladder answered
    this.life = 0; // counts connections; what was begun in an older life gives up
    this.quiet_ = 40 * SECOND; // of a stream; the server's heartbeat is 15 s
    this.pongs_ = new Map();
    // What is known of this site: the rung that worked, until when a rung is not
    // tried, how old its connections get, at which ages the last ones were cut.
    this.memory = { rung: WS, ban: [], life: [], cuts: [], ...memory };
    this.looked_ = now();
    this.watch_ = setInterval(() => this.look_(), 5 * SECOND);
  }

  look_() {
    const slept = now() - this.looked_ > 15 * SECOND; // a laptop was shut, or a tab was frozen
    this.looked_ = now();
    if (slept) this.wake();
    else if (this.current) this.current.look_();
  }

  tell_(state, more) {
    this.state = state;
    this.to.state({ state, transport: this.current ? this.current.name : "", ...more });
  }

  remember_() {
    this.to.remember({ ...this.memory, at: now() });
  }

  usable_(rung) {
    return !(this.memory.ban[rung] > now());
  }

  /** The rungs from the best to `last` that may be tried. */
  rungsTo_(last) {
    return RUNGS.map((_, rung) => rung).filter((rung) => rung <= last && this.usable_(rung));
  }

  /** Goes down the ladder until something answers. */
  async connect() {
    this.drop_();
    const { life } = this;
    this.tell_("connecting");
    const patience = FIRST_BYTE * 2 ** Math.min(this.rounds_, 2); // a slow network is not a bad proxy
    const top = this.rounds_ ? WS : this.memory.rung;
    let why;
    for (const rung of this.rungsTo_(SHORT)) {
      if (rung < top) continue;
      const c = this.attempt_ = new Connection(this, rung, patience);
      why = (await c.settled_) || c.why;
      if (life !== this.life) return c.close();
      if (!why) return this.adopt_(c);
      if (why.refused) return this.refused(why);
      if (why.after) break; // a server that is busy is so on every rung
    }
    this.rounds_++;
    this.retry_(why.after || jitter(this.failures_++), why.lost);
  }

  retry_(wait, why) {
    this.tell_("waiting", { wait, why });
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Ends whatever is going on. */
  drop_() {
    this.life++;
    clearTimeout(this.timer);
    clearTimeout(this.better_);
    for (const c of [this.current, this.attempt_]) if (c) c.close();
    this.current = this.attempt_ = null;
  }

  close() {
    this.drop_();
    clearInterval(this.watch_);
    clearTimeout(this.shrink_);
  }

  /** The server says no: it is asked once more with a fresh token, then no more. */
  async refused(why) {
    this.drop_();
    const { life } = this;
    const renewed = await this.renew_();
    if (life !== this.life) return;
    if (renewed) return this.connect();
    this.tell_("refused", { why: why.refused });
    this.to.error(why);
  }

  /** Gets a fresh token, once until a connection has lived with it. */
  async renew_() {
    if (this.renewed_) return false;
    this.renewed_ = true;
    const token = await this.to.token();
    if (token) this.token = token;
    return Boolean(token);
  }

  /** Makes c the connection. The one before may end now: c stands where it did. */
  adopt_(c) {
    const before = this.current;
    this.current = c;
    this.attempt_ = null;
    this.cursor = c.cursor;
    this.rounds_ = 0;
    if (before) before.close();
    if (this.memory.rung !== c.rung) {
      this.memory.rung = c.rung;
      this.remember_();
    }
    this.tell_("open"); // who waits for that hears all that follows
    c.early_.splice(0).forEach((heard) => c.take_(...heard));
    if (c === this.current) this.plan_(BEAT);
  }

  /** Plans the next look for something better, or the change before a proxy's cut. */
  plan_(wait) {
    clearTimeout(this.better_);
    const { rung } = this.current;
    const life = rung <= SSE && this.memory.life[rung];
    if (!life && rung === WS) return;
    this.better_ = setTimeout(async () => {
      const why = await this.swap_(this.rungsTo_(life ? rung : rung - 1));
      if (why && this.current) this.plan_(Math.min(wait * 2, HOUR / 6));
    }, life ? life * 0.8 : wait * (0.9 + Math.random() / 5));
  }

  /**
   * Opens another connection beside the current one, which ends only once the
   * new one lives: no event is missed, and who listens knows an event that came
   * twice by its id. Resolves to the last why, or to nothing if it is done.
   */
  async swap_(rungs) {
    const { life } = this;
    let why = { lost: "there is nothing to try" };
    if (this.attempt_ || !this.current) return why;
    for (const rung of rungs) {
      const c = this.attempt_ = new Connection(this, rung, FIRST_BYTE);
      why = (await c.settled_) || c.why;
      if (life !== this.life) return void c.close();
      this.attempt_ = null;
      if (!why) return this.adopt_(c);
    }
    return why;
  }

  /** Hears of the end of a connection that had lived. */
  lost_(c, why) {
    if (c !== this.current) return;
    const lived = now() - c.born_;
    if (lived > 10 * SECOND) this.renewed_ = false;
    this.failures_ = lived > 5 * SECOND ? 0 : this.failures_ + 1;
    const planned = c.hint_ !== undefined;
    if (why.cut && c.holds_ && !planned && c.rung < SHORT) this.learn_(c.rung, now() - c.begun);
    if (why.refused) return this.refused(why);
    this.drop_();
    this.retry_(planned ? c.hint_ : why.after || jitter(this.failures_), why.lost);
  }

  /** Three cuts in a row at about the same age are a proxy's doing. */
  learn_(rung, age) {
    const cuts = [...(this.memory.cuts[rung] || []), age].slice(-3);
    this.memory.cuts[rung] = cuts;
    const first = Math.min(...cuts), last = Math.max(...cuts);
    if (cuts.length === 3 && last - first < 300 + last * 0.15) this.cut(rung, first);
    else this.remember_();
  }

  /** Connections of a rung are cut at an age. Tells whether they are still of use. */
  cut(rung, age) {
    const { memory } = this;
    const useful = age > (rung < POLL ? 20 : 2.5) * SECOND;
    memory.cuts[rung] = [];
    memory.life[rung] = age;
    if (!useful) memory.ban[rung] = now() + HOUR;
    this.remember_();
    return useful;
  }

  /** The tab or, if `hard`, the network is back: waits no more, trusts no silence. */
  async wake(hard) {
    const { state, current } = this;
    if (state === "waiting" || (hard && state === "connecting")) {
      this.failures_ = this.rounds_ = 0;
      this.connect();
    } else if (current && now() - current.born_ > SECOND) { // all tabs tell of it
      const at = now();
      if (!hard && current.wire_.say) {
        current.ping(0);
        await pause(3 * SECOND);
      } else if (!hard && at - current.last < 30 * SECOND) {
        return; // it was heard lately
      } else {
        await this.swap_([current.rung]);
      }
      if (current === this.current && current.last < at) this.connect();
    }
  }

  took_(cursor, events) {
    this.cursor = cursor;
    this.to.events(events, cursor);
  }

  /**
   * Reads more channels, from the present on. A short poll of all of them finds
   * out whether that is allowed and brings the cursor to the present; then a new
   * connection replaces the current one. Resolves to a why if it is refused.
   */
  async extend_(channels) {
    const { life, channels: had } = this;
    let { cursor } = this;
    try {
      for (let more = true; more && life === this.life;) {
        const answer = await askPoll(addressOf(this, "poll", { channels: channels.join(), cursor, wait: 0 }), this.token);
        more = answer.events.length > 0 && answer.cursor !== cursor;
        cursor = answer.cursor;
        const events = eventsIn(answer.events).filter((e) => had.includes(e.channel) || !e.id); // states are told only once
        if (events.length && life === this.life) this.to.events(events, cursor);
      }
    } catch (e) {
      const why = whyOf(e);
      if (why.refused && life === this.life) return (await this.renew_()) ? this.extend_(channels) : why;
    }
    this.channels = channels;
    if (life !== this.life) return; // whatever comes next has them
    while (this.attempt_) await this.attempt_.settled_.then(() => pause(0));
    if (life !== this.life) return;
    this.cursor = cursor;
    if (await this.swap_([this.current.rung])) this.connect();
  }

  /** Tells the gateway something in a request of its own; resolves to its answer. */
  async post_(endpoint, words) {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 15 * SECOND);
    return parse(await (await ask(addressOf(this, endpoint), this.token, abort.signal, words)).text());
  }

  /** Round trip to the server in ms. */
  async latency() {
    const began = performance.now();
    const { current } = this;
    if (current && current.wire_.say) {
      const id = Math.floor(began * 1000) + 1;
      await new Promise((resolve) => { this.pongs_.set(id, resolve); current.ping(id); });
    } else {
      await ask(addressOf(this, "info"), this.token);
    }
    return performance.now() - began;
  }

  pong(id) {
    const resolve = this.pongs_.get(id);
    this.pongs_.delete(id);
    if (resolve) resolve();
  }
}
