// A gateway for tests: fakes of fetch and WebSocket that do as they are told, and a
// clock that only the test moves.

import { mock } from "node:test";

globalThis.self = globalThis;

const turn = () => new Promise((done) => setImmediate(done));

/** Lets ms pass, and everything happen that is due. */
export async function pass(ms) {
  await turn();
  for (let left = ms; left > 0; left -= 100) {
    mock.timers.tick(Math.min(left, 100));
    for (let i = 0; i < 4; i++) await turn();
  }
}

export class Gateway {
  constructor() {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
    this.asked = []; // {at, endpoint, query, token} of every request and WebSocket
    this.sockets = []; // those that are open
    this.streams = [];
    // What is done about a request; a test replaces what it is about.
    this.on = {
      ws: (socket) => socket.say({ type: "hello", cursor: "10" }),
      sse: () => this.stream(": holdline\n\nid: 10\n\n"),
      poll: ({ query }) => this.answer({ cursor: query.get("cursor") ?? "10", events: [] }, query.get("wait") === "0" ? 0 : 25_000),
      info: () => this.answer({}),
      send: ({ words }) => {
        const { state, reason, error, retry_ms: after, ...more } = this.outcome(words);
        const status = state === "failed" ? { rate: 429, full: 503, unavailable: 503 }[reason] ?? 403 : state === "stored" ? 200 : 202;
        return this.answer({ ...more, state, reason, error }, 5, { status, headers: after ? { "Retry-After": String(after / 1000) } : {} });
      },
      signal: ({ words }) => {
        this.asides.push(words);
        return new Response(null, { status: 204 });
      },
    };
    // What was said, and what becomes of what is sent; a test replaces outcome.
    this.sends = []; // every one that came, as often as it came
    this.asides = []; // typing, seen, delivered, signals
    this.outcome = () => ({ state: "pending" });
    const gateway = this;
    globalThis.fetch = (address, { headers, signal, body } = {}) => gateway.fetch(address, headers, signal, body);
    globalThis.WebSocket = class {
      constructor(address) {
        const asked = gateway.note(address);
        gateway.sockets.push(this);
        this.sent = [];
        setTimeout(() => this.over || gateway.on.ws(this, asked), 1);
      }

      say(...events) { for (const e of events) if (!this.over) this.onmessage({ data: typeof e === "string" ? e : JSON.stringify(e) }); }

      end(code = 1006, reason = "") {
        if (this.over) return;
        this.over = true;
        gateway.sockets = gateway.sockets.filter((s) => s !== this);
        this.onclose({ code, reason });
      }

      send(text) {
        const said = JSON.parse(text);
        this.sent.push(said);
        if (this.mute || this.over) return;
        if (said.type === "ping") setTimeout(() => this.say({ type: "pong", id: said.id }), 5);
        else gateway.said(said, (answer) => setTimeout(() => this.say(answer), 5));
      }

      /** Its page has crashed: nobody hears of anything. */
      vanish() {
        this.over = true;
        gateway.sockets = gateway.sockets.filter((s) => s !== this);
      }

      close() { this.end(1000); }
    };
  }

  note(address, token = "") {
    const url = new URL(address);
    const asked = { at: Date.now(), endpoint: url.pathname.split("/").pop(), query: url.searchParams, token: token || url.searchParams.get("token") || "" };
    this.asked.push(asked);
    return asked;
  }

  /** How often an endpoint was asked; all of them without one. */
  count(endpoint) {
    return this.asked.filter((a) => !endpoint || a.endpoint === endpoint).length;
  }

  /** Hears words over a WebSocket. */
  said(words, answer) {
    if (words.type !== "send") return void this.asides.push(words);
    this.sends.push(words);
    const outcome = this.outcome(words);
    if (outcome) answer({ type: "sent", client_id: words.client_id, channel: words.channel, ...outcome });
  }

  async fetch(address, headers = {}, signal, body) {
    const asked = this.note(address, (headers.Authorization ?? "").replace("Bearer ", ""));
    if (body) asked.words = JSON.parse(body);
    if (asked.endpoint === "send") this.sends.push(asked.words);
    const gone = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(Object.assign(new Error("aborted"), { name: "AbortError" }))));
    gone.catch(() => {});
    return Promise.race([this.on[asked.endpoint](asked), gone]);
  }

  /** An answer that comes after a while. */
  async answer(body, after = 0, init = {}) {
    if (after) await new Promise((done) => setTimeout(done, after));
    return new Response(typeof body === "string" ? body : JSON.stringify(body), init);
  }

  /** An answer that goes on: the last of streams can say more, or end. */
  stream(...texts) {
    const body = new ReadableStream({
      start: (controller) => {
        const encoder = new TextEncoder();
        const one = {
          say: (text) => controller.enqueue(encoder.encode(text)),
          break: () => controller.error(new TypeError("network error")),
          end: () => controller.close(),
        };
        this.streams.push(one);
        texts.forEach(one.say);
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream; charset=utf-8" } });
  }

  close() {
    mock.timers.reset();
  }
}

export const refused = (status, error, reason) => new Response(JSON.stringify({ error, reason }), { status });
/** A send of somebody, as others hear it before and after it is stored. */
export const pending = (client_id, more) => ({ type: "message", channel: "a/1", client_id, pending: true, from: { kind: "agent", id: 2 }, ...more });
export const message = (id, more) => ({ type: "message", channel: "a/1", id, cursor: String(id), ...more });
