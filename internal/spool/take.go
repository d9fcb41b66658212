package spool

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Record is a waiting record as handed out.
type Record struct {
	Seq     uint64 // unique among the records that the spool knows
	Lane    string
	ID      string // the sender's
	Body    []byte // the receiver's own
	Time    time.Time
	Attempt int // how often Retry was called for it since Open
	// Err is not nil when the body cannot be read back. Such a record is best
	// refused, so that its sender hears of it and the lane goes on.
	Err error
}

// Take hands out the oldest records of each lane that has none in flight: at most
// depth consecutive ones of a lane, adjacent and in order, and at most limit in
// all, lanes that are due longest first. It waits until there is one. Each is to
// be given back by Done, Refuse or Retry, those of a lane in their order; the lane
// hands out more when all are. Several may take at a time. It goes on when Run
// has ended; the errors are the context's and ErrClosed.
func (s *Spool) Take(ctx context.Context, limit, depth int) ([]Record, error) {
	limit, depth = max(limit, 1), max(depth, 1)
	for {
		picked, due, err := s.pick(limit, depth)
		if err != nil {
			return nil, err
		}
		if len(picked) > 0 {
			return s.fetch(picked)
		}
		if err := s.await(ctx, due); err != nil {
			return nil, err
		}
	}
}

// await returns when there may be something to take; a zero due never comes.
func (s *Spool) await(ctx context.Context, due time.Time) error {
	var alarm <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-s.wake:
	case <-alarm:
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		nudge(s.wake) // another Take may have relied on this one's alarm
		return fmt.Errorf("spool: waiting for a record: %w", ctx.Err())
	}
	return nil
}

// picked is a record that is being read, and where it was when that began.
type picked struct {
	place
	rec Record
}

// pick takes lanes off the heap. If none is due it tells when the next one is.
func (s *Spool) pick(limit, depth int) (out []picked, due time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return nil, due, ErrClosed
	default:
	}
	now := time.Now()
	for len(s.ready) > 0 && len(out) < limit && !s.ready[0].due.After(now) {
		l := heap.Pop(&s.ready).(*lane)
		l.rests = true
		for _, e := range l.queue[:min(len(l.queue), depth, limit-len(out))] {
			if e.pending != nil {
				break // and so is all behind it: syncs end in order
			}
			l.flight++
			s.taken[e.seq] = e
			out = append(out, s.open(e))
		}
	}
	if len(s.ready) > 0 {
		due = s.ready[0].due
		if len(out) > 0 {
			nudge(s.wake) // for another Take that sleeps
		}
	}
	return out, due, nil
}

// open begins reading: until fetch ends it, the file stays. The caller holds the
// lock.
func (s *Spool) open(e *entry) picked {
	e.seg.reading++
	return picked{e.place, Record{
		Seq: e.seq, Lane: e.lane.name, ID: e.id, Time: time.Unix(0, e.time), Attempt: int(e.attempt),
	}}
}

// fetch reads the bodies, without the lock.
func (s *Spool) fetch(all []picked) ([]Record, error) {
	out := make([]Record, len(all))
	for i, p := range all {
		it, err := p.read()
		p.rec.Body, p.rec.Err = it.body, err
		out[i] = p.rec
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range all {
		p.seg.reading--
	}
	if s.shut {
		return nil, ErrClosed // the bodies may be missing for no other reason
	}
	return out, nil
}

// Waiting returns a lane's records that are not yet stored, oldest first, those
// in flight included, without taking them: what a browser that comes back has to
// see as pending. At most limit records, each with a number above after.
func (s *Spool) Waiting(laneName string, after uint64, limit int) ([]Record, error) {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	var all []picked
	if l := s.lanes[laneName]; l != nil {
		from, found := slices.BinarySearchFunc(l.queue, after, func(e *entry, seq uint64) int { return cmp.Compare(e.seq, seq) })
		if found {
			from++
		}
		for _, e := range l.queue[from:][:min(len(l.queue)-from, max(limit, 0))] {
			if e.pending == nil {
				all = append(all, s.open(e))
			}
		}
	}
	s.mu.Unlock()
	return s.fetch(all)
}

// Lanes returns the names of the lanes with waiting records, those in flight
// included, in no order.
func (s *Spool) Lanes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.lanes))
}

// Hurry makes all lanes due that wait for their Retry: what kept them has ended.
func (s *Spool) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range s.lanes {
		if l.due.After(now) {
			l.due = now
		}
	}
	heap.Init(&s.ready)
	nudge(s.wake)
}

// Done says that the record is stored; ref is what it became, such as the row's
// id, or 0. Repetitions of it are answered with that for Options.Remember. The
// mark becomes durable with the next sync: a power cut before that hands the
// record out again. While an older one of its lane is in flight it is ErrOrder:
// that one might have to be stored again, after this one.
func (s *Spool) Done(seq uint64, ref int64) error {
	return s.settle(seq, item{kind: kindStored, ref: ref})
}

// Refuse says that the record will never be stored; ref is a number that says
// why, or 0. Repetitions of it are answered with that for Options.Remember.
// ErrOrder is as with Done.
func (s *Spool) Refuse(seq uint64, ref int64) error {
	return s.settle(seq, item{kind: kindRefused, ref: ref})
}

// settle marks a record in flight. That the mark cannot be written is no error
// here: it is owed, and written when the disk has room.
func (s *Spool) settle(seq uint64, mark item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.inFlight(seq)
	if err != nil {
		return err
	}
	if e.lane.queue[0] != e {
		return fmt.Errorf("%w: record %d", ErrOrder, seq)
	}
	delete(s.taken, seq)
	e.lane.flight--
	now := time.Now()
	f := fate{seq: seq, ref: mark.ref, at: now.UnixNano(), state: Stored}
	s.count.stored++
	if mark.kind == kindRefused {
		f.state = Refused
		s.count.stored--
		s.count.refused++
	}
	mark.seq = seq
	s.mark(mark, e)
	s.memory.put(e.key(), f)
	s.dismiss(e)
	if due := e.lane.due; due.After(now) {
		now = due // one behind it was given back for later
	}
	s.rouse(e.lane, now)
	if s.opt.Sync == SyncAlways {
		nudge(s.kick)
	}
	return nil
}

// Retry gives the record back, and with it all later ones of its lane that are in
// flight, to be handed out again after a while. The lane waits for it.
func (s *Spool) Retry(seq uint64, after time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.inFlight(seq)
	if err != nil {
		return err
	}
	l := e.lane
	first := slices.Index(l.queue[:l.flight], e)
	for _, later := range l.queue[first:l.flight] {
		delete(s.taken, later.seq)
	}
	l.flight = first
	l.due = time.Now().Add(after)
	e.attempt++
	s.count.retried++
	s.rouse(l, l.due)
	return nil
}

func (s *Spool) inFlight(seq uint64) (*entry, error) {
	if s.shut {
		return nil, ErrClosed
	}
	e := s.taken[seq]
	if e == nil {
		return nil, fmt.Errorf("%w: record %d", ErrNotTaken, seq)
	}
	return e, nil
}

// mark writes or owes a mark. The caller holds the lock.
func (s *Spool) mark(mark item, e *entry) {
	mark.time, mark.lane, mark.id = time.Now().UnixNano(), e.lane.name, e.id
	s.owed = append(s.owed, mark)
	s.payMarks()
}

// payMarks writes owed marks in their order as far as the disk takes them. Marks
// are outside the bound of bytes, since room was set aside for them.
func (s *Spool) payMarks() {
	paid := 0
	for _, mark := range s.owed {
		p, err := s.write(mark)
		if err != nil {
			// Not lost: it stays owed, Run tries again and Stats shows it.
			break
		}
		if mark.kind != kindWithdrawn { // those are not remembered
			p.seg.lastMark = max(p.seg.lastMark, mark.time)
		}
		paid++
	}
	s.owed = slices.Delete(s.owed, 0, paid)
	if len(s.owed) == 0 && cap(s.owed) > 1024 {
		s.owed = nil
	}
}

var errOwed = errors.New("spool: marks of stored messages cannot be written; a restart now would store them again: make room on the disk")
