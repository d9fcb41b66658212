package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/internal/chat"
)

// lossClient keeps what one browser would: a cursor, and what it was told.
type lossClient struct {
	*loss
	index     int
	transport string
	chats     []int64
	channels  string
	token     string
	http      *http.Client

	cursor   string
	had      map[int64]string // text by row id
	repeated int
	resumes  int
	vain     int // visits since all rows are there, while some are missing
	resets   int
	refused  error // an answer that a client should not get here
}

// newLossClient gives every fifth client all chats and the others one.
func newLossClient(l *loss, index int) *lossClient {
	c := &lossClient{
		loss: l, index: index, transport: transportNames[index%3], had: make(map[int64]string),
		chats: l.chats[index%len(l.chats):][:1], http: &http.Client{Transport: &http.Transport{}},
	}
	if index%5 == 0 {
		c.chats = l.chats
	}
	var names []string
	for _, id := range c.chats {
		names = append(names, fmt.Sprintf("wplc/%d", id))
	}
	c.channels, c.token = strings.Join(names, ","), l.site.token(names...)
	return c
}

// connectFirst learns where the present is, before the first row.
func (c *lossClient) connectFirst(t *testing.T) {
	t.Helper()
	if err := c.poll(c.ctx); err != nil || c.cursor == "" {
		t.Fatal("first poll: ", err)
	}
}

// run comes and drops until it has all there is, and once more, when nothing may
// come any more. A client to whom something is missing gives up in the end.
func (c *lossClient) run() {
	defer c.http.CloseIdleConnections()
	var patience <-chan time.Time
	for c.ctx.Err() == nil && c.refused == nil {
		complete := c.complete.Load()
		if complete && patience == nil {
			patience = time.After(2 * time.Minute)
		}
		done := complete && c.hasAll()
		if complete && !done {
			c.vain++
		} else {
			c.vain = 0
		}
		c.visit()
		if done {
			return
		}
		select {
		case <-patience:
			return
		default:
			pause(rand.N(40 * time.Millisecond))
		}
	}
}

func (c *lossClient) hasAll() bool {
	for _, chat := range c.chats {
		for id, text := range c.final[chat] {
			if c.had[id] != text {
				return false
			}
		}
	}
	return true
}

// visit is one connection, dropped at any moment: between events, in the middle
// of one, or before the first.
func (c *lossClient) visit() {
	stay := 20*time.Millisecond + rand.N(300*time.Millisecond)
	if rand.N(10) == 0 {
		stay *= 8
	}
	// In the end everybody must have the time to fetch what is missing, however
	// slow the machine is.
	stay = min(stay<<min(c.vain, 6), 10*time.Second)
	ctx, cancel := context.WithTimeout(c.ctx, stay)
	defer cancel()
	c.resumes++
	var err error
	switch c.transport {
	case "sse":
		err = c.listen(ctx)
	case "ws":
		err = c.converse(ctx)
	default:
		for err == nil {
			err = c.poll(ctx)
		}
	}
	var told *statusError
	if errors.As(err, &told) && told.status != http.StatusServiceUnavailable {
		c.refused = err
	}
}

type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.text) }

func (c *lossClient) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(c.transport), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := bufio.NewReader(resp.Body).ReadString('\n')
		return nil, &statusError{resp.StatusCode, text}
	}
	return resp, nil
}

func (c *lossClient) url(transport string) string {
	q := url.Values{"channels": {c.channels}, "token": {c.token}}
	if c.cursor != "" {
		q.Set("cursor", c.cursor)
	}
	return *c.base.Load() + "/" + transport + "?" + q.Encode()
}

// take notes an event as a page would.
func (c *lossClient) take(e *chat.Event) {
	switch e.Type {
	case chat.TypeMessage:
		if c.had[e.ID] == e.Body {
			c.repeated++
		}
		c.had[e.ID] = e.Body
	case chat.TypeReset:
		c.resets++
	}
}

func (c *lossClient) poll(ctx context.Context) error {
	old := c.transport
	c.transport = "poll"
	resp, err := c.get(ctx)
	c.transport = old
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var a asked
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return err // cut off: as if it had never been
	}
	for i := range a.Events {
		c.take(&a.Events[i])
	}
	c.cursor = a.Cursor
	return nil
}

// listen reads a stream by the rules of EventSource: what an unfinished block
// says has not been said.
func (c *lossClient) listen(ctx context.Context) error {
	resp, err := c.get(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	id, data := "", ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "id":
			id = value
		case field == "data":
			data = value
		case lines.Text() == "":
			if data != "" {
				var e chat.Event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					return err
				}
				c.take(&e)
			}
			if id != "" {
				c.cursor = id
			}
			data = ""
		}
	}
	return lines.Err()
}

func (c *lossClient) converse(ctx context.Context) error {
	conn, resp, err := websocket.Dial(ctx, c.url("ws"), nil)
	if err != nil {
		if resp != nil && resp.StatusCode != 0 {
			return &statusError{resp.StatusCode, err.Error()}
		}
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var e chat.Event
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		c.take(&e)
		if e.Cursor != "" {
			c.cursor = e.Cursor
		}
	}
}
