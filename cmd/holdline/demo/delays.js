// How long messages take: from the click to the other end's screen, and from a
// row's COMMIT to the page.

let offset = 0; // of the server's clock to this page's, in milliseconds
let doubt = Infinity; // how wrong the offset may be

// now is this page's clock in milliseconds since 1970, on the server's time.
export function now() {
  return performance.timeOrigin + performance.now() + offset;
}

// setClock compares the clocks by one question and answer, as NTP does. On one
// machine they are the same, and a difference within the doubt is none.
export function setClock(asked, server, answered) {
  const here = (asked + answered) / 2;
  const error = (answered - asked) / 2;
  if (error > doubt) return;
  doubt = error;
  if (Math.abs(server - here) > error + 1) {
    offset += server - here;
  }
}

// painted calls back when what was just added is on the screen: in a task that
// follows the next frame. It says null where nobody is looking.
export function painted(then) {
  if (document.hidden) {
    then(null);
    return;
  }
  requestAnimationFrame(() => {
    const task = new MessageChannel();
    task.port1.onmessage = () => then(now());
    task.port2.postMessage(0);
  });
}

const titles = { ws: "WebSocket", sse: "SSE", poll: "Long poll", short: "Short poll" };
const MAX = 500; // of what is remembered

export class Delays {
  constructor(body) {
    this.body = body;
    this.clicks = new Map(); // client's ids → when it was sent from this page
    this.known = new Map(); // receipts by row id
    this.waiting = []; // rows without a receipt yet
    this.series = {}; // delays by transport
    this.show();
  }

  clicked(id) {
    this.clicks.set(id, now());
    if (this.clicks.size > MAX) this.clicks.delete(this.clicks.keys().next().value);
  }

  // shown: a message of somebody else is on the screen. One that was sent from
  // another page began at a time that this one does not know.
  shown(id, when, transport, tell) {
    const began = this.clicks.get(id);
    if (began === undefined || when === null) return;
    tell(`${format(when - began)} ms`);
    this.of(transport).clicks.push(when - began);
    this.show();
  }

  // row: a row's id has come to a pane, over a line that has been open for a while.
  row(id, received, { transport, openSince: since }) {
    const arrival = { received, transport, since };
    const receipt = this.known.get(id);
    if (receipt) this.settle(receipt, arrival);
    else if (this.waiting.length < MAX) this.waiting.push({ id, ...arrival });
  }

  // commits takes receipts in. A row that is in none of the server's was
  // inserted by somebody else.
  commits(receipts) {
    for (const r of receipts) this.known.set(r.id, r);
    for (const arrival of this.waiting.splice(0)) {
      const receipt = this.known.get(arrival.id);
      if (receipt) this.settle(receipt, arrival);
    }
  }

  settle({ committed_at: committed }, { received, transport, since }) {
    if (committed < since) return; // it was caught up with
    this.of(transport).rows.push(Math.max(0, received - committed));
    this.show();
  }

  of(transport) {
    return this.series[transport] ??= { clicks: [], rows: [] };
  }

  show() {
    this.body.replaceChildren(...Object.entries(titles).map(([transport, title]) => {
      const { clicks, rows } = this.of(transport);
      const cells = [clicks.length, median(clicks), clicks.length ? Math.max(...clicks) : undefined, median(rows)];
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = title;
      row.append(head, ...cells.map((value, i) => {
        const cell = document.createElement("td");
        cell.textContent = value === undefined ? "–" : i === 0 ? value : format(value);
        return cell;
      }));
      return row;
    }));
  }
}

function median(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
}

function format(ms) {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}
