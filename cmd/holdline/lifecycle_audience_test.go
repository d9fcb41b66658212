//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/internal/chat"
)

// audience are clients that come back whenever they are told to, and take notes of all
// that they are told and of every refusal.
type audience struct {
	s       *outfit
	ctx     context.Context
	token   string
	all     sync.WaitGroup
	members []*member

	mu       sync.Mutex
	refusals []string
}

// member is one client.
type member struct {
	name string
	chat int64

	mu   sync.Mutex
	told map[string]int // how often each text came
}

func (s *outfit) newAudience(t *testing.T) *audience {
	ctx, cancel := context.WithCancel(context.Background())
	c := &audience{s: s, ctx: ctx, token: s.token("wplc/*")}
	t.Cleanup(func() {
		cancel()
		c.all.Wait()
	})
	return c
}

// add starts a client that reads one chat.
func (c *audience) add(transport string, chatID int64) {
	m := &member{name: fmt.Sprintf("%s %d", transport, len(c.members)), chat: chatID, told: make(map[string]int)}
	c.members = append(c.members, m)
	run := map[string]func(*member, *http.Client, string) (string, time.Duration, error){
		"sse": c.stream, "ws": c.socket, "poll": c.poll, "loop": c.loop,
	}[transport]
	c.all.Go(func() {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		cursor, pause := "0", time.Duration(0)
		for c.ctx.Err() == nil {
			var err error
			if cursor, pause, err = run(m, client, cursor); err != nil && c.ctx.Err() == nil {
				c.refused(m.name, err)
			}
			select {
			case <-c.ctx.Done():
			case <-time.After(pause):
			}
		}
	})
}

// refused notes what no client should meet.
func (c *audience) refused(who string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals = append(c.refusals, who+": "+err.Error())
}

func (m *member) heard(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told[text]++
}

func (m *member) has(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told[text] > 0
}

// take notes an event and returns where the client stands then, and how long to wait
// if it was told to come back.
func (m *member) take(text []byte, cursor string) (string, time.Duration, error) {
	var e chat.Event
	if err := json.Unmarshal(text, &e); err != nil {
		return cursor, 0, fmt.Errorf("%w in %q", err, text)
	}
	if e.Type == chat.TypeMessage && !e.Pending {
		m.heard(e.Body)
	}
	if e.Cursor != "" {
		cursor = e.Cursor
	}
	var back struct {
		AfterMS int64 `json:"after_ms"`
	}
	if e.Type == chat.TypeReconnect {
		if err := json.Unmarshal(e.Data, &back); err != nil {
			return cursor, 0, err
		}
	}
	return cursor, time.Duration(back.AfterMS) * time.Millisecond, nil
}

func (c *audience) address(m *member, transport, cursor string) string {
	q := url.Values{"channels": {fmt.Sprintf("wplc/%d", m.chat)}, "token": {c.token}, "cursor": {cursor}}
	return "http://" + c.s.public + "/holdline/v1/" + transport + "?" + q.Encode()
}

// get is a request that must be served.
func (c *audience) get(client *http.Client, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("status %s", resp.Status)
	}
	return resp, err
}

func (c *audience) stream(m *member, client *http.Client, cursor string) (string, time.Duration, error) {
	resp, err := c.get(client, c.address(m, "sse", cursor))
	if err != nil {
		return cursor, 0, err
	}
	defer resp.Body.Close()
	var pause time.Duration
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			cursor = id
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if _, pause, err = m.take([]byte(data), cursor); err != nil {
				return cursor, 0, err
			}
		}
	}
	return cursor, pause, nil
}

func (c *audience) socket(m *member, client *http.Client, cursor string) (string, time.Duration, error) {
	ws, _, err := websocket.Dial(c.ctx, c.address(m, "ws", cursor), &websocket.DialOptions{Subprotocols: []string{"holdline.v1"}, HTTPClient: client})
	if err != nil {
		return cursor, 0, err
	}
	defer ws.CloseNow()
	var pause time.Duration
	for {
		_, text, err := ws.Read(c.ctx)
		if err != nil {
			return cursor, pause, nil
		}
		if cursor, pause, err = m.take(text, cursor); err != nil {
			return cursor, 0, err
		}
	}
}

func (c *audience) poll(m *member, client *http.Client, cursor string) (string, time.Duration, error) {
	resp, err := c.get(client, c.address(m, "poll", cursor))
	if err != nil {
		return cursor, 0, err
	}
	defer resp.Body.Close()
	var told struct {
		Cursor string
		Events []json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
		return cursor, 0, err
	}
	for _, e := range told.Events {
		if _, _, err := m.take(e, cursor); err != nil {
			return cursor, 0, err
		}
	}
	return told.Cursor, 0, nil
}

// rowText is what rows are called that loops are to find.
var rowText = regexp.MustCompile(`row-\d+`)

// loop is the plugin's own script: it takes anything but a good answer for the end.
func (c *audience) loop(m *member, client *http.Client, cursor string) (string, time.Duration, error) {
	form := url.Values{"action": {"wplc_call_to_server_visitor"}, "cid": {fmt.Sprint(m.chat)}, "status": {"3"}, "wplcsession": {"1"}}
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "http://"+c.s.public+"/wp-admin/admin-ajax.php", strings.NewReader(form.Encode()))
	if err != nil {
		return cursor, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return cursor, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return cursor, 0, err
	}
	if resp.StatusCode != http.StatusOK || len(text) > 0 && !json.Valid(text) {
		return cursor, 0, fmt.Errorf("status %s: %s", resp.Status, text)
	}
	for _, row := range rowText.FindAllString(string(text), -1) {
		m.heard(row)
	}
	return cursor, 10 * time.Millisecond, nil
}

// send has a message stored: it repeats it until it is taken, as browsers do. Only to
// be asked for patience is no refusal.
func (c *audience) send(client *http.Client, chatID int64, id, text string) {
	channel := fmt.Sprintf("wplc/%d", chatID)
	may := c.s.token(channel) // its visitor writes, not an agent
	body, err := json.Marshal(map[string]string{"type": "send", "channel": channel, "client_id": id, "body": text, "as": "visitor"})
	if err != nil {
		panic(err) // strings
	}
	for c.ctx.Err() == nil {
		req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "http://"+c.s.public+"/holdline/v1/send", bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+may)
		resp, err := client.Do(req)
		if err != nil {
			if c.ctx.Err() == nil {
				c.refused("send", err)
			}
			return
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK, http.StatusAccepted:
			return
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			select {
			case <-c.ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		default:
			c.refused("send", fmt.Errorf("%s: %s", resp.Status, answer))
			return
		}
	}
}
