//go:build e2e

package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// told is what a line in a page has said.
type told struct {
	Heard []struct {
		Type    string
		ID      int64
		Channel string
		Body    string
		At      int64 // ms since 1970
	}
	States []struct {
		State, Transport, Role, Why string
		At                          int // ms since the line was made
	}
	Errors                 []struct{ Message, Reason string }
	First                  int // ms until the first event, -1 before
	State, Transport, Role string
	Faults                 []string // what went wrong in the page without being caught
}

// rows are the ids of the messages, in the order in which they came.
func (o told) rows() (ids []int64) {
	for _, e := range o.Heard {
		if e.Type == "message" {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// line is a Holdline in a tab.
type line struct {
	*tab
	name string
}

// line makes a line in the page; options are those of the client.
func (p *tab) line(name string, options map[string]any) *line {
	p.t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		p.t.Fatal(err)
	}
	p.eval(fmt.Sprintf("open(%q, %s)", name, text), nil)
	return &line{p, name}
}

func (l *line) told() (o told) {
	l.t.Helper()
	l.eval(fmt.Sprintf("told(%q)", l.name), &o)
	return o
}

// await waits until what the line has said is as it should be.
func (l *line) await(what string, within time.Duration, ok func(told) bool) told {
	l.t.Helper()
	var o told
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(within); ; {
		if o = l.told(); ok(o) {
			return o
		}
		select {
		case <-tick.C:
		case <-late:
			text, _ := json.MarshalIndent(o, "", " ")
			l.t.Fatalf("%s: not within %v\n%s", what, within, text)
		}
	}
}

func (l *line) awaitOpen(transport string, within time.Duration) told {
	l.t.Helper()
	return l.await("open over "+transport, within, func(o told) bool {
		return o.State == "open" && o.Transport == transport && o.First >= 0
	})
}

// awaitRows waits for the messages and checks that there are no others, none
// twice, and that they came in order.
func (l *line) awaitRows(want []int64, within time.Duration) told {
	l.t.Helper()
	o := l.await(fmt.Sprintf("%d messages", len(want)), within, func(o told) bool { return len(o.rows()) >= len(want) })
	if got := o.rows(); !slices.Equal(got, want) {
		l.t.Fatalf("heard %v\ninstead of %v", got, want)
	}
	if len(o.Faults) > 0 {
		l.t.Fatalf("faults in the page: %q", o.Faults)
	}
	return o
}

// Each rung of the ladder is reached when those above it are blocked, and hears
// what is written from then on.
func TestLadder(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	tests := []struct {
		front, transport string
		within           time.Duration
	}{
		{"open", "ws", 3 * time.Second},
		{"no WebSocket", "sse", 3 * time.Second},
		{"no WebSocket, streams buffered", "poll", 8 * time.Second},
		{"no WebSocket, streams buffered, polls cut at 10 s", "poll", 8 * time.Second},
		{"no WebSocket, streams buffered, polls cut at 1 s", "short", 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.front, func(t *testing.T) {
			id, channel := s.chat()
			p := b.open(s.fronts[test.front])
			l := p.line("l", map[string]any{"channels": []string{channel}, "token": s.token(channel)})
			o := l.awaitOpen(test.transport, test.within)
			t.Logf("%s, on the first visit: first event after %d ms", test.transport, o.First)
			want := s.say(id, 5)
			l.awaitRows(want, 30*time.Second)
			p.close()

			p = b.open(s.fronts[test.front])
			defer p.close()
			l = p.line("l", map[string]any{"channels": []string{channel}, "token": s.token(channel)})
			o = l.awaitOpen(test.transport, 3*time.Second)
			t.Logf("%s, on the second visit: first event after %d ms", test.transport, o.First)
			var ms float64
			p.eval("lines.l.line.latency()", &ms)
			began := time.Now()
			row := s.write(id, "now")
			l.awaitRows([]int64{row}, 30*time.Second)
			t.Logf("%s: round trip %.1f ms, row to page within %v", test.transport, ms, time.Since(began).Round(time.Millisecond))
		})
	}
}
