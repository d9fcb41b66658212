package poll_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/park"
)

// everyWay runs a test for each way in which a loop's answer goes out. ask sends
// a request and returns how to wait for its answer.
func everyWay(t *testing.T, test func(t *testing.T, h *house, ask func() func() answer)) {
	houses(t, func(t *testing.T, h *house) {
		b := h.browser()
		test(t, h, func() func() answer {
			b.ask("/loop")
			return b.answer
		})
	})
	t.Run("http2", func(t *testing.T) {
		h := open(t, park.Options{}, true)
		client := h.client()
		test(t, h, func() func() answer {
			done := make(chan answer, 1)
			go func() {
				defer close(done)
				resp, err := client.Get(h.server.URL + "/loop")
				if err != nil {
					t.Error(err)
					return
				}
				done <- whole(t, resp)
			}()
			return func() answer { return wait(t, done) }
		})
	})
}

// wantHeader wants exactly these headers, beside what is the connection's.
func wantHeader(t *testing.T, got, want http.Header) {
	t.Helper()
	if dates := got["Date"]; len(dates) != 1 || dates[0] == lastCentury {
		t.Errorf("dates %q", dates)
	}
	got = got.Clone()
	got.Del("Date")
	got.Del("Content-Length")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const lastCentury = "Sun, 06 Nov 1994 08:49:37 GMT"

// wordPress are the headers of admin-ajax.php, and more.
func wordPress(more http.Header) http.Header {
	header := http.Header{
		"Content-Type":           {"text/html; charset=UTF-8"},
		"Cache-Control":          {"no-cache, must-revalidate, max-age=0"},
		"Expires":                {"Wed, 11 Jan 1984 05:00:00 GMT"},
		"Referrer-Policy":        {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Frame-Options":        {"SAMEORIGIN"},
		"X-Robots-Tag":           {"noindex"},
	}
	maps.Copy(header, more)
	return header
}

func TestReplyGoesOutAsItIs(t *testing.T) {
	cookies := http.Header{"Set-Cookie": {"a=1", "b=2"}}
	for name, c := range map[string]struct {
		reply  chat.Reply
		more   http.Header // of the request
		status int
		header http.Header
		body   string
	}{
		"with WordPress's headers": {
			chat.Reply{Body: []byte("{}")},
			nil,
			200, wordPress(nil), "{}",
		},
		"with the gateway's as well": {
			chat.Reply{Status: 400, Body: []byte("0")},
			cookies,
			400, wordPress(cookies), "0",
		},
		"with PHP's own": {
			chat.Reply{Status: 403, Body: []byte("-1"), Header: http.Header{
				"Content-Type": {"application/json; charset=UTF-8"},
				"Set-Cookie":   {"php=1", "php=2"},
				"Vary":         {"Cookie"}, "Access-Control-Allow-Origin": {"https://shop.example"},
			}},
			http.Header{"Set-Cookie": {"ours=3"}, "Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://shop.example"}},
			403,
			http.Header{
				"Content-Type": {"application/json; charset=UTF-8"},
				"Set-Cookie":   {"php=1", "php=2", "ours=3"},
				"Vary":         {"Cookie", "Origin"}, "Access-Control-Allow-Origin": {"https://shop.example"},
			},
			"-1",
		},
		"without the connection's": {
			chat.Reply{Body: []byte("four"), Header: http.Header{
				"X-Powered-By": {"PHP"}, "Content-Length": {"99"}, "Connection": {"close"}, "Transfer-Encoding": {"chunked"}, "Date": {lastCentury},
			}},
			nil,
			200,
			http.Header{"X-Powered-By": {"PHP"}},
			"four",
		},
		"without any headers": {
			chat.Reply{Body: []byte("<html>"), Header: http.Header{}},
			nil,
			200,
			http.Header{},
			"<html>",
		},
		"without a body": {
			chat.Reply{},
			cookies,
			200, wordPress(cookies), "",
		},
		"with a status that has no body": {
			chat.Reply{Status: 204, Body: []byte("lost"), Header: http.Header{}},
			cookies,
			204, cookies, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
				h.begin(7)
				h.header = c.more
				for _, held := range []bool{false, true, false, true} { // over one connection
					l := h.serve(channel, time.Minute)
					answered := ask()
					if held {
						l.asked(false, nothing)
						h.loops.Wake(channel)
					}
					l.asked(false, reply{Reply: &c.reply})
					a := answered()
					if a.status != c.status || a.body != c.body || a.closes {
						t.Errorf("%+v", a)
					}
					wantHeader(t, a.header, c.header)
					wait(t, h.lastPass().over)
					l.wantTold(1)
				}
			})
		})
	}
}

// TestStatusThatEndsNothing is an answer that no browser would take for one.
func TestStatusThatEndsNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
		h.begin(7)
		for _, status := range []int{-1, 7, 101, 199, 1000} {
			l := h.serve(channel, time.Minute)
			answered := ask()
			l.asked(false, reply{Reply: &chat.Reply{Status: status, Body: []byte("x")}})
			h.loops.Wake(channel)
			l.asked(false, yes("again")) // as after any error
			if a := answered(); a.status != 200 || a.body != "again" {
				t.Errorf("status %d: %+v", status, a)
			}
		}
	})
}

// TestLotEndsWithARequestOverHTTP2 has the Lot let go of a request whose head has
// not been written.
func TestLotEndsWithARequestOverHTTP2(t *testing.T) {
	h := open(t, park.Options{}, true)
	h.begin(7)
	h.header = http.Header{"Set-Cookie": {"a=1"}}
	l := h.serve(channel, time.Minute)
	client, done := h.client(), make(chan answer, 1)
	go func() {
		defer close(done)
		resp, err := client.Get(h.server.URL + "/loop")
		if err != nil {
			t.Error(err)
			return
		}
		done <- whole(t, resp)
	}()
	l.asked(false, nothing)
	h.loops.Wake(channel)
	look := wait(t, l.questions) // it is held
	h.leave()
	a := wait(t, done)
	if a.status != 200 || a.body != "" {
		t.Errorf("%+v", a)
	}
	wantHeader(t, a.header, wordPress(h.header))
	look.reply <- yes("too late")
	await(t, "the look is over", func() bool { return !l.busy.Load() })
	l.wantTold(0)
}
