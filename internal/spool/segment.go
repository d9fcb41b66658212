package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// disk is the file system, so that tests can make it fail.
type disk interface {
	// OpenFile opens for reading and writing; create wants that it does not exist.
	OpenFile(path string, create bool) (file, error)
	Remove(path string) error
	// SyncDir makes the folder's entries durable.
	SyncDir(dir string) error
}

// file is the part of os.File that a segment needs.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

type osDisk struct{}

func (osDisk) OpenFile(path string, create bool) (file, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	return os.OpenFile(path, flag, 0o600)
}

func (osDisk) Remove(path string) error { return os.Remove(path) }

func (osDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems (FUSE, SMB) cannot sync a folder, and say so by these.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// segment is one file. All but file and path is guarded by Spool.mu.
type segment struct {
	number   uint64
	path     string
	file     file
	marker   marker
	size     int64
	live     int   // waiting records in it
	lastMark int64 // Unix nanoseconds of its newest mark
	reading  int   // Takes that read from it now
	dirty    bool  // in Spool.next
	sealed   bool  // not to be written to
}

// place is where a frame is.
type place struct {
	seg  *segment
	off  int64
	size int32
}

// read fetches the frame and checks it.
func (p place) read() (item, error) {
	b := make([]byte, p.size)
	if _, err := p.seg.file.ReadAt(b, p.off); err != nil {
		return item{}, fmt.Errorf("spool: reading a record of %s: %w", p.seg.path, err)
	}
	it, _, err := parseFrame(b, p.seg.marker)
	if err != nil {
		return item{}, fmt.Errorf("spool: reading a record of %s at byte %d: %w", p.seg.path, p.off, err)
	}
	return it, nil
}

const segmentSuffix = ".spool"

func (s *Spool) segmentPath(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
}

// active is the segment that has room for size bytes more, made if need be. The
// caller holds the lock.
func (s *Spool) active(size int64) (*segment, error) {
	if n := len(s.segments); n > 0 {
		seg := s.segments[n-1]
		if !seg.sealed && (seg.size+size <= s.opt.SegmentBytes || seg.size <= headerSize) {
			return seg, nil
		}
		seg.sealed = true
	}
	s.number++
	path := s.segmentPath(s.number)
	f, err := s.opt.disk.OpenFile(path, true)
	if err != nil {
		return nil, fmt.Errorf("spool: beginning a file: %w", noRoom(err))
	}
	m := newMarker()
	if _, err := f.WriteAt(appendHeader(nil, m, time.Now()), 0); err != nil {
		// Without its header the file says nothing; left behind it would be removed
		// by the next Open.
		err = errors.Join(noRoom(err), f.Close(), s.opt.disk.Remove(path))
		return nil, fmt.Errorf("spool: beginning %s: %w", path, err)
	}
	seg := &segment{number: s.number, path: path, file: f, marker: m, size: headerSize}
	s.segments = append(s.segments, seg)
	s.bytes += headerSize
	s.next.dir = true
	return seg, nil
}

// write appends one frame. A frame that goes in by half is cut off again, and
// where even that fails the segment is given up, so that whatever is in it is
// never in the way. The caller holds the lock.
func (s *Spool) write(it item) (place, error) {
	size := it.frameSize()
	seg, err := s.active(size)
	if err != nil {
		return place{}, err
	}
	s.buf = appendFrame(s.buf[:0], seg.marker, it)
	if _, err := seg.file.WriteAt(s.buf, seg.size); err != nil {
		err = noRoom(err)
		// How much went in is unknown: os.File.WriteAt says 0 when a part of it did
		// and the rest failed.
		if cut := seg.file.Truncate(seg.size); cut != nil {
			seg.sealed = true
			seg.size += size
			s.bytes += size
			err = errors.Join(err, cut)
		}
		return place{}, fmt.Errorf("spool: writing %s: %w", seg.path, err)
	}
	p := place{seg: seg, off: seg.size, size: int32(size)}
	seg.size += size
	s.bytes += size
	s.next.touch(seg)
	return p, nil
}

// noRoom makes the errors of a full disk, quota or file size limit an ErrFull.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
