import { BEAT, RUNGS, SECOND, SSE, addressOf, eventsIn, isText, now, numberOf, whyOf } from "./words.js";
import { OPEN } from "./transports.js";

/** One attempt at one transport, and the connection that comes of it. */
export class Connection {
  /** patience is how long the first sign of life may take, in ms. */
  constructor(line, rung, patience) {
    Object.assign(this, { line, rung, cursor: line.cursor, channels: line.channels, live: false, done: false });
    this.born_ = this.begun = this.last = now();
    this.holds_ = true; // it means something when it is cut
    this.early_ = []; // what came before it became the line's connection
    this.asked_ = 0; // since when a ping waits for its answer
    this.limit_ = rung === SSE ? line.quiet_ : Infinity; // of silence, in ms
    /** Resolves once: to nothing with the first sign of life, else to a why. A
        connection that ended in the same moment has a why all the same. */
    this.settled_ = new Promise((settle) => { this.settle_ = settle; });
    this.deadline_ = setTimeout(() => this.over_({ lost: `no sign of life in ${patience / SECOND} s` }), patience);
    try {
      this.wire_ = OPEN[rung](this);
    } catch (e) {
      this.over_(whyOf(e));
    }
  }

  get name() { return RUNGS[this.rung]; }

  address_(endpoint, more) {
    return addressOf(this.line, endpoint, { channels: this.channels.join(), cursor: this.cursor, ...more });
  }

  heard_() {
    this.last = now();
    this.asked_ = 0;
    if (this.live || this.done) return;
    this.live = true;
    clearTimeout(this.deadline_);
    this.settle_();
  }

  /** Takes what came: what is of the line is kept, what is of the page goes on. */
  take_(list, cursor) {
    const { line, cursor: before } = this;
    if (this.done) return;
    if (this !== line.current) return void this.early_.push([list, cursor]);
    const events = [];
    for (const e of eventsIn(list)) {
      if (isText(e.cursor)) this.cursor = e.cursor;
      if (e.type === "pong") line.pong(e.id);
      else if (e.type === "reconnect") this.hint_ = hintOf(e.data);
      else if (e.type === "sent" || e.type === "error") line.to.sent(e);
      else if (isText(e.channel)) events.push(e);
    }
    if (isText(cursor)) this.cursor = cursor;
    if (events.length || this.cursor !== before) line.took_(this.cursor, events);
  }

  /** Called every few seconds: is the other end still there? */
  look_() {
    const silence = now() - this.last;
    if (silence > this.limit_ || (this.asked_ && now() - this.asked_ > 8 * SECOND)) {
      // It may be the server's heartbeat that is slow.
      if (this.rung === SSE) this.line.quiet_ *= 2;
      this.over_({ lost: "the line went silent" });
    } else if (this.wire_.say && silence >= BEAT && !this.asked_) {
      this.ping(0);
    }
  }

  ping(id) {
    this.asked_ = this.asked_ || now();
    this.wire_.say({ type: "ping", id });
  }

  over_(why) {
    if (this.done) return;
    this.close();
    this.why = why;
    this.settle_(why);
    if (this.live) this.line.lost_(this, why);
  }

  close() {
    this.done = true;
    clearTimeout(this.deadline_);
    if (this.wire_) this.wire_.close();
  }
}

/** After how many ms the server wants us back; it may say nonsense. */
function hintOf(data) {
  const after = numberOf(data && data.after_ms);
  return after >= 0 ? Math.max(50, Math.min(after, 300 * SECOND)) : undefined;
}
