// The page: two panes, each a client of its own, and the numbers below them.

import { Delays, now, setClock } from "./delays.js";
import { Pane } from "./pane.js";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

let session = await call("/demo/session");
const delays = new Delays($("delay-rows"), () => $("ring").checked);
const panes = session.panes.map((me, i) => new Pane({
  me, delays, post,
  base: session.base,
  token: () => session.panes[i].token,
  onLost: renew,
}));
$("panes").append(...panes.map((pane) => pane.root));
showSession();
$("ring").onchange = () => delays.show();
$("hold").onclick = () => crowd("/demo/hold", "Opening and measuring …",
  (hold) => `${whole.format(hold.clients)} more are held. Write something: they all get it.`);
$("release").onclick = () => crowd("/demo/release", "Closing …", () => "They have left.");
watch();

async function call(path, body) {
  const response = await fetch(path, body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// post does what a pane's button says; the answer is the new row's receipt.
async function post(path, wish) {
  delays.commits([await call(path, { ...wish, ring: $("ring").checked })]);
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

function showSession() {
  $("notice").hidden = session.kind === "mariadb";
  $("notice").textContent = session.notice;
  $("by-hand-card").hidden = !session.by_hand;
  $("by-hand").textContent = session.by_hand;
  $("copy").hidden = !navigator.clipboard; // there is none without HTTPS, but on this machine
  $("copy").onclick = async () => {
    await navigator.clipboard.writeText(session.by_hand);
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  };
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
    delays.commits(stats.commits, true);
    show(stats, before);
    before = stats;
  };
  setInterval(() => look().catch(() => { $("held").textContent = "–"; }), 1000);
}

function show(stats, before) {
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
  const lost = panes.flatMap((pane) => due.filter((row) => !pane.seen.has(row.id))).length;
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
