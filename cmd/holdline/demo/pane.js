// One end of the chat: what a visitor or an agent sees, fed by a client of its
// own.

import { Line } from "./line.js";
import { now } from "./delays.js";

const roles = { visitor: "visitor", agent: "agent" };
const states = { pending: "waiting for an agent", active: "active", ended: "ended", deleted: "deleted" };

// What can be done with a chat in a state, by whom: the state it is moved to
// and the button's words.
const moves = {
  agent: { pending: ["active", "Accept the chat"], active: ["ended", "End the chat"] },
  visitor: { ended: ["pending", "Chat again"] },
};

export class Pane {
  // options: me (who, name, channels), base, token(), post(path, wish), delays,
  // onLost().
  constructor(options) {
    this.options = options;
    this.me = options.me;
    this.seen = new Set(); // row ids
    this.repeated = 0;
    this.root = document.getElementById("pane").content.firstElementChild.cloneNode(true);
    this.log = this.find(".log");
    this.label();
    this.line = new Line({
      base: options.base,
      channels: this.me.channels,
      token: options.token,
      onLost: options.onLost,
      onState: (state, words) => this.connection(state, words),
      onEvent: (event) => this.take(event),
    });
    this.listen();
    this.line.use("ws");
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  label() {
    const name = `${this.me.name}, ${roles[this.me.who]}`;
    this.root.setAttribute("aria-label", `The chat as ${name}`);
    this.find("h2").textContent = name;
    this.log.setAttribute("aria-label", `Messages, as ${name} sees them`);
    // Both panes show the same messages; hearing each of them once is enough.
    if (this.me.who === "agent") this.log.setAttribute("aria-live", "off");
    const input = this.find("input[name=text]");
    input.setAttribute("aria-label", `Message from ${name}`);
    input.placeholder = `Write as ${this.me.name} …`;
  }

  listen() {
    for (const radio of this.root.querySelectorAll("input[type=radio]")) {
      radio.name = `transport-${this.me.who}`;
      radio.checked = radio.value === "ws";
      radio.onchange = () => this.line.use(radio.value);
    }
    this.find("form").onsubmit = async (e) => {
      e.preventDefault();
      const input = e.target.elements.text;
      const text = input.value;
      input.value = "";
      if (!await this.post("/demo/send", { who: this.me.who, text })) input.value = text;
    };
  }

  async post(path, wish) {
    this.find(".trouble").textContent = "";
    try {
      await this.options.post(path, wish);
      return true;
    } catch (error) {
      this.find(".trouble").textContent = error.message;
      return false;
    }
  }

  connection(state, words) {
    const place = this.find(".line");
    place.dataset.state = state;
    place.querySelector("span").textContent = words;
  }

  take(event) {
    if (event.type === "message") this.message(event);
    else if (event.type === "status") this.status(event);
    else if (event.type === "reset") this.reset();
  }

  message(event) {
    const received = now();
    if (this.seen.has(event.id)) {
      this.repeated++;
      return;
    }
    this.seen.add(event.id);
    const item = document.createElement("li");
    const note = event.from.kind === "system";
    item.className = note ? "note" : event.from.kind === this.me.who ? "mine" : "";
    item.textContent = event.body ?? ""; // never markup: anybody can write into a chat
    const meta = document.createElement("small");
    meta.textContent = note ? "" : `${event.from.name} · ${clock(event.sent_at)}`;
    item.append(meta);
    this.show(item);
    const { transport, began: since } = this.line;
    painted((when) => this.options.delays.arrived({
      id: event.id, received, painted: when, since, transport,
      tell: (words) => { meta.textContent = [meta.textContent, words].filter(Boolean).join(" · "); },
    }));
  }

  // show appends, and scrolls unless somebody reads further up.
  show(item) {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    this.log.append(item);
    if (scrollHeight - scrollTop - clientHeight < 60) this.log.scrollTop = this.log.scrollHeight;
  }

  status(event) {
    if (event.channel === "wplc/agents") {
      const n = event.data.chats.length;
      this.find(".list").textContent = `${n} open ${n === 1 ? "chat" : "chats"}`;
      return;
    }
    const state = event.data.state;
    const chip = this.find(".chat-state");
    chip.dataset.state = state;
    chip.textContent = states[state] ?? state;
    const over = state === "ended" || state === "deleted";
    for (const control of this.find("form").elements) control.disabled = over;
    const move = moves[this.me.who][state];
    const button = this.find(".move");
    button.hidden = !move;
    if (!move) return;
    button.textContent = move[1];
    button.onclick = () => this.post("/demo/status", { status: move[0] });
  }

  // reset: the server's ids began again, so what is shown is of another time.
  reset() {
    this.log.replaceChildren();
    this.seen.clear();
    this.line.restart();
  }
}

function clock(time) {
  if (!time) return "";
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// painted calls back when what was just added is on the screen: in a task that
// follows the next frame. It says null where nobody is looking.
function painted(then) {
  if (document.hidden) {
    then(null);
    return;
  }
  requestAnimationFrame(() => {
    const task = new MessageChannel();
    task.port1.onmessage = () => then(now());
    task.port2.postMessage(0);
  });
}
