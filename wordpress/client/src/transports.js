// The rungs of the ladder. Each is a function that starts at once, tells its
// Connection what it hears, and returns {close_, say_?}.

import { SECOND, SHORT, ask, askPoll, jitter, now, parse, pause, whyOf } from "./words.js";

const MAX_TEXT = 4 << 20; // characters of one event
const HOLD = 25; // seconds that a poll asks to be held

function webSocket(c) {
  // A browser's WebSocket cannot send headers.
  const socket = new WebSocket(c.address_("ws", { token: c.line_.token }).replace(/^http/, "ws"), "holdline.v1");
  socket.onmessage = (m) => {
    c.heard_();
    c.take_([parse(m.data)]);
  };
  socket.onclose = (e) => {
    // 4000 to 4099 say_: do not come back; but 4008 slow, 4010 limit, 4011 draining.
    const no = e.code >= 4000 && e.code < 4100 && ![4008, 4010, 4011].includes(e.code);
    const why = e.reason || `code ${e.code}`;
    c.over_(no ? { refused_: why, status: e.code, reason: "closed" } : { lost_: why, cut_: e.code === 1006 });
  };
  return { close_: () => socket.close(), say_: (words) => socket.send(JSON.stringify(words)) };
}

// An EventSource would hide the status, the heartbeats and the first byte.
function eventStream(c) {
  const abort = new AbortController();
  const read = async () => {
    const response = await ask(c.address_("sse"), c.line_.token, abort.signal);
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw { lost_: "no stream" };
    const reader = response.body.getReader(), decoder = new TextDecoder();
    const lines = eventLines();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw { lost_: "closed", cut_: true };
      c.heard_();
      const { events, id } = lines(decoder.decode(value, { stream: true }));
      c.take_(events, id);
    }
  };
  read().catch((e) => c.over_(e instanceof TypeError ? { lost_: e.message, cut_: true } : whyOf(e)));
  return { close_: () => abort.abort() };
}

/**
 * Reads text/event-stream as it comes: a function from the next piece of text to
 * the events that are whole with it and the last id. The type is in the JSON.
 */
export function eventLines() {
  let rest = "", id = "";
  return (text) => {
    const blocks = (rest + text).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    if (rest.length > MAX_TEXT) throw { lost_: "too long" };
    const events = [];
    for (const block of blocks) {
      const data = block.match(/^data:.*/gm);
      if (data) events.push(parse(data.map((line) => line.slice(5)).join("")));
      id = /^id:(.*)/m.exec(block)?.[1].trim() ?? id;
    }
    return { events, id };
  };
}

// The first answer comes at once, which is the evidence; the next ones are held.
function poll(c) {
  const abort = new AbortController();
  const { line_: line, rung_: rung } = c;
  const round = async () => {
    for (let wait = 0; ; ) {
      c.begun_ = now(); // what a proxy cuts short is the request
      c.limit_ = (wait + 15) * SECOND;
      c.holds_ = wait > 0;
      let answer;
      try {
        answer = await askPoll({ ...line, channels: c.channels, cursor: c.cursor_, wait }, abort.signal);
      } catch (e) {
        // A gateway's timeout tells how long it lets a request wait.
        if (!c.holds_ || e.status !== 504 || !line.cut_(rung, now() - c.begun_)) throw e;
        answer = { events: [] };
      }
      c.heard_();
      c.take_(answer.events, answer.cursor);
      if (rung === SHORT) await pause(2 * SECOND + jitter(2));
      else wait = Math.min(HOLD, (line.memory.life[rung] || Infinity) * 0.8 / SECOND);
    }
  };
  round().catch((e) => c.over_({ cut_: c.holds_, ...whyOf(e) }));
  return { close_: () => abort.abort() };
}

/** By rung. */
export const OPEN = [webSocket, eventStream, poll, poll];
