import { SECOND, keyOf, now } from "./words.js";

const MAX = 200; // that wait for the line

/**
 * What is said beside the messages and not kept: typing, seen, delivered, signals.
 * The later one of a kind takes the earlier one's place, and over requests only
 * one is on its way at a time. What fails is forgotten.
 */
export class Asides {
  /** line(): the open line, if there is one. */
  constructor(line) {
    this.line_ = line;
    this.queue_ = new Map(); // key → [words, since]
    this.read_ = new Map(); // key → how far has been told
  }

  add_(words) {
    const { type, channel, client_id: id, up_to: to } = words;
    const key = keyOf(type, channel, id);
    if (type === "seen" || type === "delivered") {
      if (!(to > (this.read_.get(key) || 0))) return;
      this.read_.set(key, to);
    }
    if (this.queue_.size < MAX) this.queue_.set(key, [words, now()]);
    if (type !== "delivered") this.run_();
    else if (!this.timer_) this.timer_ = setTimeout(() => this.run_(), SECOND); // there may be more
  }

  /** Says what waits. Who was typing a while ago is of no interest any more. */
  async run_() {
    this.timer_ = 0;
    if (this.busy_) return;
    this.busy_ = true;
    for (const [key, [words, since]] of this.queue_) {
      const line = this.line_();
      if (!line) break;
      this.queue_.delete(key);
      const { say } = line.current.wire_;
      if (!words.up_to && now() - since > 5 * SECOND) continue;
      try {
        if (say) say(words);
        else await line.post_("signal", words);
      } catch { /* nobody will miss it */ }
    }
    this.busy_ = false;
  }
}
