package dropin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// listen holds a line, and opens another one when it is lost.
func (m *messenger) listen() {
	hear := map[string]func() error{"ws": m.hearSocket, "sse": m.hearStream, "poll": m.hearPolls}[m.way]
	for m.ctx.Err() == nil {
		if err := hear(); err != nil && m.ctx.Err() == nil {
			m.fault("line %d was refused: %v", m.line, err)
			return
		}
		m.change(func() { m.socket = nil })
		pass(m.ctx, 50*time.Millisecond+rand.N(400*time.Millisecond))
	}
}

// opened begins anew with what was said: nobody on this line has heard of it.
func (m *messenger) opened(socket *websocket.Conn) {
	m.change(func() {
		m.line++
		m.socket = socket
		for _, s := range m.said {
			s.known = time.Time{}
		}
	})
}

func (m *messenger) address(endpoint string, more ...string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := url.Values{"channels": {m.channel}, "as": {m.as}}
	if m.cursor != "" {
		q.Set("cursor", m.cursor)
	}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return m.front.String() + "/holdline/v1/" + endpoint + "?" + q.Encode()
}

// hearSocket returns when the line is lost. The error is a refusal.
func (m *messenger) hearSocket() error {
	socket, resp, err := websocket.Dial(m.ctx, m.address("ws"), &websocket.DialOptions{
		HTTPClient: m.client, HTTPHeader: http.Header{"Origin": {m.front.String()}},
	})
	if err != nil {
		if resp != nil && resp.StatusCode >= 400 && resp.StatusCode < 500 {
			return err
		}
		return nil
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 20)
	m.opened(socket)
	for {
		_, text, err := socket.Read(m.ctx)
		if err != nil {
			return nil
		}
		var e words
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		m.take(e)
	}
}

// get is nil where there is nobody behind the front. The error is a refusal.
func (m *messenger) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, nil
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= http.StatusInternalServerError {
		return nil, nil
	}
	return nil, fmt.Errorf("%s: %.200s", resp.Status, text)
}

// hearStream reads server-sent events: a block that is not whole was not said.
func (m *messenger) hearStream() error {
	resp, err := m.get(m.ctx, m.address("sse"))
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	data, id, open := "", "", false
	for lines.Scan() {
		if !open {
			open = true
			m.opened(nil)
		}
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "data":
			data = value
		case field == "id":
			id = value
		case lines.Text() == "":
			var e words
			if data != "" {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					return err
				}
				m.take(e)
			}
			if data = ""; id != "" { // it may be told without an event
				m.change(func() { m.cursor = id })
			}
		}
	}
	return nil
}

// hearPolls asks at once for what there is, and then is held.
func (m *messenger) hearPolls() error {
	for wait := "0"; ; wait = "5" {
		var answer struct {
			Events []words `json:"events"`
			Cursor string  `json:"cursor"`
		}
		resp, err := m.get(m.ctx, m.address("poll", "wait", wait))
		if resp == nil {
			return err
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			return nil // cut off
		}
		if wait == "0" {
			m.opened(nil)
		}
		for _, e := range answer.Events {
			m.take(e)
		}
		m.change(func() { m.cursor = answer.Cursor })
	}
}
