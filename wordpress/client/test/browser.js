// What tabs of one browser share, for tests: BroadcastChannel, Web Locks, IndexedDB
// and localStorage, each as small as the client needs it. A tab is what runs inside
// browser.tab(fn); it can crash: then nothing of it speaks or hears any more.

import { AsyncLocalStorage } from "node:async_hooks";

const soon = (fn) => setImmediate(fn);

export class Browser {
  constructor() {
    this.context = new AsyncLocalStorage();
    this.channels = new Set();
    this.locks = new Map(); // name → [{tab, fn, gone}], the first holds it
    this.stored = new Map(); // of IndexedDB
    this.writes = 0;
    const browser = this;
    const local = new Map();
    const fakes = {
      localStorage: { getItem: (k) => local.get(k) ?? null, setItem: (k, v) => local.set(k, v) },
      navigator: { locks: { request: (...args) => this.request(...args) } },
      indexedDB: { open: () => this.open() },
      BroadcastChannel: class {
        constructor(name) {
          Object.assign(this, { name, tab: browser.context.getStore() });
          browser.channels.add(this);
        }

        postMessage(data) {
          if (!browser.channels.has(this)) return;
          const others = [...browser.channels].filter((c) => c !== this && c.name === this.name);
          const copies = others.map(() => structuredClone(data));
          soon(() => others.forEach((c, i) => browser.channels.has(c) && browser.run(c.tab, () => c.onmessage?.({ data: copies[i] }))));
        }

        close() { browser.channels.delete(this); }
      },
    };
    this.before = Object.keys(fakes).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
    for (const name in fakes) Object.defineProperty(globalThis, name, { value: fakes[name], configurable: true, writable: true });
  }

  run(tab, fn) { return this.context.run(tab, fn); }

  /** Opens a tab: {line, ...}, as fn makes it. */
  tab(fn) {
    const tab = {};
    return Object.assign(tab, this.run(tab, fn));
  }

  /** Who holds the only lock there is. */
  holder() { return [...this.locks.values()][0]?.[0]?.tab; }

  /** Ends a tab without a word. */
  crash(tab, gateway) {
    tab.crashed = true;
    for (const channel of this.channels) if (channel.tab === tab) this.channels.delete(channel);
    if (this.holder() === tab) for (const socket of [...gateway.sockets]) socket.vanish();
    for (const [name, queue] of this.locks) {
      const held = queue[0]?.tab === tab;
      this.locks.set(name, queue.filter((entry) => entry.tab !== tab));
      if (held) this.grant(name);
    }
  }

  request(name, options, fn) {
    const queue = this.locks.get(name) ?? [];
    const entry = { tab: this.context.getStore(), fn };
    this.locks.set(name, [...queue, entry]);
    return new Promise((resolve, reject) => {
      entry.resolve = resolve;
      options.signal?.addEventListener("abort", () => {
        if (entry.granted) return;
        this.locks.set(name, this.locks.get(name).filter((e) => e !== entry));
        reject(new DOMException("aborted", "AbortError"));
      });
      if (!queue.length) this.grant(name);
    });
  }

  grant(name) {
    const [entry] = this.locks.get(name);
    if (!entry) return;
    entry.granted = true;
    soon(() => this.run(entry.tab, async () => {
      await entry.fn();
      entry.resolve();
      this.locks.set(name, this.locks.get(name).filter((e) => e !== entry));
      this.grant(name);
    }));
  }

  open() {
    const answer = (result) => {
      const request = { result };
      soon(() => request.onsuccess?.());
      return request;
    };
    const store = {
      put: (value) => { this.writes++; this.stored.set(value.client_id, structuredClone(value)); return answer(); },
      delete: (key) => { this.stored.delete(key); return answer(); },
      getAll: () => answer([...this.stored.values()].map((v) => structuredClone(v)).reverse()),
    };
    const request = answer({ createObjectStore: () => {}, transaction: () => ({ objectStore: () => store }) });
    soon(() => request.onupgradeneeded?.());
    return request;
  }

  close() {
    for (const [name, descriptor] of this.before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
}
