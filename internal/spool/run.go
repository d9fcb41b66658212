package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Run syncs by the policy and removes what is no longer needed, until the context
// ends or Close is called; then it refuses further Puts, lets those that wait
// return, and is nil. A disk that fails is told to the Puts concerned and logged,
// and tried again. It may be called once.
func (s *Spool) Run(ctx context.Context) error {
	s.mu.Lock()
	again, closed := s.running, s.stopped
	s.running = s.running || !closed
	s.mu.Unlock()
	switch {
	case again:
		return errors.New("spool: Run was called twice")
	case closed:
		return nil
	}
	defer close(s.ran)

	tick := time.NewTicker(s.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-s.kick:
			s.report(s.commit(s.opt.Sync != SyncNever))
		case <-tick.C:
			s.report(errors.Join(s.commit(s.opt.Sync != SyncNever), s.tidy()))
		case <-ctx.Done():
			return s.stop()
		case <-s.closing:
			return s.stop()
		}
	}
}

// stop ends the Puts in order: first no new ones, then those that wait.
func (s *Spool) stop() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.report(s.commit(s.opt.Sync != SyncNever))
	return nil
}

// report logs a failure when it begins and every minute of it, and its end.
func (s *Spool) report(err error) {
	s.mu.Lock()
	if err == nil && len(s.owed) > 0 {
		err = errOwed
	}
	s.mu.Unlock()
	switch {
	case err == nil && !s.trouble.IsZero():
		s.trouble = time.Time{}
		s.opt.Logger.Info("the spool's disk works again", "dir", s.dir)
	case err != nil && time.Since(s.trouble) >= time.Minute:
		s.trouble = time.Now()
		s.opt.Logger.Error("the spool's disk fails", "dir", s.dir, "error", err)
	}
}

// tidy keeps the files few.
func (s *Spool) tidy() error {
	return errors.Join(s.carry(), s.removeOld())
}

// removeOld removes segments from the oldest on. Never one from the middle: its marks
// are what keeps older records from being handed out again.
func (s *Spool) removeOld() error {
	for {
		head := s.removable(time.Now())
		if head == nil {
			return nil
		}
		// The folder is synced after each one, lest an older file comes back after
		// a crash without the newer one that has its marks. It is gone already when
		// only that sync failed the last time.
		if err := s.opt.disk.Remove(head.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("spool: removing an old file: %w", err)
		}
		if err := s.opt.disk.SyncDir(s.dir); err != nil {
			return fmt.Errorf("spool: removing an old file: %w", err)
		}
		s.mu.Lock()
		s.segments = slices.Delete(s.segments, 0, 1)
		s.bytes -= head.size
		s.mu.Unlock()
		if err := head.file.Close(); err != nil {
			return fmt.Errorf("spool: closing an old file: %w", err)
		}
	}
}

// removable is the oldest segment if nothing in it is needed any more: no waiting
// record, and no mark that is to be remembered while there is room for it.
func (s *Spool) removable(now time.Time) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.expire(now)
	if len(s.segments) == 0 {
		return nil
	}
	head := s.segments[0]
	wanted := now.UnixNano()-head.lastMark < int64(s.opt.Remember) && s.bytes <= s.opt.MaxBytes/2
	if head.live > 0 || head.reading > 0 || head.dirty || wanted {
		return nil
	}
	// The last one is finished early, so that bodies do not stay on disk for as
	// long as it takes to fill it.
	if len(s.segments) == 1 && head.size <= headerSize {
		return nil
	}
	head.sealed = true
	return head
}

// carry moves the waiting records of the oldest segment to the newest, when more
// than half of a well-filled spool is dead: a chat that WordPress does not take
// must not keep everybody's old files.
func (s *Spool) carry() error {
	moves := s.stranded()
	if len(moves) == 0 {
		return nil
	}
	for i := range moves {
		if err := s.copyRecord(&moves[i]); err != nil {
			return err
		}
	}
	// The originals are the records until their copies are durable; a crash
	// between leaves two frames with one number, which is one record.
	if err := s.commit(true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range moves {
		if m.to.seg == nil || s.waiting[m.e.key()] != m.e {
			continue
		}
		m.e.seg.live--
		m.to.seg.live++
		m.e.place = m.to
		s.count.carried++
	}
	return nil
}

// move is a record and its new place; the new segment is nil if it was not copied.
type move struct {
	e  *entry
	to place
}

func (s *Spool) stranded() []move {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) < 2 || s.bytes <= s.opt.MaxBytes/2 || s.liveBytes >= s.bytes/2 {
		return nil
	}
	head := s.segments[0]
	moves := make([]move, 0, head.live)
	for _, e := range s.waiting {
		if e.seg == head && e.pending == nil {
			moves = append(moves, move{e: e})
		}
	}
	return moves
}

// copyRecord holds the lock for one record only. A record that cannot be read
// back keeps its place, for Take to tell.
func (s *Spool) copyRecord(m *move) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[m.e.key()] != m.e {
		return nil
	}
	it, err := m.e.read()
	if err != nil {
		return nil
	}
	if m.to, err = s.write(it); err != nil {
		return fmt.Errorf("spool: moving an old record: %w", err)
	}
	return nil
}
