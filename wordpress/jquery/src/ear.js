import { isNews } from "./answers.js";
import { load, rights } from "./script.js";

const SECOND = 1000;
const PATIENCE = 3 * SECOND; // with a line that is being opened
const MAX = 500; // rows of which no answer has told
const REST = 60 * SECOND; // after a refusal

/**
 * Listens to one chat for its loop. changed() is called whenever there may be reason
 * to look again.
 */
export function newEar(page, loop, changed) {
  const { channel, channels, as } = loop;
  let line, began, restUntil = 0, status, broken;
  let news = []; // rows of which no answer has told yet: [id, the client's id]

  const ear = {
    /** Counts the times that the line went live: what was asked before may have missed something. */
    epoch: 0,
    live: false,

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
          ear.epoch++;
          changed();
        });
        line.on("error", rest);
      });
    },

    end() {
      const old = line;
      line = status = undefined;
      began = 0;
      news = [];
      if (old) old.close();
      look();
    },

    /** That the chat has another status than a loop believes, as text; "" if it has not. */
    change: (loop) => (status !== undefined && status !== loop.status ? `${status} for ${loop.status}` : ""),

    /** What an answer has told need not be asked for. */
    told(ids) { news = news.filter((names) => !names.some((name) => ids.includes(name))); },

    /** The rows that are news by now; forget takes them when they have been asked for. */
    get news() { return news; },
    forget(rows) { news = news.filter((row) => !rows.includes(row)); },
  };

  function look() {
    // A line that polls is no better than the loop.
    const live = Boolean(line) && line.state === "open" && (line.transport === "ws" || line.transport === "sse") && status !== undefined;
    if (live && !ear.live) ear.epoch++;
    if (line && !live && ear.live) broken = true;
    ear.live = live;
    changed();
  }

  function hear(e) {
    if (!isNews(loop, e)) return;
    const names = [e.id, e.client_id, e.data && e.data.rel].filter(Boolean).map(String);
    news = [...news, names].slice(-MAX);
    changed();
  }

  function rest() {
    restUntil = Date.now() + REST;
    ear.end();
  }

  return ear;
}
