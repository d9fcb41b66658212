//go:build e2e

package client

import (
	"fmt"
	"slices"
	"testing"
)

// hostile is what people write who wish a chat ill; each would set pwned.
var hostile = []string{
	`<img src=x onerror="window.pwned = 1">`,
	`<script>window.pwned = 1</script>`,
	`</span></li></ol></script><script>window.pwned = 1</script>`,
	`<svg/onload=window.pwned=1>`,
	`<a href="javascript:window.pwned=1" onmouseover="window.pwned=1">x</a>`,
	`<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>`,
	`" autofocus onfocus="window.pwned = 1" x="`,
	"${window.pwned = 1} `${window.pwned = 1}` {{constructor.constructor('window.pwned = 1')()}}",
	`&lt;img src=x onerror=window.pwned=1&gt; &#60;b&#62; &amp;lt;`,
	`javascript:window.pwned=1`,
	`<math><mtext><table><mglyph><style><img src onerror=window.pwned=1>`,
	"<b>\\u003cimg src=x onerror=window.pwned=1\\u003e \\ %3Cscript%3E",
}

// Markup in whatever somebody else can set is text in a page that shows it as such: in
// bodies and names, in what other programs put into the table, in signals. Where it has
// no business it is refused.
func TestMarkup(t *testing.T) {
	s := newTalk(t)
	visitors, agents := newBrowser(t), newBrowser(t)
	c := s.newChat(t)
	s.exec("UPDATE wp_wplc_chat_sessions SET name = ?, url = ? WHERE id = ?", hostile[0], hostile[4], c.id)
	visitor, agent := c.page(visitors, "open", "visitor", nil), c.page(agents, "no WebSocket", "agent", nil)
	visitor.awaitOpen("ws")
	agent.awaitOpen("sse")
	for _, text := range hostile {
		for _, w := range []*side{visitor, agent} {
			w.chat.said[w.kind] = append(w.chat.said[w.kind], text)
			w.eval("say("+quoted(t, text)+")", nil)
		}
		visitor.eval(fmt.Sprintf(`line.signal(channel, {kind: "agent", id: 1, name: %[1]s}, %[1]s); 0`, quoted(t, text)), nil)
	}
	for _, w := range []*side{visitor, agent} {
		w.await("all has been shown and stored", func(*notes) bool {
			var n int
			w.eval(`document.querySelectorAll("#log li[data-state=stored]").length`, &n)
			return n == 2*len(hostile)
		})
		n := w.notes()
		for _, kind := range []string{"visitor", "agent"} {
			if got := n.bodies(kind); !slices.Equal(got, hostile) {
				t.Errorf("the %s reads of the %s %q", w.kind, kind, got)
			}
		}
	}
	agent.await("the signals", func(n *notes) bool { return len(n.Signals) == len(hostile) })

	// A plugin's or an old page's rows go by no rules.
	for i, text := range hostile {
		s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
			VALUES (?, ?, ?, '2026-03-19 10:30:00', 0, ?, ?, ?, 0, 0)`, c.id, text, text, i%3, text, text[:min(len(text), 40)])
	}
	for _, w := range []*side{visitor, agent} {
		w.await("the rows of others", func(n *notes) bool { return len(n.Heard) >= 3*len(hostile) })
	}
	c.testMarkupRefused(visitor)
	for _, w := range []*side{visitor, agent} {
		var got struct {
			Pwned    bool
			Elements int // that the page has not made
		}
		w.eval(`({ pwned: "pwned" in window, elements: document.querySelectorAll("#log li > * > *, body > :not(ol, p, form, script)").length })`, &got)
		if got.Pwned || got.Elements > 0 {
			t.Errorf("the %s's page: %+v", w.kind, got)
		}
		if n := w.notes(); len(n.Faults) > 0 {
			t.Errorf("faults in the %s's page: %q", w.kind, n.Faults)
		}
	}
}

// testMarkupRefused says things whose channel, id or sender are markup.
func (c *chat) testMarkupRefused(visitor *side) {
	c.t.Helper()
	for _, field := range []string{"client_id", "channel", "as"} {
		for _, text := range hostile {
			words := map[string]string{"client_id": "0123456789", "channel": c.channel, "body": "x", "as": "visitor"}
			words[field] = text
			var got struct {
				Status       int
				Type, Reason string
			}
			visitor.eval(fmt.Sprintf(`fetch("/holdline/v1/send", { method: "POST", body: %s, headers: {
				"Content-Type": "application/json", Authorization: "Bearer " + %s,
			} }).then(async (r) => ({ status: r.status, type: r.headers.get("Content-Type"), reason: (await r.json()).reason }))`,
				quoted(c.t, quoted(c.t, words)), quoted(c.t, c.mint("ann", c.channel))), &got)
			if got.Status < 400 || got.Status >= 500 || got.Type != "application/json" {
				c.t.Errorf("%s %s: %+v", field, text, got)
			}
		}
	}
}
