import { isText, keyOf, numberOf, partyOf } from "./words.js";

const MAX = 5000; // things that are known again
const PENDING = 1, STORED = 2;

/**
 * What an event is about, if the next one about the same takes its place: the
 * state of a channel, how far somebody has read, a message while it is pending,
 * who is typing, a signal. "" for everything else.
 */
export function subjectOf({ type, channel, from, client_id }) {
  const { kind, id } = partyOf(from);
  if (type === "status" || type === "presence") return keyOf(channel, type);
  if (type === "seen" || type === "delivered" || type === "typing") return keyOf(channel, type, kind, id);
  return isText(client_id) ? keyOf(channel, type === "signal" ? type : 0, kind, client_id) : "";
}

/**
 * What a page has been shown, so that it hears each thing once, however often and
 * over whichever line it comes.
 */
export class Shown {
  constructor() {
    this.known_ = new Map(); // key → what was shown last
  }

  /** Notes what is shown; tells whether that is another than before. */
  differs_(key, value) {
    const { known_: known } = this;
    const before = known.get(key);
    known.delete(key); // what is told again and again shall not be the oldest
    known.set(key, value);
    if (known.size > MAX) known.delete(known.keys().next().value);
    return before !== value;
  }

  /**
   * The event as the page is to hear it, or something false. A message is pending
   * or a row; the row of one that was shown as pending is `stored`, any other is a
   * `message`, whatever the server called it.
   */
  admit_(e) {
    const { type, channel, id, data } = e;
    const { known_: known } = this;
    const key = subjectOf(e);
    const isRow = typeof id === "number" || isText(id);
    if (type === "reset") known.clear(); // ids begin again
    if (type === "status") return this.differs_(key, JSON.stringify(data)) && e; // told whole, and again after each reconnect
    if (type === "presence") return data && this.differs_(key, JSON.stringify(data)) && e;
    if (type === "seen" || type === "delivered") {
      const to = numberOf(data && data.up_to);
      return to > (known.get(key) || 0) && this.differs_(key, to) && e;
    }
    if (type === "typing") return data && e;
    if (type === "signal") return key && this.differs_(key, PENDING) && e;
    if (type === "withdrawn") return known.get(key) === PENDING && known.delete(key) && e;
    if (type !== "message" && type !== "stored") return !(isRow && !this.differs_(keyOf(channel, type, id), STORED)) && e;
    if (!isRow) return !(key && known.has(key)) && (!key || this.differs_(key, PENDING)) && e;
    const was = known.get(key);
    if (key) this.differs_(key, STORED);
    return this.differs_(keyOf(channel, "message", id), STORED) && { ...e, type: was === PENDING ? "stored" : "message" };
  }

  /** Forgets how a channel is. */
  forget_(channel) {
    for (const type of ["status", "presence"]) this.known_.delete(keyOf(channel, type));
  }
}
