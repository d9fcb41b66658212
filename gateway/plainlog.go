package gateway

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plainLog is a slog.Handler that escapes what a stranger could do to who reads the
// log: slog's own handlers keep lines apart, but the one for JSON lets through what
// moves a terminal's cursor or turns the direction of writing (U+0080 to U+009F,
// U+202E and the like). It is safe for concurrent use.
type plainLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (p plainLog) Handle(ctx context.Context, r slog.Record) error {
	clean := true
	r.Attrs(func(a slog.Attr) bool {
		_, clean = plainAttr(a)
		return clean
	})
	if clean {
		return p.Handler.Handle(ctx, r)
	}
	next := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a, _ = plainAttr(a)
		next.AddAttrs(a)
		return true
	})
	return p.Handler.Handle(ctx, next)
}

// WithAttrs implements slog.Handler.
func (p plainLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	own := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		own[i], _ = plainAttr(a)
	}
	return plainLog{p.Handler.WithAttrs(own)}
}

// WithGroup implements slog.Handler.
func (p plainLog) WithGroup(name string) slog.Handler { return plainLog{p.Handler.WithGroup(name)} }

// plainAttr also tells whether it was plain already.
func plainAttr(a slog.Attr) (slog.Attr, bool) {
	v := a.Value.Resolve()
	text := ""
	switch v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok || err == nil {
			return a, true
		}
		text = err.Error()
	default:
		return a, true
	}
	if isPlain(text) {
		return a, true
	}
	return slog.String(a.Key, plain(text)), false
}

func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, isForeign)
}

// isForeign tells what neither prints nor parts words. Line breaks are left to the
// handlers, which keep them readable.
func isForeign(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == '\u0085' }

// plain writes out what does not print, as Go does.
func plain(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && n == 1 || isForeign(r) {
			b.WriteString(strings.Trim(strconv.QuoteToASCII(text[:n]), `"`))
		} else {
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}
