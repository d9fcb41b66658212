// jquery.holdline.js: the client for pages that speak jQuery. See README.md here.

import { base, load, rights } from "./script.js";
import { newLog } from "./log.js";

const $ = self.jQuery;

/** Calls wait for the client, which is loaded by the first line of a page. */
$.holdline = (options) => {
  const { url = base } = options;
  const waiting = [];
  const failed = [];
  let line, closed;

  const later = (call) => {
    if (line) call();
    else waiting.push(call);
    return face;
  };

  const face = {
    on(types, fn) {
      if (/\berror\b/.test(types)) failed.push(fn); // of a client that is never there
      return later(() => types.split(/\s+/).forEach((type) => line.on(type, fn)));
    },
    off(types, fn) {
      return later(() => types.split(/\s+/).forEach((type) => line.off(type, fn)));
    },
    send: (channel, body) => $.Deferred((sent) => later(() => sent.resolve(line.send(channel, body)))).promise(),
    close() {
      closed = true;
      return later(() => line.close());
    },
  };
  for (const name of ["typing", "seen", "retry", "drop", "subscribe", "unsubscribe"]) {
    face[name] = (...words) => later(() => line[name](...words));
  }

  load(url, (Holdline) => {
    if (closed) return;
    if (!Holdline) {
      for (const fn of failed) fn({ message: `${url}/client.js could not be loaded`, status: 0, reason: "script" });
      return;
    }
    line = face.line = new Holdline($.extend({ url }, options.token || options.getToken ? {} : rights(url), options));
    for (const call of waiting.splice(0)) call();
  });
  return face;
};

// What is triggered on an element.
const TYPES = ["message", "stored", "withdrawn", "delayed", "sent", "status", "typing", "presence", "delivered", "seen", "signal", "reset", "state", "error"];

/** Shows a chat in each element; see newLog. */
$.fn.holdline = function (options) {
  return this.each(function () {
    const log = newLog($, $(this), options);
    const line = $.holdline(options);
    $(this).data("holdline", line);
    for (const type of TYPES) line.on(type, (event) => log(event, type));
  });
};
