// Opens the clients that the first argument names and prints what they hear,
// a line of JSON for each event.
import { EventSource } from 'eventsource';

const say = (client, type, more = {}) => process.stdout.write(JSON.stringify({ client, type, ...more }) + '\n');

for (const { name, url } of JSON.parse(process.argv[2])) {
  const source = new EventSource(url);
  source.onopen = () => say(name, 'open');
  source.onerror = (e) => say(name, source.readyState === EventSource.CLOSED ? 'closed' : 'again', { note: String(e.message ?? e.code ?? '') });
  for (const type of ['message', 'status', 'reset', 'reconnect']) {
    source.addEventListener(type, (e) => say(name, type, { id: JSON.parse(e.data).id ?? 0 }));
  }
}

// The package does not keep Node alive while it waits to reconnect.
setInterval(() => {}, 60_000);
