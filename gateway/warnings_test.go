package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func keptLogger() (*slog.Logger, *keptWarnings, *bytes.Buffer) {
	var out bytes.Buffer
	w := keepWarnings(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
	return slog.New(w), w.kept, &out
}

func TestWarningsAreKeptAndPassedOn(t *testing.T) {
	log, kept, out := keptLogger()
	log.Info("nothing to worry about")
	log.With("source", "wplc", "token", "secret").Warn("rows cannot be read", "error", errors.New("no\nroute"), "text", "what somebody said")
	log.WithGroup("g").Error("worse", "error", "hidden in a group")
	list := kept.newestFirst()
	if len(list) != 2 || list[0].Text != "worse" || list[0].Level != "ERROR" || list[1].Text != "rows cannot be read; source: wplc; error: no route" {
		t.Fatalf("%+v", list)
	}
	if text := out.String(); strings.Contains(text, "rows cannot") || !strings.Contains(text, "g.error=\"hidden in a group\"") {
		t.Errorf("the log itself says %q", text)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	log, kept, _ := keptLogger()
	for i := range 3 * maxWarnings {
		log.Warn(fmt.Sprintf("number %d", i), "error", strings.Repeat("ä", 4000))
	}
	list := kept.newestFirst()
	if len(list) != maxWarnings || !strings.HasPrefix(list[0].Text, "number 149; ") || !strings.HasPrefix(list[maxWarnings-1].Text, "number 100; ") {
		t.Fatalf("%d, %q to %q", len(list), list[0].Text[:12], list[len(list)-1].Text[:12])
	}
	if text := list[0].Text; len(text) > maxWarningText+10 || !utf8.ValidString(text) {
		t.Errorf("%d bytes, valid %v", len(text), utf8.ValidString(text))
	}
}

func TestWarningThatRepeatsItselfIsOne(t *testing.T) {
	log, kept, _ := keptLogger()
	log.Warn("before")
	for range 1000 {
		log.Warn("the same", "status", 503)
	}
	list := kept.newestFirst()
	if len(list) != 2 || list[0].Count != 1000 || list[1].Text != "before" {
		t.Errorf("%+v", list)
	}
}

func TestWarningsMayComeAtOnce(t *testing.T) {
	log, kept, _ := keptLogger()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				log.With("source", i).Warn("at once")
				kept.newestFirst()
			}
		})
	}
	wg.Wait()
	total := 0
	for _, w := range kept.newestFirst() {
		total += w.Count
	}
	if total < maxWarnings || total > 800 {
		t.Error(total)
	}
}

func TestNoAddressOfAVisitorIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"write tcp 127.0.0.1:8787->203.0.113.9:51000: broken pipe":         "write tcp 127.0.0.1:8787->(address): broken pipe",
		"from 2001:db8::7 and [2001:db8::8]:443 came":                      "from (address) and (address) came",
		"dial tcp [::1]:3306: refused":                                     "dial tcp [::1]:3306: refused",
		"database trouble since 14:02:59 UTC: it does not answer":          "database trouble since 14:02:59 UTC: it does not answer",
		"version 10.11.19.1-x of 8.0.25":                                   "version (address)-x of 8.0.25", // better one too many
		"Error 1045 (28000): Access denied for user 'holdline'@'10.0.0.5'": "Error 1045 (28000): Access denied for user 'holdline'@'(address)'",
	} {
		if got := brief(text); got != want {
			t.Errorf("%q", got)
		}
	}
}

func FuzzBrief(f *testing.F) {
	f.Add("from 203.0.113.9:80 and [2001:db8::8]:443\r\n")
	f.Add("\xff::ffff:1.2.3.4%eth0 " + strings.Repeat("::", 300))
	f.Fuzz(func(t *testing.T, text string) {
		got := brief(text)
		if len(got) > maxWarningText+len(" …") || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q", got)
		}
	})
}
