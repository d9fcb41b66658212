// Package outbox takes messages from browsers, shows them to the other side at
// once, keeps them in the spool and has them stored through WordPress's own code.
//
// What it promises: a message that was answered as pending is stored exactly once
// or withdrawn, over restarts and crashes too, given a Store that is idempotent;
// and messages of one channel are stored in the order in which Send was called.
package outbox

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/spool"
)

// Message is what somebody wrote, checked by who calls Send: From may speak on
// Channel, Body keeps the source's rules, ClientID passes chat.CheckClientID.
type Message struct {
	Channel  string
	ClientID string // unique for its channel and From.Kind
	From     chat.Party
	Body     string
	SentAt   time.Time
	// After is the id of the last row that the source had when the message was
	// accepted. The message's own row can only have a higher one.
	After int64
}

// Store makes rows of messages with WordPress's own code.
type Store interface {
	// Store returns a fate for each message, in their order. Messages of one
	// channel stand in the order in which they are to be stored. An error means
	// that nothing is known of any of them; all come again, so Store must be
	// idempotent by Channel, From.Kind and ClientID. It is called from several
	// goroutines, never for one channel at a time.
	Store(ctx context.Context, ms []Message) ([]Fate, error)
}

// Fate is what became of a message. The zero value says that it was not tried,
// because an earlier one of its channel failed: it comes again.
type Fate struct {
	ID      int64         // of its row; above 0: stored
	Refused *chat.Refusal // it never will be
}

// Teller is the hub.
type Teller interface {
	Tell(t hub.Telling)
	Forget(channel, keep string)
}

// Options of an Outbox; zero values mean the defaults.
type Options struct {
	Spool  *spool.Spool // the caller runs and closes it, after the outbox
	Store  Store
	Hub    Teller
	Logger *slog.Logger
	// Rows tells which messages of an earlier life, of one channel, have a row: a
	// crash may have come between Store and the spool. It returns their rows' ids in
	// the order of ms, 0 for none. Those that have one are not told as pending: the
	// row is not told again, so nobody would hear that they are stored. An error,
	// or nil for Rows, is taken for none. Store hears of all of them all the same.
	Rows func(ctx context.Context, ms []Message) ([]int64, error)
	// Batch is how many messages Store is given at a time. Default 50.
	Batch int
	// Workers is how many batches are under way at a time, so that a slow chat
	// does not hold up the others. Default 2.
	Workers int
	// Queue bounds the messages that wait to be written to the spool, in all and
	// for one channel. Default 4096 and 256.
	Queue, LaneQueue int
	// Timeout of one call of Store. Default 30 s.
	Timeout time.Duration
}

// States of an Answer.
const (
	StatePending = "pending" // kept, and shown to the other side; not stored yet
	StateStored  = "stored"  // a repetition of one that has a row
	StateFailed  = "failed"  // not taken, or a repetition of one that was withdrawn
)

// Answer is what a sender is told.
type Answer struct {
	State   string
	ID      int64         // of the row; StateStored only
	Refusal *chat.Refusal // StateFailed only
}

// phase of an Outbox's life.
type phase int

const (
	waiting phase = iota // Run has not begun, or is still telling what waits
	running
	ended
)

// Outbox is safe for concurrent use.
type Outbox struct {
	opt     Options
	gate    *gate
	runners sync.WaitGroup // a runner for each lane

	mu                sync.Mutex
	called            bool // Run was
	phase             phase
	lanes             map[string]*lane
	troubles          map[string]*trouble // by channel
	stored, withdrawn []note              // to be forgotten, by time
	stats             Stats
}

// New starts nothing; Run does.
func New(opt Options) *Outbox {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Batch = cmp.Or(max(opt.Batch, 0), 50)
	opt.Workers = cmp.Or(max(opt.Workers, 0), 2)
	opt.Queue = cmp.Or(max(opt.Queue, 0), 4096)
	opt.LaneQueue = cmp.Or(max(opt.LaneQueue, 0), 256)
	opt.Timeout = cmp.Or(max(opt.Timeout, 0), 30*time.Second)
	return &Outbox{
		opt:      opt,
		gate:     newGate(),
		lanes:    make(map[string]*lane),
		troubles: make(map[string]*trouble),
	}
}

// Run tells what waits in the spool and stores until the context ends; then it
// keeps what was sent before, waits for its goroutines and returns nil. The
// spool's Run must be under way, and its Close must wait for this. An error is
// the spool's, or a second call. A Store that ignores its context holds it up.
func (o *Outbox) Run(ctx context.Context) error {
	o.mu.Lock()
	again := o.called
	o.called = true
	o.mu.Unlock()
	if again {
		return errors.New("outbox: Run was called twice")
	}
	err := o.tellWaiting(ctx)
	o.begin()
	if err == nil {
		g, ctx := errgroup.WithContext(ctx)
		for range o.opt.Workers {
			g.Go(func() error { return o.work(ctx) })
		}
		g.Go(func() error { return o.tidy(ctx) })
		err = g.Wait()
	}
	o.mu.Lock()
	o.phase = ended
	o.mu.Unlock()
	o.runners.Wait()
	return err
}

// begin lets go what was sent until now. It is not put before, so that what waits
// from an earlier life is told first.
func (o *Outbox) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.phase = running
	for _, l := range o.lanes {
		o.runners.Go(func() { o.runLane(l) })
	}
}

// Stats is a snapshot for metrics.
type Stats struct {
	Queued  int  // messages on their way into the spool
	Delayed int  // channels whose oldest message could not be stored at the last try
	Down    bool // WordPress as a whole does not store

	// Totals since New.
	Accepted uint64 // new messages answered as pending
	Stored   uint64
	Refused  uint64 // withdrawn
	Rejected uint64 // answered as full, unavailable or too long
	Calls    uint64 // of Store
	Failures uint64 // of those, calls that stored nothing
}

// Stats may be called at any time.
func (o *Outbox) Stats() Stats {
	since, _ := o.gate.shut()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Down = !since.IsZero()
	for _, t := range o.troubles {
		if t.failures > 0 {
			s.Delayed++
		}
	}
	return s
}

func (o *Outbox) tally(count func(*Stats)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	count(&o.stats)
}
