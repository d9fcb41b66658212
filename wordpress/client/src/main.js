// One file, run in two places: in a page it defines Holdline; started as a
// SharedWorker it holds the line for all tabs, as soon as no tab leads.

import { newBroker } from "./broker.js";
import { Holdline } from "./holdline.js";

if (self.SharedWorkerGlobalScope) { // which no page has
  const lead = () => {
    newBroker(self.name, "worker", self.name);
    return new Promise(() => {}); // keeps the lock as long as the worker lives
  };
  navigator.locks?.request(self.name, lead) ?? lead();
} else {
  self.Holdline = Holdline;
}
