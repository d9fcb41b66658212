// Package spool keeps messages that were accepted from browsers and are not yet
// stored by WordPress: a queue on disk that is append-only, checksummed, bounded
// and replayed after a crash.
//
// A record belongs to a lane (a chat). Records of one lane are handed out in the
// order in which they were put, and no more of them while some are in flight;
// lanes do not wait for each other.
// Delivery is at least once: what was taken and not marked before a crash is
// handed out again. A client id makes a record unique in its lane, so a browser
// that repeats a send after a lost answer gets the first one's fate and no second
// record.
//
// Bodies stay on disk: memory is some 300 bytes for each waiting record and 100 for
// each remembered one, whatever its size.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Errors that callers branch on.
var (
	// ErrFull says that the spool's bounds or the disk leave no room. The sender
	// is to be told; trying again later may work.
	ErrFull = errors.New("spool: full")
	// ErrClosed says that the spool takes nothing more: Run has ended, or Close
	// was called.
	ErrClosed = errors.New("spool: closed")
	// ErrInvalid says that a lane, client id or body is outside the bounds, and
	// that trying again is no use.
	ErrInvalid = errors.New("spool: invalid record")
	// ErrNotTaken says that a sequence number is not of a record in flight.
	ErrNotTaken = errors.New("spool: not in flight")
	// ErrOrder says that an older record of the same lane is in flight and has to
	// be marked first.
	ErrOrder = errors.New("spool: an older one of its lane is in flight")
	// ErrLocked says that another process has the folder.
	ErrLocked = errors.New("spool: folder in use")
)

// Sync says when the disk is made to keep what was written.
type Sync int

// The policies. Under each of them a killed process loses nothing, because the
// system has the bytes; they differ in what a power cut or a crash of the system
// may take.
const (
	// SyncAlways: Put returns after fsync, which concurrent Puts share, and Take
	// gives only what is durable. Nothing that was acknowledged is lost.
	SyncAlways Sync = iota
	// SyncInterval: fsync every Options.Interval; at most that much is lost.
	SyncInterval
	// SyncNever leaves it to the system, commonly 30 s.
	SyncNever
)

// ParseSync reads the names always, interval and never.
func ParseSync(name string) (Sync, error) {
	switch name {
	case "always":
		return SyncAlways, nil
	case "interval":
		return SyncInterval, nil
	case "never":
		return SyncNever, nil
	}
	return 0, fmt.Errorf("spool: unknown fsync policy %q: use always, interval or never", name)
}

// String is the inverse of ParseSync.
func (p Sync) String() string {
	switch p {
	case SyncInterval:
		return "interval"
	case SyncNever:
		return "never"
	}
	return "always"
}

// Options of a Spool; zero values mean the defaults.
type Options struct {
	// Logger hears what a crash left behind, and of a disk that fails.
	Logger *slog.Logger
	Sync   Sync
	// Interval between two looks at what is to sync or to remove. Default 1 s.
	Interval time.Duration
	// MaxRecords waiting at a time, and as many remembered. Default 100,000.
	MaxRecords int
	// MaxBytes of all files. Moving old records out of the way may take one
	// segment more for a moment. Default 256 MiB.
	MaxBytes int64
	// MaxBody bounds one record's body, in bytes. Default 64 KiB, at most 1 MiB.
	MaxBody int
	// SegmentBytes is the size at which a new file is begun; at most 64 MiB, and
	// a quarter of MaxBytes. Default 8 MiB or that quarter.
	SegmentBytes int64
	// Remember is how long a client id is known after its record was done or
	// refused, across restarts too. It is cut short when more than MaxRecords
	// came since, and across restarts when half of MaxBytes is in use.
	// Default 15 min.
	Remember time.Duration

	disk disk // nil is the real one
}

// withDefaults fills in and checks.
func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.MaxRecords = cmp.Or(o.MaxRecords, 100_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxBody = cmp.Or(o.MaxBody, 64<<10)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, min(8<<20, o.MaxBytes/4))
	o.Remember = cmp.Or(o.Remember, 15*time.Minute)
	switch {
	case o.Sync < SyncAlways || o.Sync > SyncNever:
		return o, fmt.Errorf("spool: unknown fsync policy %d", o.Sync)
	case o.Interval < 0 || o.Remember < 0 || o.MaxRecords < 0:
		return o, errors.New("spool: interval, remember and the number of records must be positive")
	case o.MaxBody < 0 || o.MaxBody > maxBody:
		return o, fmt.Errorf("spool: the body limit of %d bytes is not between 1 and %d", o.MaxBody, maxBody)
	case o.SegmentBytes < minSegment || o.SegmentBytes > maxSegment || o.SegmentBytes > o.MaxBytes/4:
		return o, fmt.Errorf("spool: segments of %d bytes do not suit: at least %d, at most %d and a quarter of the %d bytes in all",
			o.SegmentBytes, minSegment, maxSegment, o.MaxBytes)
	}
	return o, nil
}

// Spool is safe for concurrent use. Open starts nothing; Run syncs and removes,
// and under SyncAlways no Put returns without it; Close ends all.
type Spool struct {
	dir     string
	opt     Options
	lock    *os.File
	kick    chan struct{} // of one slot: Run has something to sync
	wake    chan struct{} // of one slot: Take may have something
	closing chan struct{} // closed by Close
	ran     chan struct{} // closed when Run has ended
	once    sync.Once     // of Close
	end     error         // of Close

	recovered Recovered // set by Open
	trouble   time.Time // when Run last logged a failure, zero while all is well; Run's own

	mu        sync.Mutex
	running   bool // Run was called
	stopped   bool // no Put any more
	shut      bool // the files are closed
	seq       uint64
	segments  []*segment // by number; the last one is written to unless sealed
	number    uint64     // of the newest segment
	bytes     int64      // of all segments
	liveBytes int64      // of waiting records' frames
	reserved  int64      // for the marks that waiting records will need
	buf       []byte     // frames are made here
	next      *commit    // what was written since the last sync
	owed      []item     // marks that the disk had no room for
	waiting   map[key]*entry
	lanes     map[string]*lane
	ready     laneHeap
	taken     map[uint64]*entry
	memory    memory
	count     counts
}

// key names a record.
type key struct{ lane, id string }

// entry is a waiting record in memory: all but its body.
type entry struct {
	place
	seq     uint64
	lane    *lane
	id      string
	time    int64   // Unix nanoseconds
	pending *commit // nil once durable, or as durable as the policy asks
	attempt int32
}

func (e *entry) key() key { return key{e.lane.name, e.id} }

// Open takes the folder, made if need be, for this process alone and reads what
// an earlier one left in it. Records that were not marked are handed out again.
// The error is a sentence for the operator; errors.Is(err, ErrLocked) when
// another process has the folder.
func Open(dir string, opt Options) (*Spool, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		dir:     dir,
		opt:     opt,
		lock:    lock,
		kick:    make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		ran:     make(chan struct{}),
		next:    newCommit(),
		waiting: make(map[key]*entry),
		lanes:   make(map[string]*lane),
		taken:   make(map[uint64]*entry),
		memory:  newMemory(opt.Remember, opt.MaxRecords),
	}
	if err := s.replay(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	if s.recovered.Damaged() {
		opt.Logger.Warn("the spool was damaged, probably by a crash", "dir", dir, "recovered", s.recovered)
	}
	return s, nil
}

// Recovered says what Open found.
type Recovered struct {
	Records  int      // that are waiting again
	Segments int      // files read
	Torn     int64    // bytes of unfinished records at the ends of files, cut off
	Corrupt  int      // records in the middle that could not be read and were skipped
	Skipped  int64    // bytes of those
	SetAside []string // files that could not be read at all, renamed to *.bad
}

// Damaged reports whether anything was cut off, skipped or set aside.
func (r Recovered) Damaged() bool {
	return r.Torn > 0 || r.Corrupt > 0 || len(r.SetAside) > 0
}

// LogValue makes the report readable in a log line.
func (r Recovered) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("records", r.Records),
		slog.Int("segments", r.Segments),
		slog.Int64("torn_bytes", r.Torn),
		slog.Int("corrupt_records", r.Corrupt),
		slog.Int64("skipped_bytes", r.Skipped),
		slog.String("set_aside", strings.Join(r.SetAside, " ")),
	)
}

// Recovered returns what Open found.
func (s *Spool) Recovered() Recovered { return s.recovered }

// counts go up only.
type counts struct {
	accepted, repeated, rejected, stored, refused, retried, syncs, syncErrors, carried uint64
}

// Stats is a snapshot for metrics.
type Stats struct {
	Waiting    int       // records, those in flight included
	InFlight   int       // records taken and not marked
	Lanes      int       // with a waiting record
	Segments   int       // files
	Bytes      int64     // of all files
	LiveBytes  int64     // of those, waiting records
	Remembered int       // client ids of records done or refused
	OwedMarks  int       // marks that could not be written yet: a crash now repeats these records
	Oldest     time.Time // when the oldest waiting record was put; zero for none

	// Totals since Open.
	Accepted   uint64 // new records
	Repeated   uint64 // Puts of a record that was known
	Rejected   uint64 // Puts that found no room, or a disk that failed
	Stored     uint64
	Refused    uint64
	Retried    uint64
	Carried    uint64 // old records moved to newer files
	Syncs      uint64 // fsyncs shared by Puts, failed ones included
	SyncErrors uint64
}

// Stats looks at every lane under the lock: some milliseconds for 100,000 of
// them, meant for a scrape every few seconds.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Waiting:    len(s.waiting),
		InFlight:   len(s.taken),
		Lanes:      len(s.lanes),
		Segments:   len(s.segments),
		Bytes:      s.bytes,
		LiveBytes:  s.liveBytes,
		Remembered: len(s.memory.fates),
		OwedMarks:  len(s.owed),
		Accepted:   s.count.accepted,
		Repeated:   s.count.repeated,
		Stored:     s.count.stored,
		Refused:    s.count.refused,
		Retried:    s.count.retried,
		Rejected:   s.count.rejected,
		Syncs:      s.count.syncs,
		SyncErrors: s.count.syncErrors,
		Carried:    s.count.carried,
	}
	var oldest *entry
	for _, l := range s.lanes {
		if e := l.queue[0]; oldest == nil || e.seq < oldest.seq {
			oldest = e
		}
	}
	if oldest != nil {
		st.Oldest = time.Unix(0, oldest.time)
	}
	return st
}

// Close ends Run, waits for it, syncs whatever the policy, and gives the folder
// free. Records in flight are handed out again by the next Open. It may be called
// more than once.
func (s *Spool) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.mu.Lock()
		s.stopped = true
		running := s.running
		s.mu.Unlock()
		if running {
			<-s.ran
		}
		s.end = errors.Join(s.commit(true), s.closeFiles())
	})
	return s.end
}

// closeFiles closes the segments and gives up the lock, last.
func (s *Spool) closeFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
