// One end of the chat: what a visitor or an agent sees, on a line of its own.

import { now, painted } from "./delays.js";
import { Log, note } from "./log.js";

const TRANSPORTS = { ws: "WebSocket", sse: "Event stream (SSE)", poll: "Long poll", short: "Short poll" };
const ROLES = { worker: "held by a worker", leader: "held by this tab", follower: "held by another tab", tab: "" };
const STATES = { pending: "waiting for an agent", active: "active", ended: "ended", deleted: "deleted" };

// What can be done with a chat in a state, by whom: the state it is moved to
// and the button's words.
const MOVES = {
  agent: { pending: ["active", "Accept the chat"], active: ["ended", "End the chat"] },
  visitor: { ended: ["pending", "Chat again"] },
};

export class Pane {
  // options: me (who, name, channels, url), token(), names, post(path, wish),
  // delays, onLost(), onUnread().
  constructor(options) {
    this.options = options;
    this.me = options.me;
    [this.channel] = this.me.channels;
    this.rows = new Set(); // ids that have come
    this.repeated = this.unread = this.lastOther = this.lastSeen = this.failures = 0;
    this.openSince = Infinity;
    this.lookedAt = false;
    this.delay = null; // of the line, in ms
    this.tabs = 0;
    this.root = document.getElementById("pane").content.firstElementChild.cloneNode(true);
    this.log = new Log(this.find(".log"), {
      me: this.me.who, nameOf: (party) => this.nameOf(party),
      retry: (id) => this.line.retry(id), drop: (id) => this.line.drop(id),
    });
    this.label();
    this.connect();
    this.controls();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  nameOf({ kind, name }) {
    return this.options.names[kind] ?? name ?? kind;
  }

  label() {
    const name = `${this.me.name}, ${this.me.who}`;
    this.root.setAttribute("aria-label", `The chat as ${name}`);
    this.find("h2").textContent = name;
    const list = this.find(".log");
    list.setAttribute("aria-label", `Messages, as ${name} sees them`);
    // Both panes show the same messages; hearing each of them once is enough.
    if (this.me.who === "agent") list.setAttribute("aria-live", "off");
    const input = this.find("input[name=text]");
    input.setAttribute("aria-label", `Message from ${name}`);
    input.placeholder = `Write as ${this.me.name} …`;
    for (const radio of this.root.querySelectorAll(".roads input")) radio.name = `road-${this.me.who}`;
  }

  connect() {
    this.line = new window.Holdline({
      url: this.me.url, channels: this.me.channels, as: this.me.who, cursor: "0",
      token: this.options.token(), getToken: async () => {
        await this.options.onLost();
        return this.options.token();
      },
    });
    const on = (type, take) => this.line.on(type, take);
    on("state", (state) => this.state(state));
    on("error", (error) => this.trouble(error.message));
    on("message", (e) => this.message(e));
    on("stored", (e) => this.message(e));
    on("sent", (send) => this.sent(send));
    on("withdrawn", (e) => this.log.withdrawn(e));
    on("delayed", () => this.delayed());
    on("typing", (e) => this.typing(e));
    on("presence", (e) => this.presence(e));
    on("delivered", (e) => this.receipt(e));
    on("seen", (e) => this.receipt(e));
    on("status", (e) => this.status(e));
    on("reset", () => this.reset());
    // What was not settled before the page was loaded anew.
    this.line.sends?.().then((sends) => sends.forEach((send) => this.log.sent(send)));
    this.measure();
    setInterval(() => this.measure(), 3000);
  }

  controls() {
    const input = this.find("input[name=text]");
    input.oninput = () => this.line.typing(this.channel, input.value !== "");
    this.find("form").onsubmit = (e) => {
      e.preventDefault();
      if (input.value.trim() === "") return;
      this.trouble("");
      this.log.toEnd();
      const id = this.line.send(this.channel, input.value);
      if (this.line.state === "open") this.options.delays.clicked(id); // how long a network is away is no delay of ours
      input.value = "";
    };
    for (const radio of this.root.querySelectorAll(".roads input")) {
      radio.onchange = () => this.takeRoad(radio.value);
    }
  }

  async post(path, wish) {
    this.trouble("");
    try {
      await this.options.post(path, wish);
    } catch (error) {
      this.trouble(error.message);
    }
  }

  async takeRoad(mode) {
    const wasDown = this.mode === "down";
    this.mode = mode;
    await this.post("/demo/road", { who: this.me.who, mode });
    if (wasDown) dispatchEvent(new Event("online")); // as a browser says when the network is back
  }

  trouble(words) {
    this.find(".pane-trouble").textContent = words;
  }

  // ---- The line.

  state({ state, transport, wait, why, role }) {
    if (state === "open" && this.openSince === Infinity) this.openSince = now();
    if (state !== "open") this.openSince = Infinity;
    if (state !== "open" || transport !== this.transport) this.delay = null;
    this.transport = transport;
    this.role = role;
    this.words = {
      connecting: "Connecting …", open: TRANSPORTS[transport] ?? transport, closed: "Closed", refused: `Refused: ${why}`,
      waiting: `No connection${why ? ` (${why})` : ""}; next try in ${((wait ?? 0) / 1000).toFixed(1)} s`,
    }[state] ?? state;
    this.find(".line").dataset.state = state;
    this.tell();
    if (state !== "open") this.find(".presence").hidden = true; // who is there now is not known
    if (state === "waiting") this.options.onLost();
    if (state === "open") this.opened();
  }

  opened() {
    this.find(".presence").hidden = false;
    this.measure();
  }

  tell() {
    this.find(".transport").textContent = this.words ?? "Connecting …";
    const more = [];
    if (this.delay !== null) more.push(`${this.delay < 10 ? this.delay.toFixed(1) : this.delay.toFixed(0)} ms there and back`);
    if (this.tabs > 1) more.push(`one line for ${this.tabs} tabs`);
    if (ROLES[this.role] && this.line.state === "open") more.push(ROLES[this.role]);
    this.find(".more").textContent = more.join(" · ");
  }

  // measure asks for the delay of the line while somebody looks at it.
  async measure() {
    if (document.hidden || this.line.state !== "open" || this.measuring) return;
    this.measuring = true;
    try {
      this.delay = await this.line.latency();
      this.tell();
    } catch {
      // The line went away meanwhile, as its state tells.
    }
    this.measuring = false;
  }

  shared(tabs) {
    this.tabs = tabs;
    this.tell();
  }

  // road: another tab may have chosen.
  road(mode) {
    const radio = this.root.querySelector(`.roads input[value="${mode}"]`);
    if (!radio || this.find(".roads").contains(document.activeElement)) return;
    radio.checked = true;
    this.mode = mode;
  }

  // ---- What is said.

  message(event) {
    const received = now();
    if (event.id) {
      if (this.rows.has(event.id)) this.repeated++;
      this.rows.add(event.id);
    }
    const { item, isNew } = this.log.heard(event);
    const mine = event.from?.kind === this.me.who;
    if (event.id) this.options.delays.row(event.id, received, this);
    if (mine || event.from?.kind === "system") return;
    if (isNew) {
      painted((when) => this.options.delays.shown(event.client_id, when, this.transport, (words) => note(item, words)));
      if (!this.lookedAt) this.setUnread(this.unread + 1);
    }
    if (event.id > this.lastOther) this.lastOther = event.id;
    this.see();
  }

  sent(send) {
    this.log.sent(send);
    if (send.state === "stored" && this.isDelayed) {
      this.isDelayed = false;
      this.trouble("");
    }
  }

  delayed() {
    this.isDelayed = true;
    this.trouble("WordPress does not answer. What you write arrives; it is kept and stored later.");
  }

  setUnread(n) {
    this.unread = n;
    this.options.onUnread(n);
  }

  // look: the pointer, the focus or the phone's switch came here, or went away.
  look(on) {
    this.lookedAt = on;
    this.root.classList.toggle("looked-at", on);
    if (!on) return;
    this.setUnread(0);
    this.log.toEnd();
    this.see();
  }

  see() {
    if (!this.lookedAt || document.hidden || this.lastOther <= this.lastSeen) return;
    this.lastSeen = this.lastOther;
    this.line.seen(this.channel, this.lastSeen);
  }

  receipt({ type, from, data }) {
    if (from && from.kind !== this.me.who && data) this.log.receipt(type, Number(data.up_to) || 0);
  }

  typing({ from, data }) {
    if (!from || from.kind === this.me.who) return;
    this.find(".typing").textContent = data?.typing ? `${this.nameOf(from)} is writing …` : "";
  }

  presence({ channel, data }) {
    if (channel !== this.channel) return;
    const other = (list) => (Array.isArray(list) ? list : []).find((party) => party.kind !== this.me.who);
    const here = other(data?.present), left = other(data?.left);
    const place = this.find(".presence");
    place.dataset.here = Boolean(here);
    place.textContent = here ? `${this.nameOf(here)} is here`
      : left ? `${this.nameOf(left)} left at ${new Date(left.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : "";
  }

  status(event) {
    if (event.channel === "wplc/agents") {
      const n = event.data.chats.length;
      this.find(".list").textContent = `${n} open ${n === 1 ? "chat" : "chats"}`;
      return;
    }
    const { state } = event.data;
    const chip = this.find(".chat-state");
    chip.dataset.state = state;
    chip.textContent = STATES[state] ?? state;
    const over = state === "ended" || state === "deleted";
    for (const control of this.find("form").elements) control.disabled = over;
    const move = MOVES[this.me.who][state];
    const button = this.find(".move");
    button.hidden = !move;
    if (!move) return;
    button.textContent = move[1];
    button.onclick = () => this.post("/demo/status", { status: move[0] });
  }

  // reset: the server's ids began again, so what is shown is of another time.
  reset() {
    this.log.clear();
    this.rows.clear();
    this.lastOther = this.lastSeen = 0;
    this.options.onLost();
  }
}
