package hub

import (
	"slices"

	"holdline/internal/chat"
)

// advance brings a late subscriber as far as it goes now: to the present, to
// the end of a slice, or to the question that the database must answer.
func (s *sender) advance(sub *Sub) {
	l := sub.late
	if l == nil || l.held || sub.gone.Load() {
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
		if !has { // it begins at the present
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

// proceed goes on with a subscriber whose answer has come.
func (s *sender) proceed(sub *Sub) {
	if l := sub.late; l != nil {
		l.held, l.void = false, false
		s.advance(sub)
	}
}

// await puts the subscriber aside until the source tells where it is. Tickets
// of two sources say nothing about each other.
func (s *sender) await(sub *Sub, src *source) {
	l := sub.late
	if l.ticket == 0 || l.asked != src {
		l.ticket, l.asked = src.Wake(), src
	}
	l.held = true
	if s.waiting = append(s.waiting, sub); len(s.waiting) >= s.sweepAt {
		// While the database is away, clients come and go by the thousand.
		s.waiting = slices.DeleteFunc(s.waiting, isGone)
		s.sweepAt = max(leastSweep, 2*len(s.waiting))
	}
}

// leastSweep is how many may wait before those who have left are looked for.
const leastSweep = 1024

func isGone(sub *Sub) bool { return sub.gone.Load() }

// ahead judges a cursor beyond our position. Another node may have read further;
// if we have not got there either after reading again, the id is from a table
// that is no more.
func (s *sender) ahead(sub *Sub, src *source, pos chat.Mark) (settled bool) {
	l := sub.late
	if l.ticket == 0 || l.asked != src || s.fresh[src.Name()] < l.ticket {
		s.await(sub, src)
		return false
	}
	l.from = l.from.With(src.key, pos)
	for _, r := range sub.refs {
		if r.ch.src == src && !sub.gone.Load() {
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
		sub.late.held = true
		s.hub.catchUp.ask(sub, src, from, pos)
		return false
	}
	if d := merge(ds); d != nil {
		sub.hand(src.key, d, pos)
	}
	// The client may have been told by another node of what is open here: goLive
	// makes that a skip list.
	sub.late.from = sub.late.from.With(src.key, join(from, next))
	if !complete && !sub.gone.Load() {
		sub.late.held = true
		s.hub.catchUp.later(sub)
	}
	return complete
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

// hand delivers old events of one source. The shared cursors are of a reader
// who has got as far as the source's newest mark and no further. A client that
// has more, or whose sender (at to) is behind, or that reads several sources and
// has not got to the others' present, gets cursors of its own.
func (s *Sub) hand(key string, d *Delivery, to chat.Mark) {
	from, _ := s.late.from.Mark(key)
	shared := len(s.late.sources) == 1
	marks := make([]chat.Mark, len(d.Events))
	for i := range d.Events {
		m := d.Events[i].Mark
		marks[i] = join(from, meet(m, to))
		shared = shared && marks[i].Last == m.Last && slices.Equal(marks[i].Open, m.Open)
	}
	if !shared {
		own := &Delivery{Events: slices.Clone(d.Events), channel: d.channel}
		for i := range own.Events {
			e := &own.Events[i]
			e.Mark = marks[i]
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
		l := sub.late
		if l == nil || sub.gone.Load() {
			continue
		}
		if r.d == nil || l.void {
			if !l.void {
				l.pass(r)
			}
			s.proceed(sub)
			continue
		}
		sub.hand(r.source.key, r.d, r.to)
		l.pass(r)
		if !sub.gone.Load() {
			s.hub.catchUp.later(sub)
		}
	}
}

// pass moves the client's position behind an answer.
func (l *late) pass(r *resumption) {
	from, _ := l.from.Mark(r.source.key)
	l.from = l.from.With(r.source.key, join(from, r.next))
}

// goLive ends the catching up.
func (s *sender) goLive(sub *Sub) {
	sub.skip.Store(nil)
	if seen := sub.late.from; s.stillSkips(sub, &seen) {
		sub.skip.Store(&seen)
	}
	sub.late = nil
	sub.live.Store(true)
	cursor, _ := sub.Cursor()
	s.hub.mu.Lock()
	sub.heard = s.hub.board.seq
	states := s.hub.statesOf(sub, cursor)
	s.hub.mu.Unlock()
	sub.to.Live(cursor, states)
}

// states are what is the case on the subscription's channels, but for a poll that
// has seen it.
func (s *sender) states(sub *Sub, cursor string) *Delivery {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.statesOf(sub, cursor)
}

// statesOf are the newest states and then the kept tellings. Hub.mu is held.
func (h *Hub) statesOf(sub *Sub, cursor string) *Delivery {
	d := &Delivery{Cursor: cursor}
	if sub.oneOff {
		if d.Tag = h.tagOf(sub); d.Tag == sub.tag {
			return nil
		}
	}
	for i := range sub.refs {
		if state := sub.refs[i].ch.state; state != nil {
			e := state.Events[0]
			e.Cursor = cursor
			d.Events = append(d.Events, e)
		}
	}
	for i := range sub.refs {
		for _, n := range h.board.notes[sub.refs[i].ch.name] {
			if n.reaches(sub.who) {
				d.Events = append(d.Events, n.d.Load().Events...) // never nil while it is kept
			}
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
	for i := range s.refs {
		l.addSource(s.refs[i].ch.name)
	}
	return l.sources
}

// hears tells whether the subscription has a channel of the source.
func (s *Sub) hears(source string) bool { return slices.Contains(s.sources(), source) }
