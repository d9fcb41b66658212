// A chat page for tests: as much of jQuery, of the browser and of the client as
// push() touches, and a clock that only the test moves.

import { mock } from "node:test";

globalThis.self = globalThis;
globalThis.location = new URL("https://shop.example.test/");

/** Lets ms pass, and everything happen that is due. */
export function pass(ms) {
  mock.timers.tick(ms);
}

/** A line that says what the test tells it to. */
class Line {
  constructor(options) {
    Object.assign(this, { options, state: "connecting", transport: "", listeners: [] });
    Line.all.push(this);
  }

  on(type, fn) {
    this.listeners.push([type, fn]);
    return this;
  }

  say(type, event = {}) {
    for (const [on, fn] of this.listeners) if (on === type) fn(event, type);
  }

  close() { this.closed = true; }

  /** Opens with a chat's status, and nothing missed. */
  open(status, transport = "ws", channel = this.options.channels[0]) {
    Object.assign(this, { state: "open", transport });
    this.say("state", { state: "open", transport });
    this.status(status, channel);
  }

  status(status, channel = this.options.channels[0]) { this.say("status", { type: "status", channel, data: { status } }); }

  fail(state = "waiting") {
    Object.assign(this, { state, transport: "" });
    this.say("state", { state });
  }
}

/** A page with push, and what it has asked the server. */
export async function open({ settings = {} } = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000_000 });
  Line.all = [];
  globalThis.Holdline = Line;
  const storage = new Map(), listeners = [];
  globalThis.localStorage = { setItem: (k, v) => storage.set(k, v), getItem: (k) => storage.get(k) ?? null };
  globalThis.addEventListener = (type, fn) => listeners.push([type, fn]);
  const { push } = await import("../src/wplc.js");
  const page = {
    requests: [], // those at the server: {data, answer(text, status), aborted}
    lines: Line.all,
    get line() { return Line.all.at(-1); },
    get asked() { return page.requests.filter((r) => !r.over); },
    storage,
    other(chat, session) {
      const newValue = `${chat} ${session} 1`;
      for (const [type, fn] of listeners) if (type === "storage") fn({ key: "holdline wplc page", newValue });
    },
  };
  let transport;
  const $ = {
    ajaxTransport(types, fn) { transport = fn; },

    /** The server's own: nothing of ours is between. */
    ajax(options) {
      const request = { data: options.data, options, then: [], text: undefined };
      request.finish = (text, status) => {
        if (request.over) return;
        Object.assign(request, { over: true, text, status });
        Object.assign(request.xhr, { responseText: text, status, statusText: status === 200 ? "OK" : "error" });
        for (const fn of request.then) fn();
      };
      request.answer = (text = "", status = 200) => request.finish(typeof text === "string" ? text : JSON.stringify(text), status);
      request.xhr = { always: (fn) => request.then.push(fn), abort: () => { request.aborted = true; request.finish("", 0); }, getAllResponseHeaders: () => "X-From: server\r\n" };
      page.requests.push(request);
      return request.xhr;
    },
  };
  push($, { url: "/holdline/v1", ...settings });

  /** A loop of the plugin's script: {answer: text or undefined, status, abort()}. */
  page.loop = (data, more = {}) => {
    const loop = { answer: undefined, status: undefined, done: [] };
    const options = { url: "/wp-admin/admin-ajax.php", type: "POST", data: "", async: true, ...more };
    const jqXHR = { done: (fn) => loop.done.push(fn) };
    const taken = transport(options, { data, ...more }, jqXHR);
    const finish = (status, statusText, responses, headers) => {
      Object.assign(loop, { answer: responses?.text, status, headers });
      if (status === 200) for (const fn of loop.done) fn(loop.answer);
    };
    loop.taken = Boolean(taken);
    if (taken) {
      taken.send({ Accept: "*/*" }, finish);
      loop.abort = () => taken.abort();
    } else {
      const xhr = $.ajax({ ...options, data });
      const request = page.requests.at(-1);
      xhr.always(() => finish(request.status, "", { text: request.text }));
    }
    return loop;
  };
  page.visitor = (more) => page.loop({ action: "wplc_call_to_server_visitor", security: "n", cid: "42", wplc_name: "Ann", wplc_email: "a@example.test", status: 3, wplcsession: "1000", first_run: false, short_poll: false, ...more });
  page.agent = (more) => page.loop({ action: "wplc_admin_long_poll_chat", security: "n", cid: 42, chat_status: 3, first_run: false, ...more });
  return page;
}

export const nothing = { check: true, debug: "", aname: "Admin", wplc_name: "Ann", cid: "42", aid: "42", status: "3" };
export const hello = (id = 7) => ({ ...nothing, status: 3, data: { [id]: { msg: "Hello", originates: "1" } } });
export const row = (id, originates = 1, more = {}) => ({ type: "message", channel: "wplc/42", id, from: { kind: "agent" }, body: "Hello", data: { originates }, ...more });
