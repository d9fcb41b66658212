package gateway_test

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"holdline/config"
)

// A gateway that starts again knows what the one before it has told.
func TestPositionsOutliveTheGateway(t *testing.T) {
	for state, again := range map[string]bool{"": false, config.StateOff: true} {
		s, _ := dropIn(t, "strict", with(func(c *config.Config) {
			if state != "" {
				c.StateDir = state
			}
		}))
		chat := s.chat(3)
		s.say(chat, "Hello")
		poll := func() string {
			_, text := s.post(t, urlencoded, visitorForm(chat).Encode(), bound(t, chat))
			return text
		}
		if got := poll(); !strings.Contains(got, "Hello") {
			t.Fatalf("got %q", got)
		}
		s.stop()
		s.start()
		s.awaitReady()
		if got := poll(); strings.Contains(got, "Hello") != again {
			t.Errorf("state_dir %q: then %q", state, got)
		}
	}
}

// Apache does not tell that a browser has left, and says who it is.
func TestAnswersThroughApacheAreDoubted(t *testing.T) {
	for name, tc := range map[string]struct {
		server, trusted string
		again           bool
	}{
		"Apache":       {"example.test", "127.0.0.0/8", true},
		"others":       {"", "127.0.0.0/8", false},
		"says so only": {"example.test", "10.0.0.0/8", false},
	} {
		s, _ := dropIn(t, "strict", with(func(c *config.Config) {
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(tc.trusted)}
		}))
		chat := s.chat(3)
		s.say(chat, "Hello")
		poll := func() string {
			req, err := http.NewRequest(http.MethodPost, s.front()+"/wp-admin/admin-ajax.php", strings.NewReader(visitorForm(chat).Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", urlencoded)
			if tc.server != "" {
				req.Header.Set("X-Forwarded-Server", tc.server)
			}
			req.AddCookie(bound(t, chat))
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		if got := poll(); !strings.Contains(got, "Hello") {
			t.Fatalf("%s: got %q", name, got)
		}
		if got := poll(); strings.Contains(got, "Hello") != tc.again {
			t.Errorf("%s: polled again at once: %q", name, got)
		}
	}
}
