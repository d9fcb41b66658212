//go:build e2e

package client

import (
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// The server's sentence reaches the page, once, and nobody asks on and on.
func TestRefused(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	_, mine := s.chat()
	_, foreign := s.chat()
	p := b.open(s.fronts["open"])
	refusals := func() int {
		return s.metric(`holdline_requests_refused_total{reason="nobody"}`) + s.metric(`holdline_requests_refused_total{reason="channel"}`) +
			s.metric(`holdline_requests_refused_total{reason="token"}`)
	}

	nobody := p.line("nobody", map[string]any{"channels": []string{mine}})
	o := nobody.await("a refusal", 30*time.Second, func(o told) bool { return len(o.Errors) > 0 })
	if o.State != "refused" || !strings.Contains(o.Errors[0].Message, "bring a token") {
		t.Errorf("%+v", o)
	}
	n := refusals()
	if n == 0 {
		t.Error("the server counts no refusal")
	}
	wait(t, 3*time.Second)
	if now := refusals(); now != n {
		t.Errorf("%d refusals have become %d", n, now)
	}

	// A stale token is replaced once, by getToken.
	p.eval(`window.asked = 0; open("renewed", {channels: ["`+mine+`"], token: "stale", getToken: async () => { asked++; return "`+s.token(mine)+`"; }})`, nil)
	(&line{p, "renewed"}).awaitOpen("ws", 30*time.Second)
	var asked int
	if p.eval("asked", &asked); asked != 1 {
		t.Errorf("getToken was asked %d times", asked)
	}

	// One channel too many takes nothing from the others.
	l := p.line("more", map[string]any{"channels": []string{mine}, "token": s.token(mine), "share": false})
	l.awaitOpen("ws", 30*time.Second)
	p.eval(`lines.more.line.subscribe("`+foreign+`"); 0`, nil)
	o = l.await("a refusal", 30*time.Second, func(o told) bool { return len(o.Errors) > 0 })
	if o.State != "open" || !strings.Contains(o.Errors[0].Message, "you may not read "+foreign) {
		t.Errorf("%+v", o)
	}
}

// Two panes of one page with rights of their own have lines of their own, a
// history comes before what is live, and markup stays text.
func TestPage(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t)
	id, channel := s.chat()
	other, otherChannel := s.chat()
	history := s.say(id, 120)
	p := b.open(s.fronts["open"])
	w := s.writeOn(id, 5*time.Millisecond)
	one := p.line("one", map[string]any{"channels": []string{channel}, "token": s.token(channel), "cursor": "0"})
	two := p.line("two", map[string]any{"channels": []string{otherChannel}, "token": s.token(otherChannel)})
	one.awaitOpen("ws", 30*time.Second)
	two.awaitOpen("ws", 30*time.Second)
	backstage.Eventually(t, "live rows flow behind the history", 30*time.Second, func() bool { return one.count() > 200 })
	one.awaitRows(append(history, w.end()...), 30*time.Second)
	if n := s.held(); n != 2 {
		t.Errorf("%d connections for two kinds of rights", n)
	}

	markup := `<img src=x onerror="faults.push('it ran')"><script>faults.push('it ran')</script>`
	row := s.write(other, markup)
	o := two.awaitRows([]int64{row}, 30*time.Second)
	if got := o.Heard[len(o.Heard)-1].Body; got != markup {
		t.Logf("the body is %q: the plugin's own escaping is left to the server", got)
	}

	// The gateway may have an origin of its own; tabs share the line all the same.
	away := map[string]any{"url": s.fronts["no WebSocket"] + "/holdline/v1", "channels": []string{otherChannel}, "token": s.token(otherChannel)}
	p.line("away", away).awaitOpen("sse", 30*time.Second)
	p.line("away too", away).awaitOpen("sse", 30*time.Second)
	if n := s.held(); n != 3 {
		t.Errorf("%d connections where there are three kinds of line", n)
	}

	// As a module it is the same client.
	p.eval(`import("/client/holdline.mjs").then((m) => { if (m.Holdline !== window.Holdline || m.default !== m.Holdline) throw new Error("another client"); })`, nil)

	// A page that is left and shown again (the back button) has missed nothing.
	p.eval(`dispatchEvent(new PageTransitionEvent("pagehide", {persisted: true}))`, nil)
	backstage.Eventually(t, "its lines are closed", 30*time.Second, func() bool { return s.held() == 0 })
	rows := append([]int64{row}, s.say(other, 30)...)
	p.eval(`dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}))`, nil)
	two.awaitRows(rows, 30*time.Second)
}
