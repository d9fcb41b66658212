// The same client for `import { Holdline } from "./holdline.mjs"`. The classic
// script beside it is what a SharedWorker can be started from.
import "./holdline.js";

export const { Holdline } = globalThis;
Holdline.script = new URL("./holdline.js", import.meta.url).href;
export default Holdline;
