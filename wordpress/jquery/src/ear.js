import { isNews } from "./answers.js";
import { load, rights } from "./script.js";

const SECOND = 1000;
const PATIENCE = 3 * SECOND; // with a line that is being opened
const MAX = 500; // rows that are remembered
const REST = 60 * SECOND; // after a refusal

/**
 * Listens to one chat for its loop. changed() is called whenever there may be reason
 * to look again.
 */
export function newEar(page, loop, changed) {
  const { channel, channels, as } = loop;
  let line, began, restUntil = 0, status, broken, epoch = 0, gap = true;
  let news = []; // rows of which no answer has told yet: [id, the client's id]
  let told = []; // ids of which answers have told

  const ear = {
    live: false,

    /**
     * Since when nothing was missed, as a number that only equals itself; 0 while
     * something may be. The client makes good what it misses while it has no
     * connection, so that is since it was live for the first time.
     */
    get epoch() { return gap ? 0 : epoch; },

    /** Whether it is worth waiting for the line, and until when. */
    get soon() { return began && !broken && Date.now() < began + PATIENCE ? began + PATIENCE : 0; },

    begin() {
      if (began || Date.now() < restUntil) return;
      const run = began = Date.now();
      broken = false;
      load(page.url, (Holdline) => {
        if (run !== began) return;
        if (!Holdline) return rest();
        line = new Holdline({ url: page.url, as, channels, ...rights(page.url) });
        line.on("state", look);
        line.on("status", (e) => {
          if (e.channel === channel && e.data) status = e.data.status;
          look();
        });
        line.on("message", hear).on("stored", hear);
        line.on("reset", () => {
          gap = true;
          news = told = []; // ids begin again
          look();
        });
        line.on("error", rest);
      });
    },

    end() {
      const old = line;
      line = status = undefined;
      began = 0;
      gap = true;
      news = [];
      if (old) old.close();
      look();
    },

    /** That the chat has another status than a loop believes, as text; "" if it has not. */
    change: (loop) => (status !== undefined && status !== loop.status ? `${status} for ${loop.status}` : ""),

    /** What an answer has told need not be asked for. */
    told(ids) {
      told = [...told, ...ids].slice(-MAX);
      news = news.filter((names) => !names.some((name) => ids.includes(name)));
    },

    /** The rows that are news by now; forget takes them when they have been asked for. */
    get news() { return news; },
    forget(rows) { news = news.filter((row) => !rows.includes(row)); },
  };

  function look() {
    // A line that polls is no better than the loop.
    const live = Boolean(line) && line.state === "open" && (line.transport === "ws" || line.transport === "sse") && status !== undefined;
    if (live && gap) {
      gap = false;
      epoch++;
    }
    if (line && !live && ear.live) broken = true;
    ear.live = live;
    changed();
  }

  function hear(e) {
    const counts = isNews(loop, e);
    // The client tells the server that a message of the other side was delivered, and
    // WordPress would then mark it as read, so that no loop brought it any more. It
    // does so when its listeners have been called, and not for one's own.
    e.from = { kind: as };
    if (!counts) return;
    const names = [e.id, e.client_id, e.data && e.data.rel].filter(Boolean).map(String);
    if (names.some((name) => told.includes(name))) return; // by a loop while there was no line
    news = [...news, names].slice(-MAX);
    changed();
  }

  function rest() {
    restUntil = Date.now() + REST;
    ear.end();
  }

  return ear;
}
