package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// replay reads the segments of an earlier life. It holds one file in memory at a
// time.
func (s *Spool) replay() error {
	numbers, err := s.listSegments()
	if err != nil {
		return err
	}
	found := make(map[key]*found)
	for _, number := range numbers {
		if err := s.replaySegment(number, found); err != nil {
			return err
		}
	}
	s.adopt(found)
	for _, seg := range s.segments[:max(0, len(s.segments)-1)] {
		seg.sealed = true
	}
	if s.opt.Sync == SyncNever {
		return nil
	}
	// What the last life wrote may be in the system's memory only.
	for _, seg := range s.segments {
		if err := seg.file.Sync(); err != nil {
			return fmt.Errorf("spool: syncing %s: %w", seg.path, err)
		}
	}
	if err := s.opt.disk.SyncDir(s.dir); err != nil {
		return fmt.Errorf("spool: syncing the folder: %w", err)
	}
	return nil
}

// listSegments returns the numbers of the segment files, ascending.
func (s *Spool) listSegments() ([]uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("spool: reading the folder: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		number, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), segmentSuffix), 16, 64)
		if err == nil && e.Name() == filepath.Base(s.segmentPath(number)) {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// found is a record without a mark so far.
type found struct {
	place
	seq  uint64
	time int64
}

// replaySegment reads one file, cuts off its torn end, and keeps it open.
func (s *Spool) replaySegment(number uint64, all map[key]*found) error {
	path := s.segmentPath(number)
	s.number = number
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("spool: looking at a file: %w", err)
	}
	if info.Size() > maxSegment+maxPayload {
		return fmt.Errorf("spool: %s has %d bytes, which no file of the spool has: move it away", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("spool: reading a file: %w", err)
	}
	m, err := parseHeader(data)
	switch {
	case errors.Is(err, errVersion):
		return fmt.Errorf("spool: reading %s: %w", path, err)
	case err != nil:
		return s.setAside(path, data)
	}
	f, err := s.opt.disk.OpenFile(path, false)
	if err != nil {
		return fmt.Errorf("spool: opening a file: %w", err)
	}
	seg := &segment{number: number, path: path, file: f, marker: m}
	s.segments = append(s.segments, seg)
	s.recovered.Segments++
	d := scan(data, m, func(off int64, size int, it item) {
		s.replayItem(all, place{seg, off, int32(size)}, it)
	})
	s.recovered.Corrupt += d.corrupt
	s.recovered.Skipped += d.skipped
	s.recovered.Torn += d.torn
	seg.size = int64(len(data)) - d.torn
	s.bytes += seg.size
	if d.torn > 0 {
		if err := f.Truncate(seg.size); err != nil {
			return fmt.Errorf("spool: cutting off the torn end of %s: %w", path, err)
		}
	}
	return nil
}

// setAside puts a file whose header is not one out of the way. A crash right
// after the file was made leaves it short or full of zeros; no record is in it
// then, and it is removed.
func (s *Spool) setAside(path string, data []byte) error {
	if len(bytes.Trim(data[min(headerSize, len(data)):], "\x00")) == 0 {
		s.recovered.Torn += int64(len(data))
		if err := s.opt.disk.Remove(path); err != nil {
			return fmt.Errorf("spool: removing an empty file: %w", err)
		}
		return nil
	}
	if err := os.Rename(path, path+".bad"); err != nil {
		return fmt.Errorf("spool: setting a damaged file aside: %w", err)
	}
	s.recovered.SetAside = append(s.recovered.SetAside, filepath.Base(path)+".bad")
	return nil
}

// replayItem keeps the newest record of each key. An older one was withdrawn when
// its sync failed, or forgotten before its mark could be written; the mark of the
// newer one is the mark of both. A carried copy has its original's number and
// takes its place.
func (s *Spool) replayItem(all map[key]*found, p place, it item) {
	s.seq = max(s.seq, it.seq)
	k := key{it.lane, it.id}
	known := all[k]
	if known != nil && known.seq > it.seq {
		return
	}
	if it.kind == kindPut {
		all[k] = &found{p, it.seq, it.time}
		return
	}
	delete(all, k)
	if it.kind == kindWithdrawn {
		return
	}
	f := fate{seq: it.seq, ref: it.ref, at: it.time, state: Stored}
	if it.kind == kindRefused {
		f.state = Refused
	}
	p.seg.lastMark = max(p.seg.lastMark, it.time)
	if time.Since(time.Unix(0, it.time)) < s.opt.Remember {
		s.memory.put(k, f)
	}
}

// adopt makes the records that have no mark available, in their order.
func (s *Spool) adopt(all map[key]*found) {
	order := make([]key, 0, len(all))
	for k := range all {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b key) int { return cmp.Compare(all[a].seq, all[b].seq) })
	now := time.Now()
	for _, k := range order {
		r := all[k]
		e := &entry{place: r.place, seq: r.seq, id: k.id, time: r.time}
		s.admit(k.lane, e)
		s.rouse(e.lane, now)
	}
	s.recovered.Records = len(s.waiting)
}
