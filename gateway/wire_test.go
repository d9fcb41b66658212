package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/chat"
	"holdline/internal/token"
)

// asked is a poll's answer.
type asked struct {
	Cursor string
	Events []chat.Event
}

func TestFiftyPollsOverOneConnection(t *testing.T) {
	for name, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, options...)
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			transport := &http.Transport{MaxConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			dialled, peers := 0, make(map[string]bool)
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
				if !c.Reused {
					dialled++
				}
				peers[c.Conn.LocalAddr().String()] = true
			}})
			cursor, polls := "", 0
			var got []string
			ask := func(wait string) {
				polls++
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address("poll", channel, cursor)+"&wait="+wait, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				var a asked
				if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				cursor = a.Cursor
				for _, e := range a.Events {
					if e.Type == chat.TypeMessage {
						got = append(got, e.Body)
					}
				}
			}
			ask("") // where the present is
			for i := range 25 {
				ask("0")
				// Half of them are answered while held, or again when it was the chat's
				// state that answered.
				var writer sync.WaitGroup
				writer.Go(func() { s.say(id, fmt.Sprint(i)) })
				for len(got) == i {
					ask("20")
				}
				writer.Wait()
				if got[i] != fmt.Sprint(i) {
					t.Fatalf("messages: %v", got)
				}
			}
			ask("0")
			if dialled != 1 || len(peers) != 1 {
				t.Errorf("%d connections for %d polls", dialled, polls)
			}
			if len(got) != 25 {
				t.Errorf("messages: %v", got)
			}
			t.Logf("%d polls over %d connection, %d messages", polls, dialled, len(got))
		})
	}
}

func TestPipelinedPolls(t *testing.T) {
	for name, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, options...)
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			cursor := s.present(t, channel, []ask{bearer(s.token(channel))})
			conn, err := net.Dial("tcp", s.gw.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// The second request waits behind a poll that is held.
			fmt.Fprintf(conn, "GET /holdline/v1/poll?channels=%[1]s&cursor=%[2]s&token=%[3]s HTTP/1.1\r\nHost: x\r\n\r\n"+
				"GET /holdline/v1/info HTTP/1.1\r\nHost: x\r\n\r\n"+
				"GET /holdline/v1/poll?channels=%[1]s&token=%[3]s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", channel, cursor, s.token(channel))
			s.await(t, "the poll is held", func() bool { return s.gw.Held() == 1 })
			s.say(id, "hello")
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			first, second, third := strings.Index(string(b), `"body":"hello"`), strings.Index(string(b), `"transports"`), strings.LastIndex(string(b), `"events":[`)
			if strings.Count(string(b), "HTTP/1.1 200 OK") != 3 || first < 0 || second < first || third < second {
				t.Errorf("answers: %s", b)
			}
		})
	}
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "hl") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	s := newSite(t, with(func(c *config.Config) { c.Listen, c.Limits.PerAddress = "unix:"+path, 3 }))
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	s.base = "http://unix/holdline/v1"
	open := func(from string) (*http.Response, *bufio.Reader) {
		req, err := http.NewRequest(http.MethodGet, s.address("sse", channel, ""), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", from)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp, bufio.NewReader(resp.Body)
	}
	var last *bufio.Reader
	for range 3 {
		resp, r := open("192.0.2.1")
		if last = r; resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	if resp, _ := open("192.0.2.1"); resp.StatusCode != 503 {
		t.Error("the proxy behind a socket is not believed: ", resp.Status)
	}
	if resp, _ := open("192.0.2.2"); resp.StatusCode != 200 {
		t.Error("another client of the proxy: ", resp.Status)
	}
	readUntil(t, last, "\nid: ", "id: ")
	s.say(id, "over a socket")
	readUntil(t, last, "a row", `"body":"over a socket"`)
	s.stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("the socket is left behind:", err)
	}
	// A file that is no socket is not taken for an old one.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	gw, err := gateway.New(s.opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Listen(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Error("listening over a file:", err)
	}
}

func readUntil(t *testing.T, r *bufio.Reader, what, part string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if strings.Contains(line, part) {
			return
		}
	}
}

func TestWake(t *testing.T) {
	// Without the bell the row would be read in an hour.
	s := newSite(t, with(func(c *config.Config) {
		c.Tail.Interval, c.Tail.IdleInterval, c.Limits.Body = time.Hour, time.Hour, 2048
	}))
	now := time.Now()
	for name, c := range map[string]struct {
		at     time.Time
		key    string // signs
		body   string
		change func(*http.Request)
		want   int
	}{
		"signed":                   {now, secret, `{"source":"wplc"}`, nil, 204},
		"signed, without a body":   {now, secret, ``, nil, 204},
		"signed, another source":   {now, secret, `{"source":"other"}`, nil, 204},
		"signed, no JSON":          {now, secret, `source=wplc`, nil, 400},
		"unsigned":                 {now, secret, `{}`, func(r *http.Request) { r.Header.Del(token.SignatureHeader) }, 403},
		"without a time":           {now, secret, `{}`, func(r *http.Request) { r.Header.Del(token.TimestampHeader) }, 403},
		"another's key":            {now, strings.Repeat("x", 32), `{}`, nil, 403},
		"old":                      {now.Add(-6 * time.Minute), secret, `{}`, nil, 403},
		"of the future":            {now.Add(6 * time.Minute), secret, `{}`, nil, 403},
		"a time made newer":        {now.Add(-time.Hour), secret, `{}`, func(r *http.Request) { r.Header.Set(token.TimestampHeader, strconv.FormatInt(now.Unix(), 10)) }, 403},
		"huge":                     {now, secret, strings.Repeat(" ", 3000), nil, 413},
		"a clock four minutes off": {now.Add(-4 * time.Minute), secret, `{}`, nil, 204},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.wake(t, c.at, c.key, c.body, c.change); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
		})
	}
	id := s.chat(3)
	for name, open := range transports() {
		t.Run("rings for "+name, func(t *testing.T) {
			c := open(t, s, fmt.Sprintf("wplc/%d", id), "")
			defer c.close()
			began := time.Now()
			s.say(id, "ring")
			if got := s.wake(t, time.Now(), secret, `{"source":"wplc"}`, nil); got != 204 {
				t.Fatal(got)
			}
			for e := message(c); e.Body != "ring"; e = message(c) {
			}
			t.Logf("%v from COMMIT to client", time.Since(began))
		})
	}
}

// wake rings the bell and returns the status.
func (s *site) wake(t *testing.T, at time.Time, key, body string, change func(*http.Request)) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.base+"/wake", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	token.Keys{Secret: []byte(key)}.SignHeader(req.Header, []byte(body), at)
	if change != nil {
		change(req)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
