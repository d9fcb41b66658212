//go:build e2e && linux

package soak_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/coder/websocket"
)

// stream reads server-sent events: a block that is not whole was not said.
func (p *person) stream(ctx context.Context) error {
	resp, err := p.get(ctx, p.address("sse"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	data, id := "", ""
	var wish error
	for lines.Scan() && ctx.Err() == nil {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "data":
			data = value
		case field == "id":
			id = value
		case lines.Text() == "":
			if data != "" {
				if err := p.take([]byte(data)); err != nil {
					wish = errors.Join(wish, err)
				}
			}
			if id != "" {
				p.setCursor(id)
			}
			data, id = "", ""
		}
	}
	return wish
}

// socket listens to a WebSocket.
func (p *person) socket(ctx context.Context) error {
	conn, resp, err := websocket.Dial(ctx, p.address("ws"), &websocket.DialOptions{HTTPClient: p.http})
	if err != nil {
		if resp != nil {
			return judgeStatus(resp.StatusCode, resp.Status, []byte(err.Error()))
		}
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if err := p.take(text); err != nil {
			return err
		}
	}
}

// polls asks at once for what there is, and then is held.
func (p *person) polls(ctx context.Context) error {
	for wait := "0"; ctx.Err() == nil; wait = "20" {
		resp, err := p.get(ctx, p.address("poll", "wait", wait))
		if err != nil {
			return err
		}
		var answer struct {
			Events []json.RawMessage `json:"events"`
			Cursor string            `json:"cursor"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			return err // cut off: as if it had never been
		}
		var wish error
		for _, e := range answer.Events {
			wish = errors.Join(wish, p.take(e))
		}
		p.setCursor(answer.Cursor)
		if wish != nil {
			return wish
		}
	}
	return nil
}
