// Opens the clients that ?plan= names and posts what they hear to the test.
'use strict';

import { EventStreamContentType, fetchEventSource } from '@microsoft/fetch-event-source';
import ReconnectingEventSource from 'reconnecting-eventsource';

const queue = [];
let posting = false;

// report posts in the order of the events, as many at once as there are.
async function report(client, type, more = {}) {
  queue.push({ client, type, ...more });
  if (posting) return;
  posting = true;
  while (queue.length > 0) {
    await fetch('/report', { method: 'POST', body: JSON.stringify(queue.splice(0)) });
  }
  posting = false;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const EVENTS = ['message', 'status', 'reset', 'reconnect'];

function listen(name, source) {
  source.onopen = () => report(name, 'open');
  source.onerror = () => report(name, source.readyState === 2 ? 'closed' : 'again');
  for (const type of EVENTS) {
    source.addEventListener(type, (e) => report(name, type, { id: JSON.parse(e.data).id ?? 0 }));
  }
}

// inHeader takes the token out of the URL, where an EventSource must have it,
// into a header.
function inHeader(url) {
  const at = new URL(url);
  const token = at.searchParams.get('token');
  at.searchParams.delete('token');
  return [at.href, { Authorization: `Bearer ${token}` }];
}

// hear is an onmessage of fetch-event-source. It is also called for blocks
// without data: heartbeats, and ids that come alone.
function hear(name, { event, data, retry }) {
  if (!data) return;
  const told = JSON.parse(data);
  if (event !== told.type) report(name, 'error', { note: `event: ${event} with ${data}` });
  if (event === 'reconnect' && retry !== told.data.after_ms) report(name, 'error', { note: `retry: ${retry} with ${data}` });
  report(name, event, { id: told.id ?? 0 });
}

const ends = (name, promise) => promise.then(() => report(name, 'ended'), (err) => report(name, 'refused', { note: String(err) }));

class FatalError extends Error {}

// With the handlers that its README advises: no more after a refusal, again after
// an end. The README compares the type with ===, which finds ours, with its charset,
// wrong and asks again every second.
function fetchAdvised({ name, url }) {
  const [at, headers] = inHeader(url);
  ends(name, fetchEventSource(at, {
    headers,
    async onopen(response) {
      if (response.ok && response.headers.get('content-type').startsWith(EventStreamContentType)) {
        report(name, 'open');
        return;
      }
      const final = response.status >= 400 && response.status < 500 && response.status !== 429;
      throw new (final ? FatalError : Error)(`status ${response.status}`);
    },
    onmessage: (msg) => hear(name, msg),
    onclose() {
      throw new Error('the stream has ended');
    },
    onerror(err) {
      if (err instanceof FatalError) throw err;
      report(name, 'again', { note: String(err) });
    },
  }));
}

// With nothing but what it must be told.
function fetchBare({ name, url }) {
  const [at, headers] = inHeader(url);
  ends(name, fetchEventSource(at, { headers, openWhenHidden: true, onmessage: (msg) => hear(name, msg) }));
}

// visibility has the page say that it is hidden or visible when the test wants it.
async function visibility({ name, url }) {
  for (;;) {
    const state = await (await fetch(url)).text();
    Object.defineProperty(document, 'hidden', { value: state === 'hidden', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
    report(name, state);
  }
}

const withCursor = (url, cursor) => (cursor ? `${url}&cursor=${encodeURIComponent(cursor)}` : url);

// The next two do what a page must do by itself: remember the cursor and come
// again with it.

function webSocket({ name, url }) {
  let cursor = '';
  const connect = () => {
    const ws = new WebSocket(withCursor(url, cursor), 'holdline.v1');
    ws.onopen = () => report(name, 'open', { note: ws.protocol });
    ws.onmessage = (e) => {
      const event = JSON.parse(e.data);
      cursor = event.cursor ?? cursor;
      report(name, event.type, { id: event.id ?? 0 });
    };
    ws.onclose = (e) => {
      report(name, 'closed', { note: `${e.code} ${e.reason}` });
      setTimeout(connect, 200);
    };
  };
  connect();
}

async function poll({ name, url }) {
  let cursor = '';
  for (;;) {
    try {
      const response = await fetch(withCursor(url, cursor));
      if (!response.ok) throw new Error(`status ${response.status}`);
      const answer = await response.json();
      cursor = answer.cursor;
      for (const event of answer.events) report(name, event.type, { id: event.id ?? 0 });
    } catch (err) {
      report(name, 'error', { note: String(err) });
      await pause(200);
    }
  }
}

const open = {
  eventsource: ({ name, url }) => listen(name, new EventSource(url)),
  polyfill: ({ name, url }) => listen(name, new EventSourcePolyfill(url)),
  reconnecting: ({ name, url }) => listen(name, new ReconnectingEventSource(url)),
  fetchAdvised,
  fetchBare,
  visibility,
  websocket: webSocket,
  poll,
};

for (const client of JSON.parse(new URLSearchParams(location.search).get('plan'))) {
  open[client.kind](client);
}
