package wpdb_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/memrows"
	"holdline/wpdb"
)

// sink writes down what the tail publishes.
type sink struct {
	mu      sync.Mutex
	watched []string
	batches []chat.Batch
	pauses  int
}

func (s *sink) Publish(_ context.Context, b chat.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
	return nil
}

func (s *sink) Pause(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses++
	return nil
}

func (s *sink) Watched(string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watched
}

func (s *sink) watch(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = names
}

// take returns what was published since the last call.
func (s *sink) take() []chat.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.batches
	s.batches = nil
	return b
}

// ids of all rows in batches, in their order.
func ids(batches []chat.Batch) (ids []int64) {
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Type == chat.TypeMessage {
				ids = append(ids, e.ID)
			}
		}
	}
	return ids
}

// bench is a tail of a table in memory.
type bench struct {
	table *memrows.Table
	sink  *sink
	tail  *wpdb.Tail
}

// inBubble runs f beside a tail, in fake time. Somebody watches from the start,
// and the first position has been taken.
func inBubble(t *testing.T, src wpdb.Source, opt wpdb.TailOptions, before func(*memrows.Table), f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{table: memrows.New(), sink: &sink{watched: []string{"1"}}}
		if before != nil {
			before(b.table)
		}
		b.tail = wpdb.NewTail(src, b.table, nil, b.sink, opt)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.tail.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		f(t, b)
		cancel()
		wg.Wait()
	})
}

func (b *bench) say(n int) {
	for range n {
		b.table.Insert(memrows.Message{Chat: 1})
	}
}

// reads counts the queries for rows during d.
func (b *bench) reads(d time.Duration) int {
	synctest.Wait()
	before := b.table.Queries().Read
	time.Sleep(d)
	synctest.Wait()
	return b.table.Queries().Read - before
}

// after sleeps and returns what was published meanwhile.
func (b *bench) after(d time.Duration) []chat.Batch {
	b.sink.take()
	time.Sleep(d)
	synctest.Wait()
	return b.sink.take()
}

func last(t *testing.T, batches []chat.Batch) chat.Batch {
	t.Helper()
	if len(batches) == 0 {
		t.Fatal("nothing was published")
	}
	return batches[len(batches)-1]
}

func TestTailBeginsAtTheEnd(t *testing.T) {
	history := func(table *memrows.Table) {
		for range 400 {
			table.Insert(memrows.Message{Chat: 1})
		}
	}
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, history, func(t *testing.T, b *bench) {
		first := b.sink.take()
		if len(first) != 1 || len(first[0].Events) != 0 || first[0].Mark.Last != 400 || len(first[0].Mark.Open) != 0 {
			t.Fatalf("began with %+v", first)
		}
		b.say(2)
		if diff := cmp.Diff([]int64{401, 402}, ids(b.after(time.Second))); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTailWaitsForWhatWasInFlightWhenItBegan(t *testing.T) {
	var pending *memrows.Tx
	before := func(table *memrows.Table) {
		table.Insert(memrows.Message{Chat: 1})
		pending = table.Begin()
		pending.Insert(memrows.Message{Chat: 1})
		gone := table.Insert(memrows.Message{Chat: 1})
		table.Insert(memrows.Message{Chat: 1})
		table.Delete(gone)
	}
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, before, func(t *testing.T, b *bench) {
		if diff := cmp.Diff([]int64{2, 3}, last(t, b.sink.take()).Mark.Open); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]int64{2}, last(t, b.after(3*time.Second)).Mark.Open); diff != "" {
			t.Fatal("a row deleted long ago stays in every cursor:", diff)
		}
		pending.Commit()
		if diff := cmp.Diff([]int64{2}, ids(b.after(2*time.Second))); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTailReadsOnceATickAndNeverAlone(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		if n := b.reads(10 * time.Second); n != 200 {
			t.Errorf("%d reads in 10 s", n)
		}
		b.say(1)
		b.sink.watch("1", "2", "3", "4", "5", "6", "7", "8")
		if n := b.reads(10 * time.Second); n != 200 {
			t.Errorf("%d reads in 10 s with more channels", n)
		}
		b.sink.watch()
		time.Sleep(time.Second)
		before := b.table.Queries()
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := b.table.Queries(); after != before || b.sink.pauses != 1 {
			t.Errorf("nobody listens: %+v became %+v, %d pauses", before, after, b.sink.pauses)
		}
		b.say(3)
		b.sink.take()
		b.sink.watch("1")
		b.tail.Wake()
		synctest.Wait()
		if first := b.sink.take(); len(first) != 1 || len(first[0].Events) != 0 || first[0].Mark.Last != 4 || first[0].Fresh != 1 {
			t.Errorf("woke with %+v", first)
		}
	})
}

func TestTailEasesToIdle(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		time.Sleep(30 * time.Second)
		for _, tt := range []struct {
			quiet    time.Duration
			min, max int // reads in the 10 s after
		}{
			{0, 185, 200},
			{20 * time.Second, 14, 22},
			{36 * time.Second, 10, 11},
			{61 * time.Second, 10, 10},
			{time.Hour, 10, 10},
		} {
			b.say(1)
			time.Sleep(tt.quiet)
			if n := b.reads(10 * time.Second); n < tt.min || n > tt.max {
				t.Errorf("after %v without a row: %d reads in 10 s", tt.quiet, n)
			}
		}
		b.tail.Wake()
		if n := b.reads(10 * time.Second); n < 199 || n > 201 {
			t.Errorf("after the bell: %d reads in 10 s", n)
		}
	})
}

func TestTailBell(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		time.Sleep(time.Hour)
		b.say(1)
		b.sink.take()
		b.tail.Wake()
		synctest.Wait()
		if diff := cmp.Diff([]int64{1}, ids(b.sink.take())); diff != "" {
			t.Fatal("the bell does not read at once:", diff)
		}
		before := b.table.Queries().Read
		for range 1000 {
			b.tail.Wake()
			time.Sleep(time.Millisecond)
		}
		if n := b.table.Queries().Read - before; n < 490 || n > 501 {
			t.Errorf("a bell that rang for a second made %d reads", n)
		}
	})
}

func TestTailDeliversInOrderOfCommit(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(b *bench)
		want []int64
		open []int64 // in the last mark
		late int64
	}{
		{"late commit", func(b *bench) {
			x := b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			b.say(1)
			time.Sleep(3 * time.Second)
			x.Commit()
		}, []int64{2, 1}, nil, 1},
		{"late commit of an old id", func(b *bench) {
			x := b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			b.say(1)
			time.Sleep(58 * time.Second)
			b.say(1)
			time.Sleep(1100 * time.Millisecond)
			x.Commit()
		}, []int64{2, 3, 1}, nil, 1},
		{"after the window", func(b *bench) {
			x := b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			b.say(1)
			time.Sleep(61 * time.Second)
			x.Commit()
		}, []int64{2}, nil, 0},
		{"roll-back", func(b *bench) {
			x := b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			b.say(1)
			x.Rollback()
		}, []int64{2}, nil, 0},
		{"a row that nobody can decode", func(b *bench) {
			b.say(1)
			b.table.Insert(memrows.Message{Silent: true})
			b.say(1)
		}, []int64{1, 3}, nil, 0},
		{"two transactions crossing", func(b *bench) {
			x, y := b.table.Begin(), b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			y.Insert(memrows.Message{Chat: 1})
			x.Insert(memrows.Message{Chat: 1})
			y.Insert(memrows.Message{Chat: 1})
			y.Commit()
			time.Sleep(time.Second)
			x.Commit()
		}, []int64{2, 4, 1, 3}, nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
				b.sink.take()
				tt.do(b)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				batches := b.sink.take()
				if diff := cmp.Diff(tt.want, ids(batches)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.open, last(t, batches).Mark.Open); diff != "" {
					t.Error("open:", diff)
				}
				if s := b.tail.Stats(); s.Late != tt.late || s.Errors != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// A mark is where a client stands that has the event: it tells neither more nor
// less than what was handed on so far.
func TestTailMarksWithinBatch(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		x := b.table.Begin()
		x.Insert(memrows.Message{Chat: 1})
		y := b.table.Begin()
		y.Insert(memrows.Message{Chat: 1})
		b.say(1)
		time.Sleep(time.Second)
		x.Commit()
		b.say(1)
		b.sink.take()
		time.Sleep(time.Second)
		var marks []chat.Mark
		for _, e := range last(t, b.sink.take()).Events {
			marks = append(marks, e.Mark)
		}
		if diff := cmp.Diff([]chat.Mark{{Last: 3, Open: []int64{2}}, {Last: 4, Open: []int64{2}}}, marks); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTailDoubt(t *testing.T) {
	gap := func(b *bench) *memrows.Tx {
		x := b.table.Begin()
		x.Insert(memrows.Message{Chat: 1})
		b.say(1)
		return x
	}
	open := func(t *testing.T, b *bench) []int64 {
		b.say(1)
		batches := b.after(100 * time.Millisecond)
		if len(batches) == 0 {
			batches = b.after(time.Second) // it reads slowly after a silence
		}
		return last(t, batches).Mark.Open
	}
	t.Run("a rolled-back id leaves the cursors after five seconds", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
			gap(b).Rollback()
			time.Sleep(4 * time.Second)
			if diff := cmp.Diff([]int64{1}, open(t, b)); diff != "" {
				t.Error(diff)
			}
			time.Sleep(2 * time.Second)
			if got := open(t, b); got != nil {
				t.Error("still open:", got)
			}
		})
	})
	t.Run("one in flight stays", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
			gap(b)
			time.Sleep(50 * time.Second)
			if diff := cmp.Diff([]int64{1}, open(t, b)); diff != "" {
				t.Error(diff)
			}
			time.Sleep(12 * time.Second)
			if got := open(t, b); got != nil || b.tail.Stats().GivenUp != 1 {
				t.Error("beyond the window:", got, b.tail.Stats().GivenUp)
			}
		})
	})
	t.Run("where nothing can be told it stays for the window", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
			b.table.BeVague()
			gap(b).Rollback()
			time.Sleep(50 * time.Second)
			if diff := cmp.Diff([]int64{1}, open(t, b)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("a settled id that comes all the same is delivered", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
			b.table.SetNext(2)
			b.say(1)
			time.Sleep(10 * time.Second)
			b.table.SetNext(1)
			b.say(1)
			if diff := cmp.Diff([]int64{1}, ids(b.after(2*time.Second))); diff != "" {
				t.Error(diff)
			}
		})
	})
}

func TestTailGiantJump(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		b.say(1)
		time.Sleep(time.Second)
		b.table.SetNext(1 << 40)
		b.say(1)
		batches := b.after(time.Second)
		if diff := cmp.Diff([]int64{1 << 40}, ids(batches)); diff != "" {
			t.Fatal(diff)
		}
		if n := len(last(t, batches).Mark.Open); n == 0 || n > 8192 {
			t.Errorf("%d open ids", n)
		}
		if at := chat.At(last(t, batches).Mark).String(); len(at) > chat.MaxCursorLength {
			t.Errorf("a cursor of %d bytes", len(at))
		}
		time.Sleep(2 * time.Minute)
		b.say(1)
		if diff := cmp.Diff([]int64{1<<40 + 1}, ids(b.after(time.Second))); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTailCutBatchReadsOnAtOnce(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{Batch: 10}, nil, func(t *testing.T, b *bench) {
		time.Sleep(10 * time.Millisecond)
		b.say(35)
		b.tail.Wake()
		b.sink.take()
		before := b.table.Queries().Read
		synctest.Wait()
		batches := b.sink.take()
		if got := len(ids(batches)); got != 35 || b.table.Queries().Read-before > 4 {
			t.Fatalf("%d rows at once in %d reads", got, b.table.Queries().Read-before)
		}
		for i, batch := range batches {
			if done := i == len(batches)-1; (batch.Fresh == 1) != done {
				t.Errorf("batch %d of %d answers ticket %d: a cut read is not the present", i+1, len(batches), batch.Fresh)
			}
		}
	})
}

func upTo(first, last int64) (ids []int64) {
	for id := first; id <= last; id++ {
		ids = append(ids, id)
	}
	return ids
}
