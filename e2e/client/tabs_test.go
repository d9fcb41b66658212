//go:build e2e

package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// writer writes rows until it is stopped.
type writer struct {
	stop func()
	done sync.WaitGroup
	ids  []int64 // once it is stopped
}

func (s *site) writeOn(chat int64, every time.Duration) *writer {
	ctx, stop := context.WithCancel(s.t.Context())
	w := &writer{stop: stop}
	w.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.ids = append(w.ids, s.write(chat, "one of many"))
			}
		}
	})
	s.t.Cleanup(func() { w.end() })
	return w
}

func (w *writer) end() []int64 {
	w.stop()
	w.done.Wait()
	return w.ids
}

// longestPause is the longest time between two messages from a row on, in ms.
func longestPause(o told, from int64) (ms int64) {
	for i := 1; i < len(o.Heard); i++ {
		if before := o.Heard[i-1]; before.Type == "message" && before.ID >= from {
			ms = max(ms, o.Heard[i].At-before.At)
		}
	}
	return ms
}

// All tabs of a browser share one connection, and whoever holds it may go at any
// moment.
func TestTabs(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	origin := s.fronts["open"]
	_, port, _ := strings.Cut(strings.TrimPrefix(origin, "http://"), ":")
	tests := []struct {
		name, origin string
		options      map[string]any
		role         string // of the first tab
		after        string // of its heir; "" where the holder cannot be killed or replaced
		connections  int
	}{
		{"worker", origin, nil, "worker", "leader", 1},
		{"worker without locks", "http://" + insecure + ":" + port, nil, "worker", "", 1},
		{"leader", origin, map[string]any{"worker": ""}, "leader", "leader", 1},
		{"no worker, no locks", "http://" + insecure + ":" + port, map[string]any{"worker": ""}, "tab", "", 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id, channel := s.chat()
			other, otherChannel := s.chat()
			token := s.token(channel, otherChannel)
			var lines []*line
			slowest := time.Duration(0) // to open a tab and its line, which tells how busy the machine is
			for i := range 5 {
				began := time.Now()
				options := map[string]any{"channels": []string{channel}, "token": token}
				if i == 3 { // wants more than the others
					options["channels"] = []string{channel, otherChannel}
				}
				for k, v := range test.options {
					options[k] = v
				}
				l := b.open(test.origin).line("l", options)
				t.Cleanup(func() { b.call("", "Target.closeTarget", map[string]any{"targetId": l.target}, nil) })
				lines = append(lines, l)
				if o := l.awaitOpen("ws", 30*time.Second); i == 0 && o.Role != test.role {
					t.Fatalf("the first tab is %q instead of %q", o.Role, test.role)
				}
				slowest = max(slowest, time.Since(began))
			}
			backstage.Eventually(t, "the connections are as they should be", 30*time.Second, func() bool { return s.held() == test.connections })
			want := s.say(id, 20)
			elsewhere := s.say(other, 1)
			for i, l := range lines {
				if i == 3 {
					l.awaitRows(append(slices.Clone(want), elsewhere...), 30*time.Second)
				} else {
					l.awaitRows(want, 30*time.Second)
				}
			}
			if test.after != "" {
				s.testHeir(t, b, lines, id, want, elsewhere, test.role, max(time.Second, 2*slowest))
			}
		})
	}
}

// testHeir kills who holds the line while rows are written. Who inherits it has to do
// so at once, without a timer: within a second, or what a new tab takes where all is
// slow.
func (s *site) testHeir(t *testing.T, b *browser, lines []*line, id int64, want, elsewhere []int64, role string, atOnce time.Duration) {
	w := s.writeOn(id, 20*time.Millisecond)
	backstage.Eventually(t, "rows flow", 30*time.Second, func() bool { return lines[4].count() > len(want)+10 })
	if role == "worker" {
		for _, worker := range b.workers() {
			worker.close()
		}
	} else {
		lines[0].crash()
		lines = lines[1:]
	}
	lines[1].await("another holds the line", 30*time.Second, func(o told) bool {
		return o.State == "open" && (o.Role == "leader" || o.Role == "follower") && o.States[len(o.States)-1].Role != role
	})
	n := lines[1].count()
	backstage.Eventually(t, "rows flow again", 30*time.Second, func() bool { return lines[1].count() > n+10 })
	ids := w.end()
	if !slices.ContainsFunc(lines, func(l *line) bool { return l.told().Role == "leader" }) {
		t.Error("no tab leads")
	}
	for _, l := range lines {
		all := append(slices.Clone(want), ids...)
		if strings.Contains(l.channels(), ",") {
			all = slices.Concat(want, elsewhere, ids)
		}
		o := l.awaitRows(all, 30*time.Second)
		pause := longestPause(o, ids[0])
		t.Logf("%s: longest pause between two rows %d ms", o.Role, pause)
		if pause > atOnce.Milliseconds() {
			t.Errorf("it took %d ms to replace who held the line", pause)
		}
	}
	backstage.Eventually(t, "there is one connection again", 30*time.Second, func() bool { return s.held() == 1 })
}

// count is the number of events; it costs less than told.
func (l *line) count() (n int) {
	l.t.Helper()
	l.eval(fmt.Sprintf("lines[%q].heard.length", l.name), &n)
	return n
}

func (l *line) channels() (text string) {
	l.t.Helper()
	l.eval(fmt.Sprintf("lines[%q].line.channels.join()", l.name), &text)
	return text
}
