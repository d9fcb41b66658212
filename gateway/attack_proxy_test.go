package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// reached is what got through to PHP's web server.
type reached struct {
	mu  sync.Mutex
	all []*http.Request
}

func (r *reached) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, err := io.Copy(io.Discard, req.Body)
	if err != nil {
		return // PHP runs nothing before it has the whole body
	}
	r.mu.Lock()
	r.all = append(r.all, req.Clone(req.Context()))
	r.mu.Unlock()
	w.Header().Set("X-Answered-By", "php")
	fmt.Fprintf(w, "%s %s host=%s", req.Method, req.RequestURI, req.Host)
}

func (r *reached) list() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// raw sends bytes and returns all answers until the connection ends or is silent.
func (s *site) raw(t *testing.T, said string) (statuses []int, bodies []string) {
	t.Helper()
	conn := s.plug(t, said)
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses, bodies
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		statuses, bodies = append(statuses, resp.StatusCode), append(bodies, string(b))
	}
}

// TestNothingOfARequestChoosesWhereItGoes: the only way out is wordpress.upstream.
func TestNothingOfARequestChoosesWhereItGoes(t *testing.T) {
	php := &reached{}
	elsewhere := &reached{}
	evil := behind(t, elsewhere.ServeHTTP).gw.Addr().String() // any server that must not be reached
	s := behind(t, php.ServeHTTP)
	for name, c := range map[string]struct {
		said string
		uri  string // as PHP hears it; "" for a request that gets nowhere
	}{
		"another host":            {"GET /a HTTP/1.1\r\nHost: " + evil + "\r\n\r\n", "/a"},
		"the whole address":       {"GET http://" + evil + "/b HTTP/1.1\r\nHost: " + evil + "\r\n\r\n", "/b"},
		"an encrypted address":    {"GET https://" + evil + "/c HTTP/1.1\r\nHost: x\r\n\r\n", "/c"},
		"a path like an address":  {"GET //" + evil + "/d HTTP/1.1\r\nHost: x\r\n\r\n", "//" + evil + "/d"},
		"an address in the path":  {"GET /http://" + evil + "/e HTTP/1.1\r\nHost: x\r\n\r\n", "/http://" + evil + "/e"},
		"an address with a user":  {"GET http://user@" + evil + "/f HTTP/1.1\r\nHost: x\r\n\r\n", "/f"},
		"what a proxy would say":  {"GET /g HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: " + evil + "\r\nForwarded: host=" + evil + "\r\nX-Original-URL: http://" + evil + "/\r\nX-Rewrite-URL: /evil\r\n\r\n", "/g"},
		"a tunnel":                {"CONNECT " + evil + " HTTP/1.1\r\nHost: " + evil + "\r\n\r\n", ""},
		"a tunnel with a path":    {"CONNECT /h HTTP/1.1\r\nHost: " + evil + "\r\n\r\n", ""},
		"a socket":                {"GET unix:/run/evil.sock HTTP/1.1\r\nHost: x\r\n\r\n", "?"},
		"steps out of the folder": {"GET /../../i HTTP/1.1\r\nHost: x\r\n\r\n", "/../../i"},
		"a fragment":              {"GET /j#@" + evil + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "/j%23@" + evil + "/"},
		"a backslash":             {"GET /\\" + evil + "/k HTTP/1.1\r\nHost: x\r\n\r\n", "/%5C" + evil + "/k"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(php.list())
			statuses, _ := s.raw(t, c.said)
			got := php.list()[before:]
			switch {
			case c.uri == "?": // may be refused, or PHP's to answer
			case c.uri == "" && (len(got) > 0 || len(statuses) != 1 || statuses[0] < 400):
				t.Errorf("answered %v, and PHP was asked %d times", statuses, len(got))
			case c.uri != "" && (len(got) != 1 || got[0].RequestURI != c.uri):
				t.Errorf("answered %v; PHP was asked %v", statuses, got)
			}
		})
	}
	if n := len(elsewhere.list()); n > 0 {
		t.Errorf("elsewhere was asked %d times", n)
	}
}

// TestNoRequestIsSmuggledToPHP: what PHP's server takes for one request is one that
// was sent, whatever its length pretends to be.
func TestNoRequestIsSmuggledToPHP(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	php := &reached{}
	s := behind(t, php.ServeHTTP)
	post := "POST /outer HTTP/1.1\r\nHost: x\r\n"
	for name, said := range map[string]string{
		"both lengths, chunked first":    post + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
		"both lengths, counted first":    post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", len(smuggled)+5),
		"two lengths":                    post + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(smuggled)) + smuggled,
		"a length with a sign":           post + "Content-Length: +0\r\n\r\n" + smuggled,
		"a length in two forms":          post + "Content-Length: 0, 5\r\n\r\n" + smuggled,
		"a hexadecimal length":           post + "Content-Length: 0x0\r\n\r\n" + smuggled,
		"a negative length":              post + "Content-Length: -1\r\n\r\n" + smuggled,
		"chunked in capitals":            post + "Transfer-Encoding: CHUNKED\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"chunked with something":         post + "Transfer-Encoding: xchunked\r\n\r\n" + smuggled,
		"chunked and gzip":               post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunked, identity":              post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + smuggled,
		"chunked twice":                  post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"a space before the colon":       post + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
		"a tab before the value":         post + "Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n" + smuggled,
		"a folded line":                  post + "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + smuggled,
		"a chunk of negative size":       post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + smuggled,
		"a chunk of no size":             post + "Transfer-Encoding: chunked\r\n\r\n\r\n" + smuggled,
		"a chunk beyond 64 bits":         post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + smuggled,
		"a chunk in hexadecimal with 0x": post + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + smuggled,
		"a chunk longer than its size":   post + "Transfer-Encoding: chunked\r\n\r\n1\r\nAB\r\n0\r\n\r\n" + smuggled,
		"chunks with bare line feeds":    post + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n2d\r\n0\r\n\r\n" + smuggled,
		"a bare CR in a header":          post + "X-A: b\rContent-Length: 0\r\n\r\n",
		"a NUL in a header":              post + "X-A: b\x00\r\nContent-Length: 0\r\n\r\n",
		"a line break in the path":       "GET /a%0d%0aHost:%20evil%0d%0a%0d%0aGET%20/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
		"a space in the path":            "GET /a HTTP/1.1\r\nX: /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
		"two hosts":                      "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"a header without a name":        post + ": chunked\r\nContent-Length: 0\r\n\r\n",
		"a length behind the chunks":     post + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := len(php.list())
			statuses, bodies := s.raw(t, said)
			got := php.list()[before:]
			// A second request that this server itself understood is no smuggling: it was
			// answered as one.
			if len(got) > len(statuses) {
				t.Errorf("PHP was asked %d times for %d answers: %v %q", len(got), len(statuses), statuses, bodies)
			}
			for _, r := range got {
				if len(r.TransferEncoding) > 0 && r.Header.Get("Content-Length") != "" || r.Header.Get("Transfer-Encoding") != "" {
					t.Error("PHP hears two lengths:", r.Header)
				}
				if strings.ContainsAny(r.RequestURI, "\r\n ") {
					t.Errorf("PHP hears %q", r.RequestURI)
				}
			}
		})
	}
	t.Run("a request within a body stays in it", func(t *testing.T) {
		before := len(php.list())
		statuses, _ := s.raw(t, post+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled))+smuggled)
		if got := php.list()[before:]; len(got) != 1 || got[0].URL.Path != "/outer" || len(statuses) != 1 {
			t.Errorf("%v %v", statuses, got)
		}
	})
}

// TestAddressesCannotBeClaimed: to PHP, both spellings of a header are one variable.
func TestAddressesCannotBeClaimed(t *testing.T) {
	php := &reached{}
	s := behind(t, php.ServeHTTP)
	s.raw(t, "GET /a HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded_For: 1.2.3.4\r\nx_forwarded_proto: https\r\nX_Forwarded_Host: evil\r\n"+
		"X_Holdline-Forwarded: 1\r\nX_Else: kept\r\nConnection: close\r\n\r\n")
	got := php.list()
	if len(got) != 1 {
		t.Fatal(got)
	}
	for name, values := range got[0].Header {
		if strings.Contains(name, "_") && name != "X_else" {
			t.Errorf("PHP hears %s: %v", name, values)
		}
	}
	if got[0].Header.Get("X_Else") != "kept" {
		t.Error("a header that says nothing of the sort is gone:", got[0].Header)
	}
}

// TestSlowReaderOfPHPsAnswer: whoever does not take PHP's answer is given up; see
// passPatience.
func TestSlowReaderOfPHPsAnswer(t *testing.T) {
	t.Parallel() // with others that take their time
	done := make(chan error, 1)
	s := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		var err error
		for range 1000 { // 64 MB, more than any buffer takes
			if _, err = w.Write(piece); err != nil {
				break
			}
		}
		done <- err
	})
	s.plug(t, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n") // and never reads
	if isCut(t, s.plug(t, getInfo)) {
		t.Error("nobody else is served")
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("the whole answer went somewhere")
		}
	case <-time.After(100 * time.Second):
		t.Error("PHP is still kept by a browser that does not read")
	}
}

// TestSlowBodyForPHP: whoever drips a body that PHP shall get is given up, too.
func TestSlowBodyForPHP(t *testing.T) {
	t.Parallel()
	php := &reached{}
	s := behind(t, php.ServeHTTP)
	conn := s.plug(t, "POST /wp-comments-post.php HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
	go trickle(conn, strings.Repeat("x", 100_000), 100*time.Millisecond) // 10 bytes a second
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Errorf("still open; it got %.100q", b)
	}
	if n := len(php.list()); n > 0 {
		t.Errorf("PHP was asked %d times", n)
	}
}
