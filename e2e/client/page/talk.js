// A chat page as a site would write it: all that comes is shown by textContent. It
// remembers what its line says, and when that was on the screen.
'use strict';

const [log, typing, form] = ['log', 'typing', 'form'].map((id) => document.getElementById(id));
const notes = { heard: [], sent: [], typing: [], presence: [], signals: [], errors: [], faults: [] };
const items = new Map(); // client's id, or the row's → li
const clicked = {}; // text → when it was sent, in ms since 1970
const painted = {}; // text → when it was on the screen
const waiting = {}; // text → who waits for that
let line, channel, me;
let reading = false; // somebody looks at this page
let typed; // when the last key was pressed

addEventListener('error', (e) => notes.faults.push(e.message));
addEventListener('unhandledrejection', (e) => notes.faults.push(String(e.reason)));

/** When something happened, in ms since 1970: one clock for all browsers of a machine. */
const when = (ms) => performance.timeOrigin + ms;

// What was there before a frame is on the screen in a task after it.
new MutationObserver(() => requestAnimationFrame(() => {
  const task = new MessageChannel();
  task.port1.onmessage = () => {
    for (const { textContent } of document.querySelectorAll('#log span, #typing')) {
      if (!textContent || painted[textContent]) continue;
      painted[textContent] = when(performance.now());
      waiting[textContent]?.();
    }
  };
  task.port2.postMessage(0);
})).observe(document.body, { subtree: true, childList: true, characterData: true });

/** Resolves to when a text was painted. */
async function shown(text) {
  if (!painted[text]) await new Promise((resolve) => { waiting[text] = resolve; });
  return painted[text];
}

function show(key, name, body, state) {
  let li = items.get(key);
  if (!li) {
    li = document.createElement('li');
    li.append(document.createElement('b'), document.createElement('span'));
    items.set(key, li);
    log.append(li);
    log.scrollTop = log.scrollHeight;
  }
  if (name) li.firstChild.textContent = name;
  li.lastChild.textContent = body;
  li.dataset.state = state;
}

function begin(options) {
  me = options.as;
  [channel] = options.channels;
  line = new Holdline({ url: '/holdline/v1', ...options });
  line.on('message', (e) => {
    notes.heard.push(e);
    show(e.client_id ?? e.id, e.from?.name, e.body, e.pending ? 'pending' : 'stored');
    read();
  });
  line.on('stored', (e) => {
    notes.heard.push(e);
    show(e.client_id, e.from?.name, e.body, 'stored');
    read();
  });
  line.on('withdrawn', (e) => {
    notes.heard.push(e);
    items.get(e.client_id).dataset.state = 'withdrawn';
  });
  line.on('sent', (s) => {
    notes.sent.push(s);
    if (!items.has(s.client_id)) show(s.client_id, me, s.body, s.state);
  });
  line.on('typing', (e) => {
    notes.typing.push(e.data.typing);
    const times = notes.typing.filter(Boolean).length;
    typing.textContent = e.data.typing ? `${e.from.name || e.from.kind} is typing (${times})` : '';
  });
  line.on('presence', (e) => notes.presence.push(e.data));
  line.on('signal', (e) => notes.signals.push(e));
  line.on('error', (e) => notes.errors.push(e));
}

/** Says that all of the other side's rows have been read, if somebody looks. */
function read() {
  const theirs = notes.heard.filter((e) => e.from?.kind !== me && e.id > 0);
  if (reading && theirs.length) line.seen(channel, Math.max(...theirs.map((e) => e.id)));
}

function say(...texts) {
  for (const text of texts) line.send(channel, text);
}

form.text.addEventListener('keydown', (e) => {
  typed = when(e.timeStamp);
  line.typing(channel);
});
form.addEventListener('submit', (e) => {
  e.preventDefault();
  clicked[form.text.value] = when(e.timeStamp);
  say(form.text.value);
  form.reset();
});

/** What the test asks for. */
const told = () => ({ ...notes, state: line.state, transport: line.transport, role: line.role ?? '' });

window.ready = true;
