import { SECOND, byAge, pause } from "./words.js";

/**
 * Where sends outlive a page: IndexedDB. In a private window, on a full disk or in
 * a browser that forbids it there is none, and then this forgets without a word.
 */
export class Shelf {
  /** Whose sends they are; others' are left alone. */
  constructor(owner) {
    this.owner_ = owner;
    this.opened_ = new Promise((resolve, reject) => {
      const asked = indexedDB.open("holdline", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore("sends", { keyPath: "client_id" });
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = reject;
    });
  }

  async use_(write) {
    try {
      return await write((await this.opened_).transaction("sends", "readwrite").objectStore("sends"));
    } catch { /* there is none */ }
  }

  put_(send) { this.use_((store) => void store.put({ ...send, owner: this.owner_ })); }
  delete_(id) { this.use_((store) => void store.delete(id)); }

  /** All that are kept, oldest first. Some browsers never answer at all. */
  async all_() {
    const kept = await Promise.race([pause(2 * SECOND), this.use_((store) => new Promise((resolve, reject) => {
      const asked = store.getAll();
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = reject;
    }))]);
    return (kept || []).filter((s) => s.owner === this.owner_).sort(byAge);
  }
}
