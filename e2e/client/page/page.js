// Opens lines and remembers what they say, for the test to ask.
'use strict';

const lines = {};
const faults = [];
addEventListener('error', (e) => faults.push(e.message));
addEventListener('unhandledrejection', (e) => faults.push(String(e.reason)));

// open begins a line; heard, states and errors are what it has said since.
function open(name, options) {
  const began = performance.now();
  const at = () => Math.round(performance.now() - began);
  const line = new Holdline({ url: '/holdline/v1', ...options });
  const one = lines[name] = { line, heard: [], states: [], errors: [], first: null };
  for (const type of ['message', 'status', 'reset']) {
    line.on(type, (e) => {
      one.first = one.first ?? at();
      one.heard.push({ type, id: Number.isSafeInteger(e.id) ? e.id : 0, channel: e.channel, body: typeof e.body === 'string' ? e.body : '', at: Date.now() });
    });
  }
  line.on('state', (s) => one.states.push({ ...s, at: at() }));
  line.on('error', (e) => one.errors.push(e));
}

// told is what a line has said so far.
const told = (name) => {
  const { line, heard, states, errors, first } = lines[name];
  return { heard, states, errors, first: first ?? -1, state: line.state, transport: line.transport, role: line.role ?? '', faults };
};

window.ready = true;
