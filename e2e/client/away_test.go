//go:build e2e

package client

import (
	"flag"
	"fmt"
	"syscall"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// Short in CI, half a minute by hand.
var awayFor = flag.Duration("client.away", 8*time.Second, "how long a browser has no network while both sides write")

// asleep is long enough for the client to see it by its clock.
const asleep = 18 * time.Second

// elsewhere is a front that lets all through, for who keeps the network.
const elsewhere = "WebSocket now and then"

// Both sides write 20 messages while one of them has no network. When it is back, all of
// it comes to both, once, in order, and is in the table so.
func TestTalkAway(t *testing.T) {
	needWordPress(t)
	agents := newBrowser(t)
	for _, test := range []struct {
		name string
		do   func(*absence)
	}{
		{"network", (*absence).noNetwork},
		{"page closed", (*absence).pageClosed},
		{"leader killed", (*absence).leaderKilled},
		{"laptop shut", (*absence).laptopShut},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.do(&absence{newTalk(t), newBrowser(t), agents.in(t)})
		})
	}
}

// absence is a visitor's browser that will have no network, and an agent's that has.
type absence struct {
	*site
	visitors, agents *browser
}

// both opens the two sides of a new chat, of which each has said something.
func (a *absence) both(front, transport string, options map[string]any) (c *chat, visitor, agent *side) {
	a.t.Helper()
	c = a.newChat(a.t)
	visitor, agent = c.page(a.visitors, front, "visitor", options), c.page(a.agents, elsewhere, "agent", nil)
	a.t.Cleanup(agent.close)
	visitor.awaitOpen(transport)
	agent.awaitOpen("ws")
	visitor.say(2)
	agent.say(2)
	c.settle(visitor, agent)
	return c, visitor, agent
}

// unplug takes the network away from the visitors' browser: the cables end what there
// is, and the browser refuses what is new. plug gives it back.
func (a *absence) unplug(fronts []string, pages ...*tab) (plug func()) {
	a.t.Helper()
	all := append(a.visitors.in(a.t).workers(), pages...)
	set := func(away bool) {
		a.t.Helper()
		for _, front := range fronts {
			a.cables[front].pull(away)
		}
		for _, p := range all {
			p.offline(away)
		}
	}
	set(true)
	return func() { set(false) }
}

// awaitPending waits until a page shows n of its own messages as not stored.
func (w *side) awaitPending(n int) {
	w.t.Helper()
	w.until(fmt.Sprintf(`document.querySelectorAll("#log li[data-state=pending]").length === %d`, n), patience)
}

// awaitKept waits until n messages will outlive the page.
func (w *side) awaitKept(n int) {
	w.t.Helper()
	backstage.Eventually(w.t, "what is said is kept", patience, func() bool {
		var kept int
		w.eval(`new Promise((resolve) => {
			indexedDB.open("holdline").onsuccess = ({ target: { result: db } }) => {
				db.transaction("sends").objectStore("sends").count().onsuccess = (e) => { db.close(); resolve(e.target.result); };
			};
		})`, &kept)
		return kept == n
	})
}

func (a *absence) noNetwork() {
	type pair struct{ visitor, agent *side }
	var pairs []pair
	var tabs []*tab
	fronts := []string{"open", "no WebSocket", "no WebSocket, streams buffered"}
	for i, front := range fronts {
		_, visitor, agent := a.both(front, []string{"ws", "sse", "poll"}[i], nil)
		pairs, tabs = append(pairs, pair{visitor, agent}), append(tabs, visitor.tab)
	}
	plug := a.unplug(fronts, tabs...)
	for range 2 {
		for _, p := range pairs {
			p.visitor.say(10)
			p.agent.say(10)
		}
		wait(a.t, *awayFor/2)
	}
	for _, p := range pairs {
		p.visitor.awaitPending(20)
		n := p.agent.notes()
		if got := len(n.bodies("visitor")); got != 2 {
			a.t.Errorf("the agent has heard %d messages: the network was not away", got)
		}
	}
	plug()
	back := time.Now()
	for _, p := range pairs {
		p.visitor.chat.settle(p.visitor, p.agent)
		a.t.Logf("now over %s: everything is there %v after the network", p.visitor.notes().Transport, time.Since(back).Round(10*time.Millisecond))
	}
}

// pageClosed closes the only page while what it has said waits, and opens another once
// the network is back.
func (a *absence) pageClosed() {
	front := []string{"open"}
	c, visitor, agent := a.both("open", "ws", nil)
	a.unplug(front, visitor.tab)
	visitor.say(20)
	visitor.awaitPending(20)
	visitor.awaitKept(20)
	visitor.close()
	agent.say(20)
	wait(a.t, *awayFor)
	a.cables["open"].replace()
	visitor = c.page(a.visitors, "open", "visitor", nil)
	visitor.say(3) // behind the others
	c.settle(visitor, agent)
	visitor.awaitKept(0)
}

// leaderKilled kills the tab that holds the line for three, which all have said
// something.
func (a *absence) leaderKilled() {
	front := []string{"open"}
	options := map[string]any{"worker": ""}
	c, leader, agent := a.both("open", "ws", options)
	heirs := []*side{c.page(a.visitors, "open", "visitor", options), c.page(a.visitors, "open", "visitor", options)}
	for _, w := range heirs {
		w.awaitOpen("ws")
		if role := w.notes().Role; role != "follower" {
			a.t.Fatalf("a later tab is %q", role)
		}
	}
	plug := a.unplug(front, heirs[0].tab, heirs[1].tab)
	for i, w := range []*side{leader, heirs[0], heirs[1]} {
		w.say([]int{7, 7, 6}[i])
		wait(a.t, 100*time.Millisecond) // what several tabs say is put in order by the clock
	}
	heirs[0].awaitPending(20)
	heirs[0].awaitKept(20)
	leader.crash()
	agent.say(20)
	heirs[0].await("another tab leads", func(n *notes) bool {
		return n.Role == "leader" || heirs[1].notes().Role == "leader"
	})
	plug()
	c.settle(heirs[0], heirs[1], agent)
}

// laptopShut freezes the browser right after something was said.
func (a *absence) laptopShut() {
	c, visitor, agent := a.both("open", "ws", nil)
	visitor.say(20)
	a.visitors.process.Signal(a.t, syscall.SIGSTOP)
	a.cables["open"].pull(true)
	agent.say(20)
	wait(a.t, max(*awayFor, asleep))
	a.cables["open"].pull(false)
	a.visitors.process.Signal(a.t, syscall.SIGCONT)
	woken := time.Now()
	c.settle(visitor, agent)
	a.t.Logf("everything is there %v after waking", time.Since(woken).Round(100*time.Millisecond))
}
