package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/r3labs/sse/v2"

	"holdline/internal/chat"
)

// client reads events of one transport, so that the same script can be played
// on each. All of them are other people's code on net/http.
type client interface {
	// next returns the next event with a row or a state.
	next() chat.Event
	close()
}

// transports open a client; cursor "" begins at the present.
func transports() map[string]func(t testing.TB, s *site, channels, cursor string) client {
	return map[string]func(testing.TB, *site, string, string) client{
		"sse":  openSSE,
		"ws":   openWS,
		"poll": openPoll,
	}
}

func (s *site) address(transport, channels, cursor string) string {
	q := url.Values{"channels": {channels}, "token": {s.token(strings.Split(channels, ",")...)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return s.base + "/" + transport + "?" + q.Encode()
}

type sseClient struct {
	tb     testing.TB
	body   io.Closer
	reader *sse.EventStreamReader
}

// openSSE returns once the stream is live: with a cursor at once, without one
// when it has been told where the present is.
func openSSE(tb testing.TB, s *site, channels, cursor string) client {
	tb.Helper()
	resp, err := s.client.Get(s.address("sse", channels, cursor))
	if err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		tb.Fatal(resp.Status)
	}
	c := &sseClient{tb: tb, body: resp.Body, reader: sse.NewEventStreamReader(resp.Body, 1<<20)}
	for live := cursor != ""; !live; {
		block, err := c.reader.ReadEvent()
		if err != nil {
			tb.Fatal("SSE:", err)
		}
		live = strings.Contains(string(block), "\nid: ")
	}
	return c
}

// httpClient gives up on what would otherwise hang a test for ever.
var httpClient = &http.Client{Timeout: time.Minute}

func (c *sseClient) next() chat.Event {
	c.tb.Helper()
	for {
		block, err := c.reader.ReadEvent()
		if err != nil {
			c.tb.Fatal("SSE:", err)
		}
		for line := range strings.SplitSeq(string(block), "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				conformsAs(c.tb, "event", []byte(data))
				return decode(c.tb, []byte(data))
			}
		}
	}
}

func (c *sseClient) close() { c.body.Close() }

type wsClient struct {
	tb   testing.TB
	conn *websocket.Conn
}

func openWS(tb testing.TB, s *site, channels, cursor string) client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.address("ws", channels, cursor), &websocket.DialOptions{Subprotocols: []string{"holdline.v1"}, HTTPClient: s.client})
	if err != nil {
		tb.Fatal(err)
	}
	c := &wsClient{tb, conn}
	_, b, err := conn.Read(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	conforms(tb, "told", b)
	if e := decode(tb, b); e.Type != chat.TypeHello {
		tb.Fatalf("first frame: %s", b)
	}
	return c
}

func (c *wsClient) next() chat.Event {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, b, err := c.conn.Read(ctx)
	if err != nil {
		c.tb.Fatal("WebSocket:", err)
	}
	conformsAs(c.tb, "told", b)
	return decode(c.tb, b)
}

func (c *wsClient) close() { c.conn.CloseNow() }

type pollClient struct {
	tb       testing.TB
	site     *site
	channels string
	cursor   string
	queue    []chat.Event
}

func openPoll(tb testing.TB, s *site, channels, cursor string) client {
	c := &pollClient{tb: tb, site: s, channels: channels, cursor: cursor}
	if cursor == "" {
		c.ask()
	}
	return c
}

func (c *pollClient) ask() {
	c.tb.Helper()
	resp, err := c.site.client.Get(c.site.address("poll", c.channels, c.cursor))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Cursor string
		Events []chat.Event
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.tb.Fatal("poll:", resp.Status, err)
	}
	conforms(c.tb, "poll", text)
	if err := json.Unmarshal(text, &answer); err != nil {
		c.tb.Fatal(err)
	}
	if answer.Cursor == "" {
		c.tb.Fatal("poll: no cursor")
	}
	c.cursor = answer.Cursor
	c.queue = append(c.queue, answer.Events...)
}

func (c *pollClient) next() chat.Event {
	c.tb.Helper()
	for len(c.queue) == 0 {
		c.ask()
	}
	e := c.queue[0]
	c.queue = c.queue[1:]
	return e
}

func (c *pollClient) close() {}

func decode(tb testing.TB, b []byte) chat.Event {
	tb.Helper()
	var e chat.Event
	if err := json.Unmarshal(b, &e); err != nil {
		tb.Fatalf("%s: %v", b, err)
	}
	return e
}

// message skips states.
func message(c client) chat.Event {
	for {
		if e := c.next(); e.Type == chat.TypeMessage {
			return e
		}
	}
}

func TestRowReachesEveryTransport(t *testing.T) {
	for name, open := range transports() {
		for path, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
			t.Run(name+" held by "+path, func(t *testing.T) {
				s := newSite(t, options...)
				id := s.chat(3)
				channel := fmt.Sprintf("wplc/%d", id)
				c := open(t, s, channel, "")
				defer c.close()
				first := c.next()
				if first.Type != chat.TypeStatus || first.Channel != channel {
					t.Fatalf("a new client is told the state first, not %+v", first)
				}
				row := s.say(id, `It\'s "here"`)
				e := message(c)
				if e.ID != row || e.Body != `It's "here"` || e.From.Kind != chat.KindAgent || e.Channel != channel {
					t.Fatalf("%+v", e)
				}
				if want := time.Date(2026, 3, 19, 8, 30, 0, 0, time.UTC); !e.SentAt.Equal(want) {
					t.Fatalf("sent_at %v, want %v", e.SentAt, want)
				}
				s.exec("UPDATE wp_wplc_chat_sessions SET status = 1 WHERE id = ?", id)
				for e = c.next(); e.Type != chat.TypeStatus; e = c.next() {
				}
				if !strings.Contains(string(e.Data), `"status":1`) {
					t.Fatalf("%s", e.Data)
				}
			})
		}
	}
}

func TestResumeLosesAndRepeatsNothing(t *testing.T) {
	for name, open := range transports() {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			c := open(t, s, channel, "")
			s.say(id, "one")
			e := message(c)
			c.close()
			s.say(id, "two")
			s.say(s.chat(3), "to somebody else")
			s.say(id, "three")
			c = open(t, s, channel, e.Cursor)
			defer c.close()
			for _, want := range []string{"two", "three"} {
				if e = message(c); e.Body != want {
					t.Fatalf("got %q, want %q", e.Body, want)
				}
			}
			s.say(id, "four")
			if e = message(c); e.Body != "four" {
				t.Fatalf("live again: %q", e.Body)
			}
		})
	}
}

func TestCursorOfAnotherTableIsReset(t *testing.T) {
	for name, open := range transports() {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			id := s.chat(3)
			s.say(id, "one")
			c := open(t, s, fmt.Sprintf("wplc/%d", id), "999999")
			defer c.close()
			if e := c.next(); e.Type != chat.TypeReset {
				t.Fatalf("%+v", e)
			}
		})
	}
}

func TestPollKeepsTheConnection(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	c := openPoll(t, s, fmt.Sprintf("wplc/%d", id), "").(*pollClient)
	// One client with one connection: a second would be seen as another
	// address of the peer.
	conns := make(map[string]bool)
	s.say(id, "x")
	for i := range 5 {
		text := fmt.Sprint("message ", i)
		s.say(id, text)
		for message(c).Body != text {
		}
		conns[fmt.Sprint(s.gw.Held())] = true
	}
	if len(conns) > 2 {
		t.Fatal("held connections pile up:", conns)
	}
}

func TestPollAnswersNotModified(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	c := openPoll(t, s, fmt.Sprintf("wplc/%d", id), "").(*pollClient)
	c.next() // the state, or the next poll would be told it
	req, err := http.NewRequest(http.MethodGet, s.address("poll", c.channels, "")+"&wait=0.2", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", `"`+c.cursor+`"`)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotModified || resp.Header.Get("ETag") != `"`+c.cursor+`"` {
		t.Fatal(resp.Status, resp.Header)
	}
}

func TestSSEHeadSatisfiesProxies(t *testing.T) {
	s := newSite(t)
	resp, err := http.Get(s.address("sse", fmt.Sprintf("wplc/%d", s.chat(3)), "") + "&padding=2048")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	r := bufio.NewReader(resp.Body)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, ":") {
		t.Fatalf("a comment comes at once, not %q (%v)", line, err)
	}
	if line, err = r.ReadString('\n'); err != nil || len(line) < 2048 || line[0] != ':' {
		t.Fatalf("padding of %d bytes (%v)", len(line), err)
	}
	if line, err = r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "retry: ") {
		t.Fatalf("%q (%v)", line, err)
	}
}
