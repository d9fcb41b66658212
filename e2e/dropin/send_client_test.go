package dropin_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// messenger is one side of a chat in a page that has Holdline's own client. Like that
// one (wordpress/client/src/outbox.js) it says one thing at a time, in order, and again
// under the same client id until it is known what became of it.
type messenger struct {
	*browser
	s           *stage
	ctx         context.Context
	leave       context.CancelFunc
	loops       sync.WaitGroup
	channel, as string
	way         string // ws, sse or poll; what is said goes over a WebSocket, else by POST

	mu     sync.Mutex
	news   chan struct{} // closed and replaced when something below has changed
	cursor string
	line   int             // connections so far
	socket *websocket.Conn // of a line that can be spoken on
	said   []*saying
	heard  []hearing
	faults []string
}

// saying is a message of one's own.
type saying struct {
	id, body string
	first    time.Time // when it was asked for the first time
	accepted time.Time // when the gateway said the first time that it has it
	known    time.Time // the same, on this line
	row      int64
	failed   string // why it never will have one
}

// words are an event, or an answer to a message.
type words struct {
	Type    string `json:"type"`
	Channel string `json:"channel"`
	Cursor  string `json:"cursor"`
	ID      int64  `json:"id"`
	From    struct {
		Kind string `json:"kind"`
	} `json:"from"`
	Body     string `json:"body"`
	ClientID string `json:"client_id"`
	Pending  bool   `json:"pending"`
	Data     struct {
		Reason string `json:"reason"`
		UpTo   int64  `json:"up_to"`
	} `json:"data"`
	State   string `json:"state"`
	Of      string `json:"of"`
	Reason  string `json:"reason"`
	Error   string `json:"error"`
	RetryMS int64  `json:"retry_ms"`
}

// isRow tells whether it is a message that is in the table.
func (w *words) isRow() bool {
	return (w.Type == "message" || w.Type == "stored") && w.ID > 0
}

type hearing struct {
	words
	line int
	at   time.Time
}

const (
	answerPatience = 15 * time.Second
	askAgain       = 30 * time.Second
)

// join opens the page's line; await says when it stands.
func join(s *stage, b *browser, cid, as, way string) *messenger {
	s.t.Helper()
	ctx, leave := context.WithCancel(s.ctx)
	m := &messenger{
		browser: b, s: s, ctx: ctx, leave: leave, channel: "wplc/" + cid, as: as, way: way, news: make(chan struct{}),
	}
	s.t.Cleanup(m.close)
	m.loops.Go(m.listen)
	m.loops.Go(m.deliver)
	m.await("the line stands", time.Minute, func() bool { return m.cursor != "" })
	return m
}

func (m *messenger) close() {
	m.leave()
	m.loops.Wait()
}

func (m *messenger) String() string {
	return fmt.Sprintf("the %s of %s, by %s", m.as, m.channel, m.way)
}

// await waits until ok, which has the lock.
func (m *messenger) await(what string, within time.Duration, ok func() bool) {
	m.s.t.Helper()
	late := time.After(within)
	for {
		m.mu.Lock()
		done, news := ok(), m.news
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-late:
			m.mu.Lock()
			defer m.mu.Unlock()
			m.s.t.Fatalf("%s: %s: not within %v; faults %q; heard %s", m, what, within, m.faults, m.transcript(""))
		}
	}
}

// transcript is what was heard of one message, or of all, in short: on which line it
// came, and what. The caller has the lock.
func (m *messenger) transcript(of string) string {
	var b strings.Builder
	for i := range m.heard {
		h := &m.heard[i]
		if of != "" && h.ClientID != of {
			continue
		}
		what := h.Type
		if h.Pending {
			what = "pending " + what
		}
		fmt.Fprintf(&b, "%d: %s %s %d; ", h.line, what, h.ClientID, h.ID)
	}
	return b.String()
}

// change does something under the lock that others may wait for.
func (m *messenger) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	close(m.news)
	m.news = make(chan struct{})
}

func (m *messenger) fault(format string, args ...any) {
	m.change(func() { m.faults = append(m.faults, fmt.Sprintf(format, args...)) })
}

// say leaves a message to the client and does not wait.
func (m *messenger) say(id, body string) {
	m.change(func() { m.said = append(m.said, &saying{id: id, body: body}) })
}

// settled tells whether it is known what became of all that was said. The caller has
// the lock.
func (m *messenger) settled() bool {
	return !slices.ContainsFunc(m.said, func(s *saying) bool { return s.row == 0 && s.failed == "" })
}

// deliver says what there is to be said.
func (m *messenger) deliver() {
	for failures := 0; m.ctx.Err() == nil; {
		saying, socket, news := m.next()
		if saying == nil {
			select {
			case <-news:
			case <-time.After(time.Second): // something may have been open for long
			case <-m.ctx.Done():
			}
			continue
		}
		answer, err := m.ask(saying, socket)
		if pause := m.answered(saying, answer, err); pause > 0 {
			failures = min(failures+1, 4)
			pass(m.ctx, max(pause, rand.N(100*time.Millisecond<<failures)))
			continue
		}
		failures = 0
	}
}

// next is the first message that the gateway has not accepted on this line; or the first
// of all that are open, when that has been so for long.
func (m *messenger) next() (*saying, *websocket.Conn, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.way == "ws" && m.socket == nil {
		return nil, nil, m.news
	}
	oldest := true
	for _, s := range m.said {
		if s.row != 0 || s.failed != "" {
			continue
		}
		if s.known.IsZero() || oldest && time.Since(s.known) > askAgain {
			s.first = cmp.Or(s.first, time.Now())
			return s, m.socket, m.news
		}
		oldest = false
	}
	return nil, nil, m.news
}

// ask says a message and waits for the answer.
func (m *messenger) ask(s *saying, socket *websocket.Conn) (words, error) {
	ctx, cancel := context.WithTimeout(m.ctx, answerPatience)
	defer cancel()
	text, err := json.Marshal(map[string]string{"type": "send", "channel": m.channel, "client_id": s.id, "body": s.body, "as": m.as})
	if err != nil {
		return words{}, err
	}
	if socket == nil {
		return m.post(ctx, "send", text)
	}
	m.mu.Lock()
	from, line := len(m.heard), m.line
	m.mu.Unlock()
	if err := socket.Write(ctx, websocket.MessageText, text); err != nil {
		return words{}, err
	}
	return m.answerOn(ctx, line, from, s.id)
}

// answerOn waits for the word on a message among what a line brings.
func (m *messenger) answerOn(ctx context.Context, line, from int, id string) (words, error) {
	for {
		m.mu.Lock()
		at := slices.IndexFunc(m.heard[from:], func(h hearing) bool { return h.Type == "sent" && h.ClientID == id && h.line == line })
		now, news := m.line, m.news
		lost := m.socket == nil || now != line
		var answer words
		if at >= 0 {
			answer = m.heard[from+at].words
		}
		m.mu.Unlock()
		switch {
		case at >= 0:
			return answer, nil
		case lost:
			return words{}, fmt.Errorf("the line is lost")
		}
		select {
		case <-news:
		case <-ctx.Done():
			return words{}, ctx.Err()
		}
	}
}

// post says something without a WebSocket, as a page's script does. The error is the
// network's, or says that there is nobody behind the front.
func (m *messenger) post(ctx context.Context, endpoint string, text []byte) (answer words, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.front.String()+"/holdline/v1/"+endpoint, strings.NewReader(string(text)))
	if err != nil {
		return words{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", m.front.String())
	resp, err := m.client.Do(req)
	if err != nil {
		return words{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return words{}, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return words{}, fmt.Errorf("%s: %w", resp.Status, err)
	}
	return answer, nil
}

// tell says what needs no answer.
func (m *messenger) tell(word map[string]any) {
	m.s.t.Helper()
	text, err := json.Marshal(word)
	if err != nil {
		m.s.t.Fatal(err)
	}
	if m.way != "ws" {
		if answer, err := m.post(m.ctx, "signal", text); err != nil || answer.Error != "" {
			m.s.t.Errorf("%s: %s: %+v, %v", m, text, answer, err)
		}
		return
	}
	m.await("the line stands", time.Minute, func() bool { return m.socket != nil })
	m.mu.Lock()
	socket := m.socket
	m.mu.Unlock()
	if err := socket.Write(m.ctx, websocket.MessageText, text); err != nil {
		m.s.t.Errorf("%s: %s: %v", m, text, err)
	}
}

// answered takes an answer, and tells how long to wait if there has to be another one.
func (m *messenger) answered(s *saying, answer words, err error) (pause time.Duration) {
	const soon = time.Millisecond
	if err != nil {
		return soon
	}
	m.change(func() {
		switch answer.State {
		case "pending":
			s.known = time.Now()
			s.accepted = cmp.Or(s.accepted, s.known)
		case "stored":
			m.isStored(s, answer.ID)
		case "failed":
			if slices.Contains([]string{"rate", "full", "unavailable"}, answer.Reason) {
				pause = max(soon, time.Duration(answer.RetryMS)*time.Millisecond)
				return
			}
			s.failed = answer.Reason
		default: // a front's or a gateway's that is not ready
			pause = max(soon, time.Duration(answer.RetryMS)*time.Millisecond)
		}
	})
	return pause
}

func (m *messenger) isStored(s *saying, row int64) {
	if s.row != 0 && s.row != row || row == 0 {
		m.faults = append(m.faults, fmt.Sprintf("its message %s is row %d, then row %d", s.id, s.row, row))
	}
	s.row = row
}

// take notes what the line has brought.
func (m *messenger) take(e words) {
	m.change(func() {
		m.cursor = cmp.Or(e.Cursor, m.cursor)
		m.heard = append(m.heard, hearing{e, m.line, time.Now()})
		if e.From.Kind != m.as {
			return
		}
		at := slices.IndexFunc(m.said, func(s *saying) bool { return s.id == e.ClientID })
		switch {
		case at < 0:
		case e.isRow():
			m.isStored(m.said[at], e.ID)
		case e.Type == "withdrawn":
			m.said[at].failed = e.Data.Reason
		}
	})
}
