/**
 * Tells which page has a visitor's chat. PHP keeps the last one that polled and tells
 * the others in the loops that it holds; where it holds none, the pages tell each
 * other. taken(chat) is called when another page has taken that. Undefined where the
 * browser keeps nothing.
 */
export function newTabs(taken) {
  const KEY = "holdline wplc page";
  const storage = self.localStorage; // the getter throws where it is forbidden
  let own; // what this page said
  let lost = "";

  addEventListener("storage", ({ key, newValue }) => {
    if (key !== KEY || !own || !newValue) return;
    const [chat, session] = newValue.split(" ");
    if (chat !== own[0] || session === own[1]) return;
    lost = chat;
    taken(chat);
  });
  // A page that was kept by the browser is the one that is used again.
  addEventListener("pageshow", (e) => e.persisted && own && say(...own));

  function say(chat, session) {
    own = [chat, session];
    lost = "";
    storage.setItem(KEY, `${chat} ${session} ${Date.now()}`);
  }

  return {
    have(chat, session) {
      if (!own || own[0] !== chat || own[1] !== session) say(chat, session);
    },
    lost: (chat) => lost === chat,
  };
}
