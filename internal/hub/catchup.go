package hub

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/internal/backoff"
	"holdline/internal/chat"
)

// catchUp is the one goroutine that reads old rows. Subscribers who ask the same
// share one query, and most are served by moving the ring's floor back.
type catchUp struct {
	hub *Hub

	mu      sync.Mutex
	jobs    map[string]*job
	order   []*job
	drain   []waiter
	asked   int // subscribers of all jobs, also those who have left
	sweepAt int // how many of them before those who have left are forgotten
	changed chan struct{}
}

// waiter is a subscriber whose client has not taken its last slice yet.
type waiter struct {
	sub     *Sub
	drained func() bool
}

type job struct {
	key      string
	src      *source
	names    []string
	from, to chat.Mark
	subs     []*Sub
}

func newCatchUp(h *Hub) *catchUp {
	return &catchUp{hub: h, jobs: make(map[string]*job), changed: make(chan struct{}, 1)}
}

// ask queues a question: what does a reader at from lack that one at to has?
func (c *catchUp) ask(sub *Sub, src *source, from, to chat.Mark) {
	var names []string
	for i := range sub.refs {
		if ch := sub.refs[i].ch; ch.src == src {
			_, rest, _ := chat.SplitChannel(ch.name)
			names = append(names, rest)
		}
	}
	key := src.Name() + " " + strings.Join(names, ",") + " " + chat.At(from).String() + " " + chat.At(to).String()
	c.mu.Lock()
	j := c.jobs[key]
	if j == nil {
		j = &job{key: key, src: src, names: names, from: from, to: to}
		c.jobs[key] = j
		c.order = append(c.order, j)
	}
	j.subs = append(j.subs, sub)
	if c.asked++; c.asked >= c.sweepAt {
		c.sweep()
	}
	c.mu.Unlock()
	c.poke()
}

// sweep forgets who has left, and the questions that nobody asks any more. While the
// database is away they would pile up. The caller has the lock.
func (c *catchUp) sweep() {
	c.asked = 0
	c.order = slices.DeleteFunc(c.order, func(j *job) bool {
		j.subs = slices.DeleteFunc(j.subs, isGone)
		c.asked += len(j.subs)
		if len(j.subs) == 0 && c.jobs[j.key] == j {
			delete(c.jobs, j.key)
		}
		return len(j.subs) == 0
	})
	c.sweepAt = max(leastSweep, 2*c.asked)
}

// later lets a subscriber take its next slice once it has taken the last. It is
// called by the subscriber's sender.
func (c *catchUp) later(sub *Sub) {
	c.mu.Lock()
	c.drain = append(c.drain, waiter{sub, sub.late.drained})
	c.mu.Unlock()
	c.poke()
}

func (c *catchUp) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// drainPoll is how often a client that takes its slices slowly is looked at.
const drainPoll = 20 * time.Millisecond

// Bounds of the wait before old rows that could not be read are asked for again.
const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 10 * time.Second
)

func (c *catchUp) run(ctx context.Context) error {
	failures := 0
	var drain, retry <-chan time.Time // nil: nothing to look at again
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		case <-drain:
		case <-retry:
			retry = nil
		}
		drain = nil
		if c.release() {
			drain = time.After(drainPoll)
		}
		if retry != nil {
			continue // more questions do not mend a database
		}
		j := c.take()
		if j == nil {
			continue
		}
		switch err := c.answer(ctx, j); {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return nil
		default:
			failures++
			c.hub.opt.Logger.Warn("old rows cannot be read; held clients wait", "source", j.src.Name(), "error", err)
			c.putBack(j)
			retry = time.After(backoff.Full(failures, leastRetry, mostRetry))
		}
		c.poke() // there may be more
	}
}

// release posts those who may go on and tells whether some may not yet.
func (c *catchUp) release() (left bool) {
	c.mu.Lock()
	waiters := c.drain
	c.drain = nil
	c.mu.Unlock()
	var full []waiter
	for _, w := range waiters {
		switch {
		case w.sub.gone.Load():
		case w.drained != nil && !w.drained():
			full = append(full, w)
		default:
			w.sub.sender.post(command{advance: w.sub})
		}
	}
	c.mu.Lock()
	c.drain = append(c.drain, full...)
	c.mu.Unlock()
	return len(full) > 0
}

func (c *catchUp) take() *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) == 0 {
		return nil
	}
	j := c.order[0]
	c.order = slices.Delete(c.order, 0, 1)
	delete(c.jobs, j.key)
	c.asked -= len(j.subs)
	j.subs = slices.DeleteFunc(j.subs, isGone)
	return j
}

func (c *catchUp) putBack(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked += len(j.subs)
	c.order = append(c.order, j)
	c.jobs[j.key] = j
}

// answer finds what a job's subscribers are missing.
func (c *catchUp) answer(ctx context.Context, j *job) error {
	if len(j.subs) == 0 {
		return nil
	}
	settled, err := c.backfill(ctx, j)
	if err != nil {
		return err
	}
	if settled {
		for _, sub := range j.subs {
			sub.sender.post(command{advance: sub})
		}
		return nil
	}
	rows, cut, err := j.src.Rows(ctx, j.names, j.from.Last, j.to.Last, j.from.Open, sliceEvents)
	if err != nil {
		return err
	}
	next := j.to
	if cut > 0 {
		next = between(j.from, j.to, cut)
	}
	rows = slices.DeleteFunc(rows, func(e chat.Event) bool { return j.from.Has(e.ID) || !j.to.Has(e.ID) })
	d := c.deliveryOf(j, rows)
	bySender := make(map[*sender][]*Sub)
	for _, sub := range j.subs {
		bySender[sub.sender] = append(bySender[sub.sender], sub)
	}
	for s, subs := range bySender {
		s.post(command{resume: &resumption{subs: subs, source: j.src, d: d, next: next, to: j.to}})
	}
	return nil
}

// deliveryOf gives old rows the cursors of a client that catches up.
func (c *catchUp) deliveryOf(j *job, rows []chat.Event) *Delivery {
	if len(rows) == 0 {
		return nil
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	for i := range rows {
		rows[i].Mark = between(j.from, j.to, rows[i].ID)
		rows[i].Cursor = c.hub.cursor.With(j.src.key, rows[i].Mark).String()
	}
	return newDelivery(rows)
}

// backfill moves the ring's floor back to the job's mark with one query for all
// channels, if the rows fit. After a restart a whole crowd that comes back with
// nearby cursors is served by it.
func (c *catchUp) backfill(ctx context.Context, j *job) (settled bool, err error) {
	c.hub.mu.Lock()
	r := &j.src.ring
	floor, room := r.floor, ringEvents-len(r.entries)
	covered := r.covers(j.from)
	c.hub.mu.Unlock()
	if covered {
		return true, nil
	}
	distance := floor.Last - j.from.Last + int64(len(j.from.Open))
	if distance > int64(room) || j.from.Last > floor.Last {
		return false, nil
	}
	rows, cut, err := j.src.Rows(ctx, nil, j.from.Last, floor.Last, j.from.Open, room)
	if err != nil {
		return false, err
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	size := 0
	for i := range rows {
		size += len(rows[i].Body) + len(rows[i].Data) + 200
	}
	moved := r.floor.Last != floor.Last || !slices.Equal(r.floor.Open, floor.Open)
	if moved || cut > 0 || r.bytes+size > ringBytes {
		return false, nil
	}
	r.backfill(j.from, rows, func(m chat.Mark) string { return c.hub.cursor.With(j.src.key, m).String() })
	return true, nil
}
