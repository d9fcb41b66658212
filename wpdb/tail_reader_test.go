package wpdb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// reader is one browser of the loss test over all its connections.
type reader struct {
	hub      *hub.Hub
	channels []string
	poll     bool         // each delivery ends the connection
	steady   bool         // it never drops
	calm     *atomic.Bool // nobody drops any more

	mu     sync.Mutex
	rand   *rand.Rand
	cursor string
	got    map[int64]bool
	order  []int64
	twice  []int64
	resets int
	conns  int
}

func newReader(h *hub.Hub, i int, calm *atomic.Bool) *reader {
	r := &reader{
		hub: h, calm: calm, poll: i%3 == 1, steady: i%10 == 0,
		rand: rand.New(rand.NewPCG(2, uint64(i))), got: make(map[int64]bool),
		cursor: "100",
	}
	for _, n := range r.rand.Perm(lossChats)[:1+i%3] {
		r.channels = append(r.channels, fmt.Sprintf("wplc/%d", n+1))
	}
	return r
}

// run connects again and again. Most absences are short; some last until the
// ring has forgotten.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.connect(ctx)
		r.mu.Lock()
		away := time.Duration(r.rand.IntN(50)) * time.Millisecond
		if r.poll {
			away /= 10
		}
		if r.rand.IntN(20) == 0 && !r.poll && !r.calm.Load() {
			away = 3 * time.Second
		}
		r.mu.Unlock()
		if !pause(ctx, away) {
			return
		}
	}
}

// connect lives through one connection.
func (r *reader) connect(ctx context.Context) {
	r.mu.Lock()
	c := &connection{reader: r, ended: make(chan struct{})}
	c.left = 1 + r.rand.IntN(500)
	hold := time.Duration(r.rand.IntN(2000)) * time.Millisecond
	from, err := chat.ParseCursor(r.cursor)
	r.conns++
	r.mu.Unlock()
	if err != nil {
		panic(err)
	}
	var sub *hub.Sub
	want := hub.Subscription{Channels: r.channels, From: &from, OneOff: r.poll}
	if err := r.hub.Subscribe(c, want, func(s *hub.Sub) { sub = s }); err != nil {
		panic(err)
	}
	defer sub.Close()
	var timeout <-chan time.Time
	if !r.steady {
		timeout = time.After(hold)
	}
	select {
	case <-ctx.Done():
	case <-c.ended:
		return
	case <-timeout:
	}
	// A heartbeat or an empty answer tells where the client stands; it is asked
	// for before the connection ends.
	cursor, ok := sub.Cursor()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.dead && ok && c.quiet {
		r.cursor = cursor
	}
	c.dead = true
}

// connection takes what the hub says until it breaks, which may be in the middle
// of a delivery.
type connection struct {
	reader *reader
	ended  chan struct{}
	left   int  // events until it breaks
	dead   bool // of reader.mu
	quiet  bool // nothing was delivered
}

func (c *connection) Live(string, *hub.Delivery) {
	c.reader.mu.Lock()
	defer c.reader.mu.Unlock()
	c.quiet = c.reader.poll // a poll that goes live was not answered
}

func (c *connection) Deliver(d *hub.Delivery) {
	r := c.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.dead {
		return
	}
	breaks := !r.steady && !r.calm.Load()
	for i := range d.Events {
		r.take(&d.Events[i])
		if c.left--; c.left <= 0 && breaks {
			break
		}
	}
	if r.poll || c.left <= 0 && breaks {
		c.dead = true
		close(c.ended)
	}
}

// take notes one event. reader.mu is held.
func (r *reader) take(e *chat.Event) {
	if e.Type == chat.TypeReset {
		r.resets++
	} else if r.got[e.ID] {
		r.twice = append(r.twice, e.ID)
	} else {
		r.got[e.ID] = true
		r.order = append(r.order, e.ID)
	}
	r.cursor = e.Cursor
}

// missing counts the rows that have not come.
func (r *reader) missing(want map[string][]int64) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, channel := range r.channels {
		for _, id := range want[channel] {
			if !r.got[id] {
				n++
			}
		}
	}
	return n
}

// check looks for repeats and at the order. Whoever never left is told the rows
// as they were published; what comes from the database comes by id.
func (r *reader) check(t *testing.T, published *recorder) (rows int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	published.mu.Lock()
	defer published.mu.Unlock()
	if len(r.twice) > 0 || r.resets > 0 {
		t.Errorf("a client of %v was told %d rows again, %v, and reset %d times", r.channels, len(r.twice), r.twice[:min(5, len(r.twice))], r.resets)
	}
	for i := 1; i < len(r.order); i++ {
		a, b := r.order[i-1], r.order[i]
		if published.order[a] > published.order[b] && (a > b || r.steady && !r.poll) {
			t.Errorf("a client of %v was told %d before %d", r.channels, a, b)
			break
		}
	}
	return len(r.order)
}

func returns(all []*reader) (n int) {
	for _, r := range all {
		r.mu.Lock()
		n += r.conns - 1
		r.mu.Unlock()
	}
	return n
}
