import { SECOND, pause } from "./words.js";

/**
 * Where an owner's sends outlive a page: IndexedDB. In a private window, on a full
 * disk or in a browser that forbids it there is none, and this forgets silently.
 */
export function newShelf(owner) {
  const opened = new Promise((resolve) => {
    const asked = indexedDB.open("holdline", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("sends", { keyPath: "client_id" });
    asked.onsuccess = () => resolve(asked.result);
  });

  /** Resolves to the answer, to nothing where there is no such place, or never. */
  const ask = (name, value) => opened.then((db) => new Promise((resolve) => {
    const asked = db.transaction("sends", "readwrite").objectStore("sends")[name](value);
    asked.onsuccess = () => resolve(asked.result);
  })).catch(() => {});

  return {
    put_: (send) => ask("put", { ...send, owner }),
    delete_: (id) => ask("delete", id),
    /** All that are kept, in no order. */
    async all_() {
      const kept = await Promise.race([ask("getAll"), pause(SECOND)]);
      return (kept || []).filter((s) => s.owner === owner);
    },
  };
}
