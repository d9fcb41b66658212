package gateway

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzRequestsOfStrangers looks at what is read of a request before anything is known of
// who sends it.
func FuzzRequestsOfStrangers(f *testing.F) {
	f.Add("token=abc&channels=wplc/1", "Bearer abc", "https://a.example", "a.example:80", "holdline_token=abc")
	f.Add("token=a%zz&=&;", "bearer", "null", "[::1]:8788", ";=;a=\x00")
	f.Add("tok%65n=geheim12&TOKEN=geheim12", "Basic x", "http://user@[::1", "localhost.", "holdline_token")
	f.Fuzz(func(t *testing.T, rawQuery, authorization, origin, host, cookie string) {
		r := &http.Request{
			URL: &url.URL{Path: "/holdline/v1/sse", RawQuery: rawQuery}, Host: host,
			Header: http.Header{"Authorization": {authorization}, "Origin": {origin}, "Cookie": {cookie}},
		}
		tokenOf(r)
		logged := redactedQuery(r.URL)
		for name, values := range r.URL.Query() {
			switch name {
			case "channels", "cursor", "wait", "padding":
				continue
			}
			for _, v := range values {
				if len(v) >= 8 && !strings.Contains(rawQuery, "redacted") && strings.Contains(withoutShown(logged), url.QueryEscape(v)) && !strings.Contains(name, v) {
					t.Errorf("%q is logged of %q", v, rawQuery)
				}
			}
		}
		site := []string{"https://chat.example.test"}
		if checkOrigin(r, site, true, true) == nil && !strings.EqualFold(origin, site[0]) {
			t.Errorf("origin %q is let in", origin)
		}
		if wordPressAllows(origin, site) && !strings.HasSuffix(strings.ToLower(origin), "://chat.example.test") {
			t.Errorf("origin %q may read", origin)
		}
		if isOperatorHost(host, []string{"localhost"}) && strings.HasSuffix(strings.ToLower(host), ".example") {
			t.Errorf("host %q is the operator's", host)
		}
		isAcrossSites(r)
		originOf(origin)
	})
}

// withoutShown takes the parameters off that may be logged as they are.
func withoutShown(query string) string {
	var rest []string
	for field := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(field, "="); name {
		case "channels", "cursor", "wait", "padding":
		default:
			rest = append(rest, field)
		}
	}
	return strings.Join(rest, "&")
}

func FuzzPlain(f *testing.F) {
	for _, text := range []string{"", "plain", "a\r\nb", "\x1b[2J", "\u009b31m", "\u202e", "\xff\xfe", "\x00", "é…\U0001F600", "\u0085"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, clean := plainAttr(slog.String("k", text))
		out := a.Value.String()
		if clean && out != text {
			t.Fatalf("%q is plain and became %q", text, out)
		}
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
			t.Fatalf("%q became %q", text, out)
		}
		if again, clean := plainAttr(a); !clean {
			t.Fatalf("%q became %q, and that %q", text, out, again.Value)
		}
	})
}

// FuzzShortened: PHP must find the same form, but for the one field.
func FuzzShortened(f *testing.F) {
	for _, form := range []string{"", "a=1", "short_poll=false&a=1", "&&a=1&sho%72t_poll=x&b", "a=%zz", "short_poll"} {
		f.Add([]byte(form))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		before, ok := phpForm(string(form))
		after, still := phpForm(string(shortened(form)))
		if !ok || !still {
			return // too many fields to be looked at
		}
		if v := after["short_poll"]; len(v) != 1 || v[0] != "true" {
			t.Fatalf("%q: short_poll is %q", form, v)
		}
		for name, values := range before {
			if name != "short_poll" && strings.Join(after[name], "&") != strings.Join(values, "&") {
				t.Fatalf("%q: %q is %q, was %q", form, name, after[name], values)
			}
		}
	})
}
