// The time from a row's COMMIT to its drawing, message by message.

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

const titles = { ws: "WebSocket", sse: "SSE", poll: "Long poll" };

export class Delays {
  constructor(body, rung) {
    this.body = body;
    this.rung = rung; // which messages the table is about
    this.known = new Map(); // receipts by row id
    this.waiting = []; // arrivals without a receipt yet
    this.series = {}; // delays by transport and doorbell
    this.show();
  }

  // commits takes receipts in. A row that is in none of the server's, all of
  // which complete says these are, was inserted by somebody else.
  commits(receipts, complete) {
    for (const r of receipts) this.known.set(r.id, r);
    const waiting = this.waiting;
    this.waiting = [];
    for (const a of waiting) {
      const receipt = this.known.get(a.id);
      if (receipt) this.settle(a, receipt);
      else if (complete) a.tell("by hand");
      else this.waiting.push(a);
    }
  }

  arrived(arrival) {
    const receipt = this.known.get(arrival.id);
    if (receipt) this.settle(arrival, receipt);
    else this.waiting.push(arrival);
  }

  settle(a, receipt) {
    if (receipt.committed_at < a.since) {
      a.tell("caught up");
      return;
    }
    if (a.painted === null) {
      a.tell("out of sight");
      return;
    }
    const arrived = Math.max(0, a.received - receipt.committed_at);
    const painted = Math.max(0, a.painted - receipt.committed_at);
    a.tell(`${format(painted)} ms`);
    const series = this.series[a.transport + receipt.rung] ??= { arrived: [], painted: [] };
    series.arrived.push(arrived);
    series.painted.push(painted);
    this.show();
  }

  show() {
    this.body.replaceChildren(...Object.entries(titles).map(([transport, title]) => {
      const { arrived, painted } = this.series[transport + this.rung()] ?? { arrived: [], painted: [] };
      const cells = [painted.length, median(arrived), median(painted), painted.length ? Math.max(...painted) : undefined];
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
