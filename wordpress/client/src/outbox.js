import { HOUR, SECOND, byAge, jitter, now, numberOf, partyOf, pause, whyOf } from "./words.js";
import { Shelf } from "./shelf.js";

const MAX_SENDS = 1000, MAX_TEXT = 1 << 20; // what is kept at most, in characters
const MAX_FRAME = 8192; // characters of a body for a WebSocket, whose frames are bounded; longer ones are posted
const PATIENCE = 15 * SECOND; // with an answer
const AGAIN = 30 * SECOND; // after that long what is pending is asked about
const TEMPORARY = ["rate", "full", "unavailable", "login"];
const NONE = {}; // no answer: the line was lost, or silent for long

/**
 * What the people at this browser have said and what became of it, until it is
 * stored. A send is {client_id, channel, body, as, at, state, id, reason, error};
 * it is replaced, never changed. Each channel's are sent one by one in the order of
 * `at`, under the same client_id until the gateway has answered.
 */
export class Outbox {
  /** owner: whose they are; line(): the open line, if there is one; tell(sends). */
  constructor(owner, line, tell) {
    this.line_ = line;
    this.tell_ = tell;
    this.sends_ = new Map(); // client_id → send
    this.asked_ = new Map(); // client_id → when the gateway said that it is pending
    this.busy_ = new Set(); // channels that are being sent
    this.waits_ = new Map(); // channel → [client_id, resolve] of who waits for an answer over a WebSocket
    this.shelf_ = new Shelf(owner);
    this.loaded_ = this.load_();
  }

  async load_() {
    for (const send of await this.shelf_.all_()) {
      const { client_id: id, state } = send;
      const old = send.at < now() - 24 * HOUR;
      if (old && state === "failed") this.shelf_.delete_(id);
      else this.sends_.set(id, old ? { ...send, state: "failed", reason: "expired", error: "not sent for a day" } : send);
    }
  }

  /** Takes what tabs say: new sends, known ones, failed ones to be tried again, dropped ones. */
  async add_(sends) {
    await this.loaded_;
    for (const send of sends) {
      const { client_id: id, at, state } = send;
      const known = this.sends_.get(id);
      if (state === "dropped") this.settle_(send);
      else if (known && !(known.state === "failed" && at > known.at)) this.tell_([known]);
      else if (this.isFull_(send)) this.tell_([{ ...send, state: "failed", reason: "full", error: "too much waits to be sent" }]);
      else this.settle_(send);
    }
    this.run_();
  }

  isFull_({ body }) {
    let room = MAX_TEXT - body.length;
    for (const send of this.sends_.values()) room -= send.body.length;
    return room < 0 || this.sends_.size >= MAX_SENDS;
  }

  /** Something became of a send. What is stored or dropped is nobody's here any more. */
  settle_(send) {
    const { client_id: id, channel, state } = send;
    this.asked_.delete(id);
    if (state === "pending" || state === "failed") {
      this.sends_.set(id, send);
      this.shelf_.put_(send);
    } else {
      this.sends_.delete(id);
      this.shelf_.delete_(id);
    }
    this.tell_([send]);
    const [waiting, resolve] = this.waits_.get(channel) || [];
    if (waiting === id) resolve(NONE); // whoever waits for its answer need not any more
  }

  /** A new connection: it has heard nothing yet. */
  opened_() {
    this.asked_.clear();
    this.waits_.forEach(([, resolve]) => resolve(NONE));
    this.run_();
  }

  /** Sends what there is to be sent. */
  run_() {
    for (const { channel } of this.sends_.values()) this.runChannel_(channel);
  }

  async runChannel_(channel) {
    if (this.busy_.has(channel)) return;
    this.busy_.add(channel);
    for (let failures = 0, send; (send = this.next_(channel)); ) {
      const line = this.line_();
      const answer = await this.ask_(line, send);
      const { state, id, reason, error, retry_ms: after } = answer;
      if (answer === NONE || this.sends_.get(send.client_id) !== send) continue; // something became of it meanwhile
      const failed = state === "failed" && !TEMPORARY.includes(reason);
      if (state === "pending") this.asked_.set(send.client_id, now());
      else if (state === "stored") this.settle_({ ...send, state, id: numberOf(id) });
      else if ((reason === "forbidden" || reason === "login") && (await line.renew_())) line.connect();
      else if (failed) this.settle_({ ...send, state, reason, error });
      else await pause(Math.max(Math.min(numberOf(after), 60 * SECOND) || 0, jitter(failures++)));
    }
    this.busy_.delete(channel);
  }

  /**
   * Who is to be sent: the first that the gateway has not accepted; or the first
   * of all, when what became of that has been open for long.
   */
  next_(channel) {
    const mine = [...this.sends_.values()].filter((s) => s.channel === channel && s.state === "pending").sort(byAge);
    return this.line_() && mine.find(({ client_id: id }, i) => !(now() - this.asked_.get(id) < (i ? Infinity : AGAIN)));
  }

  /** Asks the gateway to take one. */
  ask_(line, { client_id, channel, body, as }) {
    const words = { type: "send", channel, client_id, body, as };
    const { say } = line.current.wire_;
    if (!say || body.length > MAX_FRAME) return this.post_(line, words);
    return new Promise((resolve) => {
      this.waits_.set(channel, [client_id, resolve]);
      setTimeout(resolve, PATIENCE, NONE);
      say(words);
    });
  }

  async post_(line, words) {
    try {
      return (await line.post_("send", words)) || {};
    } catch (e) {
      const { refused, lost, status, reason, after } = whyOf(e);
      if (status === 401) return { reason: "login" };
      if (status < 500 && status !== 408 && status !== 429) return { state: "failed", reason: reason || "status", error: refused || lost };
      return { retry_ms: after };
    }
  }

  /** Hears an answer over a WebSocket. */
  answered_(m) {
    const [id, resolve] = this.waits_.get(m.channel) || [];
    if (id && (m.client_id === id || m.of === "send")) resolve(m.of ? { ...m, state: "failed" } : m);
  }

  /** Hears what everybody hears: it may be the answer too. */
  heard_({ type, channel, client_id, id, from, data }) {
    const send = this.sends_.get(client_id);
    if (!send || send.channel !== channel || partyOf(from).kind !== (send.as || "visitor")) return;
    if (type === "withdrawn") this.settle_({ ...send, state: "failed", reason: data && data.reason, error: data && data.text });
    else if (typeof id === "number" && (type === "message" || type === "stored")) this.settle_({ ...send, state: "stored", id });
  }
}
