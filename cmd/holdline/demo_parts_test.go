package main

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
)

// claimsTime is when tokens are looked at: now, which no test depends on.
func claimsTime() time.Time { return time.Now() }

func TestFreeAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	moved, err := freeAddress(taken.Addr().String(), true)
	if err != nil || moved == taken.Addr().String() {
		t.Errorf("moved to %s, %v", moved, err)
	}
	if got, err := freeAddress(taken.Addr().String(), false); err == nil {
		t.Errorf("a port that was asked for and is taken: %s", got)
	}
	if got, err := freeAddress("no such host.:1", true); err == nil {
		t.Errorf("an address that is none: %s", got)
	}
}

func TestLocalOrigins(t *testing.T) {
	for name, tc := range map[string]struct {
		host, port string
		want       []string
		not        []string
	}{
		"loopback":    {"127.0.0.1", "8787", []string{"http://127.0.0.1:8787", "http://localhost:8787", "http://[::1]:8787"}, nil},
		"everywhere":  {"0.0.0.0", "8787", []string{"http://127.0.0.1:8787", "http://localhost:8787"}, nil},
		"one address": {"192.0.2.7", "8787", []string{"http://192.0.2.7:8787"}, []string{"http://localhost:8787"}},
		"port 80":     {"127.0.0.1", "80", []string{"http://127.0.0.1", "http://[::1]"}, []string{"http://127.0.0.1:80"}},
	} {
		got := localOrigins(tc.host, tc.port)
		for _, want := range tc.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s is not in %v", name, want, got)
			}
		}
		for _, not := range tc.not {
			if slices.Contains(got, not) {
				t.Errorf("%s: %s is in %v", name, not, got)
			}
		}
	}
}

func TestLedger(t *testing.T) {
	var l ledger
	if got := l.list(); got == nil || len(got) != 0 {
		t.Errorf("an empty ledger must be an empty list in JSON: %#v", got)
	}
	for id := range int64(ledgerSize + 50) {
		l.enter(receipt{ID: id})
	}
	l.strike(receipt{ID: ledgerSize})
	got := l.list()
	if len(got) != ledgerSize-1 || got[0].ID != 50 || slices.Contains(got, receipt{ID: ledgerSize}) {
		t.Errorf("%d receipts from %d on", len(got), got[0].ID)
	}
}

// What is set by hand stays, but for what would lead to somebody's real site.
func TestDemoConfig(t *testing.T) {
	load := func(args ...string) config.Config {
		cfg, err := config.Load(args, nil)
		if err != nil {
			t.Fatal(err)
		}
		return demoConfig(cfg)
	}
	cfg := load()
	if cfg.AdminListen != "127.0.0.1:0" || cfg.Limits.PerAddress != demoMost || cfg.Log.Level != "warn" || cfg.Auth.Secret.Empty() {
		t.Errorf("%+v", cfg)
	}
	if other := load(); other.Auth.Secret.Reveal() == cfg.Auth.Secret.Reveal() {
		t.Error("two demos have the same secret")
	}
	cfg = load("--admin-listen=127.0.0.1:1", "--limits-per-address=5", "--log-level=debug", "--drain=9s",
		"--wordpress-url=https://example.com", "--sources=wise", "--hold=3s")
	if cfg.AdminListen != "127.0.0.1:1" || cfg.Limits.PerAddress != 5 || cfg.Log.Level != "debug" || cfg.Drain != 9*time.Second || cfg.Hold != 3*time.Second {
		t.Errorf("what was set is lost: %+v", cfg)
	}
	if diff := cmp.Diff(config.WordPress{}, cfg.WordPress); diff != "" || cfg.Sources != nil {
		t.Errorf("it leads to another site: %v\n%s", cfg.Sources, diff)
	}
}

func TestResidentBytes(t *testing.T) {
	got, err := residentBytes()
	if err != nil || got < 1<<20 {
		t.Errorf("%d, %v", got, err)
	}
	if got := goBytes(); got < 1<<20 {
		t.Errorf("where there is no /proc: %d", got)
	}
}
