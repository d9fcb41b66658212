/** Where the client is, from the page's settings or the address of this script. */
export const page = self.holdline || {};

const own = self.document && document.currentScript && document.currentScript.src;
export const base = page.url || (own ? own.replace(/\/[^/]*$/, "") : "/holdline/v1");

const waiting = [];

/**
 * Calls back with the constructor of the client, which is loaded when the first one
 * asks, and with nothing when that fails. A later call tries again.
 */
export function load(url, done) {
  if (self.Holdline) return done(self.Holdline);
  if (waiting.push(done) > 1) return;
  const script = document.createElement("script");
  script.onload = script.onerror = () => {
    script.onload = script.onerror = null;
    for (const fn of waiting.splice(0)) fn(self.Holdline);
  };
  script.src = `${url.replace(/\/$/, "")}/client.js`;
  (document.head || document.documentElement).appendChild(script);
}

/** A fresh token from the companion plugin, "" where nobody may read. */
export const refresh = () => fetch(page.refresh, { credentials: "same-origin", cache: "no-store" })
  .then((answer) => answer.json())
  .then((grant) => (grant && grant.token) || "");

/** What the page knows of its reader's rights, as the client's options. */
export function rights(url = base) {
  const options = {};
  if (page.token && !(page.exp * 1000 < Date.now() + 60000)) options.token = page.token;
  // A visitor on the same origin is known by the cookie; PHP need not be asked.
  const away = new URL(url, location.href).origin !== location.origin;
  if (page.refresh && (away || page.token)) options.getToken = refresh;
  return options;
}
