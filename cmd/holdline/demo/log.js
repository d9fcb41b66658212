// The messages of one end of the chat: what was said, and what became of it.

const RANKS = ["pending", "stored", "delivered", "seen"];
const WORDS = {
  pending: "not stored yet", stored: "stored", delivered: "delivered", seen: "seen", failed: "not sent", withdrawn: "withdrawn",
};

export class Log {
  // list: an <ol>; me: "visitor" or "agent"; nameOf(party); retry(id), drop(id).
  constructor(list, { me, nameOf, retry, drop }) {
    Object.assign(this, { list, me, nameOf, retry, drop });
    this.clear();
  }

  clear() {
    this.list.replaceChildren();
    this.items = new Map(); // by who said it and the client's id
    this.told = { delivered: 0, seen: 0 }; // how far the other side has got
    this.rows = new Map(); // own items by row id
  }

  // sent takes the client's word on what was said here.
  sent(send) {
    this.keepEnd(() => this.take(send));
  }

  take({ client_id: id, body, at, state, id: row, error }) {
    const key = `${this.me}/${id}`;
    if (state === "dropped") {
      this.items.get(key)?.remove();
      this.items.delete(key);
      return;
    }
    const item = this.items.get(key) ?? this.add(key, { kind: this.me }, body, at);
    this.mark(item, state, error);
    if (row) this.isRow(item, row);
    if (state === "failed") this.offer(item, id);
  }

  // heard takes a message; it returns the item and whether that is new.
  heard(event) {
    return this.keepEnd(() => this.hear(event));
  }

  hear(event) {
    const { client_id: id, from, body, sent_at: at, pending } = event;
    const key = id && from ? `${from.kind}/${id}` : `row/${event.id}`;
    const known = this.items.get(key);
    const item = known ?? this.add(key, from ?? { kind: "system" }, body ?? "", at);
    this.mark(item, pending ? "pending" : "stored");
    if (event.id) this.isRow(item, event.id);
    return { item, isNew: !known };
  }

  // withdrawn: it will never be stored, and was told too early.
  withdrawn({ client_id: id, from, data }) {
    const item = this.items.get(`${from?.kind}/${id}`);
    if (item && item.dataset.state !== "failed") this.mark(item, "withdrawn", data?.text);
  }

  // receipt: the other side has all up to a row.
  receipt(kind, upTo) {
    this.told[kind] = Math.max(this.told[kind], upTo);
    for (const [row, item] of this.rows) this.tick(item, row);
  }

  tick(item, row) {
    if (row <= this.told.delivered) this.mark(item, "delivered");
    if (row <= this.told.seen) this.mark(item, "seen");
  }

  // isRow: the message has its place in the table, and with it in the list. What is
  // not stored yet comes behind it.
  isRow(item, row) {
    if (item.row) return;
    item.row = row;
    let next = item;
    for (let before = item; (before = before.previousElementSibling) && !(before.row < row);) next = before;
    if (next !== item) this.list.insertBefore(item, next);
    if (!item.classList.contains("mine")) return;
    this.rows.set(row, item);
    this.tick(item, row);
  }

  add(key, from, body, at) {
    const item = document.createElement("li");
    item.className = from.kind === "system" ? "note" : from.kind === this.me ? "mine" : "";
    const text = document.createElement("p");
    text.textContent = body; // never markup: anybody can write into a chat
    const meta = document.createElement("small");
    if (from.kind !== "system") {
      meta.append(span("who", `${this.nameOf(from)} · ${clock(at)}`), span("delay", ""), span("tick", ""));
    }
    item.append(text, meta);
    this.items.set(key, item);
    this.list.append(item);
    return item;
  }

  // keepEnd does something to the list, whose end stays in sight unless somebody
  // reads further up.
  keepEnd(change) {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    const result = change();
    if (scrollHeight - scrollTop - clientHeight < 80) this.toEnd();
    return result;
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  // mark moves an item on; it never goes back, but for another try.
  mark(item, state, why) {
    const before = RANKS.indexOf(item.dataset.state), next = RANKS.indexOf(state);
    if (next >= 0 && before > next) return;
    item.dataset.state = state;
    item.querySelector(".trouble")?.remove();
    const tick = item.querySelector(".tick");
    if (!tick) return;
    tick.replaceChildren(span("sr", ` ${WORDS[state] ?? state}`));
    if (why || state === "withdrawn") {
      const trouble = document.createElement("p");
      trouble.className = "trouble";
      trouble.textContent = `${state === "withdrawn" ? "Withdrawn" : "Not sent"}: ${why ?? "it could not be stored."}`;
      item.append(trouble);
    }
  }

  // offer: what can be done with a message that failed.
  offer(item, id) {
    let trouble = item.querySelector(".trouble");
    if (!trouble) item.append(trouble = document.createElement("p"));
    trouble.className = "trouble";
    const button = (words, act) => {
      const b = document.createElement("button");
      b.type = "button";
      b.className = "quiet";
      b.textContent = words;
      b.onclick = () => act(id);
      return b;
    };
    trouble.append(" ", button("Try again", this.retry), " ", button("Delete", this.drop));
  }
}

// note writes how long a message took.
export function note(item, words) {
  const place = item.querySelector(".delay");
  if (place) place.textContent = ` · ${words}`;
}

function span(name, text) {
  const node = document.createElement("span");
  node.className = name;
  node.textContent = text;
  return node;
}

function clock(time) {
  return new Date(time || Date.now()).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
