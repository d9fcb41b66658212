package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/internal/chat"
)

// advance brings a late subscriber as far as it goes now: to the present, to
// the end of a slice, or to the question that the database must answer.
func (s *sender) advance(sub *Sub) {
	l := sub.late
	if l == nil || sub.gone.Load() {
		return
	}
	for _, name := range l.sources {
		src := s.hub.sources[name]
		pos, known := s.pos[name]
		if !known {
			s.await(sub, src)
			return
		}
		from, has := l.from.Mark(src.key)
		if l.nowhere || !has {
			l.from = l.from.With(src.key, pos)
			continue
		}
		if from.Last > pos.Last && !s.ahead(sub, src, pos) {
			return
		}
		if from.Last <= pos.Last && !s.fromRing(sub, src, from, pos) {
			return
		}
		if sub.gone.Load() {
			return
		}
	}
	s.goLive(sub)
}

// await puts the subscriber aside until the source tells where it is.
func (s *sender) await(sub *Sub, src *source) {
	if sub.late.ticket == 0 {
		sub.late.ticket = src.Wake()
	}
	s.waiting = append(s.waiting, sub)
}

// ahead judges a cursor beyond our position. Another node may have read further;
// if we have not got there either after reading again, the id is from a table
// that is no more.
func (s *sender) ahead(sub *Sub, src *source, pos chat.Mark) (settled bool) {
	l := sub.late
	if l.ticket == 0 || s.fresh[src.Name()] < l.ticket {
		s.await(sub, src)
		return false
	}
	l.from = l.from.With(src.key, pos)
	for _, r := range sub.refs {
		if name, _, _ := chat.SplitChannel(r.ch.name); name == src.Name() {
			sub.to.Deliver(resetOf(r.ch.name, l.from.String(), "the cursor is not of this table"))
		}
	}
	return true
}

// fromRing hands over one slice of recent events; done is false when there is
// more to come, later.
func (s *sender) fromRing(sub *Sub, src *source, from, pos chat.Mark) (done bool) {
	if from.Last == pos.Last && slices.Equal(from.Open, pos.Open) {
		return true
	}
	s.hub.mu.Lock()
	covered := src.ring.covers(from)
	var ds []*Delivery
	next, complete := from, false
	if covered {
		ds, next, complete = src.ring.since(from, pos, sub.on)
	}
	s.hub.mu.Unlock()
	if !covered {
		s.hub.catchUp.ask(sub, src, from, pos)
		return false
	}
	if d := merge(ds); d != nil {
		sub.hand(src.key, d)
	}
	sub.late.from = sub.late.from.With(src.key, aheadOf(next, from))
	if !complete && !sub.gone.Load() {
		s.hub.catchUp.later(sub)
	}
	return complete
}

// aheadOf keeps in mind the open ids of to that a client at from has already,
// having been told of them by another node: goLive makes them a skip list.
func aheadOf(to, from chat.Mark) chat.Mark {
	if !slices.ContainsFunc(to.Open, from.Has) {
		return to
	}
	open := slices.DeleteFunc(slices.Clone(to.Open), from.Has)
	return chat.Mark{Last: to.Last, Open: open}
}

// merge makes one delivery of several, for one subscriber.
func merge(ds []*Delivery) *Delivery {
	switch len(ds) {
	case 0:
		return nil
	case 1:
		return ds[0]
	}
	all := &Delivery{channel: ds[0].channel, Cursor: ds[len(ds)-1].Cursor}
	for _, d := range ds {
		all.Events = append(all.Events, d.Events...)
	}
	return all
}

// hand delivers old events of one source. A client of several sources gets
// cursors of its own: the shared ones speak of the other sources' present, where
// this client has not got to yet.
func (s *Sub) hand(key string, d *Delivery) {
	if len(s.late.sources) > 1 {
		own := &Delivery{Events: slices.Clone(d.Events), channel: d.channel}
		for i := range own.Events {
			e := &own.Events[i]
			e.Cursor = s.late.from.With(key, e.Mark).String()
			own.Cursor = e.Cursor
		}
		d = own
	}
	s.to.Deliver(d)
}

// resume hands over what the database had and goes on from there.
func (s *sender) resume(r *resumption) {
	for _, sub := range r.subs {
		if sub.late == nil || sub.gone.Load() {
			continue
		}
		key := s.hub.sources[r.source].key
		if r.d != nil {
			sub.hand(key, r.d)
		}
		from, _ := sub.late.from.Mark(key)
		sub.late.from = sub.late.from.With(key, aheadOf(r.next, from))
		if r.d == nil {
			s.advance(sub)
		} else if !sub.gone.Load() {
			s.hub.catchUp.later(sub)
		}
	}
}

// goLive ends the catching up.
func (s *sender) goLive(sub *Sub) {
	for _, name := range sub.late.sources {
		pos := s.pos[name]
		from, _ := sub.late.from.Mark(s.hub.sources[name].key)
		if slices.ContainsFunc(pos.Open, from.Has) {
			seen := sub.late.from
			sub.skip = &seen
		}
	}
	sub.late = nil
	sub.live.Store(true)
	cursor, _ := sub.Cursor()
	sub.to.Live(cursor, s.states(sub, cursor))
}

// states are the newest states of the subscription's channels, but for a poll
// that has seen them.
func (s *sender) states(sub *Sub, cursor string) *Delivery {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	d := &Delivery{Cursor: cursor}
	if sub.oneOff {
		if d.Tag = s.hub.tagOf(sub); d.Tag == sub.tag {
			return nil
		}
	}
	for _, r := range sub.refs {
		if r.ch.state != nil {
			e := r.ch.state.Events[0]
			e.Cursor = cursor
			d.Events = append(d.Events, e)
		}
	}
	if len(d.Events) == 0 {
		return nil
	}
	return d
}

// sources lists the sources of the subscription's channels.
func (s *Sub) sources() []string {
	l := late{}
	for _, r := range s.refs {
		l.addSource(r.ch.name)
	}
	return l.sources
}

// hears tells whether the subscription has a channel of the source.
func (s *Sub) hears(source string) bool { return slices.Contains(s.sources(), source) }

// catchUp is the one goroutine that reads old rows. Subscribers who ask the same
// share one query, and most are served by moving the ring's floor back.
type catchUp struct {
	hub *Hub

	mu      sync.Mutex
	jobs    map[string]*job
	order   []*job
	drain   []waiter
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
	for _, r := range sub.refs {
		if name, rest, _ := chat.SplitChannel(r.ch.name); name == src.Name() {
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
	c.mu.Unlock()
	c.poke()
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

func (c *catchUp) run(ctx context.Context) error {
	failures := 0
	var wait <-chan time.Time // nil: nothing to look at again
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		case <-wait:
		}
		wait = nil
		if c.release() {
			wait = time.After(drainPoll)
		}
		for j := c.take(); j != nil; j = c.take() {
			if err := c.answer(ctx, j); err != nil {
				if errors.Is(err, context.Canceled) {
					return nil
				}
				failures++
				c.hub.opt.Logger.Warn("old rows cannot be read; held clients wait", "source", j.src.Name(), "error", err)
				c.putBack(j)
				wait = time.After(backoff(failures))
				break
			}
			failures = 0
		}
	}
}

// backoff grows from 100 ms to 10 s with full jitter.
func backoff(failures int) time.Duration {
	top := min(10*time.Second, 100*time.Millisecond<<min(failures, 10))
	return top/10 + rand.N(top)
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
	j.subs = slices.DeleteFunc(j.subs, func(s *Sub) bool { return s.gone.Load() })
	return j
}

func (c *catchUp) putBack(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		s.post(command{resume: &resumption{subs: subs, source: j.src.Name(), d: d, next: next}})
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
