import { BEAT, SECOND, SSE, addressOf, eventsIn, isText, now, numberOf, whyOf } from "./words.js";
import { OPEN } from "./transports.js";

/**
 * One attempt at one transport, and the connection that comes of it. patience is
 * how long the first sign of life may take, in ms.
 */
export function openConnection(line, rung, patience) {
  let asked = 0; // since when a ping waits for its answer
  let live, done, settle, pinged;
  const c = {
    line_: line, rung_: rung, cursor_: line.cursor, channels: line.channels,
    born_: now(),
    begun_: now(),
    last_: now(), // heard
    holds_: true, // it means something when it is cut
    early_: [], // what came before it became the line's connection
    limit_: rung === SSE ? line.quiet_ : Infinity, // of silence, in ms
    /** Resolves once: to nothing with the first sign of life, else to a why. A
        connection that ended in the same moment has a why all the same. */
    settled_: new Promise((resolve) => { settle = resolve; }),

    address_: (endpoint, more) => addressOf(line, endpoint, { channels: c.channels, cursor: c.cursor_, ...more }),

    heard_() {
      c.last_ = now();
      asked = 0;
      if (live || done) return;
      live = true;
      clearTimeout(deadline);
      settle();
    },

    /** Takes what came: what is of the line is kept, what is of the page goes on. */
    take_(list, cursor) {
      const before = c.cursor_;
      if (done) return;
      if (c !== line.current_) return void c.early_.push([list, cursor]);
      const events = [];
      for (const e of eventsIn(list)) {
        const { type } = e;
        if (isText(e.cursor)) c.cursor_ = e.cursor;
        if (type === "pong") line.to.pong(now() - pinged);
        else if (type === "reconnect") c.hint_ = numberOf(e.data?.after_ms); // when the server wants us back
        else if (type === "sent") line.to.sent(e);
        else if (isText(e.channel)) events.push(e);
      }
      if (isText(cursor)) c.cursor_ = cursor;
      line.cursor = c.cursor_;
      if (events.length || c.cursor_ !== before) line.to.events(events, c.cursor_);
    },

    /** Called every few seconds: is the other end still there? */
    look_() {
      const silence = now() - c.last_;
      if (silence > c.limit_ || (asked && now() - asked > 8 * SECOND)) {
        // It may be the server's heartbeat that is slow.
        if (rung === SSE) line.quiet_ *= 2;
        c.over_({ lost_: "silence" });
      } else if (c.wire_.say_ && silence >= BEAT && !asked) {
        c.ping_();
      }
    },

    ping_() {
      pinged = now();
      asked ||= pinged;
      c.wire_.say_({ type: "ping" });
    },

    over_(why) {
      if (done) return;
      c.close_();
      c.why_ = why;
      settle(why);
      if (live) line.lost_(c, why);
    },

    close_() {
      done = true;
      clearTimeout(deadline);
      c.wire_?.close_();
    },
  };
  const deadline = setTimeout(() => c.over_({ lost_: "silence" }), patience);
  try {
    c.wire_ = OPEN[rung](c);
  } catch (e) {
    c.over_(whyOf(e));
  }
  return c;
}
