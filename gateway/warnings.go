package gateway

import (
	"context"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"
)

// warnings is a slog.Handler that passes everything on and keeps the newest
// warnings for the operator's page. All handlers that are derived from one share
// what is kept. It is safe for concurrent use.
type warnings struct {
	inner slog.Handler
	kept  *keptWarnings
	attrs string // of With, as they are shown
	group bool   // attributes of groups are not shown
}

// keptWarnings are the newest ones, oldest first.
type keptWarnings struct {
	mu   sync.Mutex
	list []warning
}

// warning is one entry of the page.
type warning struct {
	Time  time.Time `json:"time"` // of the last of Count
	Level string    `json:"level"`
	Text  string    `json:"text"`
	Count int       `json:"count"` // how often it came in a row
}

const (
	maxWarnings    = 50
	maxWarningText = 400 // bytes
)

func keepWarnings(inner slog.Handler) *warnings {
	return &warnings{inner: inner, kept: &keptWarnings{}}
}

// Enabled implements slog.Handler: warnings are kept even if nobody logs them.
func (w *warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || w.inner.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (w *warnings) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		text := r.Message + w.attrs
		if !w.group {
			r.Attrs(func(a slog.Attr) bool {
				text += shown(a)
				return len(text) < maxWarningText
			})
		}
		w.kept.add(r, brief(text))
	}
	if !w.inner.Enabled(ctx, r.Level) {
		return nil
	}
	return w.inner.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (w *warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *w
	next.inner = w.inner.WithAttrs(attrs)
	if !w.group {
		for _, a := range attrs {
			next.attrs += shown(a)
		}
	}
	return &next
}

// WithGroup implements slog.Handler.
func (w *warnings) WithGroup(name string) slog.Handler {
	next := *w
	next.inner, next.group = w.inner.WithGroup(name), true
	return &next
}

func (k *keptWarnings) add(r slog.Record, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// Trouble repeats itself; fifty times the same would hide what came before.
	if n := len(k.list); n > 0 && k.list[n-1].Text == text {
		k.list[n-1].Time = r.Time
		k.list[n-1].Count++
		return
	}
	if len(k.list) == maxWarnings {
		k.list = append(k.list[:0], k.list[1:]...)
	}
	k.list = append(k.list, warning{r.Time.UTC(), r.Level.String(), text, 1})
}

// newestFirst is a copy.
func (k *keptWarnings) newestFirst() []warning {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]warning, len(k.list))
	for i, w := range k.list {
		list[len(list)-1-i] = w
	}
	return list
}

// shown is an attribute as the page shows it, or nothing. Only what is known to
// speak of the installation is shown: the log knows the rest, and a page in a
// browser may be looked at by more people than the log.
func shown(a slog.Attr) string {
	switch a.Key {
	case "error", "reason", "advice", "trouble", "source", "next_try", "status", "count", "entries", "failures",
		"limit", "configured", "raise", "dir", "recovered", "highest_id", "upstream":
		return "; " + strings.ReplaceAll(a.Key, "_", " ") + ": " + a.Value.Resolve().String()
	}
	return ""
}

// addressLike finds what may be an IP address, with a port or without.
var addressLike = regexp.MustCompile(`\[?(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(?:%\w+)?\]?(?::\d+)?`)

// brief makes a text fit for the page: one line, of bounded length, and without
// addresses that could be a visitor's.
func brief(text string) string {
	text = addressLike.ReplaceAllStringFunc(text, func(found string) string {
		host := found
		if ap, err := netip.ParseAddrPort(found); err == nil {
			host = ap.Addr().String()
		}
		a, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || a.IsLoopback() || a.IsUnspecified() {
			return found
		}
		return "(address)"
	})
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxWarningText {
		text = text[:maxWarningText] + " …"
	}
	return strings.ToValidUTF8(text, "")
}
