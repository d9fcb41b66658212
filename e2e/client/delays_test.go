//go:build e2e

package client

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const clicks = 100

// How long it takes from a click in one browser to the paint in the other, and from a
// key to the words that somebody types. What it takes is printed: a busy machine is no
// fault.
func TestDelays(t *testing.T) {
	s := newTalk(t, "HOLDLINE_LIMITS_SENDS=50") // nobody clicks as fast
	visitors, agents := newBrowser(t), newBrowser(t)
	c := s.newChat(t)
	sides := []*side{c.page(visitors, "open", "visitor", nil), c.page(agents, "open", "agent", nil)}
	for _, w := range sides {
		w.awaitOpen("ws")
	}
	var painted []float64
	for i := range clicks {
		from, to := sides[i%2], sides[1-i%2]
		text := fmt.Sprintf("%s %d", from.kind, i)
		c.said[from.kind] = append(c.said[from.kind], text)
		from.eval(fmt.Sprintf("form.text.value = %q", text), nil)
		from.click("button")
		var clicked, shown float64
		to.eval(fmt.Sprintf("shown(%q)", text), &shown)
		from.eval(fmt.Sprintf("clicked[%q]", text), &clicked)
		painted = append(painted, shown-clicked)
	}
	c.settle(sides...)
	logDelays(t, "click to paint", painted)

	var typed []float64
	for i := range 10 {
		from, to := sides[i%2], sides[1-i%2]
		from.eval("form.text.focus()", nil)
		from.key("a")
		var pressed, shown float64
		to.eval(fmt.Sprintf("shown(%q)", fmt.Sprintf("%s is typing (%d)", map[string]string{"visitor": "Ann", "agent": "Admin"}[from.kind], i/2+1)), &shown)
		from.eval("line.typing(channel, false); typed", &pressed)
		to.await("typing is over", func(n *notes) bool { return !n.Typing[len(n.Typing)-1] })
		typed = append(typed, shown-pressed)
		wait(t, 250*time.Millisecond) // a side's typing is told twice a second at most
	}
	logDelays(t, "key to paint", typed)
}

func logDelays(t *testing.T, what string, ms []float64) {
	t.Helper()
	slices.Sort(ms)
	t.Logf("%s, %d times: p50 %.1f ms, p95 %.1f ms, max %.1f ms", what, len(ms), ms[len(ms)/2], ms[len(ms)*95/100], ms[len(ms)-1])
}

// click clicks in the middle of an element, as a mouse does.
func (w *side) click(selector string) {
	w.t.Helper()
	var at struct{ X, Y float64 }
	w.eval(fmt.Sprintf(`(({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 }))(document.querySelector(%q).getBoundingClientRect())`, selector), &at)
	for _, what := range []string{"mousePressed", "mouseReleased"} {
		w.must(w.session, "Input.dispatchMouseEvent", map[string]any{"type": what, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// key presses a key, as a keyboard does.
func (w *side) key(text string) {
	w.t.Helper()
	for _, what := range []string{"keyDown", "keyUp"} {
		w.must(w.session, "Input.dispatchKeyEvent", map[string]any{"type": what, "key": text, "text": text}, nil)
	}
}
