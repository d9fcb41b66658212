package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
	"holdline/internal/wpconfig"
)

// reload changes the configuration of the gateway that runs.
func (s *site) reload(change func(*config.Config)) (applied, needRestart []string) {
	change(&s.opt.Config)
	return s.gw.Reload(s.opt.Config, s.opt.WordPress)
}

func TestReload(t *testing.T) {
	s := newSite(t)
	held := s.hold(t, "sse", "wplc/1", bearer(s.token("wplc/1")))
	applied, restart := s.reload(func(c *config.Config) {
		c.Hold, c.Heartbeat = 7*time.Second, 3*time.Second
		c.Limits.Channels, c.Limits.Message = 2, 500
		c.Auth.AllowedOrigins = []string{"https://other.example"}
		c.Log.Level = "debug"
		c.BasePath, c.Spool.MaxBytes, c.Limits.Header = "/other", 8<<20, 4096
	})
	if diff := cmp.Diff([]string{"auth.allowed_origins", "hold", "heartbeat", "limits.channels", "limits.message", "log.level"}, applied); diff != "" {
		t.Error("applied (-want +got):", diff)
	}
	if diff := cmp.Diff([]string{"base_path", "limits.header", "spool.max_bytes"}, restart); diff != "" {
		t.Error("needs a restart (-want +got):", diff)
	}
	req, err := http.NewRequest(http.MethodGet, s.base+"/info", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://other.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var told struct {
		HoldMS      int `json:"hold_ms"`
		HeartbeatMS int `json:"heartbeat_ms"`
		MaxChannels int `json:"max_channels"`
		MaxBody     int `json:"max_body"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
		t.Fatal(err)
	}
	if told.HoldMS != 7000 || told.HeartbeatMS != 3000 || told.MaxChannels != 2 || told.MaxBody != 500 {
		t.Errorf("/info: %+v", told)
	}
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "https://other.example" {
		t.Errorf("the new origin may read: %q", got)
	}
	if a := s.knock(t, "poll", "wplc/1,wplc/2,wplc/3", bearer(s.token("wplc/*"))); a.StatusCode != http.StatusBadRequest || a.reason != "channels" {
		t.Errorf("three channels: %s %s", a.Status, a.text)
	}
	if held.err != nil || s.gw.Held() != 1 {
		t.Errorf("%d are held, want the one that was", s.gw.Held())
	}
	// What is in force already is no change, but what waits for a restart goes on waiting.
	applied, restart = s.reload(func(*config.Config) {})
	if len(applied) != 0 || len(restart) != 3 {
		t.Errorf("again: applied %v, needs a restart %v", applied, restart)
	}
}

func TestReloadOfLimits(t *testing.T) {
	s := newSite(t)
	if a := s.knock(t, "sse", "wplc/1", bearer(s.token("wplc/1"))); !a.ok() {
		t.Fatal(a.Status)
	}
	s.reload(func(c *config.Config) { c.Limits.Connections, c.Limits.Sends = 1, 3 })
	if a := s.knock(t, "sse", "wplc/1", bearer(s.token("wplc/1"))); a.reason != "limit_connections" {
		t.Errorf("a second one: %s %s", a.Status, a.text)
	}
	if got := s.metric(t, "holdline_connections_limit"); got != 1 {
		t.Errorf("the limit is told to be %v", got)
	}
	s.reload(func(c *config.Config) { c.Limits.Connections = 2 })
	if a := s.knock(t, "sse", "wplc/1", bearer(s.token("wplc/1"))); !a.ok() {
		t.Errorf("a second one, with room: %s %s", a.Status, a.text)
	}
}

// TestReloadOfTrustedProxies is seen by what is forwarded.
func TestReloadOfTrustedProxies(t *testing.T) {
	seen := make(chan string, 1)
	upstream := httptest.NewServer(withoutPlugin(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Forwarded-For") }))
	t.Cleanup(upstream.Close)
	s := newSite(t, with(func(c *config.Config) { c.WordPress.Upstream = upstream.URL }))
	ask := func() string {
		req, err := http.NewRequest(http.MethodGet, s.front()+"/page", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.7")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return <-seen
	}
	if got := ask(); !strings.Contains(got, "192.0.2.7") {
		t.Errorf("from a trusted proxy: %q", got)
	}
	s.reload(func(c *config.Config) { c.TrustedProxies = nil })
	if got := ask(); strings.Contains(got, "192.0.2.7") {
		t.Errorf("from somebody: %q", got)
	}
}

func TestReloadOfWordPress(t *testing.T) {
	s := newSite(t)
	other := &wpconfig.Config{Constants: salts()}
	other.Constants["AUTH_SALT"] = "another"
	if _, restart := s.gw.Reload(s.opt.Config, other); len(restart) != 1 || !strings.HasPrefix(restart[0], "wordpress.config") {
		t.Errorf("new salts: needs a restart %v", restart)
	}
}
