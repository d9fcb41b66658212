package wpdb

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

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
	opt   TailOptions
	src   Source
	rows  Rows
	query Querier // for Statuser; nil when the source has no states
	sink  Sink

	bell    chan struct{}
	tickets atomic.Uint64
	stats   tailStats

	// Of Run's goroutine.
	positioned bool
	last       int64
	lastRow    chat.Event // what row last told; zero when it is not known
	gaps       gaps
	edge       Edge
	checked    time.Time // when edge was read
	probed     time.Time // when gaps were last looked for uncommitted
	flowed     time.Time // when the last row or ring of the bell came
	answered   uint64    // highest ticket told to the sink
	told       []int64   // open ids last told to the sink
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
		opt: opt, src: src, rows: rows, query: query, sink: sink,
		bell: make(chan struct{}, 1),
		gaps: gaps{window: opt.GapWindow},
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

// Run reads until ctx ends. Trouble with the database never ends it: it backs
// off, keeps its place and goes on where it stopped.
func (t *Tail) Run(ctx context.Context) error {
	var trouble Backoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		more, err := t.tick(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			t.stats.errors.Add(1)
			timer.Reset(trouble.Next())
		default:
			trouble.Reset()
			timer.Reset(t.rest(more, time.Now()))
		}
		bell := t.bell
		if err != nil {
			bell = nil // a doorbell does not mend a database
		}
		wait := timer.C
		if err == nil && !t.positioned {
			wait = nil // nobody listens: only a bell can wake us
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		case <-bell:
			t.flowed = time.Now()
		}
	}
}

// rest is how long to sleep: the interval while rows flow and for a minute
// after, then easing to the idle interval over the next four.
func (t *Tail) rest(more bool, now time.Time) time.Duration {
	if more {
		return 0
	}
	const lively, slope = time.Minute, 300
	quiet := now.Sub(t.flowed)
	if quiet < lively {
		return t.opt.Interval
	}
	return min(t.opt.IdleInterval, max(t.opt.Interval, quiet/slope))
}

// tick is one round. more says that the read was cut and the next is due.
func (t *Tail) tick(ctx context.Context) (more bool, err error) {
	watched := t.sink.Watched(t.src.Name())
	if len(watched) == 0 {
		if t.positioned {
			t.positioned = false
			return false, t.sink.Pause(ctx, t.src.Name())
		}
		return false, nil
	}
	ticket := t.tickets.Load()
	if !t.positioned {
		return true, t.start(ctx, ticket)
	}
	if restarted, err := t.check(ctx, ticket); restarted || err != nil {
		return true, err
	}
	events, more, err := t.read(ctx)
	if err != nil {
		return false, err
	}
	if !more {
		states, err := t.states(ctx, watched)
		if err != nil {
			// The rows are read and must be told before anything else fails.
			return false, cmp.Or(t.publish(ctx, events, ticket), err)
		}
		events = append(events, states...)
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

// lookBack is how many ids before a table's end are looked at when reading
// begins there: one of them may be inserted and not yet committed.
const lookBack = 256

// start takes up position at the table's end: what is there already is history.
func (t *Tail) start(ctx context.Context, ticket uint64) error {
	edge, err := t.rows.Edge(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	t.settle(edge.Max, now)
	after := max(0, edge.Max-lookBack)
	present, err := t.rows.Present(ctx, after, edge.Max)
	if err != nil {
		return fmt.Errorf("begin at the table's end: %w", err)
	}
	for _, id := range present {
		t.gaps.skip(after, id, now)
		after = id
	}
	if err := t.look(ctx, now); err != nil {
		return err
	}
	t.edge, t.checked = edge, now
	t.positioned = true
	t.answered, t.told = ticket, t.mark().Open
	return t.sink.Publish(ctx, chat.Batch{Source: t.src.Name(), Mark: t.mark(), Fresh: ticket})
}

// look learns what the newest row holds, by which a table that was made anew
// can be told from one that was altered, and which of the ids missing before it
// are in flight: the others are old deletions that no cursor need carry.
func (t *Tail) look(ctx context.Context, now time.Time) error {
	rows, err := t.rows.Read(ctx, t.last-1, nil, 1)
	if err != nil {
		return fmt.Errorf("begin at the table's end: %w", err)
	}
	if len(rows) == 1 && rows[0].ID == t.last {
		t.lastRow = rows[0].Event
	}
	missing := t.gaps.ids()
	if len(missing) == 0 {
		return nil
	}
	t.probed = now
	found, conclusive, err := t.rows.InFlight(ctx, missing)
	if err == nil && conclusive {
		t.gaps.settle(missing, found)
	}
	return err
}

// settle takes up position behind an id, with no gap known.
func (t *Tail) settle(last int64, now time.Time) {
	t.last, t.lastRow = last, chat.Event{}
	t.stats.last.Store(last)
	t.gaps = gaps{window: t.opt.GapWindow, given: t.gaps.given}
	t.flowed = now
}

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
	t.stats.last.Store(t.last)
	t.stats.givenUp.Store(t.gaps.given)
	return events, len(rows) == t.opt.Batch, nil
}

// states asks a Statuser for what has changed.
func (t *Tail) states(ctx context.Context, watched []string) ([]chat.Event, error) {
	s, ok := t.src.(Statuser)
	if !ok {
		return nil, nil
	}
	events, err := s.Status(ctx, t.query, watched)
	if err != nil {
		return nil, fmt.Errorf("read states: %w", err)
	}
	mark := t.mark()
	for i := range events {
		events[i].ID, events[i].Mark = 0, mark
	}
	return events, nil
}

// probeEvery and checkEvery bound how often the two rarer questions are asked.
const (
	probeEvery = time.Second
	checkEvery = time.Second
)

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

// check notices that the ids began again: TRUNCATE, a restored dump, or an old
// InnoDB that forgot its counter over a restart.
func (t *Tail) check(ctx context.Context, ticket uint64) (restarted bool, err error) {
	now := time.Now()
	if now.Sub(t.checked) < checkEvery {
		return false, nil
	}
	edge, err := t.rows.Edge(ctx)
	if err != nil {
		return false, err
	}
	behind := edge.Max < t.last && edge.Next <= t.last
	anew := false
	if !behind && edge.Created != t.edge.Created {
		// Made anew and already filled past where we stood, or only altered?
		rows, err := t.rows.Read(ctx, t.last-1, nil, 1)
		if err != nil {
			return false, fmt.Errorf("look at the newest row: %w", err)
		}
		same := len(rows) == 1 && rows[0].ID == t.last && sameRow(&rows[0].Event, &t.lastRow)
		anew = t.last > 0 && !same
	}
	t.edge, t.checked = edge, now
	if !anew && !behind {
		return false, nil
	}
	// A table that was emptied is read from its beginning, so that its first
	// rows are not lost; one that was filled from elsewhere from its end.
	from := int64(0)
	if edge.Max > int64(t.opt.Batch) {
		from = edge.Max
	}
	t.settle(from, now)
	t.stats.resets.Add(1)
	t.opt.Logger.Warn("the table's ids began again; clients are told to reset", "source", t.src.Name(), "highest_id", edge.Max)
	t.answered, t.told = ticket, nil
	return true, t.sink.Publish(ctx, chat.Batch{Source: t.src.Name(), Mark: t.mark(), Reset: true, Fresh: ticket})
}

// sameRow compares what two reads of one row tell.
func sameRow(a, b *chat.Event) bool {
	return a.Channel == b.Channel && a.Body == b.Body && a.SentAt.Equal(b.SentAt)
}
