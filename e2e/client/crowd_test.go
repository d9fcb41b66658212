//go:build e2e

package client

import (
	"slices"
	"testing"
	"time"
)

// Five tabs share one connection also when all of them write, and each shows all of it
// once.
func TestFiveTabsTalk(t *testing.T) {
	s := newTalk(t)
	visitors, agents := newBrowser(t), newBrowser(t)
	c := s.newChat(t)
	pages := []*side{c.page(agents, "open", "agent", nil)}
	for range 5 {
		pages = append(pages, c.page(visitors, "open", "visitor", nil))
	}
	for _, w := range pages {
		w.awaitOpen("ws")
	}
	for range 2 {
		for _, w := range pages {
			w.say(2)
			wait(t, 20*time.Millisecond) // what several tabs say is put in order by the clock
		}
	}
	c.settle(pages...)
	if n := s.held(); n != 2 {
		t.Errorf("%d connections for five tabs of one browser and one of another", n)
	}
	// Each tab knows what became of the others' messages, too.
	last := c.said["visitor"][len(c.said["visitor"])-1]
	pages[0].eval("reading = true; read()", nil)
	for _, w := range pages[1:] {
		w.await("the last message is seen", func(n *notes) bool { return slices.Contains(n.ticks(last), "seen") })
	}
}
