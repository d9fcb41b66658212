package rawhttp_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"holdline/internal/rawhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is RFC 9110's own example of a date (section 5.6.7), in another zone.
var noon = time.Date(1994, time.November, 6, 9, 49, 37, 0, time.FixedZone("", 3600))

func TestAppendHead(t *testing.T) {
	const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
	for name, c := range map[string]struct {
		status int
		header http.Header
		want   string
	}{
		"without headers": {200, nil, "HTTP/1.1 200 OK\r\n" + date + "\r\n"},
		"sorted by name, values in their order": {
			304,
			http.Header{"Vary": {"Origin", "Cookie"}, "Etag": {`"7"`}, "Cache-Control": {"no-store"}},
			"HTTP/1.1 304 Not Modified\r\n" + date + "Cache-Control: no-store\r\nEtag: \"7\"\r\nVary: Origin\r\nVary: Cookie\r\n\r\n",
		},
		"line breaks in a value": {
			200,
			http.Header{"Access-Control-Allow-Origin": {"http://x\r\nSet-Cookie: a=b\r\n\r\n<p>\x00"}},
			"HTTP/1.1 200 OK\r\n" + date + "Access-Control-Allow-Origin: http://xSet-Cookie: a=b<p>\r\n\r\n",
		},
		"a status without a name": {299, nil, "HTTP/1.1 299 \r\n" + date + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := rawhttp.AppendHead([]byte("before|"), c.status, noon, c.header)
			if diff := cmp.Diff("before|"+c.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzAppendHead has a header's value come from a stranger, as the origin does
// that is allowed to read an answer.
func FuzzAppendHead(f *testing.F) {
	for _, value := range []string{"", "https://shop.example", "a\r\n\r\nb", "a\rb", "a\nb: c", "\x00\x7f\xff", " \t"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		head := rawhttp.AppendHead(nil, http.StatusOK, noon, http.Header{"A": {value}, "Content-Length": {"0"}})
		lines := strings.Split(string(head), "\r\n")
		if len(lines) != 6 || strings.ContainsAny(strings.Join(lines, ""), "\r\n\x00") || lines[3] != "Content-Length: 0" {
			t.Errorf("%q", head)
		}
	})
}

func TestKeepsAlive(t *testing.T) {
	for head, want := range map[string]bool{
		"HTTP/1.1\r\nHost: x\r\n":                                                 true,
		"HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n":                       true,
		"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n":                            false,
		"HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive, CLOSE\r\n":                false,
		"HTTP/1.1\r\nHost: x\r\nConnection: TE\r\nConnection: foo ,\tclose \r\n":  false,
		"HTTP/1.1\r\nHost: x\r\nConnection: closed, close-by, \"close\"\r\n":      true,
		"HTTP/1.1\r\nHost: x\r\nConnection:\r\n":                                  true,
		"HTTP/1.0\r\n":                                                            false,
		"HTTP/1.0\r\nConnection: close\r\n":                                       false,
		"HTTP/1.0\r\nConnection: keep-alive\r\n":                                  false, // our answers would have to say so too
		"HTTP/1.1\r\nHost: x\r\nProxy-Connection: close\r\nKeep-Alive: max=0\r\n": true,
	} {
		t.Run(strings.ReplaceAll(strings.TrimSpace(head), "\r\n", "; "), func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / " + head + "\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			if got := rawhttp.KeepsAlive(r); got != want {
				t.Errorf("keeps alive: %v", got)
			}
		})
	}
	asked := httptest.NewRequest(http.MethodGet, "/", nil)
	asked.Close = true // the server was told by other means
	if rawhttp.KeepsAlive(asked) {
		t.Error("a request that closes keeps its connection alive")
	}
}

// taken is what the handler got.
type taken struct {
	buffered string
	err      error
}

// TestHijackKeepsWhatCameEarly has the next request in the server's buffer when
// the connection is taken over, and a deadline that must not outlive the server.
func TestHijackKeepsWhatCameEarly(t *testing.T) {
	for name, c := range map[string]struct{ first, next string }{
		"nothing more":           {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"the next request":       {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"},
		"a form, then a request": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nwait=20", "GET /2 HT"},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan taken, 1)
			ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				control := http.NewResponseController(w)
				if err := errors.Join(control.SetReadDeadline(time.Unix(1, 0)), control.SetWriteDeadline(time.Unix(1, 0))); err != nil {
					t.Error(err)
				}
				conn, buffered, err := rawhttp.Hijack(w, r)
				got <- taken{string(buffered), err}
				if err != nil {
					return
				}
				defer conn.Close()
				rest, err := bufio.NewReader(conn).ReadString('\n')
				fmt.Fprintf(conn, "%s%v", rest, err)
			}))
			ts.Start()
			defer ts.Close()
			conn, err := net.Dial("tcp", ts.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.first+c.next); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g.buffered != c.next || g.err != nil {
				t.Errorf("buffered %q, %v", g.buffered, g.err)
			}
			io.WriteString(conn, "later\n")
			if b, err := io.ReadAll(conn); err != nil || string(b) != "later\n<nil>" {
				t.Errorf("over the taken connection came %q, %v", b, err)
			}
		})
	}
}

func TestHijackLeavesHTTP2Alone(t *testing.T) {
	got := make(chan error, 1)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, err := rawhttp.Hijack(w, r)
		got <- err
		io.WriteString(w, r.Proto)
	}))
	ts.EnableHTTP2 = true
	ts.StartTLS()
	defer ts.Close()
	resp, err := ts.Client().Get(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := <-got; err != rawhttp.ErrCannotHijack {
		t.Error(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "HTTP/2.0" {
		t.Errorf("the response was not the handler's any more: %q, %v", b, err)
	}
}

// TestHijackRefused is for middleware that hides the connection, and for a
// second one who wants it.
func TestHijackRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	if _, _, err := rawhttp.Hijack(w, r); err != rawhttp.ErrCannotHijack {
		t.Error("a recorder:", err)
	}
	w.WriteString("still mine")
	if !bytes.Equal(w.Body.Bytes(), []byte("still mine")) {
		t.Errorf("%q", w.Body)
	}
	twice := make(chan error, 1)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := rawhttp.Hijack(w, r)
		if err != nil {
			twice <- err
			return
		}
		defer conn.Close()
		_, _, err = rawhttp.Hijack(w, r)
		twice <- err
	}))
	defer ts.Close()
	if _, err := ts.Client().Get(ts.URL); err == nil {
		t.Error("there was an answer")
	}
	if err := <-twice; !errors.Is(err, http.ErrHijacked) || errors.Is(err, rawhttp.ErrCannotHijack) {
		t.Error("the second time:", err)
	}
}
