package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// talk takes what one WebSocket says, one message after the other. There is one
// for every WebSocket, so it is kept small: the pass is a part of it, and a
// goroutine and a queue exist only while there is something to do.
type talk struct {
	pass
	speech *speech
	viewer chat.Viewer
	as     side

	mu    sync.Mutex
	queue *talkQueue // nil while nobody works on it
}

// talkQueue is what waits, the oldest first.
type talkQueue struct {
	words []heard
	bytes int
}

type heard struct {
	text   []byte
	answer func([]byte)
}

// Bounds of what one client may have waiting while the database is slow.
const (
	maxTalk      = 256
	maxTalkBytes = 256 << 10
)

// Say implements ws.Client.
func (t *talk) Say(msg []byte, answer func([]byte)) {
	t.mu.Lock()
	q := t.queue
	if q != nil && (len(q.words) >= maxTalk || q.bytes+len(msg) > maxTalkBytes) {
		t.mu.Unlock()
		t.answer(msg, answer, verdict{state: outbox.StateFailed, retry: refusedFor, refused: &chat.Refusal{
			Reason: chat.ReasonRate, Text: "Too many messages wait to be looked at; wait a moment.",
		}})
		return
	}
	begin := q == nil
	if begin {
		q = &talkQueue{}
		t.queue = q
	}
	q.words = append(q.words, heard{slices.Clone(msg), answer})
	q.bytes += len(msg)
	t.mu.Unlock()
	if begin && !t.speech.talks.start(t.work) {
		t.mu.Lock() // this server is leaving; the client comes again and asks what became of it
		t.queue = nil
		t.mu.Unlock()
	}
}

// answer refuses a message that nobody has looked at.
func (t *talk) answer(msg []byte, answer func([]byte), v verdict) {
	w, refused := parseWord(msg, "", t.speech.settings().Limits)
	if refused != nil {
		v = refuse(refused)
	}
	t.speech.metrics.said(w.kind, v)
	answer(tellOf(&w, v))
}

// work handles messages until none is left.
func (t *talk) work(ctx context.Context) {
	for {
		t.mu.Lock()
		if len(t.queue.words) == 0 {
			t.queue = nil
			t.mu.Unlock()
			return
		}
		next := t.queue.words[0]
		t.queue.words[0] = heard{}
		t.queue.words = t.queue.words[1:]
		t.queue.bytes -= len(next.text)
		t.mu.Unlock()
		t.handle(ctx, next)
	}
}

// handle takes one message. A client that has left meanwhile has still sent it.
func (t *talk) handle(ctx context.Context, next heard) {
	defer func() {
		if p := recover(); p != nil { // one client's fault is not the others'
			t.speech.log.Error("panic over a message", "panic", p)
			t.answer(next.text, next.answer, refuse(refusalOf(errInternal)))
		}
	}()
	w, refused := parseWord(next.text, "", t.speech.settings().Limits)
	if refused == nil && t.ended(time.Now()) {
		refused = &chat.Refusal{Reason: chat.ReasonForbidden, Text: "The login or token is no longer valid."}
	}
	if refused != nil {
		v := refuse(refused)
		t.speech.metrics.said(w.kind, v)
		next.answer(tellOf(&w, v))
		return
	}
	by := &voice{viewer: t.viewer, as: t.as, sender: t.sender()}
	t.speech.say(ctx, by, &w, func(v verdict) {
		if text := tellOf(&w, v); text != nil {
			next.answer(text)
		}
	})
}

// told is what a client is told of a message of its own.
type told struct {
	Type     string `json:"type"` // sent, or error
	Of       string `json:"of,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Channel  string `json:"channel,omitempty"`
	State    string `json:"state,omitempty"`
	ID       int64  `json:"id,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Error    string `json:"error,omitempty"`
	RetryMS  int64  `json:"retry_ms,omitempty"`
}

// tellOf is the answer to a message, nil where there is none: of what is not
// stored, only refusals are told.
func tellOf(w *word, v verdict) []byte {
	t := told{Type: "sent", ClientID: w.clientID, Channel: w.channel, State: v.state, ID: v.id, RetryMS: v.retry.Milliseconds()}
	if v.refused != nil {
		t.Reason, t.Error = v.refused.Reason, v.refused.Text
	}
	if w.kind != typeSend || chat.CheckClientID(w.clientID) != nil {
		if v.refused == nil {
			return nil
		}
		t.Type, t.Of, t.State = "error", w.kind, ""
	}
	// It may have been anything that came.
	t.Of, t.ClientID, t.Channel = clipped(t.Of), clipped(t.ClientID), clipped(t.Channel)
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// clipped keeps what a client said short enough to be said back to it.
func clipped(text string) string {
	if len(text) > chat.MaxChannelLength {
		return ""
	}
	return text
}

// crew owns goroutines that come and go. The zero value is ready.
type crew struct {
	mu   sync.Mutex
	all  sync.WaitGroup
	ctx  context.Context // of all of them, from the first on
	end  context.CancelFunc
	over bool
}

// start runs fn on a goroutine of its own, unless all has come to an end.
func (c *crew) start(fn func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if c.ctx == nil {
		c.ctx, c.end = context.WithCancel(context.Background())
	}
	c.all.Go(func() { fn(c.ctx) })
	return true
}

// stop lets nobody begin any more, and waits for those who have.
func (c *crew) stop() {
	c.mu.Lock()
	c.over = true
	if c.end != nil {
		c.end()
	}
	c.mu.Unlock()
	c.all.Wait()
}
