// The operator's page: draws what the server tells over server-sent events, and
// asks for status.json where they cannot be had. No library, nothing from elsewhere.
const $ = (id) => document.getElementById(id);
const svgNS = 'http://www.w3.org/2000/svg';
const keep = 150; // samples, as many as the server has
let history = [];

/* ---- words and numbers ---- */

const whole = new Intl.NumberFormat('en');
const count = (n) => whole.format(Math.round(n));
const short = (n) => n === 0 ? '0' : n < 10 ? n.toFixed(1) : count(n);
const clock = (at) => new Date(at).toLocaleTimeString('en-GB');

function bytes(n) {
  if (n < 1e3) return `${count(n)} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`;
}

function span(seconds) {
  if (seconds > 0 && seconds < 0.1) return 'under 0.1 s';
  if (seconds < 100) return `${short(seconds)} s`;
  if (seconds < 5400) return `${count(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

// set changes a text only when it differs: a screen reader or a selection must not
// be disturbed every two seconds.
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function big(id, number, unit, more) {
  const node = $(id);
  if (node.dataset.shown !== number + unit) {
    node.dataset.shown = number + unit;
    node.replaceChildren(number, unit ? element('small', ' ' + unit) : '');
  }
  set($(id + '-more'), more);
}

// pairs fills a list of terms; a third part of true gives the words a line of their own.
function pairs(id, list) {
  const shown = JSON.stringify(list);
  const node = $(id);
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  node.replaceChildren(...list.flatMap(([term, text, words]) =>
    [element('dt', term, words ? 'words' : ''), element('dd', text, words ? 'words' : '')]));
}

/* ---- plots ---- */

const W = 560, H = 144, left = 44, bottom = 18, right = 6, top = 8;

function svg(name, attributes, parent) {
  const e = document.createElementNS(svgNS, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (parent) parent.append(e);
  return e;
}

// ceiling is a round number not below n.
function ceiling(n) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10].map((f) => f * unit).find((c) => c >= n);
}

class Plot {
  // series: {name, of: sample => number or null}
  constructor(id, series, format) {
    this.figure = $(id);
    this.series = series;
    this.format = format;
    this.at = null; // the sample under the marker; null for the newest
    this.caption = this.figure.querySelector('figcaption');
    this.title = this.caption.textContent;
    this.svg = svg('svg', { preserveAspectRatio: 'none', role: 'img', tabindex: 0 }, this.figure);
    this.when = element('span', '', 'when');
    this.caption.append(this.when);
    this.key = element('ul', undefined, 'key');
    this.values = series.map((s, i) => {
      const item = element('li');
      const sign = svg('svg', { viewBox: '0 0 26 8', 'aria-hidden': 'true' }, item);
      svg('path', { d: 'M1 4H25', class: 's' + i }, sign);
      const value = element('b');
      item.append(s.name + ' ', value);
      this.key.append(item);
      return value;
    });
    this.details = element('details');
    this.details.append(element('summary', 'As a table'));
    this.details.addEventListener('toggle', () => this.table());
    this.figure.append(this.key, this.details);
    this.svg.addEventListener('pointermove', (e) => this.point(e));
    this.svg.addEventListener('pointerleave', () => this.move(null));
    this.svg.addEventListener('blur', () => this.move(null));
    this.svg.addEventListener('keydown', (e) => this.step(e));
  }

  point(e) {
    const box = this.svg.getBoundingClientRect();
    const x = (e.clientX - box.left - left) / (box.width - left - right);
    this.move(Math.round(x * (keep - 1)) - (keep - history.length));
  }

  step(e) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15, Home: -keep, End: keep }[e.key];
    if (e.key === 'Escape') return this.move(null);
    if (!by) return;
    e.preventDefault();
    this.move((this.at ?? history.length - 1) + by);
    const text = `${this.title}, ${this.when.textContent}: ${this.words()}`;
    this.svg.setAttribute('aria-label', text);
    set($('live'), text); // a label that changes under the focus is not read out
  }

  move(i) {
    this.at = i === null || !history.length ? null : Math.min(history.length - 1, Math.max(0, i));
    this.draw();
  }

  words() {
    return this.series.map((s, i) => `${s.name} ${this.values[i].textContent}`).join(', ');
  }

  draw() {
    if (!history.length) return;
    const width = this.svg.clientWidth || W;
    const height = this.svg.clientHeight || H;
    const all = history.flatMap((h) => this.series.map((s) => s.of(h) ?? 0));
    const max = ceiling(Math.max(...all, 1));
    const x = (i) => left + (i + keep - history.length) / (keep - 1) * (width - left - right);
    const y = (v) => height - bottom - v / max * (height - bottom - top);
    const parts = [];
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    for (const v of [0, max / 2, max]) {
      parts.push(svg('line', { x1: left, x2: width - right, y1: y(v), y2: y(v), class: 'grid' }));
      const label = svg('text', { x: left - 6, y: y(v) + 4, 'text-anchor': 'end' });
      label.textContent = v < 10 && v % 1 ? v.toFixed(1) : count(v);
      parts.push(label);
    }
    for (const [share, text, anchor] of [[0, '5 min ago', 'start'], [1, 'now', 'end']]) {
      const label = svg('text', { x: left + share * (width - left - right), y: height - 3, 'text-anchor': anchor });
      label.textContent = text;
      parts.push(label);
    }
    this.series.forEach((s, n) => {
      let d = '', pen = 'M';
      history.forEach((h, i) => {
        const v = s.of(h);
        if (v === null) { pen = 'M'; return; }
        d += `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
        if (pen === 'M') d += 'h.1'; // a single point shows as a dot
        pen = 'L';
      });
      if (d) parts.push(svg('path', { d, class: 's' + n }));
    });
    if (this.at !== null) parts.push(svg('line', { x1: x(this.at), x2: x(this.at), y1: top, y2: height - bottom, class: 'mark' }));
    this.svg.replaceChildren(...parts);
    const shown = history[this.at ?? history.length - 1];
    this.series.forEach((s, i) => {
      const v = s.of(shown);
      set(this.values[i], v === null ? '–' : this.format(v));
    });
    set(this.when, this.at === null ? '' : `at ${clock(shown.at)}`);
    // While somebody steps through it, what they hear is the marker's.
    if (this.at === null) this.svg.setAttribute('aria-label', `${this.title}, now: ${this.words()}. Arrow keys go back in time.`);
  }

  // table has every tenth sample, newest first. It is made when it is opened, so
  // that it does not change while it is read.
  table() {
    this.details.querySelector('.scroll')?.remove();
    if (!this.details.open) return;
    const table = element('table');
    const head = table.createTHead().insertRow();
    for (const name of ['Time', ...this.series.map((s) => s.name)]) {
      const th = element('th', name);
      th.scope = 'col';
      head.append(th);
    }
    const body = table.createTBody();
    for (let i = history.length - 1; i >= 0; i -= 10) {
      const row = body.insertRow();
      row.insertCell().textContent = clock(history[i].at);
      for (const s of this.series) row.insertCell().textContent = s.of(history[i]) === null ? '–' : this.format(s.of(history[i]));
    }
    const box = element('div', undefined, 'scroll');
    box.tabIndex = 0;
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', `${this.title}, as a table`);
    box.append(table);
    this.details.append(box);
  }
}

const plots = [
  new Plot('plot-held', [
    { name: 'SSE', of: (s) => s.sse }, { name: 'WebSocket', of: (s) => s.ws },
    { name: 'long poll', of: (s) => s.poll }, { name: 'plugin loops', of: (s) => s.loop },
  ], count),
  new Plot('plot-rate', [{ name: 'events', of: (s) => s.events }, { name: 'rows', of: (s) => s.rows }], short),
  new Plot('plot-delay', [{ name: 'query', of: (s) => s.query_ms }, { name: 'wait for the next query, at most', of: (s) => s.wait_ms }], short),
  new Plot('plot-memory', [{ name: 'resident', of: (s) => s.memory_bytes / 1e6 }], (v) => v.toFixed(1)),
];

/* ---- the rest of the page ---- */

const total = (of) => Object.values(of).reduce((a, b) => a + b, 0);
// Labels that do not speak for themselves.
const meaning = {
  nobody: 'without credentials', forbidden: 'may not read that', token: 'bad token', binding: 'bad visitor cookie',
  login: 'bad login', origin: 'from another site', signature: 'bad signature', not_ready: 'before the database answered',
  database: 'database did not answer', upstream: 'PHP did not answer', circle: 'in a circle through the proxy',
  route: 'no such address', limit_connections: 'limit of all connections', limit_address: 'limit of one address', limit_user: 'limit of one user',
};
const byResult = (of, none) => {
  const list = Object.entries(of).sort((a, b) => b[1] - a[1]).map(([name, n]) => [meaning[name] ?? name.replaceAll('_', ' '), count(n)]);
  return list.length ? list : [[none, '']];
};

function show(r) {
  history = history.filter((s) => !r.history.length || s.at < r.history[0].at).concat(r.history).slice(-keep);
  const newest = history[history.length - 1];
  set($('version'), r.version);
  set($('uptime'), span(r.uptime_seconds));
  set($('state'), r.ready ? 'serving' : 'not ready');
  $('state').dataset.state = r.ready ? 'good' : 'bad';
  $('why').hidden = r.ready;
  set($('why'), r.why);
  const c = r.connections, m = r.memory;
  big('held', count(total(c.by_transport)), '', `of ${count(c.limit)}; ${count(c.idle)} between polls`);
  if (newest) {
    big('events', short(newest.events), 'per second', `${short(newest.rows)} rows per second`);
    const wait = newest.wait_ms;
    big('delay', wait === null ? '–' : short(wait), wait === null ? '' : 'ms at most',
      newest.query_ms === null ? 'nobody listens, nothing is asked' : `a query takes ${newest.query_ms.toFixed(1)} ms`);
  }
  big('memory', bytes(m.resident_bytes), '', m.per_connection_bytes === null
    ? 'per connection: known from 200 on' : `${bytes(m.per_connection_bytes)} per connection`);
  showPanels(r);
  if (!document.hidden) plots.forEach((p) => p.draw());
  announce(r);
}

function showPanels(r) {
  const l = r.loops, c = r.companion;
  set($('each'), (l.bytes_per_worker / 1e6).toFixed(1));
  pairs('php', [
    ['Loops held now', count(l.held)],
    ['Worker-seconds saved since the start', count(l.worker_seconds_saved)],
    ['PHP asked in their place', span(l.php_seconds)],
    ['PHP memory saved now', bytes(l.memory_bytes_saved)],
    ...Object.entries(r.loops_by_answer).map(([how, n]) => [`Polls answered: ${how}`, count(n)]),
  ]);
  const s = r.spool;
  pairs('spool', [
    ...(s ? [
      ['Waiting for WordPress', count(s.messages)],
      ['Oldest of them', s.messages ? span(s.oldest_seconds) : '–'],
      ['On disk', bytes(s.bytes)],
      ['WordPress stores them', s.down || c.state === 'absent' || c.state === 'refused' ? 'no' : 'yes'],
    ] : [['Browsers cannot send here', '']]),
    ...byResult(r.sends_by_result, 'Nothing was sent yet'),
  ]);
  pairs('site', [
    ['Database', r.ready ? 'answers' : 'see above'],
    ['Companion plugin', c.state],
    ['', c.text, true],
    ...(c.last_success ? [['Took writes last', clock(c.last_success)]] : []),
    ['Writes that wait', count(c.queued)],
    ['Writes dropped', count(c.dropped)],
  ]);
  pairs('refusals', byResult(r.refusals_by_reason, 'Nobody'));
  rows('sources', r.sources.map((s) => [s.name, count(s.rows), count(s.late_rows), count(s.gaps_given_up), count(s.errors), count(s.last_id), span(s.lag_seconds)]));
  showWarnings(r.warnings);
}

function rows(id, list) {
  const shown = JSON.stringify(list);
  if ($(id).dataset.shown === shown) return;
  $(id).dataset.shown = shown;
  $(id).replaceChildren(...list.map((cells) => {
    const row = element('tr');
    row.append(...cells.map((text) => element('td', text)));
    return row;
  }));
}

function showWarnings(list) {
  const shown = JSON.stringify(list);
  const node = $('warnings');
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  node.replaceChildren(...(list.length ? list : [null]).map((w) => {
    if (!w) return element('li', 'None since the start.', 'quiet');
    const item = element('li');
    const time = element('time', clock(w.time));
    time.dateTime = w.time;
    item.append(time, element('span', w.level.toLowerCase() === 'warn' ? 'Warning' : 'Error', 'level ' + w.level), w.text);
    if (w.count > 1) item.append(element('span', ` (${count(w.count)} times)`, 'quiet'));
    return item;
  }));
}

// announce speaks when the state changes, and otherwise once a minute: not with
// every event.
let spoken = { ready: null, at: 0 };
function announce(r) {
  const now = Date.now();
  if (r.ready === spoken.ready && now - spoken.at < 60000) return;
  spoken = { ready: r.ready, at: now };
  set($('live'), r.ready ? `Serving, ${count(total(r.connections.by_transport))} connections held.` : `Not ready: ${r.why}`);
}

/* ---- the line to the server ---- */

let asking = 0;

function link(text) { set($('link'), text); }

function listen() {
  const source = new EventSource('status/stream');
  source.addEventListener('status', (e) => {
    clearInterval(asking);
    asking = 0;
    link('live');
    show(JSON.parse(e.data));
  });
  source.addEventListener('error', () => {
    link('the line is broken, trying again');
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(listen, 30000);
      asking ||= setInterval(ask, 5000);
      ask();
    }
  });
}

async function ask() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store' });
    show(await answer.json());
    link('every five seconds');
  } catch {
    link('Holdline does not answer');
    $('state').dataset.state = 'wait';
    set($('state'), 'out of reach');
  }
}

addEventListener('resize', () => plots.forEach((p) => p.draw()));
document.addEventListener('visibilitychange', () => { if (!document.hidden) plots.forEach((p) => p.draw()); });
listen();
