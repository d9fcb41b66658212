package hub

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdline/internal/chat"
)

// A slice is what a subscriber that catches up is given at once.
const (
	sliceEvents = 128
	sliceBytes  = 64 << 10
)

// pending is how many batches may wait for one sender before Publish waits too.
const pending = 64

// sender is one goroutine and the subscribers it serves. Its fields without a
// lock belong to that goroutine.
type sender struct {
	hub   *Hub
	index int
	subs  atomic.Int64

	mu     sync.Mutex
	box    []command
	signal chan struct{}
	slots  chan struct{} // one token for each batch in the box

	tellings atomic.Int32 // in the box

	pos    map[string]chat.Mark // by source; absent while unknown
	fresh  map[string]uint64    // highest ticket answered, by source
	cursor atomic.Pointer[string]
	// carrying is true from the first delivery of a batch until the cursor is behind it.
	carrying atomic.Bool
	waiting  []*Sub // for a position, or for news of one
	sweepAt  int    // how many of them before those who have left are forgotten
}

// command is one thing for the sender to do; exactly one field is set, but for
// resume.
type command struct {
	publish *publication
	tell    *note
	add     *Sub
	remove  *Sub
	advance *Sub // it may take the next slice
	resume  *resumption
	each    func(Subscriber)
}

// resumption is what the database had for a subscriber far behind.
type resumption struct {
	subs   []*Sub
	source *source
	d      *Delivery // nil when there was nothing
	next   chat.Mark // where its reader then is
	to     chat.Mark // where it wants to get
}

func newSender(h *Hub, index int) *sender {
	return &sender{
		hub: h, index: index,
		signal: make(chan struct{}, 1),
		slots:  make(chan struct{}, pending),
		pos:    make(map[string]chat.Mark),
		fresh:  make(map[string]uint64),
	}
}

// post adds a command and never waits.
func (s *sender) post(c command) {
	s.mu.Lock()
	s.box = append(s.box, c)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default: // it is awake already
	}
}

func (s *sender) publish(ctx context.Context, p *publication) error {
	select {
	case s.slots <- struct{}{}:
		s.post(command{publish: p})
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sender) run(ctx context.Context) error {
	var spare []command
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.signal:
		}
		s.mu.Lock()
		box := s.box
		s.box = spare[:0]
		s.mu.Unlock()
		for i := range box {
			s.do(&box[i])
			box[i] = command{} // a spare box must keep nobody reachable
		}
		// A wave of arrivals must not leave its queue behind for ever.
		if spare = box; cap(spare) > 1024 {
			spare = nil
		}
	}
}

func (s *sender) do(c *command) {
	switch {
	case c.publish != nil:
		s.carry(c.publish)
		<-s.slots
	case c.tell != nil:
		s.tell(c.tell)
	case c.add != nil:
		s.enlist(c.add)
		s.advance(c.add)
	case c.remove != nil:
		s.strike(c.remove)
	case c.advance != nil:
		s.proceed(c.advance)
	case c.resume != nil:
		s.resume(c.resume)
	case c.each != nil:
		for _, sub := range s.all() {
			c.each(sub.to)
		}
	}
}

// enlist puts a subscription into its channels' lists, unless it was closed
// before its turn came.
func (s *sender) enlist(sub *Sub) {
	if sub.gone.Load() {
		return
	}
	sub.listed = true
	for i := range sub.refs {
		r := &sub.refs[i]
		list := r.ch.lists[s.index]
		r.at = int32(len(list))
		r.ch.lists[s.index] = append(list, sub)
	}
	s.subs.Add(1)
}

// strike takes it out again. It is called once for every subscription.
func (s *sender) strike(sub *Sub) {
	if sub.listed {
		s.unlist(sub)
	}
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range sub.refs {
		if r.ch.refs--; r.ch.refs == 0 {
			r.ch.empty = time.Now()
			h.deserted++
		}
	}
}

// unlist moves the last of each list to the place that becomes free.
func (s *sender) unlist(sub *Sub) {
	for i := range sub.refs {
		r := &sub.refs[i]
		list := r.ch.lists[s.index]
		last := len(list) - 1
		moved := list[last]
		list[r.at] = moved
		for j := range moved.refs {
			if m := &moved.refs[j]; m.ch == r.ch && m.at == int32(last) {
				m.at = r.at
			}
		}
		list[last] = nil
		if list = list[:last]; last == 0 {
			list = nil
		}
		r.ch.lists[s.index] = list
	}
	sub.listed = false
	s.subs.Add(-1)
}

// all lists the sender's subscriptions, each once.
func (s *sender) all() []*Sub {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	subs := make([]*Sub, 0, s.subs.Load())
	for _, ch := range s.hub.channels {
		for _, sub := range ch.lists[s.index] {
			if sub.refs[0].ch == ch && !sub.gone.Load() {
				subs = append(subs, sub)
			}
		}
	}
	return subs
}

// carry hands a batch to those who are live and moves the position.
func (s *sender) carry(p *publication) {
	switch {
	case p.pause:
		s.pause(p.source)
		return
	case p.reset:
		s.reset(p)
	default:
		s.carrying.Store(true)
		for _, d := range p.ds {
			s.fanOut(d, p.settled[d])
		}
	}
	s.pos[p.source] = p.mark
	s.fresh[p.source] = max(s.fresh[p.source], p.fresh)
	s.cursor.Store(&p.cursor)
	s.carrying.Store(false)
	if len(s.waiting) > 0 {
		waiting := s.waiting
		s.waiting = nil
		for _, sub := range waiting {
			s.proceed(sub)
		}
	}
}

// on lists the sender's subscriptions to a channel, the late ones too.
func (s *sender) on(channel string) []*Sub {
	s.hub.mu.Lock()
	ch := s.hub.channels[channel]
	s.hub.mu.Unlock()
	if ch == nil {
		return nil
	}
	return ch.lists[s.index]
}

// fanOut gives a delivery to every live subscriber of its channel; with a
// settlement, in the form that is right for each. Those that are late find it in
// the ring when they get there.
func (s *sender) fanOut(d *Delivery, settled *settlement) {
	for _, sub := range s.on(d.channel) {
		if sub.late != nil || sub.gone.Load() {
			continue
		}
		own := d
		if settled != nil {
			own = settled.of(sub)
		}
		if sub.skip.Load() == nil && (d.tag == 0 || !sub.oneOff) {
			sub.to.Deliver(own)
			continue
		}
		s.deliverPicky(sub, own)
	}
}

// deliverPicky leaves out what the client is known to have: rows that another
// node told it, and for a poll the states it has seen.
func (s *sender) deliverPicky(sub *Sub, d *Delivery) {
	seen := sub.skip.Load()
	if seen != nil && !s.stillSkips(sub, seen) {
		sub.skip.Store(nil)
		seen = nil
	}
	if d.tag != 0 && sub.oneOff {
		if all := s.states(sub, sub.own(d.Cursor, seen)); all != nil {
			sub.to.Deliver(all)
		}
		return
	}
	if seen == nil {
		sub.to.Deliver(d)
		return
	}
	had, _ := seen.Mark(s.hub.sourceOf(d.channel).key)
	own := &Delivery{channel: d.channel, Tag: d.Tag}
	for _, e := range d.Events {
		if e.ID == 0 || !had.Has(e.ID) {
			e.Cursor = sub.own(e.Cursor, seen)
			own.Cursor = e.Cursor
			own.Events = append(own.Events, e)
		}
	}
	if len(own.Events) > 0 {
		sub.to.Deliver(own)
	}
}

// stillSkips tells whether the client has rows that were still to come at the
// sender's position.
func (s *sender) stillSkips(sub *Sub, seen *chat.Cursor) bool {
	return slices.ContainsFunc(sub.refs, func(r ref) bool {
		had, _ := seen.Mark(r.ch.src.key)
		return slices.ContainsFunc(s.pos[r.ch.src.Name()].Open, had.Has)
	})
}

// pause makes late again whoever went live in the moment in which the source
// fell asleep, so that it loses nothing over the jump to come.
func (s *sender) pause(source string) {
	delete(s.pos, source)
	for _, sub := range s.all() {
		if !sub.hears(source) {
			continue
		}
		if sub.late == nil {
			text, _ := sub.Cursor()
			from, _ := chat.ParseCursor(text)
			sub.live.Store(false)
			sub.late = &late{from: from, sources: sub.sources()}
		}
		sub.late.ticket = 0 // what was read then is of no use now
		s.advance(sub)
	}
}

// reset tells everyone on the source that its ids began again.
func (s *sender) reset(p *publication) {
	src := s.hub.sources[p.source]
	told := make(map[*channel]*Delivery)
	for _, sub := range s.all() {
		if !sub.hears(p.source) {
			continue
		}
		cursor := p.cursor
		if l := sub.late; l != nil {
			l.from, l.void = l.from.With(src.key, p.mark), l.held
			cursor = l.from.String() // of other sources it has not got to the present
		} else if seen := sub.skip.Load(); seen != nil {
			others := seen.With(src.key, chat.Mark{})
			sub.skip.Store(&others)
			cursor = sub.own(cursor, &others)
		}
		for _, r := range sub.refs {
			if r.ch.src != src || sub.gone.Load() {
				continue
			}
			d := told[r.ch]
			if d == nil || d.Cursor != cursor {
				d = resetOf(r.ch.name, cursor, "the table's ids began again")
				told[r.ch] = d
			}
			sub.to.Deliver(d)
		}
	}
}

func resetOf(channel, cursor, why string) *Delivery {
	return newDelivery([]chat.Event{{
		Type: chat.TypeReset, Channel: channel, Cursor: cursor,
		Data: []byte(`{"reason":"` + why + `"}`),
	}})
}
