package wpdb

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"holdline/internal/backoff"
	"holdline/internal/chat"
)

// Sink is where the tail takes what it reads: the hub.
type Sink interface {
	// Publish hands over a batch and may make the tail wait.
	Publish(ctx context.Context, b chat.Batch) error
	// Pause tells that nothing is read until the next Publish, which will be a
	// position alone.
	Pause(ctx context.Context, source string) error
	// Watched lists the channels of a source that somebody listens to, without
	// the source's name. An equal slice means that nothing has changed.
	Watched(source string) []string
}

// TailOptions tune a Tail; zero values are the defaults of DESIGN section 6.
type TailOptions struct {
	Logger       *slog.Logger
	Interval     time.Duration // between reads while rows flow; 50 ms
	IdleInterval time.Duration // when nothing came for long; 1 s
	GapWindow    time.Duration // how long a skipped id is waited for; 60 s
	Batch        int           // rows of one read; 500
}

// Tail reads one source's table as it grows and hands every row to the sink
// exactly once: one query per tick, whatever the number of clients, and none
// while nobody listens. New starts nothing; Run reads.
type Tail struct {
	opt  TailOptions
	src  Source
	rows Rows
	sink Sink

	bell    chan struct{}
	tickets atomic.Uint64
	stats   tailStats

	// Of Run's goroutine.
	awake      bool // the sink was told a position and no pause since
	positioned bool // last is where to go on
	restarted  bool // the ids began again and the sink has not been told
	last       int64
	lastRow    chat.Event // what row last told; zero when it is not known
	gaps       gaps
	edge       Edge
	witness    witness
	checked    time.Time // when edge was read
	probed     time.Time // when gaps were last looked for uncommitted
	began      time.Time // when the last tick began
	due        time.Time // when the next one should
	flowed     time.Time // when the last row or ring of the bell came
	answered   uint64    // highest ticket told to the sink
	told       []int64   // open ids last told to the sink
	states     states
}

// TailStats are counters since the start, but for Last and Lag.
type TailStats struct {
	Reads   int64         // queries of the message table
	Rows    int64         // rows handed on
	Late    int64         // of these, rows whose id had been skipped before
	GivenUp int64         // skipped ids that never came
	Resets  int64         // times the ids began again
	Errors  int64         // reads that failed
	Last    int64         // highest id read
	Busy    time.Duration // time spent in reads
}

type tailStats struct {
	reads, rows, late, givenUp, resets, errors, last, busy atomic.Int64
}

// NewTail returns a tail of src's rows. query is what a Statuser asks; it may be
// nil for a source without states.
func NewTail(src Source, rows Rows, query Querier, sink Sink, opt TailOptions) *Tail {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Interval = cmp.Or(opt.Interval, 50*time.Millisecond)
	opt.IdleInterval = max(cmp.Or(opt.IdleInterval, time.Second), opt.Interval)
	opt.GapWindow = cmp.Or(opt.GapWindow, time.Minute)
	opt.Batch = cmp.Or(opt.Batch, 500)
	return &Tail{
		opt: opt, src: src, rows: rows, sink: sink,
		bell:   make(chan struct{}, 1),
		gaps:   gaps{window: opt.GapWindow},
		states: newStates(src, query, opt.Logger),
	}
}

// Name is the source's name.
func (t *Tail) Name() string { return t.src.Name() }

// Wake is the doorbell: the next read starts at once. It never blocks, and many
// rings before that read are one.
func (t *Tail) Wake() (ticket uint64) {
	ticket = t.tickets.Add(1)
	select {
	case t.bell <- struct{}{}:
	default:
	}
	return ticket
}

// Stats may be called at any time.
func (t *Tail) Stats() TailStats {
	s := &t.stats
	return TailStats{
		Reads: s.reads.Load(), Rows: s.rows.Load(), Late: s.late.Load(), GivenUp: s.givenUp.Load(),
		Resets: s.resets.Load(), Errors: s.errors.Load(), Last: s.last.Load(), Busy: time.Duration(s.busy.Load()),
	}
}

// Rows serves the hub's replays. It may be called while Run reads.
func (t *Tail) Rows(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) ([]chat.Event, int64, error) {
	rows, cut, err := t.rows.Find(ctx, names, after, upTo, ids, limit)
	if err != nil {
		return nil, 0, err
	}
	var events []chat.Event
	for i := range rows {
		if !rows[i].Silent {
			e := rows[i].Event
			e.ID = rows[i].ID
			events = append(events, e)
		}
	}
	return events, cut, nil
}

// bellGap is the least time between two reads. A crowd of clients who each ring
// the bell (with cursors of the future, say) must not make a crowd of queries.
const bellGap = 2 * time.Millisecond

// Run reads until ctx ends. Trouble with the database never ends it: it backs
// off, keeps its place and goes on where it stopped.
func (t *Tail) Run(ctx context.Context) error {
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		more, err := t.tick(ctx)
		wait, bell := timer.C, t.bell
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			t.stats.errors.Add(1)
			if failures == 0 {
				t.opt.Logger.Warn("rows cannot be read; clients are held until they can", "source", t.src.Name(), "error", err)
			}
			failures++
			timer.Reset(backoff.Full(failures, leastWait, mostWait))
			t.due = time.Time{} // nothing to make up for
			bell = nil          // a doorbell does not mend a database
		default:
			failures = 0
			timer.Reset(t.rest(more, time.Now()))
			if !t.awake {
				wait = nil // nobody listens: only a bell can wake us
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		case <-bell:
			t.flowed, t.due = time.Now(), time.Time{}
			if d := bellGap - time.Since(t.began); d > 0 {
				timer.Reset(d)
				select {
				case <-ctx.Done():
					return nil
				case <-timer.C:
				}
			}
		}
	}
}

// How the pause between two reads grows: none while the conversation is lively,
// then in proportion to the silence, so that half a minute of it leads to the
// idle interval.
const (
	lively = 10 * time.Second
	easing = 25
)

// maxBehind is how many reads that came late are made up for.
const maxBehind = 3

// rest is how long to sleep until the next read is due. The pace is kept on
// average: a read that came late, because the database was slow or the senders
// had every core, does not put off those behind it, so that ten thousand
// clients are asked for as often as one.
func (t *Tail) rest(more bool, now time.Time) time.Duration {
	if more {
		return 0
	}
	pace := t.opt.Interval
	if quiet := now.Sub(t.flowed); quiet > lively {
		pace = min(t.opt.IdleInterval, max(pace, (quiet-lively)/easing))
	}
	if t.due.IsZero() {
		t.due = t.began
	}
	t.due = t.due.Add(pace)
	if behind := now.Add(-maxBehind * pace); t.due.Before(behind) {
		t.due = behind
	}
	return max(t.due.Sub(now), pace/10)
}

// tick is one round. more says that the read was cut and the next is due.
func (t *Tail) tick(ctx context.Context) (more bool, err error) {
	t.began = time.Now()
	watched := t.sink.Watched(t.src.Name())
	t.states.notice(watched)
	if len(watched) == 0 {
		if t.awake {
			t.awake, t.positioned = false, false
			return false, t.sink.Pause(ctx, t.src.Name())
		}
		return false, nil
	}
	ticket := t.tickets.Load()
	if t.positioned {
		if err := t.check(ctx); err != nil {
			return false, err
		}
	}
	if !t.positioned {
		return true, t.start(ctx, ticket)
	}
	events, more, err := t.read(ctx)
	if err != nil {
		return false, err
	}
	if more {
		ticket = t.answered // this is not the present yet
	} else {
		events = append(events, t.states.changed(ctx, t.mark())...)
	}
	if err := t.publish(ctx, events, ticket); err != nil {
		return false, err
	}
	return more, t.probe(ctx)
}

// publish tells the sink what is new, if anything is.
func (t *Tail) publish(ctx context.Context, events []chat.Event, ticket uint64) error {
	mark := t.mark()
	if len(events) == 0 && ticket == t.answered && slices.Equal(mark.Open, t.told) {
		return nil
	}
	t.answered, t.told = ticket, mark.Open
	return t.sink.Publish(ctx, chat.Batch{Source: t.src.Name(), Events: events, Mark: mark, Fresh: ticket})
}

func (t *Tail) mark() chat.Mark { return chat.Mark{Last: t.last, Open: t.gaps.marks()} }

// read gets new rows and late ones with one query.
func (t *Tail) read(ctx context.Context) (events []chat.Event, more bool, err error) {
	now := time.Now()
	rows, err := t.rows.Read(ctx, t.last, t.gaps.due(now), t.opt.Batch)
	t.stats.reads.Add(1)
	t.stats.busy.Add(int64(time.Since(now)))
	if err != nil {
		return nil, false, fmt.Errorf("read new rows: %w", err)
	}
	for i := range rows {
		row := &rows[i]
		if row.ID <= t.last {
			if !t.gaps.fill(row.ID) {
				continue // never twice, whatever the database returns
			}
			t.stats.late.Add(1)
		} else {
			t.gaps.skip(t.last, row.ID, now)
			t.last, t.lastRow = row.ID, row.Event
		}
		t.stats.rows.Add(1)
		if !row.Silent {
			row.Event.ID = row.ID
			row.Event.Mark = t.mark()
			events = append(events, row.Event)
		}
	}
	if len(rows) > 0 {
		t.flowed = now
	}
	if len(rows) < t.opt.Batch {
		t.gaps.expire()
	}
	t.stats.last.Store(t.last)
	t.stats.givenUp.Store(t.gaps.given)
	return events, len(rows) == t.opt.Batch, nil
}

// probeEvery bounds how often the rarer question is asked.
const probeEvery = time.Second

// probe asks which of the doubtful ids are still in flight, so that cursors need
// not carry rolled-back ones for the whole window.
func (t *Tail) probe(ctx context.Context) error {
	now := time.Now()
	if now.Sub(t.probed) < probeEvery {
		return nil
	}
	ids := t.gaps.doubtful(now)
	if len(ids) == 0 {
		return nil
	}
	t.probed = now
	found, conclusive, err := t.rows.InFlight(ctx, ids)
	if err != nil {
		return err
	}
	if conclusive {
		t.gaps.settle(ids, found)
	}
	return nil
}
