package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/r3labs/sse/v2"

	"holdline/internal/chat"
)

// transports are those of the page, each with a client that others wrote.
var transports = []string{"ws", "sse", "poll"}

// listener is one such client.
type listener struct {
	t      *testing.T
	name   string
	events chan chat.Event
	seen   map[int64]bool // rows that have come
	cancel context.CancelFunc
	ended  chan error
}

// listen connects from the beginning of the chat on.
func (d *runningDemo) listen(transport string, p pane) *listener {
	// The time is for what never comes: the test then says what did.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	l := &listener{
		t: d.t, name: transport + " of the " + p.Who, cancel: cancel,
		events: make(chan chat.Event, 100), seen: make(map[int64]bool), ended: make(chan error, 1),
	}
	query := url.Values{"channels": {strings.Join(p.Channels, ",")}, "cursor": {"0"}}
	at := d.url + d.site.cfg.BasePath + "/" + transport + "?"
	run := map[string]func() error{
		"ws":   func() error { return l.webSocket(ctx, at+query.Encode()+"&token="+p.Token) },
		"sse":  func() error { return l.eventSource(ctx, at+query.Encode()+"&token="+p.Token) },
		"poll": func() error { return l.longPoll(ctx, at, query, p.Token) },
	}[transport]
	go func() {
		err := run()
		if ctx.Err() != nil {
			err = nil
		}
		close(l.events)
		l.ended <- err
	}()
	return l
}

func (l *listener) take(text []byte) error {
	var e chat.Event
	if err := json.Unmarshal(text, &e); err != nil {
		return fmt.Errorf("%w in %q", err, text)
	}
	l.events <- e
	return nil
}

func (l *listener) webSocket(ctx context.Context, at string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c, _, err := websocket.Dial(ctx, at, &websocket.DialOptions{Subprotocols: []string{"holdline.v1"}, HTTPClient: client})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	for {
		_, text, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := l.take(text); err != nil {
			return err
		}
	}
}

func (l *listener) eventSource(ctx context.Context, at string) error {
	c := sse.NewClient(at)
	var trouble error
	err := c.SubscribeRawWithContext(ctx, func(e *sse.Event) {
		if err := l.take(e.Data); err != nil && len(e.Data) > 0 {
			trouble = err
		}
	})
	if trouble != nil {
		return trouble
	}
	return err
}

func (l *listener) longPoll(ctx context.Context, at string, query url.Values, bearer string) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+query.Encode(), nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		var answer struct {
			Cursor string            `json:"cursor"`
			Events []json.RawMessage `json:"events"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			return err
		}
		for _, e := range answer.Events {
			if err := l.take(e); err != nil {
				return err
			}
		}
		query.Set("cursor", answer.Cursor)
	}
}

// expect reads on until an event like want has come: with the same type,
// channel, row, body, sender, and for a status the same data. A row that comes
// twice is an error.
func (l *listener) expect(want chat.Event) {
	l.t.Helper()
	var read []chat.Event
	for e := range l.events {
		if e.ID != 0 && l.seen[e.ID] {
			l.t.Fatalf("%s: row %d came twice", l.name, e.ID)
		}
		l.seen[e.ID] = true
		read = append(read, e)
		if alike(want, e) {
			return
		}
	}
	l.t.Fatalf("%s ended with %v before %+v came; it read %+v", l.name, <-l.ended, want, read)
}

func alike(want, got chat.Event) bool {
	ignore := cmpopts.IgnoreFields(chat.Event{}, "Cursor", "SentAt", "Data", "Mark")
	party := cmpopts.IgnoreFields(chat.Party{}, "ID")
	return cmp.Equal(want, got, ignore, party) && (want.Data == nil || sameJSON(want.Data, got.Data))
}

// sameJSON compares objects; agent_id 0 is as good as none.
func sameJSON(a, b json.RawMessage) bool {
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	for _, m := range []map[string]any{x, y} {
		if m["agent_id"] == 0.0 {
			delete(m, "agent_id")
		}
	}
	return cmp.Equal(x, y)
}

func (l *listener) close() {
	l.t.Helper()
	l.cancel()
	for range l.events { // what came besides
	}
	if err := <-l.ended; err != nil {
		l.t.Errorf("%s: %v", l.name, err)
	}
}
