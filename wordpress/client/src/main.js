// One file, run in two places: in a page it defines Holdline; started as a
// SharedWorker it holds the line for all tabs, as soon as no tab leads.

import { Broker } from "./broker.js";
import { Holdline } from "./holdline.js";

if (typeof SharedWorkerGlobalScope !== "undefined" && self instanceof SharedWorkerGlobalScope) {
  const lead = () => {
    new Broker(self.name, "worker");
    return new Promise(() => {}); // keeps the lock as long as the worker lives
  };
  if (navigator.locks) navigator.locks.request(self.name, lead);
  else lead();
} else {
  self.Holdline = Holdline;
}
