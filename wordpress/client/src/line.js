import {
  BEAT, HOUR, POLL, RUNGS, SECOND, SHORT, SSE, WS, addressOf, ask, askPoll, eventsIn, jitter, now, pause, whyOf,
} from "./words.js";
import { Connection } from "./connection.js";

const FIRST_BYTE = 3 * SECOND; // a transport that works has said something by then

/**
 * A line: at most one live connection, over the best transport that works, which
 * comes back by its cursor. `to` is who is told: events(events, cursor),
 * state(told), error(why), token() → a fresh token, "" or a promise of one,
 * remember(memory).
 */
export class Line {
  constructor(url, memory, to) {
    Object.assign(this, { url, to, channels: [], cursor: "", token: "", state: "closed", current: null, attempt: null });
    this.failures = 0; // connections in a row that did not live long, for the pauses
    this.rounds = 0; // times in a row that nothing on the ladder answered
    this.life = 0; // counts connections; what was begun in an older life gives up
    this.quiet = 40 * SECOND; // of a stream; the server's heartbeat is 15 s
    this.pongs = new Map();
    // What is known of this site: the rung that worked, until when a rung is not
    // tried, how old its connections get, at which ages the last ones were cut.
    this.memory = { rung: WS, ban: [], life: [], cuts: [], ...memory };
    this.looked = now();
    this.watch = setInterval(() => this.look(), 5 * SECOND);
  }

  look() {
    const slept = now() - this.looked > 15 * SECOND; // a laptop was shut, or a tab was frozen
    this.looked = now();
    if (slept) this.wake();
    else if (this.current) this.current.look();
  }

  tell(state, more) {
    this.state = state;
    this.to.state({ state, transport: this.current ? this.current.name : "", ...more });
  }

  remember() {
    this.to.remember({ ...this.memory, at: now() });
  }

  usable(rung) {
    return !(this.memory.ban[rung] > now());
  }

  /** The rungs from the best to `last` that may be tried. */
  rungsTo(last) {
    return RUNGS.map((_, rung) => rung).filter((rung) => rung <= last && this.usable(rung));
  }

  /** Goes down the ladder until something answers. */
  async connect() {
    this.drop();
    const { life } = this;
    this.tell("connecting");
    const patience = FIRST_BYTE * 2 ** Math.min(this.rounds, 2); // a slow network is not a bad proxy
    const top = this.rounds ? WS : this.memory.rung;
    let why;
    for (const rung of this.rungsTo(SHORT)) {
      if (rung < top) continue;
      const c = this.attempt = new Connection(this, rung, patience);
      why = (await c.settled) || c.why;
      if (life !== this.life) return c.close();
      if (!why) return this.adopt(c);
      if (why.refused) return this.refused(why);
      if (why.after) break; // a server that is busy is so on every rung
    }
    this.rounds++;
    this.retry(why.after || jitter(this.failures++), why.lost);
  }

  retry(wait, why) {
    this.tell("waiting", { wait, why });
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Ends whatever is going on. */
  drop() {
    this.life++;
    clearTimeout(this.timer);
    clearTimeout(this.better);
    for (const c of [this.current, this.attempt]) if (c) c.close();
    this.current = this.attempt = null;
  }

  close() {
    this.drop();
    clearInterval(this.watch);
    clearTimeout(this.shrink);
  }

  /** The server says no: it is asked once more with a fresh token, then no more. */
  async refused(why) {
    this.drop();
    const { life } = this;
    const renewed = await this.renew();
    if (life !== this.life) return;
    if (renewed) return this.connect();
    this.tell("refused", { why: why.refused });
    this.to.error(why);
  }

  /** Gets a fresh token, once until a connection has lived with it. */
  async renew() {
    if (this.renewed) return false;
    this.renewed = true;
    const token = await this.to.token();
    if (token) this.token = token;
    return Boolean(token);
  }

  /** Makes c the connection. The one before may end now: c stands where it did. */
  adopt(c) {
    const before = this.current;
    this.current = c;
    this.attempt = null;
    this.cursor = c.cursor;
    this.rounds = 0;
    if (before) before.close();
    if (this.memory.rung !== c.rung) {
      this.memory.rung = c.rung;
      this.remember();
    }
    this.tell("open"); // who waits for that hears all that follows
    c.early.splice(0).forEach((heard) => c.take(...heard));
    if (c === this.current) this.plan(BEAT);
  }

  /** Plans the next look for something better, or the change before a proxy's cut. */
  plan(wait) {
    clearTimeout(this.better);
    const { rung } = this.current;
    const life = rung <= SSE && this.memory.life[rung];
    if (!life && rung === WS) return;
    this.better = setTimeout(async () => {
      const why = await this.swap(this.rungsTo(life ? rung : rung - 1));
      if (why && this.current) this.plan(Math.min(wait * 2, HOUR / 6));
    }, life ? life * 0.8 : wait * (0.9 + Math.random() / 5));
  }

  /**
   * Opens another connection beside the current one, which ends only once the
   * new one lives: no event is missed, and who listens knows an event that came
   * twice by its id. Resolves to the last why, or to nothing if it is done.
   */
  async swap(rungs) {
    const { life } = this;
    let why = { lost: "there is nothing to try" };
    if (this.attempt || !this.current) return why;
    for (const rung of rungs) {
      const c = this.attempt = new Connection(this, rung, FIRST_BYTE);
      why = (await c.settled) || c.why;
      if (life !== this.life) return void c.close();
      this.attempt = null;
      if (!why) return this.adopt(c);
    }
    return why;
  }

  /** Hears of the end of a connection that had lived. */
  lost(c, why) {
    if (c !== this.current) return;
    const lived = now() - c.born;
    if (lived > 10 * SECOND) this.renewed = false;
    this.failures = lived > 5 * SECOND ? 0 : this.failures + 1;
    const planned = c.hint !== undefined;
    if (why.cut && c.holds && !planned && c.rung < SHORT) this.learn(c.rung, now() - c.begun);
    if (why.refused) return this.refused(why);
    this.drop();
    this.retry(planned ? c.hint : why.after || jitter(this.failures), why.lost);
  }

  /** Three cuts in a row at about the same age are a proxy's doing. */
  learn(rung, age) {
    const cuts = [...(this.memory.cuts[rung] || []), age].slice(-3);
    this.memory.cuts[rung] = cuts;
    const first = Math.min(...cuts), last = Math.max(...cuts);
    if (cuts.length === 3 && last - first < 300 + last * 0.15) this.cut(rung, first);
    else this.remember();
  }

  /** Connections of a rung are cut at an age. Tells whether they are still of use. */
  cut(rung, age) {
    const { memory } = this;
    const useful = age > (rung < POLL ? 20 : 2.5) * SECOND;
    memory.cuts[rung] = [];
    memory.life[rung] = age;
    if (!useful) memory.ban[rung] = now() + HOUR;
    this.remember();
    return useful;
  }

  /** The tab or, if `hard`, the network is back: waits no more, trusts no silence. */
  async wake(hard) {
    const { state, current } = this;
    if (state === "waiting" || (hard && state === "connecting")) {
      this.failures = this.rounds = 0;
      this.connect();
    } else if (current && now() - current.born > SECOND) { // all tabs tell of it
      const at = now();
      if (!hard && current.wire.ping) {
        current.ping(0);
        await pause(3 * SECOND);
      } else if (!hard && at - current.last < 30 * SECOND) {
        return; // it was heard lately
      } else {
        await this.swap([current.rung]);
      }
      if (current === this.current && current.last < at) this.connect();
    }
  }

  took(cursor, events) {
    this.cursor = cursor;
    this.to.events(events, cursor);
  }

  /**
   * Reads more channels, from the present on. A short poll of all of them finds
   * out whether that is allowed and brings the cursor to the present; then a new
   * connection replaces the current one. Resolves to a why if it is refused.
   */
  async extend(channels) {
    const { life, channels: had } = this;
    let { cursor } = this;
    try {
      for (let more = true; more && life === this.life;) {
        const answer = await askPoll(addressOf(this.url, "poll", { channels: channels.join(), cursor, wait: 0 }), this.token);
        more = answer.events.length > 0 && answer.cursor !== cursor;
        cursor = answer.cursor;
        const events = eventsIn(answer.events).filter((e) => had.includes(e.channel));
        if (events.length && life === this.life) this.to.events(events, cursor);
      }
    } catch (e) {
      const why = whyOf(e);
      if (why.refused && life === this.life) return (await this.renew()) ? this.extend(channels) : why;
    }
    this.channels = channels;
    if (life !== this.life) return; // whatever comes next has them
    while (this.attempt) await this.attempt.settled.then(() => pause(0));
    if (life !== this.life) return;
    this.cursor = cursor;
    if (await this.swap([this.current.rung])) this.connect();
  }

  /** Round trip to the server in ms. */
  async latency() {
    const began = performance.now();
    const { current } = this;
    if (current && current.wire.ping) {
      const id = Math.floor(began * 1000) + 1;
      await new Promise((resolve) => { this.pongs.set(id, resolve); current.ping(id); });
    } else {
      await ask(addressOf(this.url, "info"), this.token);
    }
    return performance.now() - began;
  }

  pong(id) {
    const resolve = this.pongs.get(id);
    this.pongs.delete(id);
    if (resolve) resolve();
  }
}
