//go:build e2e

package client

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
	"holdline/internal/freeport"
	"holdline/internal/wpsite"
)

// shop is a WordPress with a chat plugin that knows nothing of push, with Holdline in
// the path of its loops and HOLDLINE_PUSH defined.
type shop struct {
	*site
	wp *wpsite.Site
}

// holds are how long PHP and the page hold a loop here.
const (
	phpHold  = 8 * time.Second
	pageHold = 4 * time.Second
)

func newShop(t *testing.T) *shop {
	t.Helper()
	addresses, err := freeport.Addresses(2)
	if err != nil {
		t.Fatal(err)
	}
	wp, err := wpsite.Up(t.Context(), wpsite.Options{Children: 12, Holdline: "http://" + addresses[0], Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wp.Down(); err != nil {
			t.Error(err)
		}
	})
	// Before holdline.php, by its name.
	plugin := fmt.Sprintf(`<?php
		define('HOLDLINE_PUSH', true);
		add_filter('holdline_page', function ($page) { return $page + array('hold' => %d); });`, pageHold.Milliseconds())
	if err := os.WriteFile(filepath.Join(wp.Root, "wp-content", "mu-plugins", "000-push.php"), []byte(plugin), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &shop{site: &site{t: t, db: wp.DB(), admin: addresses[1]}, wp: wp}
	s.exec(`REPLACE INTO wp_options (option_name, option_value, autoload) VALUES ('wplc_advanced_settings', ?, 'yes')`,
		fmt.Sprintf(`a:2:{s:15:"wplc_iterations";i:%d;s:24:"wplc_delay_between_loops";i:250000;}`, phpHold/(250*time.Millisecond)))
	s.env = []string{
		"HOLDLINE_LISTEN=" + addresses[0], "HOLDLINE_ADMIN_LISTEN=" + addresses[1],
		"HOLDLINE_WORDPRESS_CONFIG=" + wp.Config, "HOLDLINE_WORDPRESS_UPSTREAM=" + wp.UpstreamURL,
		"HOLDLINE_DATABASE_USER=" + wp.HoldlineUser, "HOLDLINE_DATABASE_PASSWORD=" + wp.HoldlinePassword,
		"HOLDLINE_AUTH_SECRET=" + secret, "HOLDLINE_TRUSTED_PROXIES=127.0.0.1", "HOLDLINE_LOG_LEVEL=debug",
		"HOLDLINE_STATE_DIR=" + t.TempDir(), "HOLDLINE_TAIL_INTERVAL=20ms",
	}
	s.startProgram()
	return s
}

// watchLoops runs in a page before its scripts and notes what its loops were.
const watchLoops = `window.loops = [];
	window.faults = [];
	addEventListener("error", (e) => faults.push(e.message));
	const send = XMLHttpRequest.prototype.send;
	XMLHttpRequest.prototype.send = function (body) {
		const action = new URLSearchParams(String(body)).get("action");
		if (/^wplc_(call_to_server_visitor|admin_long_poll)/.test(action)) {
			const loop = { short: /short_poll=true/.test(body), began: performance.now(), took: -1 };
			loops.push(loop);
			this.addEventListener("loadend", () => { loop.took = performance.now() - loop.began; });
		}
		return send.call(this, body);
	};
	window.texts = (box) => [...document.querySelectorAll(box + " > p")].map((p) => p.textContent);`

// loop is a request of a page's polling loop.
type loop struct {
	Short bool
	Took  float64 // ms; -1 while it is held
}

func (p *tab) loops(from int) (all []loop) {
	p.t.Helper()
	p.eval(fmt.Sprintf("loops.slice(%d)", from), &all)
	return all
}

// page opens a page of the site in a new tab.
func (s *shop) page(b *browser, path, ready string) *tab {
	s.t.Helper()
	var made struct{ TargetID string }
	b.must("", "Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	p := b.attach(made.TargetID)
	b.must(p.session, "Page.enable", map[string]any{}, nil)
	b.must(p.session, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": watchLoops}, nil)
	b.must(p.session, "Page.navigate", map[string]any{"url": s.wp.URL + path}, nil)
	p.until(ready, 20*time.Second)
	return p
}

// login gives the browser an agent's cookies.
func (s *shop) login(b *browser, user string) {
	s.t.Helper()
	header, err := s.wp.Login(s.t.Context(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	cookies, err := http.ParseCookie(header)
	if err != nil {
		s.t.Fatal(err)
	}
	p := b.visit("about:blank", "true", time.Second)
	defer p.close()
	for _, c := range cookies {
		b.must(p.session, "Network.setCookie", map[string]any{"name": c.Name, "value": c.Value, "url": s.wp.URL + "/"}, nil)
	}
}

// seat is one side of a conversation.
type seat struct {
	*tab
	box, form, input string
}

func (w seat) say(text string) {
	w.t.Helper()
	w.eval(fmt.Sprintf(`document.querySelector(%q).value = %q; document.querySelector(%q).requestSubmit()`, w.input, text, w.form), nil)
}

// texts are the messages in the page's box that are part of the test.
func (w seat) texts() []string {
	w.t.Helper()
	var all []string
	w.eval(fmt.Sprintf("texts(%q)", w.box), &all)
	return slices.DeleteFunc(all, func(text string) bool { return !strings.HasPrefix(text, "line ") })
}

func (w seat) await(text string, within time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.until(fmt.Sprintf("texts(%q).includes(%q)", w.box, text), within)
	return time.Since(began)
}

// conversation is a chat between a visitor and an agent, who say in turns what is
// counted in said.
type conversation struct {
	*shop
	visitor, agent seat
	said           int
}

func (s *shop) converse(visitors, agents *browser) *conversation {
	s.t.Helper()
	p := s.page(visitors, "/", `document.cookie.includes("wplc_cid=") && document.querySelector("#wplc_start")`)
	visitor := seat{p, "#wplc_chatbox", "#wplc_write", "#wplc_chatmsg"}
	p.eval(`document.querySelector("#wplc_start").requestSubmit()`, nil)
	p.until(`document.querySelector("#wplc_state").textContent === "2"`, 10*time.Second)
	var chat string
	p.eval(`document.cookie.match(/wplc_cid=(\d+)/)[1]`, &chat)
	path := "/wp-admin/admin.php?" + url.Values{"page": {"wplivechat-menu"}, "action": {"ac"}, "cid": {chat}}.Encode()
	agent := seat{s.page(agents, path, `document.querySelector("#admin_chat_box_area") && loops.length > 1`), "#admin_chat_box_area", "#wplc_admin_write", "#wplc_admin_chatmsg"}
	p.until(`document.querySelector("#wplc_state").textContent === "3"`, 10*time.Second)
	return &conversation{shop: s, visitor: visitor, agent: agent}
}

// talk has each side say n things, one after the other, and returns how long the other
// side waited at most.
func (c *conversation) talk(n int, within time.Duration) (longest time.Duration) {
	c.t.Helper()
	for range n {
		for _, turn := range [][2]seat{{c.visitor, c.agent}, {c.agent, c.visitor}} {
			c.said++
			text := fmt.Sprintf("line %d.", c.said)
			turn[0].say(text)
			longest = max(longest, turn[1].await(text, within))
		}
	}
	var want []string
	for i := range c.said {
		want = append(want, fmt.Sprintf("line %d.", i+1))
	}
	for name, w := range map[string]seat{"visitor": c.visitor, "agent": c.agent} {
		if got := w.texts(); !slices.Equal(got, want) {
			c.t.Errorf("the %s saw %q", name, got)
		}
	}
	return longest
}

// awaitPush waits until both sides wait without a request: all that is held is the two
// browsers' lines.
func (c *conversation) awaitPush() {
	c.t.Helper()
	waiting := func(w seat) (yes bool) {
		w.eval("loops.every((l) => l.took >= 0 && performance.now() - l.began - l.took > 2000)", &yes) // longer than the scripts pause
		return yes
	}
	backstage.Eventually(c.t, "two lines and nothing else", phpHold+20*time.Second, func() bool {
		return waiting(c.visitor) && waiting(c.agent) && c.held() == 2
	})
}

// The chat plugin's own pages, in real browsers, wait for news on one line each.
func TestPush(t *testing.T) {
	s := newShop(t)
	visitors, agents := newBrowser(t), newBrowser(t)
	s.login(agents, "admin")
	c := s.converse(visitors, agents)
	c.talk(1, 10*time.Second)
	c.awaitPush()

	t.Run("a conversation", func(t *testing.T) {
		v, a := len(c.visitor.loops(0)), len(c.agent.loops(0))
		longest := c.talk(10, 10*time.Second)
		c.awaitPush()
		t.Logf("the longest wait for a message: %v, of which the scripts pause 1.5 s", longest.Round(time.Millisecond))
		check := func(name string, loops []loop, short bool) {
			t.Logf("the %s's page made %d requests for 20 messages", name, len(loops))
			for _, l := range loops {
				if l.Took < 0 || l.Took > phpHold.Seconds()*1000/2 || l.Short != short {
					t.Errorf("the %s's page held a loop: %+v", name, l)
				}
			}
		}
		check("visitor", c.visitor.loops(v), true)
		check("agent", c.agent.loops(a), false)
	})
	t.Run("nobody says anything", func(t *testing.T) {
		v, a := len(c.visitor.loops(0)), len(c.agent.loops(0))
		wait(t, 3*(pageHold+1500*time.Millisecond))
		if n := len(c.visitor.loops(v)); n < 2 || n > 4 {
			t.Errorf("the visitor's page made %d requests in three holds", n)
		}
		if n := len(c.agent.loops(a)); n > 0 {
			t.Errorf("the agent's page made %d requests", n)
		}
	})
	t.Run("Holdline is killed and comes back", func(t *testing.T) {
		c.process.Kill(c.t)
		c.talk(3, 15*time.Second)
		s.startProgram()
		c.awaitPush()
		v := len(c.visitor.loops(0))
		c.talk(3, 15*time.Second)
		for _, l := range c.visitor.loops(v) {
			if !l.Short {
				t.Errorf("the visitor's page polls: %+v", l)
			}
		}
	})
	t.Run("another tab takes the chat", func(t *testing.T) {
		second := s.page(visitors, "/", `document.querySelector("#wplc_state") && document.querySelector("#wplc_state").textContent === "3"`)
		c.visitor.until(`getComputedStyle(document.querySelector("#wplc_box")).display === "none"`, 10*time.Second)
		c.visitor.tab = second
		backstage.Eventually(t, "the second tab shows the history", 10*time.Second, func() bool { return len(c.visitor.texts()) == c.said })
		c.talk(3, 15*time.Second)
		c.awaitPush()
	})
	t.Run("the agent ends the chat", func(t *testing.T) {
		c.agent.eval(`document.querySelector("#wplc_admin_close_chat").click()`, nil)
		c.visitor.until(`document.querySelector("#wplc_state").textContent === "8"`, 15*time.Second)
	})
	for _, w := range []seat{c.visitor, c.agent} {
		var faults []string
		if w.eval("faults", &faults); len(faults) > 0 {
			t.Errorf("faults in a page: %q", faults)
		}
	}
}
