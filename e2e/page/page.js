// Opens the clients that ?plan= names and posts what they hear to the test.
'use strict';

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

const EVENTS = ['message', 'status', 'reset'];

function listen(name, source) {
  source.onopen = () => report(name, 'open');
  source.onerror = () => report(name, source.readyState === 2 ? 'closed' : 'again');
  for (const type of EVENTS) {
    source.addEventListener(type, (e) => report(name, type, { id: JSON.parse(e.data).id ?? 0 }));
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
  websocket: webSocket,
  poll,
};

for (const client of JSON.parse(new URLSearchParams(location.search).get('plan'))) {
  open[client.kind](client);
}
