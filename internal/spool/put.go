package spool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is what the spool knows of a record that was put.
type State int

const (
	Accepted State = iota // new: kept from now on
	Waiting               // a repetition of a record that is not yet stored
	Stored                // a repetition of one that was marked done
	Refused               // a repetition of one that was refused
)

// String names the state for logs and metrics.
func (s State) String() string {
	return [...]string{"accepted", "waiting", "stored", "refused"}[s]
}

// Receipt answers a Put. For a repetition it is the first record's, whose body
// counts even if the repetition's differs.
type Receipt struct {
	Seq   uint64
	State State
	Ref   int64 // as given to Done or Refuse; 0 otherwise
}

// Put keeps a record: lane and id (1 to 255 bytes each, id from the sender and
// unique in the lane) and a body of at most Options.MaxBody bytes, which is not
// kept in memory. Under SyncAlways it returns when the record is durable. Records
// of a lane are handed out in the order in which Puts began, as far as that is
// defined.
//
// An error means that the record is not promised to be kept: ErrFull, ErrInvalid,
// ErrClosed, or what the disk said. After the context's error it may have been
// kept all the same; putting it again with the same id tells.
func (s *Spool) Put(ctx context.Context, laneName, id string, body []byte) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, fmt.Errorf("spool: putting a record: %w", err)
	}
	t, err := s.Begin(laneName, id, body)
	if err != nil {
		return Receipt{}, err
	}
	return t.Wait(ctx)
}

// Begin is the first half of Put: the record has its place in its lane. Nothing
// is promised until Wait returns. It lets one goroutine put several records in
// order and wait for one sync of them all.
func (s *Spool) Begin(laneName, id string, body []byte) (Ticket, error) {
	if err := s.check(laneName, id, body); err != nil {
		return Ticket{}, err
	}
	s.mu.Lock()
	receipt, pending, err := s.accept(laneName, id, body)
	s.mu.Unlock()
	if pending != nil {
		nudge(s.kick)
	}
	return Ticket{receipt, pending}, err
}

// Ticket is a record that Begin wrote.
type Ticket struct {
	receipt Receipt
	pending *commit
}

// Wait returns what Put would, when Put would. It does not hang after Run: what
// was begun is synced, or its failure told, before Run ends.
func (t Ticket) Wait(ctx context.Context) (Receipt, error) {
	if t.pending == nil {
		return t.receipt, nil
	}
	select {
	case <-t.pending.done:
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("spool: waiting for the disk: %w", ctx.Err())
	}
	if t.pending.err != nil {
		return Receipt{}, t.pending.err
	}
	return t.receipt, nil
}

func (s *Spool) check(laneName, id string, body []byte) error {
	switch {
	case laneName == "" || len(laneName) > maxName:
		return fmt.Errorf("%w: a lane has 1 to %d bytes, not %d", ErrInvalid, maxName, len(laneName))
	case id == "" || len(id) > maxName:
		return fmt.Errorf("%w: a client id has 1 to %d bytes, not %d", ErrInvalid, maxName, len(id))
	case len(body) > s.opt.MaxBody:
		return fmt.Errorf("%w: a body has at most %d bytes, not %d", ErrInvalid, s.opt.MaxBody, len(body))
	}
	return nil
}

// accept writes a new record, or finds the old one. It returns the commit to wait
// for, if any. The caller holds the lock.
func (s *Spool) accept(laneName, id string, body []byte) (Receipt, *commit, error) {
	if s.stopped {
		return Receipt{}, nil, ErrClosed
	}
	now := time.Now()
	k := key{laneName, id}
	if e := s.waiting[k]; e != nil {
		s.count.repeated++
		return Receipt{Seq: e.seq, State: Waiting}, e.pending, nil
	}
	if f, known := s.memory.get(k, now); known {
		s.count.repeated++
		return Receipt{Seq: f.seq, State: f.state, Ref: f.ref}, nil, nil
	}
	it := item{kind: kindPut, seq: s.seq + 1, time: now.UnixNano(), lane: laneName, id: id, body: body}
	p, err := s.writeRecord(it)
	if err != nil {
		return Receipt{}, nil, err
	}
	s.seq++
	s.count.accepted++
	e := &entry{place: p, seq: it.seq, id: strings.Clone(id), time: it.time} // a piece of a request must not hold the whole of it
	if s.opt.Sync == SyncAlways {
		e.pending = s.next
		s.next.entries = append(s.next.entries, e)
	}
	s.admit(strings.Clone(laneName), e)
	if e.lane.queue[0] == e {
		s.rouse(e.lane, now)
	}
	return Receipt{Seq: e.seq, State: Accepted}, e.pending, nil
}

// writeRecord keeps the bounds: room for the marks of all that waits is set aside.
func (s *Spool) writeRecord(it item) (place, error) {
	mark := item{lane: it.lane, id: it.id}.frameSize()
	var err error
	var p place
	switch need := it.frameSize() + mark + headerSize; {
	case len(s.waiting) >= s.opt.MaxRecords:
		err = fmt.Errorf("%w: %d records wait for WordPress", ErrFull, len(s.waiting))
	case s.bytes+s.reserved+need > s.opt.MaxBytes:
		err = fmt.Errorf("%w: its files have %d of %d bytes", ErrFull, s.bytes, s.opt.MaxBytes)
	case int64(len(s.segments)) > 16+2*s.opt.MaxBytes/s.opt.SegmentBytes:
		// A disk that takes files and fails their syncs would use up descriptors.
		err = fmt.Errorf("%w: it has %d files", ErrFull, len(s.segments))
	default:
		p, err = s.write(it)
	}
	if err != nil {
		s.count.rejected++
	}
	return p, err
}

// commit is what one fsync makes durable, and who waits for it. It is filled
// under Spool.mu until Run takes it out of Spool.next.
type commit struct {
	done     chan struct{} // closed when it is over
	err      error         // set before done is closed
	entries  []*entry
	segments []*segment
	dir      bool // a file was made
}

func newCommit() *commit { return &commit{done: make(chan struct{})} }

func (c *commit) touch(seg *segment) {
	if !seg.dirty {
		seg.dirty = true
		c.segments = append(c.segments, seg)
	}
}

// sync is called without the lock.
func (c *commit) sync(d disk, dir string) error {
	for _, seg := range c.segments {
		if err := seg.file.Sync(); err != nil {
			return fmt.Errorf("spool: syncing %s: %w", seg.path, noRoom(err))
		}
	}
	if c.dir {
		if err := d.SyncDir(dir); err != nil {
			return fmt.Errorf("spool: syncing the folder: %w", err)
		}
	}
	return nil
}

// commit syncs what was written since the last time and lets the Puts return.
// Only Run calls it, and Close after Run.
func (s *Spool) commit(sync bool) error {
	s.mu.Lock()
	s.payMarks()
	c := s.next
	if len(c.segments) == 0 && !c.dir {
		s.mu.Unlock()
		return nil
	}
	s.next = newCommit()
	for _, seg := range c.segments {
		seg.dirty = false
	}
	s.mu.Unlock()

	var err error
	if sync {
		err = c.sync(s.opt.disk, s.dir)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if sync {
		s.count.syncs++
	}
	if err != nil {
		s.count.syncErrors++
		s.abandon(c, err)
		return err
	}
	now := time.Now()
	for _, e := range c.entries {
		e.pending = nil
		if e.lane.queue[0] == e {
			s.rouse(e.lane, now)
		}
	}
	close(c.done)
	return nil
}

// abandon gives up what a failed sync was for. After such a failure the system
// may have dropped the written pages and call them clean, so a second try on the
// same file would prove nothing (Rebello et al., "Can Applications Recover from
// fsync Failures?", USENIX ATC 2020): the file is not written to any more, and
// records that nobody was promised are withdrawn, those of the commit that was
// being filled meanwhile too. The caller holds the lock.
func (s *Spool) abandon(c *commit, err error) {
	if n := len(s.segments); n > 0 {
		s.segments[n-1].sealed = true
	}
	filling := s.next
	s.next = newCommit()
	s.next.dir = c.dir || filling.dir
	for _, seg := range filling.segments {
		seg.dirty = false
	}
	for _, e := range slices.Concat(c.entries, filling.entries) {
		// What is behind it in its lane is withdrawn as well, so nothing is to be
		// roused.
		s.mark(item{kind: kindWithdrawn, seq: e.seq}, e)
		s.dismiss(e)
		s.count.accepted--
	}
	for _, over := range []*commit{c, filling} {
		over.err = err
		close(over.done)
	}
}
