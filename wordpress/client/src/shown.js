import { isText, keyOf, numberOf, putIn } from "./words.js";

const PENDING = 1, STORED = 2;
const WHOLE = ["status", "presence"]; // told whole, and again after each reconnect
export const RECEIPTS = ["delivered", "seen"]; // in this order

/**
 * What an event is about, if the next one about the same takes its place: the
 * state of a channel, how far somebody has read, a message while it is pending,
 * who is typing, a signal. Something false for everything else.
 */
export function subjectOf({ type, channel, from, client_id }) {
  if (WHOLE.includes(type)) return keyOf(channel, type);
  if (RECEIPTS.includes(type) || type === "typing") return keyOf(channel, type, from?.kind, from?.id);
  return isText(client_id) && keyOf(channel, type === "signal", from?.kind, client_id);
}

/**
 * What a page has been shown, so that it hears each thing once, however often and
 * over whichever line it comes.
 */
export function newShown() {
  const known = new Map(); // key → what was shown last

  /** Notes what is shown; tells whether that is another than before. */
  function differs(key, value) {
    const before = known.get(key);
    putIn(known, key, value);
    return before !== value;
  }

  return {
    /**
     * The event as the page is to hear it, or something false. A message is
     * pending or a row; the row of one that was shown as pending is `stored`, any
     * other is a `message`, whatever the server called it.
     */
    admit_(e) {
      const { type, channel, id, data } = e;
      const key = subjectOf(e), was = known.get(key);
      const isMessage = type === "message" || type === "stored";
      const isRow = typeof id === "number" || isText(id);
      if (type === "reset") known.clear(); // ids begin again
      if (WHOLE.includes(type)) return differs(key, keyOf(data)) && e;
      if (type === "typing") return data && e;
      if (RECEIPTS.includes(type)) return numberOf(data?.up_to) > (was || 0) && differs(key, data.up_to) && e;
      if (type === "signal") return key && differs(key, PENDING) && e;
      if (type === "withdrawn") return was === PENDING && known.delete(key) && e;
      if (isRow && !differs(keyOf(channel, isMessage ? 0 : type, id), STORED)) return;
      if (!isMessage) return e;
      if (!isRow && was) return;
      if (key) differs(key, isRow ? STORED : PENDING);
      return { ...e, type: isRow && was === PENDING ? "stored" : "message" };
    },

    /** Forgets how a channel is. */
    forget_(channel) {
      for (const type of WHOLE) known.delete(keyOf(channel, type));
    },
  };
}
