// Words that all parts share: the ladder, times, and questions to the gateway.

export const SECOND = 1000, HOUR = 3_600_000;

/** The ladder, best first. */
export const RUNGS = ["ws", "sse", "poll", "short"];
export const WS = 0, SSE = 1, POLL = 2, SHORT = 3;

/** How often a broker and its tabs tell each other that they live. */
export const BEAT = 20 * SECOND;

export const now = () => Date.now();
export const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** Full jitter: anything between nothing and a bound that doubles up to 30 s. */
export const jitter = (failures) => Math.random() * 468 * 2 ** Math.min(failures, 6);

/** What comes from outside may be an object that cannot even be compared. */
export const numberOf = (value) => (typeof value === "number" ? value : undefined);

export const isText = (value) => typeof value === "string" && value !== "";

/** An id that nobody else has: 22 characters that are safe in an address. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(22)), (b) => (b % 36).toString(36)).join("");

/** One key of parts that may be anything. */
export const keyOf = (...parts) => JSON.stringify(parts);

/** Sets in a map what is then its youngest; of too many the oldest goes. */
export function putIn(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > 5000) map.delete(map.keys().next().value);
}

/** Sends of a map, the oldest first. */
export const inOrder = (sends) => [...sends.values()].sort((a, b) => a.at - b.at);

/** What JSON says, or null: what comes over a network may be anything. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const isShallow = (value, levels) => typeof value !== "object" || value === null ||
  (levels > 0 && Object.values(value).every((v) => isShallow(v, levels - 1)));

/** Those of a list that are events. What is nested very deeply no browser copies to another tab. */
export const eventsIn = (list) => list.filter((e) => e && isText(e.type) && isShallow(e, 50));

// A "why" is how something ended. {lost_} may be tried again, after `after_` ms if
// that is set; `cut_` says that a live connection was broken off. {refused_} is the
// server's own no, in its own sentence.
export const whyOf = (e) => (e.lost_ || e.refused_ ? e : { lost_: `${e.message || e}` });

/**
 * fetch that throws a why for everything but success. With words it is a POST of
 * them. Without a signal it gives up in a while, where the browser has a clock for
 * that: a connection that has died without a word keeps who waits waiting.
 */
export async function ask(address, token, signal = AbortSignal.timeout?.(15 * SECOND), words) {
  const headers = words ? { "Content-Type": "application/json" } : {};
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(address, {
    signal, headers, cache: "no-store", credentials: "include", method: words && "POST", body: JSON.stringify(words),
  });
  if (response.ok) return response;
  const { status } = response;
  const said = parse(await response.text());
  // A proxy's own error page says nothing about who may read what.
  if (status < 500 && status !== 429 && isText(said?.reason)) throw { refused_: `${said.error}`, status, reason: said.reason };
  const after = Number(response.headers.get("Retry-After")) * SECOND;
  throw { lost_: isText(said?.error) ? said.error : `status ${status}`, status, after_: after > 0 && Math.min(after, 60 * SECOND) };
}

/** One poll of who has url, as and token; what comes back has events and a cursor. */
export async function askPoll({ channels, cursor, wait, ...who }, signal) {
  const address = addressOf(who, "poll", { channels, cursor, wait: `${wait}` });
  const answer = parse(await (await ask(address, who.token, signal)).text());
  if (!answer || !Array.isArray(answer.events) || !isText(answer.cursor)) throw { lost_: "no answer" };
  return answer;
}

/**
 * Short polls of who has url, as, token, channels and a cursor, until there is
 * nothing more; the cursor moves along. heard(events) tells whether to go on.
 */
export async function catchUp(who, heard) {
  for (let more = true; more;) {
    const { events, cursor } = await askPoll({ ...who, wait: 0 });
    more = events.length > 0 && cursor !== who.cursor;
    who.cursor = cursor;
    if (!heard(eventsIn(events))) return;
  }
}

/** An endpoint's address, for who has url and as. What is empty is left out of the query. */
export function addressOf({ url, as }, endpoint, query) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries({ as, ...query })) if (value) q.set(name, value);
  return `${url}/${endpoint}?${q}`;
}
