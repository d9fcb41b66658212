// Broker and tabs speak over a bus: a BroadcastChannel, or functions of this page
// where there is none. What they say is a list: a word, who says it, and the rest.
// A tab says it by its id; a broker is {term_, kind_, to_}, where `to_` is a tab's id,
// or nothing when all are meant.

import { BEAT, SECOND, now, putIn } from "./words.js";
import { newAsides } from "./asides.js";
import { newLine } from "./line.js";
import { newOutbox } from "./outbox.js";
import { subjectOf } from "./shown.js";

/** Buses of this page: name → who hears. */
export const rooms = new Map();

export function busOf(name, local, hear) {
  if (!local) {
    const channel = new BroadcastChannel(name);
    channel.onmessage = (m) => hear(m.data);
    return { post_: (m) => channel.postMessage(m), close_: () => channel.close() };
  }
  const room = rooms.get(name) || new Set();
  rooms.set(name, room.add(hear));
  return {
    post_: (m) => queueMicrotask(() => room.forEach((other) => other !== hear && other(m))),
    close_: () => {
      room.delete(hear);
      if (!room.size) rooms.delete(name);
    },
  };
}

/**
 * Holds one line for all members on a bus. There is one broker at a time. kind is
 * what is told to the tabs: worker, leader or tab; owner is whose sends are theirs.
 */
export function newBroker(name, kind, owner) {
  const term = now() * 1000; // what is said is counted from here on: later brokers count from further on
  const members = new Map();
  const states = new Map(); // subject → last event about it, for who comes later
  const open = () => line?.current_ && line;
  const outbox = newOutbox(owner, open, (sends) => post("sent", "", sends));
  const asides = newAsides(open);
  let n = term; // of the last word with events
  let line, begun, first, told, tokenCame, covering;

  const hears = {
    lead: (other) => other.term_ > term && close(), // somebody else leads
    join,
    leave,
    send: (id, sends) => outbox.add_(sends),
    say: (id, words) => asides.add_(words),
    token: (id, token) => tokenCame?.(token),
    wake: (id, hard) => line?.wake_(hard),
    ping: () => line?.latency_(),
  };
  const bus = busOf(name, kind === "tab", ([word, ...more]) => hears[word]?.(...more));

  /** Every member answers with its join; who has not for long is gone. */
  function beat() {
    members.forEach((m, id) => { if (now() - m.heard_ > 7 * BEAT) leave(id); });
    post("lead");
    outbox.run_();
  }

  function post(word, to, ...more) {
    bus.post_([word, { term_: term, kind_: kind, to_: to }, ...more]);
  }

  function join(id, m) {
    const { channels, token } = m;
    const known = members.get(id);
    const changed = !known || `${channels}` !== `${known.channels}`;
    members.set(id, { ...m, heard_: now(), fresh_: changed || known.fresh_ });
    if (!known) outbox.loaded_.then(() => post("sent", id, outbox.all_()));
    if (!line) start(m);
    if (!begun) return gather(id);
    if (!changed) return;
    if (token && token !== line.token) {
      line.token = token;
      line.renewed_ = false;
    }
    if (line.state === "refused") line.connect_(); // a new tab may know better
    cover();
  }

  function start({ url, as, memory, token }) {
    line = newLine(url, as, memory, {
      token: askToken,
      sent: outbox.answered_,
      pong: (ms) => post("pong", "", ms),
      error: (why) => post("error", "", why),
      remember: (remembered) => post("memory", "", remembered),
      events(events, cursor) {
        for (const e of events) {
          keep(e);
          outbox.heard_(e);
        }
        n++;
        post("events", "", n, begun, events, cursor);
      },
      state(news) {
        told = news;
        post("state", "", told);
        welcome();
        if (told.state !== "open") return;
        cover(); // more may have been wanted meanwhile
        outbox.opened_();
        asides.run_();
      },
    });
    line.token = token;
    first = undefined;
  }

  /**
   * Lets the tabs of a broker that has gone say who they are, before the line is
   * begun for all of them: who answered first is asked once more, and by the time
   * that answer is here so are the others'. A timer would not do: the new leader
   * may be a hidden tab, where browsers make a second of every pause.
   */
  function gather(id) {
    if (first === id) return begin();
    if (first) return;
    first = id;
    post("lead");
  }

  /** Begins where the member stands that has heard least. */
  function begin() {
    let least;
    members.forEach((m) => { if (m.cursor && m.at && !(m.at > least?.at)) least = m; });
    begun = least ? least.at : 1;
    if (least) line.cursor = least.cursor;
    cover();
  }

  /** Makes the line read what the members want, no more and no less. */
  async function cover() {
    if (covering) return;
    covering = true;
    for (let mine; (mine = line);) {
      const want = [...new Set([...members.values()].flatMap((m) => m.channels))].sort();
      const { channels } = mine.current_ || mine;
      const added = want.filter((name) => !channels.includes(name));
      if (!added.length || !mine.current_) {
        if (want.length && `${want}` !== `${mine.channels}`) {
          mine.channels = want;
          if (mine.current_) mine.shrink_();
          else mine.connect_();
        }
        break;
      }
      const why = await mine.extend_([...channels, ...added].sort());
      if (why && mine === line) exclude(added, why);
    }
    covering = false;
    welcome(); // for those who need nothing new
  }

  /** New channels that may not be read: the rest stays as it is, and who asked is told. */
  function exclude(channels, why) {
    members.forEach((m) => { m.channels = m.channels.filter((name) => !channels.includes(name)); });
    post("error", "", why, channels);
  }

  /** Tells new members that from here on they hear everything. */
  function welcome() {
    const current = line?.current_;
    if (!current) return;
    members.forEach((m, id) => {
      const { channels } = m;
      if (!m.fresh_ || !channels.every((name) => current.channels.includes(name))) return;
      m.fresh_ = false;
      post("welcome", id, n, line.cursor, told, [...states.values()].filter((e) => channels.includes(e.channel)));
    });
  }

  /** Keeps what a tab that comes later could hear from nobody else. */
  function keep(e) {
    const key = subjectOf(e);
    states.delete(key);
    if (key && e.type !== "typing" && e.type !== "signal" && (e.pending || !e.client_id)) putIn(states, key, e);
  }

  /** Asks one member for a fresh token: the newest is the likeliest to live. */
  function askToken() {
    const able = [...members].filter(([, m]) => m.renews_).pop();
    if (!able) return "";
    return new Promise((resolve) => {
      tokenCame = resolve;
      post("token?", able[0]);
      setTimeout(resolve, 10 * SECOND, "");
    });
  }

  function leave(id) {
    members.delete(id);
    if (!line) return;
    if (members.size) {
      if (begun) cover();
      else if (first === id) first = undefined; // the next beat finds another
      return;
    }
    line.close_();
    line = begun = undefined;
    states.clear();
  }

  function close() {
    clearTimeout(timer);
    members.clear();
    leave();
    bus.close_();
  }

  const timer = setInterval(beat, BEAT);
  beat();
  return { close_: close };
}
