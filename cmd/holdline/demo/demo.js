// The page: two panes, each a client of its own, and the numbers below them.

import { Line } from "./line.js";
import { Delays, now, setClock } from "./delays.js";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const names = { visitor: "Visitor", agent: "Agent" };
const states = {
  pending: "waiting for an agent", active: "active", ended: "ended", deleted: "deleted",
};

let session = await call("/demo/session");
const delays = new Delays($("delay-rows"), () => $("ring").checked);
const panes = session.panes.map((_, i) => new Pane(i));
showNotice();
$("ring").onchange = () => delays.show();
watchNumbers();

async function call(path, body) {
  const response = await fetch(path, body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function showNotice() {
  $("notice").hidden = session.kind === "mariadb";
  $("notice").textContent = session.notice;
  $("by-hand-card").hidden = !session.by_hand;
  $("by-hand").textContent = session.by_hand;
  $("copy").onclick = async () => {
    await navigator.clipboard.writeText(session.by_hand);
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  };
}

// renewed is the session after a connection was lost: the demo may have been
// started again, with another key and another chat.
async function renewed() {
  try {
    const fresh = await call("/demo/session");
    if (fresh.run !== session.run) location.reload();
    session = fresh;
  } catch {
    // The server is away; the line tells so.
  }
}

function element(name, className, text) {
  const e = document.createElement(name);
  e.className = className;
  e.textContent = text; // never markup: anybody can write into a chat
  return e;
}

// Written as a function so that it can be used above.
function Pane(index) {
  const me = session.panes[index];
  const root = $("pane").content.firstElementChild.cloneNode(true);
  const find = (selector) => root.querySelector(selector);
  const log = find(".log");
  const seen = new Set();
  this.seen = seen;
  this.repeated = 0;

  const name = `${me.name}, ${names[me.who].toLowerCase()}`;
  root.setAttribute("aria-label", `${names[me.who]}’s end of the chat`);
  find("h2").textContent = name;
  log.setAttribute("aria-label", `Messages, as ${name} sees them`);
  find("input[name=text]").setAttribute("aria-label", `Message from ${name}`);
  find("input[name=text]").placeholder = `Write as ${me.name} …`;

  const line = new Line({
    base: session.base,
    channels: me.channels,
    token: () => session.panes[index].token,
    onLost: renewed,
    onState: (state, words) => {
      find(".line").dataset.state = state;
      find(".line span").textContent = words;
    },
    onEvent: (event) => ({ message: onMessage, status: onStatus, reset: onReset })[event.type]?.(event),
  });
  this.line = line;

  for (const radio of root.querySelectorAll("input[type=radio]")) {
    radio.name = `transport-${me.who}`;
    radio.checked = radio.value === "ws";
    radio.onchange = () => line.use(radio.value);
  }
  find("form").onsubmit = (e) => {
    e.preventDefault();
    const input = find("input[name=text]");
    press({ who: me.who, text: input.value }, "/demo/send").then((sent) => { if (sent) input.value = ""; });
  };

  async function press(wish, path) {
    find(".trouble").textContent = "";
    try {
      delays.commits([await call(path, { ...wish, ring: $("ring").checked })]);
      return true;
    } catch (error) {
      find(".trouble").textContent = error.message;
      return false;
    }
  }

  function onMessage(event) {
    const received = now();
    if (seen.has(event.id)) {
      this.repeated++;
      return;
    }
    seen.add(event.id);
    const note = event.from.kind === "system";
    const item = element("li", note ? "note" : event.from.kind === me.who ? "mine" : "", event.body);
    const meta = element("small", "", note ? "" : `${event.from.name} · ${clock(event.sent_at)}`);
    item.append(meta);
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.append(item);
    if (atEnd) log.scrollTop = log.scrollHeight;
    const transport = line.transport;
    const since = line.began;
    painted((when) => delays.arrived({ id: event.id, received, painted: when, since, transport, tell: (words) => {
      meta.textContent = [meta.textContent, words].filter(Boolean).join(" · ");
    } }));
  }
  onMessage = onMessage.bind(this);

  function onStatus(event) {
    if (event.channel === "wplc/agents") {
      const n = event.data.chats.length;
      find(".list").textContent = `${n} open ${n === 1 ? "chat" : "chats"}`;
      return;
    }
    const chip = find(".chat-state");
    chip.dataset.state = event.data.state;
    chip.textContent = states[event.data.state] ?? event.data.state;
    const over = event.data.state === "ended" || event.data.state === "deleted";
    for (const control of root.querySelectorAll("form input, form button")) control.disabled = over;
    showMoves(event.data.state);
  }

  function onReset() {
    log.replaceChildren();
    seen.clear();
    line.restart();
  }

  // showMoves offers what can be done with the chat now.
  function showMoves(state) {
    const moves = {
      agent: { pending: [["active", "Accept the chat"]], active: [["ended", "End the chat"]] },
      visitor: { ended: [["pending", "Chat again"]] },
    }[me.who][state] ?? [];
    find(".moves").replaceChildren(...moves.map(([to, words]) => {
      const button = element("button", "quiet", words);
      button.type = "button";
      button.onclick = () => press({ status: to }, "/demo/status");
      return button;
    }));
  }

  $("panes").append(root);
  line.use("ws");
}

function clock(time) {
  return time ? new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }) : "";
}

// painted calls back when what was just added is on the screen: a task that
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

// watchNumbers asks once a second while the page is looked at.
function watchNumbers() {
  let before = null;
  const look = async () => {
    if (document.hidden) return;
    const asked = now();
    const stats = await call("/demo/stats");
    if (stats.run !== session.run) return;
    setClock(asked, stats.now, now());
    delays.commits(stats.commits, true);
    showNumbers(stats, before);
    before = stats;
  };
  setInterval(() => look().catch(() => { $("held").textContent = "–"; }), 1000);
}

function showNumbers(stats, before) {
  $("held").textContent = whole.format(stats.held);
  if (before) {
    const rate = (stats.queries - before.queries) / (stats.now - before.now) * 1000;
    $("queries").textContent = rate.toFixed(0);
    $("queries-hint").textContent = session.kind === "mariadb"
      ? "Holdline’s, counted by MariaDB; two a tick, however many clients"
      : "reads of the rows in memory";
  }
  showHold(stats.hold);
  // Three seconds are time enough for any row that can arrive at all.
  const due = stats.commits.filter((c) => c.committed_at < stats.now - 3000);
  const lost = panes.flatMap((p) => due.filter((c) => !p.seen.has(c.id))).length;
  const repeated = panes.reduce((sum, p) => sum + p.repeated, 0);
  $("lost").textContent = `${lost} · ${repeated}`;
}

function showHold(hold) {
  $("release").disabled = !hold;
  $("each").textContent = hold ? `${whole.format(hold.each)} bytes` : "–";
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
  $("each-hint").textContent = hold
    ? `resident: ${mib(hold.before)} MiB without, ${mib(hold.after)} MiB with ${whole.format(hold.clients)} of another process, both after a collection`
    : "Hold some to measure it.";
}

async function crowd(button, path, words, done) {
  $("hold").disabled = $("release").disabled = true;
  $("hold-state").textContent = words;
  try {
    const hold = await call(path, {});
    $("hold-state").textContent = done(hold);
    showHold(hold.each === undefined ? null : hold);
  } catch (error) {
    $("hold-state").textContent = error.message;
  }
  $("hold").disabled = false;
  button.focus();
}
$("hold").onclick = () => crowd($("hold"), "/demo/hold", "Opening and measuring …",
  (hold) => `${whole.format(hold.clients)} more are held. Write something: they all get it.`);
$("release").onclick = () => crowd($("hold"), "/demo/release", "Closing …", () => "They have left.");
