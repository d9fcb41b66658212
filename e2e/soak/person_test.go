//go:build e2e && linux

package soak_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// person is a well-behaved client: it comes, is told rows, leaves politely or crashes,
// and comes back with its cursor. It notes all that it is told.
type person struct {
	name  string
	way   way
	base  string // http://host:port
	chats []int64
	token string
	rng   *rand.Rand
	wires *wires
	http  *http.Client
	loop  *loopPage // of ways that use the plugin's loop

	mu       sync.Mutex
	cursor   string
	start    time.Time // when it first had a cursor
	present  bool      // not away on its own account
	returned time.Time // from where it was on its own account
	lastMark int
	seen     map[row]struct{}
	recent   []string // what it was told last, for a complaint
	record   testimony
}

// testimony is what a person has to say in the end.
type testimony struct {
	Name    string
	Way     string
	Chats   []int64
	Start   time.Time
	Seen    []row
	Repeats []string
	Faults  []string
	Visits  int
	Resets  int
	Again   int                   // rows of the plugin's loop that its script leaves out, as it had them
	Late    map[int]time.Duration // of marks, by their number: when they came, from when they were begun
}

// way is a transport and how it is used.
type way struct {
	name      string
	keepAlive bool
	visit     func(*person, context.Context) error
}

var (
	bySSE      = way{"SSE", true, (*person).stream}
	byPoll     = way{"poll", true, (*person).polls}
	byLonePoll = way{"poll, no keep-alive", false, (*person).polls}
	bySocket   = way{"WebSocket", true, (*person).socket}
	byLoop     = way{"plugin's loop", true, (*person).loops}
	byLoneLoop = way{"plugin's loop, no keep-alive", false, (*person).loops}
)

func newPerson(name string, w way, base, token string, chats []int64, rng *rand.Rand) *person {
	p := &person{
		name: name, way: w, base: base, chats: chats, token: token, rng: rng, wires: &wires{},
		seen:   map[row]struct{}{},
		record: testimony{Name: name, Way: w.name, Chats: chats, Late: map[int]time.Duration{}},
	}
	p.http = &http.Client{Transport: &http.Transport{
		DialContext: p.wires.dial, DisableKeepAlives: !w.keepAlive, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
		ReadBufferSize: 2 << 10, WriteBufferSize: 2 << 10,
	}}
	return p
}

// refused is an answer that a well-behaved client should not get.
type refused struct{ status, text string }

func (r *refused) Error() string { return r.status + ": " + r.text }

// comeAgain is the server's wish to be left, and asked again later.
type comeAgain struct{ after time.Duration }

func (c *comeAgain) Error() string { return "come again after " + c.after.String() }

// live comes and goes until ctx ends; once settled is closed it stays.
func (p *person) live(ctx context.Context, settled <-chan struct{}) {
	defer p.http.CloseIdleConnections()
	for ctx.Err() == nil {
		stay, cancel := p.stay(ctx, settled)
		p.come()
		p.recall("comes with cursor %q", p.cursor)
		err := p.way.visit(p, stay)
		left := stay.Err() != nil
		cancel()
		if left && p.rng.IntN(3) == 0 {
			p.wires.crash()
		}
		p.http.CloseIdleConnections() // as a page that is closed
		if left {
			p.leave()
		}
		p.blame(err)
		pass(ctx, p.pause(err, left, settled))
	}
}

// stay is how long the person wants to stay this time.
func (p *person) stay(ctx context.Context, settled <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(time.Second+time.Duration(p.rng.ExpFloat64()*float64(time.Minute)), func() {
		select {
		case <-settled:
		default:
			cancel()
		}
	})
	return ctx, func() { timer.Stop(); cancel() }
}

func (p *person) come() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.Visits++
	if !p.present {
		p.present, p.returned = true, time.Now()
	}
}

// leave is on its own account: it is not to be asked how long it takes to catch up.
func (p *person) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.present = false
}

// pause is how long it stays away.
func (p *person) pause(err error, left bool, settled <-chan struct{}) time.Duration {
	var again *comeAgain
	switch {
	case errors.As(err, &again):
		return again.after
	case isClosed(settled) || !left:
		return 50*time.Millisecond + time.Duration(p.rng.Int64N(int64(450*time.Millisecond)))
	case p.rng.IntN(8) == 0:
		return time.Duration(p.rng.Int64N(int64(40 * time.Second)))
	}
	return time.Duration(p.rng.Int64N(int64(2 * time.Second)))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *person) blame(err error) {
	var r *refused
	if !errors.As(err, &r) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.record.Faults) < 5 {
		p.record.Faults = append(p.record.Faults, time.Now().Format("15:04:05 ")+r.Error())
	}
}

// words are an event.
type words struct {
	Type    string `json:"type"`
	Cursor  string `json:"cursor"`
	ID      int64  `json:"id"`
	Body    string `json:"body"`
	Pending bool   `json:"pending"`
	Data    struct {
		AfterMS int64 `json:"after_ms"`
	} `json:"data"`
}

// take notes what an event says. The error is what the event wants of the client.
func (p *person) take(text []byte) error {
	var e words
	if err := json.Unmarshal(text, &e); err != nil {
		return &refused{"an event that is no JSON", string(text)}
	}
	p.recall("%s %d, cursor %q", e.Type, e.ID, e.Cursor)
	switch e.Type {
	case "message", "stored":
		if e.ID > 0 && !e.Pending {
			p.told(e.ID, e.Body)
		}
	case "reset":
		p.mu.Lock()
		p.record.Resets++
		p.mu.Unlock()
	case "reconnect":
		return &comeAgain{time.Duration(e.Data.AfterMS) * time.Millisecond}
	}
	if e.Cursor != "" {
		p.setCursor(e.Cursor)
	}
	return nil
}

func (p *person) setCursor(cursor string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor = cursor
	p.begin()
}

// begin is called with the lock when the person has been told where it stands.
func (p *person) begin() {
	if p.start.IsZero() {
		p.start = time.Now()
	}
}

// recall keeps a few of the things that have happened.
func (p *person) recall(format string, args ...any) {
	const most = 10
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent = append(p.recent[max(0, len(p.recent)-most):], time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// told notes a row.
func (p *person) told(id int64, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := rowOf(id, text)
	if _, again := p.seen[r]; again && len(p.record.Repeats) < 20 {
		p.record.Repeats = append(p.record.Repeats, fmt.Sprintf("row %d %q; it was told %s", id, text, strings.Join(p.recent, " | ")))
	}
	p.seen[r] = struct{}{}
	if strings.HasPrefix(text, "mark ") {
		p.marked(text)
	}
}

// marked takes the time of a mark, which says nothing when the person was away by its own
// wish. The caller has the lock.
func (p *person) marked(text string) {
	m, err := parseMark(text)
	if err != nil {
		p.record.Faults = append(p.record.Faults, err.Error())
		return
	}
	p.lastMark = max(p.lastMark, m.n)
	if p.awaits(m) {
		p.record.Late[m.n] = time.Since(m.at)
	}
}

// awaits tells whether a mark says something of this person. The caller has the lock.
func (p *person) awaits(m mark) bool {
	return p.present && p.returned.Before(m.at) && !p.start.IsZero() && p.start.Before(m.at)
}

// lacks tells whether the person should have a mark and has not.
func (p *person) lacks(m mark) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.awaits(m) && p.lastMark < m.n
}

// testify is the record up to now.
func (p *person) testify() testimony {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.record
	t.Start = p.start
	t.Seen = make([]row, 0, len(p.seen))
	for r := range p.seen {
		t.Seen = append(t.Seen, r)
	}
	return t
}

// address is an endpoint's with what the person has to say.
func (p *person) address(endpoint string, more ...string) string {
	names := make([]string, len(p.chats))
	for i, chat := range p.chats {
		names[i] = fmt.Sprintf("wplc/%d", chat)
	}
	q := url.Values{"channels": {strings.Join(names, ",")}, "token": {p.token}}
	p.mu.Lock()
	if p.cursor != "" {
		q.Set("cursor", p.cursor)
	}
	p.mu.Unlock()
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return p.base + "/holdline/v1/" + endpoint + "?" + q.Encode()
}

// get asks for an address. 4xx is a refusal, all else that is not 200 passes.
func (p *person) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return nil, errors.Join(err, judgeStatus(resp.StatusCode, resp.Status, text))
}

func judgeStatus(code int, status string, text []byte) error {
	if code >= 400 && code < 500 {
		return &refused{status, string(text)}
	}
	return errors.New(status)
}
