package poll_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/poll"
)

func TestWishOfCursor(t *testing.T) {
	for name, c := range map[string]struct {
		cursor      string
		tags        []string // If-None-Match
		want        string   // the cursor that was understood
		conditional bool
		bad         bool
	}{
		"none":                           {},
		"a cursor":                       {cursor: "12", want: "12"},
		"a cursor with a digest":         {cursor: "12~a", want: "12~a"},
		"a tag":                          {tags: []string{`"12"`}, want: "12", conditional: true},
		"a weak tag, as nginx makes":     {tags: []string{` W/"12-AQ~a" `}, want: "12-AQ~a", conditional: true},
		"a tag with two sources":         {tags: []string{`"12,other=7"`}, want: "12,other=7", conditional: true},
		"a tag that Apache changed":      {tags: []string{`"12-AQ-gzip"`}, want: "12-AQ", conditional: true},
		"the parameter before the tag":   {cursor: "12", tags: []string{`"13"`}, want: "12"},
		"a list of tags":                 {tags: []string{`"12", "13"`}},
		"two fields are a list":          {tags: []string{`"12"`, `"13"`}},
		"any tag":                        {tags: []string{`*`}},
		"an empty tag":                   {tags: []string{`""`}},
		"half a tag":                     {tags: []string{`"`}},
		"a tag without quotes":           {tags: []string{`12`}},
		"somebody else's tag":            {tags: []string{`"5f3a-62c8"`}, bad: true},
		"a quote in the tag":             {tags: []string{`"1"2"`}},
		"a negative cursor":              {cursor: "-1", bad: true},
		"a cursor of letters":            {cursor: "abc", bad: true},
		"a cursor beyond what ids reach": {cursor: "9223372036854775808", bad: true},
		"a huge cursor":                  {cursor: strings.Repeat("1", chat.MaxCursorLength+1), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["If-None-Match"] = c.tags
			req, err := poll.Wish(r, url.Values{"cursor": {c.cursor}}.Get)
			if c.bad {
				if !errors.Is(err, chat.ErrCursor) {
					t.Errorf("error %v", err)
				}
				return
			}
			got := ""
			if req.From != nil {
				got = req.From.String()
			}
			if err != nil || got != c.want || req.Conditional != c.conditional {
				t.Errorf("cursor %q, conditional %v, %v", got, req.Conditional, err)
			}
		})
	}
}

func TestWishOfWait(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": -1, "0": 0, "-0": 0, "0.0": 0, "1": time.Second, "2.5": 2500 * time.Millisecond, ".25": 250 * time.Millisecond,
		"55": poll.MaxWait, "55.1": poll.MaxWait, "1e300": poll.MaxWait, "1e999": poll.MaxWait, "Inf": poll.MaxWait,
		"1e-300": 0, "1e-999": 0,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if req, err := poll.Wish(r, url.Values{"wait": {text}}.Get); err != nil || req.Wait != want {
			t.Errorf("wait=%s: %v, %v; want %v", text, req.Wait, err, want)
		}
	}
	for _, text := range []string{"-1", "-1e-9", "-1e999", "-Inf", "NaN", "soon", "5s", "1,5", " 5", "5 ", "\x00"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		_, err := poll.Wish(r, url.Values{"wait": {text}}.Get)
		var bad *poll.BadWaitError
		if !errors.As(err, &bad) || bad.Text != text || !strings.Contains(err.Error(), "seconds") {
			t.Errorf("wait=%q: %v", text, err)
		}
	}
}

func FuzzWish(f *testing.F) {
	f.Add("12", "", "20")
	f.Add("", `"12-AQ~a"`, "0.5")
	f.Add("", `W/"12,other=7-gzip"`, "1e999")
	f.Add("", `"1", "2"`, "-1")
	f.Add("x", `""`, "NaN")
	f.Add("", `W/"`, "0x1p-2")
	f.Fuzz(func(t *testing.T, cursor, tag, wait string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", tag)
		req, err := poll.Wish(r, url.Values{"cursor": {cursor}, "wait": {wait}}.Get)
		var badWait *poll.BadWaitError
		switch {
		case err != nil:
			if !errors.Is(err, chat.ErrCursor) && !errors.As(err, &badWait) {
				t.Fatalf("nobody can tell what is wrong: %v", err)
			}
		case req.Wait < -1 || req.Wait > poll.MaxWait || req.Wait == -1 && wait != "":
			t.Fatalf("a hold of %v", req.Wait)
		case req.Conditional && (req.From == nil || cursor != ""):
			t.Fatal("conditional without a cursor in a tag")
		case req.From != nil:
			// What we answer with must be understood when it comes back.
			back, err := chat.ParseCursor(req.From.String())
			if err != nil || back.String() != req.From.String() {
				t.Fatalf("%q came back as %q, %v", req.From, back, err)
			}
		}
	})
}
