// Puts a line that a test leads by hand in the place of the client.
'use strict';

window.told = [];
window.hacked = false;
window.faults = [];
addEventListener('error', (e) => faults.push(e.message));
addEventListener('unhandledrejection', (e) => faults.push(String(e.reason)));

window.Holdline = function (options) {
  const listeners = [];
  window.hand = {
    options, calls: [],
    say(type, event) { for (const [on, fn] of listeners) if (on === type) fn(event); },
  };
  const line = {
    on(type, fn) { listeners.push([type, fn]); return line; },
    off() { return line; },
    send(channel, body) { hand.calls.push(['send', channel, body]); return 'client-id-1'; },
  };
  for (const name of ['typing', 'seen', 'retry', 'drop', 'subscribe', 'unsubscribe', 'close']) {
    line[name] = (...words) => { hand.calls.push([name, ...words]); return line; };
  }
  return line;
};
