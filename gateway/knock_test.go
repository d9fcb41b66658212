package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/chat"
	"holdline/internal/token"
)

// transportNames are the three ways to be held.
var transportNames = []string{"sse", "ws", "poll"}

// ask changes a request before it is sent.
type ask func(*http.Request)

func header(name, value string) ask { return func(r *http.Request) { r.Header.Set(name, value) } }
func cookie(c *http.Cookie) ask     { return func(r *http.Request) { r.AddCookie(c) } }

func query(name, value string) ask {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
}

func bearer(text string) ask { return header("Authorization", "Bearer "+text) }

// answer is what came back: a body that goes on while the status is a success.
type answer struct {
	*http.Response
	transport string
	text      string // of a refusal
	reason    string
	sentence  string
}

func (a *answer) ok() bool {
	return a.StatusCode == http.StatusOK || a.StatusCode == http.StatusSwitchingProtocols
}

func (a *answer) close() { a.Body.Close() }

// knock asks for a held connection as plain HTTP, so that every header is the
// test's own.
func (s *site) knock(tb testing.TB, transport, channels string, asks ...ask) *answer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/"+transport+"?"+url.Values{"channels": {channels}}.Encode(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if transport == "ws" {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	for _, change := range asks {
		change(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	a := &answer{Response: resp, transport: transport}
	if a.ok() {
		return a
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	a.text = string(b)
	var told struct{ Error, Reason string }
	if err := json.Unmarshal(b, &told); err != nil || told.Error == "" || told.Reason == "" {
		tb.Fatalf("%s %s: a refusal is JSON with error and reason, not %q", transport, resp.Status, b)
	}
	a.sentence, a.reason = told.Error, told.Reason
	return a
}

// hold knocks and fails unless the connection is held. A poll is one that waits
// for what comes after row 0 of an empty table.
func (s *site) hold(tb testing.TB, transport, channels string, asks ...ask) *held {
	tb.Helper()
	h := &held{over: make(chan struct{})}
	before, admitted := s.gw.Held(), s.gw.Admitted()
	if transport != "poll" {
		a := s.knock(tb, transport, channels, asks...)
		if !a.ok() {
			tb.Fatal(transport, a.Status, a.text)
		}
		h.body = a.Body
		go h.drain(a.Body)
		// The head may be here before the connection is held.
		s.await(tb, "a stream is held", func() bool { return s.gw.Held() > before || h.isOver() })
		return h
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.body = closer(cancel)
	cursor := s.present(tb, channels, asks)
	s.await(tb, "the polls for the present are over", func() bool { return s.gw.Admitted() <= admitted })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/poll?"+url.Values{"channels": {channels}, "wait": {"55"}, "cursor": {cursor}}.Encode(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, change := range asks {
		change(req)
	}
	go func() {
		defer close(h.over)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			h.rest, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			h.head = resp
		}
		h.err = err
	}()
	s.await(tb, "a poll is held", func() bool { return s.gw.Held() > before || h.isOver() })
	return h
}

// present is the cursor of now, with the digest of the channels' states: a poll
// that has it is held.
func (s *site) present(tb testing.TB, channels string, asks []ask) string {
	tb.Helper()
	cursor, known := "", make(map[string]bool)
	for len(known) < strings.Count(channels, ",")+1 {
		a := s.knock(tb, "poll", channels, append(slices.Clip(asks), query("cursor", cursor))...)
		if !a.ok() {
			tb.Fatal(a.Status, a.text)
		}
		var told struct {
			Cursor string
			Events []chat.Event
		}
		if err := json.NewDecoder(a.Body).Decode(&told); err != nil {
			tb.Fatal(err)
		}
		a.close()
		cursor = told.Cursor
		for _, e := range told.Events {
			known[e.Channel] = known[e.Channel] || e.Type == chat.TypeStatus
		}
	}
	return cursor
}

// held is a connection that nobody looks at until it is over.
type held struct {
	body io.Closer
	over chan struct{}
	rest []byte
	head *http.Response // of a poll that was answered
	err  error
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (h *held) drain(r io.Reader) {
	defer close(h.over)
	h.rest, h.err = io.ReadAll(bufio.NewReader(r))
}

func (h *held) isOver() bool {
	select {
	case <-h.over:
		return true
	default:
		return false
	}
}

// wait returns everything that came once the connection is over.
func (h *held) wait(tb testing.TB) string {
	tb.Helper()
	select {
	case <-h.over:
	case <-time.After(time.Minute):
		tb.Fatal("the connection is still held")
	}
	return string(h.rest)
}

func (h *held) leave() {
	h.body.Close()
	<-h.over
}

// await gives the gateway time to do what is to be done, enough for a machine
// that is busy with much else.
func (s *site) await(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(end) {
			tb.Fatal("in vain waited until ", what)
		}
		time.Sleep(5 * time.Millisecond) // another process, or the kernel, has its turn
	}
}

// awaitAdmitted waits until n connections count against the limits: one that has
// left may count a moment longer than it is held.
func (s *site) awaitAdmitted(tb testing.TB, n int) {
	tb.Helper()
	s.await(tb, fmt.Sprintf("%d count against the limits", n), func() bool { return s.gw.Admitted() == n })
}

// admin fetches a page of the operator's.
func (s *site) admin(tb testing.TB, path string) (status int, body string) {
	tb.Helper()
	resp, err := httpClient.Get("http://" + s.gw.AdminAddr().String() + path)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// metric adds up the counters whose line begins so.
func (s *site) metric(tb testing.TB, prefix string) (sum int) {
	tb.Helper()
	_, page := s.admin(tb, "/metrics")
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			var n float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
				tb.Fatal(line, err)
			}
			sum += int(n)
		}
	}
	return sum
}

// binding is the value of a visitor's cookie for chats.
func binding(tb testing.TB, key string, expires time.Time, channels ...string) *http.Cookie {
	tb.Helper()
	value, err := token.Keys{Secret: []byte(key)}.Sign(token.Binding{Channels: channels, Expires: expires})
	if err != nil {
		tb.Fatal(err)
	}
	return &http.Cookie{Name: token.BindingCookie, Value: value}
}

// captured is a log that can be searched.
type captured struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *captured) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(b)
}

func (c *captured) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// logTo captures everything from debug upward.
func logTo(c *captured) option {
	return func(o *gateway.Options) {
		o.Logger = slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

func origins(list ...string) option {
	return with(func(c *config.Config) { c.Auth.AllowedOrigins = list })
}
