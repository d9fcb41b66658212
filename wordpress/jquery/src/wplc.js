// wplc.js: push for pages of WP Live Chat Support 8.x, whose own scripts stay as they
// are. Their loops are answered from here as if the server had held them.

import { idsIn, loopOf, mayWait } from "./answers.js";
import { newEar } from "./ear.js";
import { newTabs } from "./tabs.js";
import { newWait } from "./wait.js";
import { base, page } from "./script.js";

const HOLD = 25_000, LINGER = 60_000; // ms; LINGER is how long the line outlives the last loop

/** Takes the loops of a page from now on. settings: window.holdline, with hold in ms for tests. */
export function push($, settings) {
  let tabs, ear, now, stopped, lingering;
  const memories = {}; // chat and side → what its last loop knew
  const waits = new Set();
  const changed = () => { for (const wait of waits) wait.step(); };

  try {
    tabs = newTabs(changed);
  } catch {
    return; // without the other tabs nobody knows whose the chat is
  }

  /** The ear of a loop's chat: a page has one chat at a time. */
  function listen(loop) {
    if (!ear || now !== `${loop.as} ${loop.chat}`) {
      if (ear) ear.end();
      now = `${loop.as} ${loop.chat}`;
      ear = newEar(settings, loop, changed);
    }
    clearTimeout(lingering);
    lingering = setTimeout(() => waits.size || ear.end(), LINGER + HOLD);
    ear.begin();
  }

  /** Learns from a loop that goes its own way. */
  function watch(jqXHR, memory, loop) {
    const { epoch, news } = ear;
    memory.change = ear.change(loop);
    memory.quiet = false;
    memory.epoch = 0;
    jqXHR.done((text) => {
      memory.epoch = epoch;
      ear.forget(news);
      ear.told(idsIn(String(text)));
    });
  }

  $.ajaxTransport("+*", (options, original, jqXHR) => {
    const loop = !stopped && !options.holdlineAsked && self.wplc_use_node_server !== "true" && loopOf(options, original);
    if (!loop) return;
    if (loop.as === "visitor") tabs.have(loop.chat, loop.session);
    if (!loop.atOnce || loop.as === "agent") listen(loop);
    if (!ear) return;
    const memory = memories[now] = memories[now] || { epoch: 0, at: 0 };
    if (!mayWait(loop) || !(ear.live || (loop.as === "visitor" && ear.soon)) || (loop.as === "agent" && (!ear.epoch || memory.epoch !== ear.epoch))) {
      watch(jqXHR, memory, loop);
      return;
    }
    const data = { ...original.data };
    let headers;
    const wait = newWait({
      ear, memory, tabs, loop, data, hold: settings.hold || HOLD,
      stop() { stopped = true; },
      ask: (form) => {
        const { type, traditional, xhrFields = {} } = options;
        // Through jQuery, so that other transports and prefilters have their say.
        const xhr = $.ajax({ url: original.url || options.url, type, data: form, traditional, xhrFields, headers, dataType: "text", global: false, timeout: 0, holdlineAsked: true });
        return { xhr, always: (fn) => xhr.always(fn), abort: () => xhr.abort() };
      },
    });
    return {
      send(given, complete) {
        headers = given;
        waits.add(wait);
        wait.send(given, (...answer) => {
          waits.delete(wait);
          complete(...answer);
        });
      },
      abort() {
        waits.delete(wait);
        wait.abort();
      },
    };
  });
}

const begin = () => self.holdline && self.jQuery && self.jQuery.ajaxTransport && push(self.jQuery, { ...page, url: base });

if (self.jQuery) begin();
else if (self.addEventListener) addEventListener("load", begin); // a script that is loaded late
