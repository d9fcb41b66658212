import { SECOND, keyOf } from "./words.js";
import { RECEIPTS } from "./shown.js";

/**
 * What is said beside the messages and not kept: typing, seen, delivered, signals.
 * The later one of a kind takes the earlier one's place, and over requests only
 * one is on its way at a time. What fails is forgotten, and so is what is said
 * without a line, but for how far somebody has read. line() is the open line, if
 * there is one.
 */
export function newAsides(line) {
  const queue = new Map(); // key → words
  const read = new Map(); // key → how far has been told
  let timer, busy;

  async function run() {
    timer = 0;
    if (busy) return;
    busy = true;
    for (const [key, words] of queue) {
      const open = line();
      if (!open) break;
      queue.delete(key);
      const { say_: say } = open.current_.wire_;
      if (say) say(words);
      else await open.post_("signal", words).catch(() => {});
    }
    busy = false;
  }

  return {
    run_: run,
    add_(words) {
      const { type, channel, client_id: id, up_to: to } = words;
      const key = keyOf(type, channel, id);
      if (RECEIPTS.includes(type)) {
        if (!(to > (read.get(key) || 0))) return;
        read.set(key, to);
      } else if (!line()) return;
      queue.set(key, words);
      if (type !== "delivered") run();
      else timer ||= setTimeout(run, SECOND); // there may be more
    },
  };
}
