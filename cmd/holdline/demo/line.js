// One client of Holdline over any of its three transports, in plain browser
// code. Whatever the transport, it stands at a cursor: who comes back with it
// gets every later message once and none twice, so transports can be switched
// in the middle of a conversation.

export class Line {
  // options: base (path of the gateway), channels, token(), onEvent(event),
  // onState(state, words): state is "connecting", "open", "waiting" or "refused".
  constructor(options) {
    this.options = options;
    this.cursor = "0"; // before the first row: the first answer is the history
    this.life = 0; // counts connections; what an older one says is not heard
    this.failures = 0;
    this.stop = () => {};
  }

  use(transport) {
    this.transport = transport;
    this.failures = 0;
    this.connect();
  }

  // restart reads the whole chat again.
  restart() {
    this.cursor = "0";
    this.connect();
  }

  connect() {
    this.stop();
    clearTimeout(this.timer);
    const life = ++this.life;
    this.hint = 0;
    this.began = performance.timeOrigin + performance.now();
    this.options.onState("connecting", "connecting …");
    const alive = (act) => (...args) => { if (life === this.life) act(...args); };
    this.stop = { ws: openWebSocket, sse: openEventSource, poll: openPoll }[this.transport](this, alive);
  }

  address(endpoint, more) {
    const query = new URLSearchParams({ channels: this.options.channels.join(","), cursor: this.cursor, ...more });
    return `${this.options.base}/${endpoint}?${query}`;
  }

  opened() {
    this.failures = 0;
    this.options.onState("open", "connected");
  }

  take(event) {
    if (event.type === "reconnect") {
      this.hint = event.data.after_ms;
      return;
    }
    if (event.cursor) this.cursor = event.cursor;
    if (event.type !== "hello") this.options.onEvent(event);
  }

  // lost comes back with the cursor: soon, then later and later, and not in
  // step with everybody else.
  lost(why) {
    const top = Math.min(10000, 250 * 2 ** this.failures++);
    const wait = this.hint || top / 2 + Math.random() * top / 2;
    this.life++;
    this.stop();
    this.options.onState("waiting", `${why}; again in ${(wait / 1000).toFixed(1)} s`);
    this.timer = setTimeout(() => this.options.onLost().finally(() => this.connect()), wait);
  }

  refused(why) {
    this.life++;
    this.stop();
    this.options.onState("refused", why);
  }
}

// openWebSocket: the token goes into the query, because a browser's WebSocket
// cannot send headers.
function openWebSocket(line, alive) {
  const socket = new WebSocket(
    new URL(line.address("ws", { token: line.options.token() }), location.href.replace(/^http/, "ws")), "holdline.v1");
  socket.onopen = alive(() => line.opened());
  socket.onmessage = alive((m) => line.take(JSON.parse(m.data)));
  socket.onclose = alive((e) => {
    // Codes from 4000 to 4099 would be answered the same again.
    if (e.code >= 4000 && e.code < 4100 && e.code !== 4008 && e.code !== 4010 && e.code !== 4011) {
      line.refused(e.reason || `closed with code ${e.code}`);
    } else {
      line.lost(e.reason || "no connection");
    }
  });
  return () => socket.close();
}

// openEventSource: the browser comes back by itself with Last-Event-ID, unless
// the server has answered with something else than a stream.
function openEventSource(line, alive) {
  const source = new EventSource(line.address("sse", { token: line.options.token() }));
  source.onopen = alive(() => line.opened());
  source.onerror = alive(() => {
    if (source.readyState === EventSource.CLOSED) line.lost("no stream");
    else line.options.onState("connecting", "reconnecting with Last-Event-ID …");
  });
  for (const type of ["message", "status", "reset", "reconnect"]) {
    source.addEventListener(type, alive((e) => line.take(JSON.parse(e.data))));
  }
  return () => source.close();
}

// openPoll asks again as soon as it is answered.
function openPoll(line, alive) {
  const abort = new AbortController();
  const round = async () => {
    const held = setTimeout(alive(() => line.opened()), 200); // no answer is what a held poll looks like
    try {
      const response = await fetch(line.address("poll"), {
        signal: abort.signal, cache: "no-store", headers: { Authorization: `Bearer ${line.options.token()}` },
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      alive(() => {
        line.opened();
        for (const event of answer.events) line.take(event);
        line.cursor = answer.cursor;
        round();
      })();
    } catch (error) {
      alive(() => line.lost(error.message))();
    } finally {
      clearTimeout(held);
    }
  };
  round();
  return () => abort.abort();
}
