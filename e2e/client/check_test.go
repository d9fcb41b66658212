//go:build e2e

package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// visit opens an address in a new tab and waits until an expression is true there.
func (b *browser) visit(address, until string, within time.Duration) *tab {
	b.t.Helper()
	var made struct{ TargetID string }
	b.must("", "Target.createTarget", map[string]any{"url": address}, &made)
	p := b.attach(made.TargetID)
	p.until(until, within)
	return p
}

// until waits until an expression is true. While a page loads it is nothing.
func (p *tab) until(expression string, within time.Duration) {
	p.t.Helper()
	backstage.Eventually(p.t, expression, within, func() bool {
		var ok bool
		params := map[string]any{"expression": "Boolean(" + expression + ")", "returnByValue": true}
		return p.call(p.session, "Runtime.evaluate", params, &evaluated{&ok}) == nil && ok
	})
}

// The check page says of each way in what the proxy does to it, which the client
// would use, and what to change.
func TestCheckPage(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	tests := []struct {
		front               string
		ws, sse, poll, says string
		advice              []string
		page                *tab
	}{
		{front: "open", ws: "gets through", sse: "gets through", poll: "gets through", says: "will use a WebSocket"},
		{
			front: "no WebSocket", ws: "blocked", sse: "gets through", poll: "gets through",
			says: "will use an event stream", advice: []string{"proxy_set_header Upgrade $http_upgrade"},
		},
		{
			front: "no WebSocket, streams buffered, polls cut at 10 s", ws: "blocked", sse: "buffered", poll: "cut after 10 s",
			says: "will use a long poll", advice: []string{"Upgrade", "proxy_buffering off", "proxy_read_timeout 75s", "holdline snippet nginx"},
		},
		{
			front: "WebSocket cut at 3 s", ws: "cut after 3", sse: "gets through", poll: "gets through",
			says: "because a WebSocket is cut after 3", advice: []string{"proxy_read_timeout 75s"},
		},
	}
	for i, test := range tests { // all at once: each takes as long as a poll is held
		tests[i].page = b.visit(s.fronts[test.front]+"/holdline/v1/check", "document.getElementById('verdict')", 20*time.Second)
	}
	for _, test := range tests {
		t.Run(test.front, func(t *testing.T) {
			test.page.until("!document.getElementById('again').disabled", time.Minute)
			var report, sentence, advice string
			var states []string
			for expression, out := range map[string]any{
				"document.getElementById('report').value":                                   &report,
				"document.getElementById('sentence').innerText":                             &sentence,
				"document.getElementById('advice').innerText":                               &advice,
				"[...document.querySelectorAll('#rungs .state')].map((e) => e.textContent)": &states,
			} {
				test.page.eval(expression, out)
			}
			t.Log(report)
			for i, want := range []string{test.ws, test.sse, test.poll, "gets through"} {
				if !strings.HasPrefix(fmt.Sprint(append(states, "", "", "", "")[i]), want) {
					t.Errorf("way %d: %q instead of %q", i+1, states, want)
				}
			}
			if !strings.Contains(sentence, test.says) {
				t.Errorf("verdict: %s", sentence)
			}
			for _, want := range test.advice {
				if !strings.Contains(advice, want) {
					t.Errorf("no word of %q in: %s", want, advice)
				}
			}
		})
	}
}
