import {
  BEAT, HOUR, POLL, RUNGS, SECOND, SHORT, SSE, WS, addressOf, ask, catchUp, jitter, now, parse, pause, whyOf,
} from "./words.js";
import { openConnection } from "./connection.js";

const FIRST_BYTE = 3 * SECOND; // a transport that works has said something by then

/**
 * A line: at most one live connection, over the best transport that works, which
 * comes back by its cursor. `to` is who is told: events(events, cursor),
 * state(told), error(why), token() → a fresh token, "" or a promise of one,
 * remember(memory), sent(answer to what was sent over a WebSocket), pong(ms).
 */
export function newLine(url, as, known, to) {
  // What is known of this site: the rung that worked, until when a rung is not
  // tried, how old its connections get, at which ages the last ones were cut.
  const memory = { rung: WS, ban: [], life: [], cuts: [], ...known };
  let failures = 0; // connections in a row that did not live long, for the pauses
  let rounds = 0; // times in a row that nothing on the ladder answered
  let life = 0; // counts connections; what was begun in an older life gives up
  let looked = now();
  let attempt, timer, better, shrinking;

  const line = {
    url, as, memory, to, channels: [], cursor: "",
    quiet_: 40 * SECOND, // of a stream; the server's heartbeat is 15 s
    renewed_: false, // the token, since a connection has lived
    connect_: connect, renew_: renew, swap_: swap, lost_: lost, cut_: cut, wake_: wake, extend_: extend,

    /** It reads too much for now, which does no harm for a moment. */
    shrink_() {
      clearTimeout(shrinking);
      shrinking = setTimeout(() => line.current_ && swap([line.current_.rung_]), 2 * SECOND);
    },

    /** Tells the gateway something in a request of its own; resolves to its answer. */
    async post_(endpoint, words) {
      return parse(await (await ask(addressOf(line, endpoint), line.token, undefined, words)).text());
    },

    /** Has somebody told how many ms a round trip to the server takes. */
    latency_() {
      const began = now();
      if (line.current_?.wire_.say_) line.current_.ping_();
      else ask(addressOf(line, "info"), line.token).then(() => to.pong(now() - began), () => {});
    },

    close_() {
      drop();
      clearTimeout(watch);
      clearTimeout(shrinking);
    },
  };

  const watch = setInterval(() => {
    const slept = now() - looked > 15 * SECOND; // a laptop was shut, or a tab was frozen
    looked = now();
    if (slept) wake();
    else line.current_?.look_();
  }, 5 * SECOND);

  function tell(state, more) {
    line.state = state;
    to.state({ state, transport: line.current_ ? RUNGS[line.current_.rung_] : "", ...more });
  }

  function remember() {
    to.remember({ ...memory, at: now() });
  }

  /** The rungs from `top` to `last` that may be tried. */
  const rungsOf = (top, last) => [WS, SSE, POLL, SHORT].filter((rung) => rung >= top && rung <= last && !(memory.ban[rung] > now()));

  /** Goes down the ladder until something answers. */
  async function connect() {
    drop();
    const mine = life;
    tell("connecting");
    const patience = FIRST_BYTE * 2 ** Math.min(rounds, 2); // a slow network is not a bad proxy
    const why = await climb(rungsOf(rounds ? WS : memory.rung, SHORT), patience);
    if (!why || mine !== life) return;
    if (why.refused_) return refused(why);
    rounds++;
    retry(why.after_ || jitter(failures++), why.lost_);
  }

  /** Tries rungs. Resolves to the last why, or to nothing if it is done or of no use any more. */
  async function climb(rungs, patience) {
    const mine = life;
    let why = {};
    for (const rung of rungs) {
      const c = attempt = openConnection(line, rung, patience);
      why = (await c.settled_) || c.why_;
      if (mine !== life) return c.close_();
      attempt = undefined;
      if (!why) return adopt(c);
      if (why.refused_ || why.after_) break; // a server that is busy is so on every rung
    }
    return why;
  }

  function retry(wait, why) {
    tell("waiting", { wait, why });
    timer = setTimeout(connect, wait);
  }

  /** Ends whatever is going on. */
  function drop() {
    life++;
    clearTimeout(timer);
    clearTimeout(better);
    line.current_?.close_();
    attempt?.close_();
    line.current_ = attempt = undefined;
  }

  /** The server says no: it is asked once more with a fresh token, then no more. */
  async function refused(why) {
    drop();
    const mine = life;
    const renewed = await renew();
    if (mine !== life) return;
    if (renewed) return connect();
    tell("refused", { why: why.refused_ });
    to.error(why);
  }

  /** Gets a fresh token, once until a connection has lived with it. */
  async function renew() {
    if (line.renewed_) return false;
    line.renewed_ = true;
    const token = await to.token();
    if (token) line.token = token;
    return token;
  }

  /** Makes c the connection. The one before may end now: c stands where it did. */
  function adopt(c) {
    const before = line.current_;
    line.current_ = c;
    line.cursor = c.cursor_;
    rounds = 0;
    before?.close_();
    if (memory.rung !== c.rung_) {
      memory.rung = c.rung_;
      remember();
    }
    tell("open"); // who waits for that hears all that follows
    c.early_.splice(0).forEach((heard) => c.take_(...heard));
    if (c === line.current_) plan(BEAT);
  }

  /** Plans the next look for something better, or the change before a proxy's cut. */
  function plan(wait) {
    clearTimeout(better);
    const rung = line.current_.rung_;
    const age = rung <= SSE && memory.life[rung];
    if (!age && rung === WS) return;
    better = setTimeout(async () => {
      const why = await swap(rungsOf(WS, age ? rung : rung - 1));
      if (why && line.current_) plan(Math.min(wait * 2, HOUR / 6));
    }, age ? age * 0.8 : wait + jitter(3));
  }

  /**
   * Opens another connection beside the current one, which ends only once the
   * new one lives: no event is missed, and who listens knows an event that came
   * twice by its id. Resolves to the last why, or to nothing if it is done.
   */
  async function swap(rungs) {
    return attempt || !line.current_ ? {} : climb(rungs, FIRST_BYTE);
  }

  /** Hears of the end of a connection that had lived. */
  function lost(c, why) {
    if (c !== line.current_) return;
    const lived = now() - c.born_;
    if (lived > 10 * SECOND) line.renewed_ = false;
    failures = lived > 5 * SECOND ? 0 : failures + 1;
    const planned = c.hint_ >= 0;
    if (why.cut_ && c.holds_ && !planned && c.rung_ < SHORT) learn(c.rung_, now() - c.begun_);
    if (why.refused_) return refused(why);
    drop();
    retry(planned ? Math.max(50, Math.min(c.hint_, 300 * SECOND)) : why.after_ || jitter(failures), why.lost_);
  }

  /** Three cuts in a row at about the same age are a proxy's doing. */
  function learn(rung, age) {
    const cuts = memory.cuts[rung] = [...(memory.cuts[rung] || []), age].slice(-3);
    const first = Math.min(...cuts), last = Math.max(...cuts);
    if (cuts.length === 3 && last - first < 300 + last * 0.15) cut(rung, first);
    else remember();
  }

  /** Connections of a rung are cut at an age. Tells whether they are still of use. */
  function cut(rung, age) {
    const useful = age > (rung < POLL ? 20 : 2.5) * SECOND;
    memory.cuts[rung] = [];
    memory.life[rung] = age;
    if (!useful) memory.ban[rung] = now() + HOUR;
    remember();
    return useful;
  }

  /** The tab or, if `hard`, the network is back: waits no more, trusts no silence. */
  async function wake(hard) {
    const { state, current_: current } = line;
    if (state === "waiting" || (hard && state === "connecting")) {
      failures = rounds = 0;
      connect();
    } else if (current && now() - current.born_ > SECOND) { // all tabs tell of it
      const at = now();
      if (!hard && current.wire_.say_) {
        current.ping_();
        await pause(3 * SECOND);
      } else if (!hard && at - current.last_ < 30 * SECOND) {
        return; // it was heard lately
      } else {
        await swap([current.rung_]);
      }
      if (current === line.current_ && current.last_ < at) connect();
    }
  }

  /**
   * Reads more channels, from the present on. A short poll of all of them finds
   * out whether that is allowed and brings the cursor to the present; then a new
   * connection replaces the current one. Resolves to a why if it is refused.
   */
  async function extend(channels) {
    const mine = life, had = line.channels;
    const who = { ...line, channels };
    try {
      await catchUp(who, (events) => {
        if (mine === life) to.events(events.filter((e) => had.includes(e.channel) || !e.id), who.cursor); // states are told only once
        return mine === life;
      });
    } catch (e) {
      const why = whyOf(e);
      if (why.refused_ && mine === life) return (await renew()) ? extend(channels) : why;
    }
    line.channels = channels;
    if (mine !== life) return; // whatever comes next has them
    while (attempt) await attempt.settled_.then(() => pause(0));
    if (mine !== life) return;
    line.cursor = who.cursor;
    if (await swap([line.current_.rung_])) connect();
  }

  return line;
}
