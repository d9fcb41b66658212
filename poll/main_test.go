package poll_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds how long a test waits for something that has to come.
const patience = 20 * time.Second

// house is a hub, a lot and an HTTP server in front of them.
type house struct {
	t      *testing.T
	hub    *hub.Hub
	lot    *park.Lot
	table  *table
	polls  *poll.Server
	loops  *poll.Loops
	server *httptest.Server
	served chan error         // one for each request whose Serve has returned
	leave  context.CancelFunc // ends the lot, not the server

	logged atomic.Int32 // records of errors

	mu     sync.Mutex
	loop   poll.Loop   // for the next request of /loop
	header http.Header // for the answers to loops
	passes []*pass
}

// pass counts how often it was given back.
type pass struct {
	released  atomic.Int32
	delivered atomic.Int32
	over      chan struct{}
}

func (p *pass) Release() {
	if p.released.Add(1) == 1 {
		close(p.over)
	}
}

func (p *pass) Delivered(events int) { p.delivered.Add(int32(events)) }

// errorCounter counts errors that come with a stack.
type errorCounter struct {
	slog.Handler
	n *atomic.Int32
}

func (c errorCounter) Enabled(context.Context, slog.Level) bool { return true }

func (c errorCounter) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Level == slog.LevelError && a.Key == "stack" && strings.Contains(a.Value.String(), "fakeLoop") {
			c.n.Add(1)
		}
		return true
	})
	return nil
}

// houses runs a test for both ways to hold a connection.
func houses(t *testing.T, test func(t *testing.T, h *house)) {
	for name, options := range map[string]park.Options{"epoll": {}, "goroutine": {Portable: true}} {
		t.Run(name, func(t *testing.T) { test(t, open(t, options, false)) })
	}
}

func open(t *testing.T, options park.Options, http2 bool) *house {
	t.Helper()
	h := &house{t: t, hub: hub.New(hub.Options{Senders: 2}), lot: park.New(options), served: make(chan error, 256)}
	h.table = &table{hub: h.hub}
	h.hub.Add(h.table)
	h.polls = &poll.Server{Hub: h.hub, Lot: h.lot}
	h.loops = &poll.Loops{Hub: h.hub, Lot: h.lot, Logger: slog.New(errorCounter{slog.DiscardHandler, &h.logged})}
	h.server = httptest.NewUnstartedServer(h)
	h.server.EnableHTTP2 = http2
	if http2 {
		h.server.StartTLS()
	} else {
		h.server.Start()
	}
	lot, leave := context.WithCancel(context.Background())
	rest, stop := context.WithCancel(context.Background())
	h.leave = leave
	var all sync.WaitGroup
	run := func(f func() error) {
		all.Go(func() {
			if err := f(); err != nil && err != net.ErrClosed && err != http.ErrServerClosed {
				t.Error(err)
			}
		})
	}
	run(func() error { return h.lot.Run(lot) })
	run(func() error { return h.hub.Run(rest) })
	run(func() error { return h.loops.Run(rest) })
	run(func() error { return h.server.Config.Serve(h.lot.Listener()) })
	t.Cleanup(func() {
		leave()
		stop()
		h.server.Close()
		all.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		for i, p := range h.passes {
			if n := p.released.Load(); n != 1 {
				t.Errorf("pass %d of %d was given back %d times", i, len(h.passes), n)
			}
		}
	})
	return h
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	p := &pass{over: make(chan struct{})}
	wish, err := poll.Wish(r, query.Get)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	h.passes = append(h.passes, p)
	req := poll.LoopRequest{Loop: h.loop, Pass: p, Header: h.header}
	h.mu.Unlock()
	if r.URL.Path == "/loop" {
		h.served <- h.loops.Serve(w, r, req)
		return
	}
	wish.Channels, wish.Pass, wish.Header = strings.Split(query.Get("channels"), ","), p, http.Header{"Vary": {"Origin"}}
	h.served <- h.polls.Serve(w, r, wish)
}

// lastPass is the pass of the request that came last.
func (h *house) lastPass() *pass {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.passes[len(h.passes)-1]
}

// line is a held request as the gateway ends it.
type line interface {
	hub.Subscriber
	park.Holder
	Pass() any
	End(why park.Reason, after time.Duration)
}

// held is the one request that is held. Whatever was published before has been
// told to it.
func (h *house) held() line {
	h.t.Helper()
	found := make(chan line, 4)
	h.hub.Each(func(s hub.Subscriber) { found <- s.(line) })
	return wait(h.t, found)
}

// await waits for something that nobody tells of.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("in vain: ", what)
		}
	}
}

func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// table is a chat table without gaps, and its tail.
type table struct {
	hub     *hub.Hub
	tickets atomic.Uint64

	mu   sync.Mutex
	rows []chat.Event
}

func (tb *table) Name() string { return "wplc" }

func (tb *table) Wake() uint64 { return tb.tickets.Add(1) }

func (tb *table) Rows(_ context.Context, names []string, after, upTo int64, _ []int64, _ int) (found []chat.Event, cut int64, err error) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, e := range tb.rows {
		wanted := names == nil || slices.Contains(names, strings.TrimPrefix(e.Channel, "wplc/"))
		if wanted && e.ID > after && e.ID <= upTo {
			found = append(found, e)
		}
	}
	return found, 0, nil
}

// begin tells the position, as a tail that starts.
func (h *house) begin(last int64) {
	h.t.Helper()
	h.publish(chat.Batch{Mark: chat.Mark{Last: last}, Fresh: h.table.tickets.Load()})
}

func (h *house) publish(b chat.Batch) {
	h.t.Helper()
	b.Source = "wplc"
	if err := h.hub.Publish(h.t.Context(), b); err != nil {
		h.t.Error(err)
	}
}

// say is a new row.
func (h *house) say(id int64, channel string) {
	h.t.Helper()
	mark := chat.Mark{Last: id}
	e := chat.Event{Type: chat.TypeMessage, Channel: channel, ID: id, Mark: mark}
	h.table.mu.Lock()
	h.table.rows = append(h.table.rows, e)
	h.table.mu.Unlock()
	h.publish(chat.Batch{Events: []chat.Event{e}, Mark: mark})
}

// state is the new status of a channel.
func (h *house) state(last int64, channel, data string) {
	h.t.Helper()
	mark := chat.Mark{Last: last}
	h.publish(chat.Batch{Mark: mark, Events: []chat.Event{{Type: chat.TypeStatus, Channel: channel, Data: []byte(data), Mark: mark}}})
}

// browser is one connection, which asks again and again.
type browser struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (h *house) browser() *browser {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &browser{h.t, conn, bufio.NewReader(conn)}
}

// ask sends a request with further header lines.
func (b *browser) ask(target string, lines ...string) {
	b.t.Helper()
	b.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, "", ""), "\r\n"))
}

func (b *browser) send(bytes string) {
	b.t.Helper()
	if _, err := io.WriteString(b.conn, bytes); err != nil {
		b.t.Error(err)
	}
}

// answer is a response of which all has been read.
type answer struct {
	status int
	header http.Header
	body   string
	closes bool
	http2  bool
	Cursor string
	Events []chat.Event
}

func (b *browser) answer() answer {
	b.t.Helper()
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return whole(b.t, resp)
}

func whole(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body), closes: resp.Close, http2: resp.ProtoMajor == 2}
	if len(body) > 0 && resp.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
	}
	return a
}

// ids are the rows that were told.
func (a answer) ids() (ids []int64) {
	for _, e := range a.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

// wantEnd wants the connection to be closed without another byte.
func (b *browser) wantEnd() {
	b.t.Helper()
	if rest, err := io.ReadAll(b.r); len(rest) > 0 || err != nil {
		b.t.Errorf("at the end came %q, %v", rest, err)
	}
}

// client speaks HTTP/2.
func (h *house) client() *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}
