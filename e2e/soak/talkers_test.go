//go:build e2e && linux

package soak_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// talker sends messages, one after the other: the next when the gateway has accepted the
// one before, and each again under its client id until then.
type talker struct {
	name, as string
	base     string
	chat     int64
	token    string
	socket   bool
	rng      *rand.Rand
	ledger   *ledger
	http     *http.Client

	accepted, asked atomic.Int64
	fault           atomic.Pointer[string]
	slowest         atomic.Int64 // ns until accepted
}

// verdict is the gateway's word on a message.
type verdict struct {
	Type     string `json:"type"`
	ClientID string `json:"client_id"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Error    string `json:"error"`
	RetryMS  int64  `json:"retry_ms"`
}

// talk says something every other second or so until hush is closed. It returns when the
// last message was accepted, or ctx has ended.
func (t *talker) talk(ctx context.Context, hush <-chan struct{}) {
	defer t.http.CloseIdleConnections()
	for n := 1; ctx.Err() == nil; n++ {
		select {
		case <-hush:
			return
		case <-time.After(time.Duration(t.rng.ExpFloat64() * float64(2*time.Second))):
		}
		// A burst is one WebSocket's, from time to time.
		for range 1 + t.rng.IntN(3) {
			t.deliver(ctx, n)
			n++
		}
	}
}

// deliver says one message until it is accepted.
func (t *talker) deliver(ctx context.Context, n int) {
	id := fmt.Sprintf("%s-%05d", t.name, n)
	body := "message " + id
	t.ledger.begin(body, entry{sender: t.name, clientID: id, seq: n})
	text, err := json.Marshal(map[string]string{"type": "send", "channel": fmt.Sprintf("wplc/%d", t.chat), "client_id": id, "body": body, "as": t.as})
	if err != nil {
		panic(err) // strings
	}
	began := time.Now()
	for ctx.Err() == nil {
		t.asked.Add(1)
		v, err := t.ask(ctx, text, id)
		var r *refused
		switch {
		case errors.As(err, &r):
			t.blame(id + ": " + r.Error())
			return
		case v.State == "pending" || v.State == "stored":
			t.ledger.ack(body)
			t.accepted.Add(1)
			t.slowest.Store(max(t.slowest.Load(), int64(time.Since(began))))
			return
		case v.State == "failed" && v.Reason != "rate" && v.Reason != "full" && v.Reason != "unavailable":
			t.blame(fmt.Sprintf("%s: %+v", id, v))
			return
		}
		pass(ctx, max(time.Duration(v.RetryMS)*time.Millisecond, 100*time.Millisecond+time.Duration(t.rng.Int64N(int64(300*time.Millisecond)))))
	}
}

func (t *talker) blame(why string) {
	why = time.Now().Format("15:04:05 ") + t.name + ": " + why
	t.fault.CompareAndSwap(nil, &why)
}

func (t *talker) ask(ctx context.Context, text []byte, id string) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if t.socket {
		return t.say(ctx, text, id)
	}
	return t.post(ctx, text)
}

func (t *talker) post(ctx context.Context, text []byte) (v verdict, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+"/holdline/v1/send", bytes.NewReader(text))
	if err != nil {
		return v, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+t.token)
	resp, err := t.http.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return v, err
	}
	if json.Unmarshal(answer, &v) == nil && v.State != "" {
		return v, nil
	}
	return v, judgeStatus(resp.StatusCode, resp.Status, answer)
}

// say uses a WebSocket for one message.
func (t *talker) say(ctx context.Context, text []byte, id string) (v verdict, err error) {
	q := url.Values{"channels": {fmt.Sprintf("wplc/%d", t.chat)}, "token": {t.token}}
	conn, resp, err := websocket.Dial(ctx, t.base+"/holdline/v1/ws?"+q.Encode(), &websocket.DialOptions{HTTPClient: t.http})
	if err != nil {
		if resp != nil {
			err = judgeStatus(resp.StatusCode, resp.Status, []byte(err.Error()))
		}
		return v, err
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, text); err != nil {
		return v, err
	}
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return v, err
		}
		if json.Unmarshal(frame, &v) == nil && v.Type == "sent" && v.ClientID == id {
			return v, nil
		}
		v = verdict{}
	}
}
