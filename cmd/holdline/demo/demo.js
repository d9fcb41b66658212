// The page: two panes, each a client of its own, and the numbers below them.

import { Delays, now, setClock } from "./delays.js";
import { Pane } from "./pane.js";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

let session = await call("/demo/session");
await load(session.client);
const delays = new Delays($("delay-rows"));
const names = Object.fromEntries(session.panes.map(({ who, name }) => [who, name]));
const panes = session.panes.map((me, i) => new Pane({
  me, names, delays, post: call,
  token: () => session.panes[i].token,
  onLost: renew,
  onUnread: (n) => { tabs[i].querySelector("b").textContent = n || ""; },
}));
const tabs = panes.map(addTab);
$("panes").append(...panes.map((pane) => pane.root));
for (const pane of panes) {
  for (const type of ["pointerenter", "pointerdown", "focusin"]) pane.root.addEventListener(type, () => lookAt(pane));
}
document.addEventListener("visibilitychange", () => panes.forEach((pane) => pane.see()));
lookAt(panes[0]);
showSession();
$("stopped").onchange = () => call("/demo/wordpress", { stopped: $("stopped").checked }).catch(showTrouble);
$("insert").onclick = () => call("/demo/send", { who: "visitor", text: "Hello from PHP", ring: true }).catch(showTrouble);
$("hold").onclick = () => crowd("/demo/hold", "Opening and measuring …",
  (hold) => `${whole.format(hold.clients)} more are held. Write something: they all get it.`);
$("release").onclick = () => crowd("/demo/release", "Closing …", () => "They have left.");
watch();
countTabs();

async function call(path, body) {
  const response = await fetch(path, body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// load runs the browser client, as any page of a site would.
function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error("the browser client cannot be loaded"));
    document.head.append(script);
  });
}

// addTab makes a pane's button of the switch that a phone has.
function addTab(pane) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(`${pane.me.name} `, Object.assign(document.createElement("small"), { textContent: pane.me.who }), document.createElement("b"));
  button.onclick = () => lookAt(pane);
  $("switch").append(button);
  return button;
}

// lookAt: the pointer or the focus is in this pane; a phone shows no other.
function lookAt(pane) {
  if (pane.lookedAt) return;
  panes.forEach((other, i) => {
    other.look(other === pane);
    tabs[i].setAttribute("aria-pressed", other === pane);
  });
}

// renew gets new tokens after a connection was lost: the demo may have been
// started again, with another key and another chat.
async function renew() {
  try {
    const fresh = await call("/demo/session");
    if (fresh.run !== session.run) location.reload();
    session = fresh;
  } catch {
    // The server is away, as the pane's own line already tells.
  }
}

function showTrouble(error) {
  $("trouble").textContent = error.message;
}

function showSession() {
  $("notice").hidden = session.kind === "mariadb";
  $("notice").textContent = session.notice;
  $("by-hand-words").hidden = $("copy").hidden = !session.by_hand;
  $("by-hand").textContent = session.by_hand;
  $("by-hand").parentElement.hidden = !session.by_hand;
  if (!navigator.clipboard) $("copy").hidden = true; // there is none without HTTPS, but on this machine
  $("copy").onclick = async () => {
    await navigator.clipboard.writeText(session.by_hand);
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  };
}

// countTabs tells the panes how many tabs share their lines. Each tab holds a lock
// that others can see; a browser gives it up when the tab has gone.
function countTabs() {
  const { locks } = navigator;
  if (!locks) return; // none without HTTPS, but on this machine
  const mine = `holdline demo tab ${session.run} `;
  locks.request(mine + Math.random(), () => new Promise(() => {}));
  const count = async () => {
    const { held } = await locks.query();
    const n = held.filter((lock) => lock.name.startsWith(mine)).length;
    panes.forEach((pane) => pane.shared(n));
  };
  setInterval(count, 2000);
  count();
}

// watch asks for the numbers once a second while the page is looked at.
function watch() {
  let before = null;
  const look = async () => {
    if (document.hidden) {
      before = null;
      return;
    }
    const asked = now();
    const stats = await call("/demo/stats");
    if (stats.run !== session.run) return;
    setClock(asked, stats.now, now());
    delays.commits(stats.commits);
    show(stats, before);
    before = stats;
  };
  setInterval(() => look().catch(() => { $("held").textContent = "–"; }), 1000);
}

function show(stats, before) {
  panes.forEach((pane) => pane.road(stats.roads[pane.me.who]));
  if (document.activeElement !== $("stopped")) $("stopped").checked = stats.stopped;
  $("held").textContent = whole.format(stats.held);
  $("held-hint").textContent = `in ${mebibytes(stats.rss)} of private memory, this page’s server and all`;
  if (before) {
    const rate = (stats.queries - before.queries) / (stats.now - before.now) * 1000;
    $("queries").textContent = rate.toFixed(0);
    $("queries-hint").textContent = session.kind === "mariadb"
      ? "by Holdline, as MariaDB counts; the same for one client and for thousands"
      : "looks at the rows in memory: there is no database";
  }
  showHold(stats.hold);
  // Three seconds are enough for any row that can arrive at all.
  const due = stats.commits.filter((row) => row.committed_at < stats.now - 3000);
  const connected = panes.filter((pane) => pane.openSince < now() - 3000);
  const lost = connected.flatMap((pane) => due.filter((row) => !pane.rows.has(row.id))).length;
  const repeated = panes.reduce((sum, pane) => sum + pane.repeated, 0);
  $("lost").textContent = `${lost} · ${repeated}`;
}

function showHold(hold) {
  $("release").disabled = !hold;
  $("each").textContent = hold ? `${whole.format(hold.each)} bytes` : "–";
  $("each-hint").textContent = hold
    ? `${mebibytes(hold.before)} with ${whole.format(hold.warm_up)} to warm up, ` +
      `${mebibytes(hold.after)} with ${whole.format(hold.clients)} more; the kernel’s buffers come on top`
    : "Hold some to measure it.";
}

// crowd presses one of the two buttons about further clients.
async function crowd(path, words, done) {
  $("hold").disabled = $("release").disabled = true;
  $("hold-state").textContent = words;
  try {
    const hold = await call(path, {});
    $("hold-state").textContent = done(hold);
    showHold(hold.clients ? hold : null);
  } catch (error) {
    $("hold-state").textContent = error.message;
  }
  $("hold").disabled = false;
  $("hold").focus();
}
