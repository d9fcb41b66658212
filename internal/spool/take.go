package spool

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
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
	Attempt int // how often it was given back by Retry since Open
	// Err is not nil when the body cannot be read back. Such a record is best
	// refused, so that its sender hears of it and the lane goes on.
	Err error
}

// Take hands out the oldest record of each lane that has none in flight, at most
// limit records, lanes that are due longest first. It waits until there is one.
// Each is to be given back by Done, Retry or Refuse. Several may take at a time.
// It goes on when Run has ended; the errors are the context's and ErrClosed.
func (s *Spool) Take(ctx context.Context, limit int) ([]Record, error) {
	limit = max(limit, 1)
	for {
		picked, due, err := s.pick(limit)
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
func (s *Spool) pick(limit int) (out []picked, due time.Time, err error) {
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
		e := l.queue[0]
		s.taken[e.seq] = e
		out = append(out, s.open(e))
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
// see as pending. At most limit records.
func (s *Spool) Waiting(laneName string, limit int) ([]Record, error) {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	var all []picked
	if l := s.lanes[laneName]; l != nil {
		for _, e := range l.queue[:min(len(l.queue), max(limit, 0))] {
			if e.pending == nil {
				all = append(all, s.open(e))
			}
		}
	}
	s.mu.Unlock()
	return s.fetch(all)
}

// Done says that the record is stored; ref is what it became, such as the row's
// id, or 0. Repetitions of it are answered with that for Options.Remember. The
// mark becomes durable with the next sync: a power cut before that hands the
// record out again.
func (s *Spool) Done(seq uint64, ref int64) error {
	return s.settle(seq, item{kind: kindStored, ref: ref})
}

// Refuse says that the record will never be stored. Repetitions of it are
// answered with that for Options.Remember.
func (s *Spool) Refuse(seq uint64) error {
	return s.settle(seq, item{kind: kindRefused})
}

// settle marks a record in flight. That the mark cannot be written is no error
// here: it is owed, and written when the disk has room.
func (s *Spool) settle(seq uint64, mark item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.giveBack(seq)
	if err != nil {
		return err
	}
	f := fate{seq: seq, ref: mark.ref, at: time.Now().UnixNano(), state: Stored}
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
	s.rouse(e.lane, time.Now())
	if s.opt.Sync == SyncAlways {
		nudge(s.kick)
	}
	return nil
}

// Retry gives the record back, to be handed out again after a while. Its lane
// waits for it.
func (s *Spool) Retry(seq uint64, after time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.giveBack(seq)
	if err != nil {
		return err
	}
	e.attempt++
	s.count.retried++
	s.rouse(e.lane, time.Now().Add(after))
	return nil
}

func (s *Spool) giveBack(seq uint64) (*entry, error) {
	if s.shut {
		return nil, ErrClosed
	}
	e := s.taken[seq]
	if e == nil {
		return nil, fmt.Errorf("%w: record %d", ErrNotTaken, seq)
	}
	delete(s.taken, seq)
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
