import { SECOND, inOrder, jitter, now, numberOf, whyOf } from "./words.js";
import { newShelf } from "./shelf.js";

const MAX_SENDS = 200, MAX_BODY = 65_536; // what is kept at most; characters
const PATIENCE = 15 * SECOND; // with an answer
const AGAIN = 30 * SECOND; // after that long what is pending is asked about
const FORBIDDEN = "forbidden"; // perhaps only because a token has expired
const TEMPORARY = ["rate", "full", "unavailable"];

/**
 * What the people at this browser have said, until the gateway has stored or
 * refused it. A send is {client_id, channel, body, as, at, state, id, reason, error};
 * it is replaced, never changed. Each channel's are sent one by one in the order of
 * `at`, under the same client_id until it is known what became of them. owner is
 * whose they are, line() the open line, if there is one, tell(sends) says what is new.
 */
export function newOutbox(owner, line, tell) {
  const sends = new Map(); // client_id → send, all of them pending
  const asked = new Map(); // client_id → when the gateway said that it is pending
  const busy = new Map(); // channel → until when nothing else is sent there
  const unheard = new Map(); // client_id → WebSockets that have not answered
  const shelf = newShelf(owner);
  const loaded = shelf.all_().then((kept) => kept.forEach((send) => sends.set(send.client_id, send)));
  let failures = 0;

  function settle(send, more) {
    const { client_id: id } = send;
    sends.delete(id);
    asked.delete(id);
    shelf.delete_(id);
    tell([{ ...send, ...more }]);
  }

  /**
   * Sends what there is to be sent. First on a channel is what the gateway has not
   * accepted; or the first of all, when what became of that has been open for long.
   */
  function run() {
    const open = line();
    const all = inOrder(sends);
    for (const { channel } of open ? all : []) {
      if (busy.get(channel) > now()) continue;
      const send = all.filter((s) => s.channel === channel)
        .find(({ client_id: id }, i) => !(now() - asked.get(id) < (i ? Infinity : AGAIN)));
      if (send) ask(open, send);
    }
  }

  /** Lets nothing more be sent on a channel for some ms. */
  function hold(channel, ms) {
    busy.set(channel, now() + ms);
    setTimeout(run, ms);
  }

  function ask(open, { client_id, channel, body, as }) {
    const words = { type: "send", channel, client_id, body, as };
    const { say_: say } = open.current_.wire_;
    hold(channel, PATIENCE);
    const silent = unheard.get(client_id) || new Set();
    if (say && silent.add(say).size < 3) { // else the frame may be what they died of, and not the network
      unheard.set(client_id, silent);
      return say(words);
    }
    open.post_("send", words).catch((e) => {
      const { refused_: refused, lost_: lost, status, reason, after_: after } = whyOf(e);
      const no = status < 500 && status !== 429;
      return { state: no && "failed", reason: status === 401 ? FORBIDDEN : reason, error: refused || lost, retry_ms: after };
    }).then((answer) => answered({ ...answer, client_id, channel }));
  }

  /** Hears what the gateway says of one. */
  async function answered({ client_id: client, channel, state, id, reason, error, retry_ms: after }) {
    const send = sends.get(client), open = line();
    busy.delete(channel);
    unheard.delete(client);
    if (send) {
      if (state === "pending") asked.set(client, now());
      else if (state === "stored") settle(send, { state, id: numberOf(id) });
      else if (reason === FORBIDDEN && (await open?.renew_())) open.connect_();
      else if (state === "failed" && !TEMPORARY.includes(reason)) settle(send, { state, reason, error });
      else return hold(channel, (Math.min(numberOf(after), 60 * SECOND) || 0) + jitter(failures++));
      failures = 0;
    }
    run();
  }

  return {
    loaded_: loaded,
    all_: () => inOrder(sends),
    run_: run,
    answered_: answered,

    /** Takes what tabs say: new sends, known ones, dropped ones. */
    async add_(list) {
      await loaded;
      for (const send of list) {
        const { client_id: id, state, body } = send;
        if (state === "dropped") settle(send);
        else if (!sends.has(id) && sends.size >= MAX_SENDS || body.length > MAX_BODY) tell([{ ...send, state: "failed", reason: "full" }]);
        else if (!sends.has(id)) {
          sends.set(id, send);
          shelf.put_(send);
          tell([send]);
        }
      }
      run();
    },

    /** A new connection: it has heard nothing yet. */
    opened_() {
      asked.clear();
      busy.clear();
      run();
    },

    /** Hears what everybody hears: it may be the answer too. */
    heard_({ type, channel, client_id, id, from, data }) {
      const send = sends.get(client_id);
      if (!send || send.channel !== channel || from?.kind !== (send.as || "visitor")) return;
        if (type === "withdrawn") settle(send, { state: "failed", reason: data?.reason, error: data?.text });
      else if (numberOf(id) && (type === "message" || type === "stored")) settle(send, { state: "stored", id });
    },
  };
}
