const STATES = ["pending", "stored", "delivered", "seen", "failed"];

/**
 * Shows messages in an element, one child each, and returns the listener for a
 * line's events. What people wrote is put in as text and never as HTML. options:
 *
 *   as      whose words the page sends: "visitor" (default) or "agent"
 *   item    makes a child of a message: item(event) returns an element or jQuery's;
 *           everything else is text
 *   max     children that are kept (500)
 *
 * Each event is also triggered on the element, as holdline:message and so on.
 */
export function newLog($, element, { as = "visitor", item, max = 500 }) {
  const shown = new Map(); // what a message is known by → its child

  function plain({ from, body }) {
    const words = [$("<span>").addClass("holdline-body").text(`${body ?? ""}`)];
    if (from && from.name) words.unshift($("<span>").addClass("holdline-name").text(`${from.name}`), document.createTextNode(" "));
    return $("<div>").append(words);
  }

  const keyOf = ({ channel, from, client_id: id }) => id && [channel, from && from.kind, id].join();

  function mark(child, state) {
    for (const other of STATES) child.toggleClass(`holdline-${other}`, other === state);
  }

  function show(event, state) {
    const { from, id } = event;
    const key = keyOf(event), row = id && [event.channel, id].join();
    let child = shown.get(key) || shown.get(row);
    if (!child) {
      const box = element[0], low = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      // Anything may stand in what a server says; a class is a word of our own.
      const kind = from && /^(visitor|agent|system)$/.test(from.kind) ? from.kind : "other";
      const made = (item || plain)(event);
      child = (made instanceof Node || made instanceof $ ? $(made) : $("<div>").text(`${made}`)).addClass(`holdline-message holdline-${kind}`).appendTo(element);
      if (low) box.scrollTop = box.scrollHeight;
      prune();
    }
    if (key) shown.set(key, child);
    if (row) shown.set(row, child.attr("data-id", id));
    if (state) mark(child, state);
  }

  function prune() {
    if (element.children().length > max) element.children().first().remove();
    for (const [key, child] of shown) {
      if (shown.size <= 4 * max) break;
      if (!child.parent().length) shown.delete(key);
    }
  }

  function drop(event) {
    const key = keyOf(event), child = shown.get(key);
    if (child) child.remove();
    shown.delete(key);
  }

  const own = { kind: as };

  return (event, type) => {
    if (type === "message" || type === "stored") show(event, event.pending ? "pending" : type === "stored" || event.client_id ? "stored" : "");
    else if (type === "withdrawn" && event.from && event.from.kind === as) show(event, "failed"); // its writer may want it back
    else if (type === "withdrawn") drop(event);
    else if (type === "sent") {
      const mine = $.extend({}, event, { from: own, id: undefined });
      if (event.state === "dropped") drop(mine);
      else show(mine, event.state);
    }
    element.trigger(`holdline:${type}`, [event]);
  };
}
