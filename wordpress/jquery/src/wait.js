import { elsewhere, idsIn, says } from "./answers.js";

const SECOND = 1000;
const JUST_NOW = 5 * SECOND; // the plugin asks again 1.5 s after an answer
const NOTHING = ["", 200, "OK", "Content-Type: text/html; charset=UTF-8\r\n"];

/**
 * A chat's loop as jQuery's transport: it is answered when there is something to say
 * or its time is over, with what PHP says, and no request is held for it meanwhile.
 *
 * A visitor's loop asks with short_poll, the plugin's own word for "answer at once",
 * and looks at the answer as PHP does in its held loop. For agents the plugin has no
 * such word: theirs asks when the line has told of something, and that is answered
 * at once as well. What PHP is asked when the line fails is the loop itself.
 *
 * ear listens to the chat; memory is what the last loop of the chat knew: {epoch,
 * quiet, at, change}; ask(data) makes a request of jQuery; hold is in ms.
 */
export function newWait({ ear, memory, tabs, loop, data, ask, hold, stop }) {
  const { as, chat } = loop;
  const visitor = as === "visitor";
  let finish, asking, timer, patience, over, ending;

  function done(text, status, statusText, headers) {
    if (over) return;
    over = true;
    clearTimeout(timer);
    finish(status, statusText, { text }, headers);
  }

  const pass = (xhr) => done(xhr.responseText || "", xhr.status, xhr.statusText, xhr.getAllResponseHeaders());

  /** One request. Rows that were known when it was sent need no other. */
  function request(more, then) {
    const { epoch, news } = ear;
    memory.change = ear.change(loop);
    asking = ask({ ...data, ...more });
    asking.always(() => {
      const { xhr } = asking;
      asking = undefined;
      if (over) return;
      const text = xhr.responseText || "", good = xhr.status === 200;
      Object.assign(memory, { epoch: good ? epoch : 0, at: Date.now(), quiet: false });
      if (good) {
        ear.forget(news);
        ear.told(idsIn(text));
      }
      then(xhr, text, good);
    });
  }

  /** The loop itself, as if there were no line. */
  const plain = () => request({}, pass);

  function short() {
    request({ short_poll: true }, (xhr, text, good) => {
      const said = good && says(text, loop);
      if (good && said === undefined) stop(); // somebody else's output is in it
      if (said) return pass(xhr);
      if (!good || said === undefined) return plain();
      memory.quiet = true;
      if (ending) done(...NOTHING);
      else step();
    });
  }

  /** Looks what there is to do. */
  function step() {
    if (over || asking) return;
    if (visitor && tabs.lost(chat) && loop.status !== 2) {
      done(elsewhere(data), 200, "OK", NOTHING[3]);
      return;
    }
    const { soon } = ear;
    if (!ear.live) {
      if (!visitor || !soon) plain();
      else patience = patience || setTimeout(step, soon - Date.now() + 1);
      return;
    }
    const change = ear.change(loop);
    if (visitor && memory.epoch !== ear.epoch) short(); // what came before the line is not missed
    else if (ear.news.length || (change && change !== memory.change)) (visitor ? short : plain)();
  }

  function end() {
    ending = true;
    if (over || asking) return;
    if (visitor) short(); // the heartbeat
    else done(...NOTHING);
  }

  return {
    step,
    send(headers, complete) {
      finish = complete;
      timer = setTimeout(end, hold);
      // What has been said was a moment ago found to be all; or else the request also
      // tells that the page has got the last answer.
      if (!visitor || (memory.quiet && ear.live && memory.epoch === ear.epoch && Date.now() - memory.at < JUST_NOW)) step();
      else short();
    },
    abort() {
      over = true;
      clearTimeout(timer);
      if (asking) asking.abort();
    },
  };
}
