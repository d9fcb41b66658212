// What the chat plugin's loops ask, and what its answers mean (8.x, ajax_new.php).

const VISITOR = "wplc_call_to_server_visitor", AGENT = "wplc_admin_long_poll_chat";
const isTrue = (value) => String(value) === "true";

/**
 * The loop that an ajax call is, if it is one of the two that belong to one chat:
 * {as, chat, channel, channels, status, session, atOnce}. atOnce are those that
 * PHP answers without holding them, or that only PHP can judge.
 */
export function loopOf(options, original) {
  const { data } = original;
  if (!data || typeof data !== "object" || options.async === false || !/^[1-9]\d{0,15}$/.test(data.cid)) return;
  if (data.action !== VISITOR && data.action !== AGENT) return;
  const as = data.action === AGENT ? "agent" : "visitor";
  const chat = String(data.cid), channel = `wplc/${chat}`;
  if (as === "agent") {
    return {
      as, chat, channel, channels: [channel, `${channel}/agent`], status: Number(data.chat_status),
      atOnce: isTrue(data.first_run) || Boolean(data.action_2) || isTrue(data.socket),
    };
  }
  return {
    as, chat, channel, channels: [channel], status: Number(data.status), session: String(data.wplcsession || ""),
    atOnce: isTrue(data.short_poll) || String(data.first_run) === "1" || isTrue(data.socket),
  };
}

/**
 * Tells whether a loop may wait for news here. Visitors who wait for an agent (2, 12,
 * 0) may not: the loops that are held for them are what makes WordPress give up
 * waiting and tell them so.
 */
export const mayWait = (loop) => !loop.atOnce && (loop.as === "agent" || [3, 5, 10].includes(loop.status));

/** Tells whether a row that the line brings is news to a loop. */
export function isNews(loop, { id, from, data }) {
  if (!id) return false; // pending: nothing that PHP could tell
  const origin = data ? data.originates : undefined; // 0 note for the visitor, 1 agent, 2 visitor, 3 note for agents
  const kind = from && from.kind;
  if (loop.as === "agent") return origin === 2 || origin === 3 || (origin === undefined && kind !== "agent");
  return origin === 0 || origin === 1 || (origin === undefined && kind !== "visitor");
}

function parse(text) {
  const at = text.indexOf("{");
  try {
    return at < 0 ? undefined : JSON.parse(text.slice(at)); // other plugins may have printed something before it
  } catch {
    return undefined;
  }
}

/**
 * Tells whether PHP would have said in a held loop what it answers to one that it was
 * not to hold (ajax_new.php:252-397): true or false, undefined for what cannot be read.
 * The same as wpdb/wplc does for the loops that it has PHP answer.
 */
export function says(text, loop) {
  if (!text.trim()) return false;
  const answer = parse(text);
  if (!answer) return undefined;
  const isSet = (value) => value !== undefined && value !== null;
  if (isSet(answer.data) || isSet(answer.typing)) return true;
  const status = parseInt(answer.status, 10);
  return status !== loop.status && ([2, 3, 9, 10].includes(status) || status > 12);
}

/** The ids, and ids that clients gave, of the messages in an answer. */
export function idsIn(text) {
  const answer = parse(text) || {};
  return [answer.data, answer.chat_message, answer.chat_history]
    .flatMap((map) => (map && typeof map === "object" ? Object.keys(map) : []));
}

/** What PHP answers to a page whose chat another tab has taken; pages look only at the status. */
export function elsewhere(data) {
  const { wplc_name, wplc_email, cid } = data;
  return JSON.stringify({ check: false, debug: "", wplc_name, wplc_email, cid: String(cid), aid: String(cid), status: 11 });
}
