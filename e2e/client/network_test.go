//go:build e2e

package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// wait lets time pass in which something shall not happen.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// While a browser has no network for half a minute, rows are written; when it is
// back they come, none lost, none twice, in order.
func TestOffline(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	for _, test := range []struct {
		front, transport string
		away             time.Duration
	}{
		{"open", "ws", 30 * time.Second},
		{"no WebSocket", "sse", 5 * time.Second},
		{"no WebSocket, streams buffered", "poll", 5 * time.Second},
	} {
		t.Run(test.transport, func(t *testing.T) {
			id, channel := s.chat()
			token := s.token(channel)
			var lines []*line
			for range 2 {
				l := b.open(s.fronts[test.front]).line("l", map[string]any{"channels": []string{channel}, "token": token})
				t.Cleanup(l.close)
				l.awaitOpen(test.transport, 30*time.Second)
				lines = append(lines, l)
			}
			all := append(b.workers(), lines[0].tab, lines[1].tab)
			w := s.writeOn(id, 50*time.Millisecond)
			backstage.Eventually(t, "rows flow", 30*time.Second, func() bool { return len(lines[1].told().rows()) > 10 })
			// Emulation tells the browser and refuses what is new; the cable ends
			// what there is.
			s.cables[test.front].pull(true)
			for _, p := range all {
				p.offline(true)
			}
			wait(t, test.away)
			before := len(lines[1].told().rows())
			back := time.Now()
			s.cables[test.front].pull(false)
			for _, p := range all {
				p.offline(false)
			}
			backstage.Eventually(t, "rows flow again", 30*time.Second, func() bool { return len(lines[1].told().rows()) > before })
			t.Logf("back within %v, with %d rows before", time.Since(back).Round(10*time.Millisecond), before)
			ids := w.end()
			if before > len(ids)/2 {
				t.Errorf("%d of %d rows came before: the network was not away", before, len(ids))
			}
			for _, l := range lines {
				l.awaitRows(ids, 30*time.Second)
			}
			t.Logf("%d rows", len(ids))
		})
	}
}

// A laptop that is shut loses its network without being told; when it is opened
// again, the line comes back by itself.
func TestSleep(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	id, channel := s.chat()
	token := s.token(channel)
	fronts := map[string]string{"ws": "open", "sse": "no WebSocket"}
	lines := map[string]*line{}
	for transport, front := range fronts {
		l := b.open(s.fronts[front]).line("l", map[string]any{"channels": []string{channel}, "token": token})
		l.awaitOpen(transport, 30*time.Second)
		lines[transport] = l
	}
	ids := s.say(id, 5)
	for _, l := range lines {
		l.awaitRows(ids, 30*time.Second)
	}
	b.process.Signal(t, syscall.SIGSTOP)
	for _, front := range fronts {
		s.cables[front].pull(true)
	}
	ids = append(ids, s.say(id, 50)...)
	wait(t, 35*time.Second)
	for _, front := range fronts {
		s.cables[front].pull(false)
	}
	b.process.Signal(t, syscall.SIGCONT)
	woken := time.Now()
	for transport, l := range lines {
		l.awaitRows(ids, 30*time.Second)
		t.Logf("%s: heard everything %v after waking", transport, time.Since(woken).Round(100*time.Millisecond))
	}
}

// memory is what the client remembers of a site.
type memory struct {
	Rung int
	Life []*float64 // ms, by rung
	Ban  []*float64 // ms since 1970
}

func (l *line) memory() (m memory) {
	l.t.Helper()
	var text string
	l.eval("localStorage.getItem('holdline ' + location.origin + '/holdline/v1') ?? '{}'", &text)
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// A WebSocket that is cut every few seconds is given up for a stream, and a hold
// that is cut after 10 s is asked to be shorter.
func TestLearn(t *testing.T) {
	// The server's pings would keep nginx from cutting.
	s := newSite(t, "HOLDLINE_HEARTBEAT=60s")
	b := newBrowser(t)
	id, channel := s.chat()
	token := s.token(channel)
	cut := b.open(s.fronts["WebSocket cut at 3 s"]).line("l", map[string]any{"channels": []string{channel}, "token": token})
	held := b.open(s.fronts["no WebSocket, streams buffered, polls cut at 10 s"]).line("l", map[string]any{"channels": []string{channel}, "token": token})
	cut.awaitOpen("ws", 30*time.Second)
	held.awaitOpen("poll", 30*time.Second)
	// Rows would keep the line busy: there are none until both have learnt.
	cut.awaitOpen("sse", 30*time.Second)
	if m := cut.memory(); len(m.Ban) < 1 || m.Ban[0] == nil {
		t.Errorf("%+v: WebSocket is not avoided", m)
	}
	backstage.Eventually(t, "the length of a hold is learnt", 30*time.Second, func() bool {
		m := held.memory()
		return len(m.Life) > 2 && m.Life[2] != nil
	})
	ids := s.say(id, 10)
	cut.awaitRows(ids, 30*time.Second)
	o := held.awaitRows(ids, 30*time.Second)
	if o.Transport != "poll" {
		t.Errorf("%s: a hold of 8 s works", o.Transport)
	}
	if slices.ContainsFunc(o.States[1:], func(s struct {
		State, Transport, Role, Why string
		At                          int
	},
	) bool {
		return s.State == "waiting"
	}) {
		t.Errorf("%+v: the cut of a hold is no loss of the line", o.States)
	}
}

// Something better is tried again later, and replaces what was there without a
// gap.
func TestUpgrade(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	id, channel := s.chat()
	blocked := filepath.Join(s.dir, "blocked")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := b.open(s.fronts["WebSocket now and then"]).line("l", map[string]any{"channels": []string{channel}, "token": s.token(channel)})
	l.awaitOpen("sse", 30*time.Second)
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	w := s.writeOn(id, 5*time.Millisecond)
	o := l.awaitOpen("ws", 40*time.Second)
	for _, state := range o.States[2:] {
		if state.State != "open" {
			t.Errorf("%+v in between", state)
		}
	}
	n := len(l.told().rows())
	backstage.Eventually(t, "rows flow on", 30*time.Second, func() bool { return len(l.told().rows()) > n+20 })
	ids := w.end()
	o = l.awaitRows(ids, 30*time.Second)
	t.Logf("%d rows, longest pause %d ms", len(ids), longestPause(o, 0))
	backstage.Eventually(t, "the stream is closed", 30*time.Second, func() bool { return s.held() == 1 })
}
