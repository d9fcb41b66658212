package wpdb_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/memrows"
	"holdline/wpdb"
)

func TestTailTruncate(t *testing.T) {
	rows := func(n int) func(*memrows.Table) {
		return func(table *memrows.Table) {
			for range n {
				table.Insert(memrows.Message{Chat: 1, At: time.Now()})
			}
		}
	}
	for _, tt := range []struct {
		name   string
		refill int
		want   []int64 // rows told after the reset
		last   int64
	}{
		{"emptied", 0, nil, 0},
		{"a few rows again", 3, []int64{1, 2, 3}, 3},
		{"filled past where we stood", 30, upTo(1, 30), 30},
		{"filled from elsewhere", 600, nil, 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, memrows.Source{}, wpdb.TailOptions{}, rows(20), func(t *testing.T, b *bench) {
				time.Sleep(5*time.Second + 10*time.Millisecond) // between two reads, or one may see half of it
				b.table.Truncate()
				rows(tt.refill)(b.table)
				batches := b.after(3 * time.Second)
				reset := slices.IndexFunc(batches, func(x chat.Batch) bool { return x.Reset })
				if reset < 0 || b.tail.Stats().Resets != 1 {
					t.Fatalf("%d resets told in %+v", b.tail.Stats().Resets, batches)
				}
				if diff := cmp.Diff(tt.want, ids(batches[reset:])); diff != "" {
					t.Error(diff)
				}
				if m := last(t, batches).Mark; m.Last != tt.last {
					t.Errorf("at %d", m.Last)
				}
				b.say(1)
				if diff := cmp.Diff([]int64{int64(tt.refill) + 1}, ids(b.after(time.Second))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
	t.Run("no reset for", func(t *testing.T) {
		for name, do := range map[string]func(b *bench){
			"a deleted last row":          func(b *bench) { b.table.Delete(20) },
			"an ALTER TABLE":              func(b *bench) { b.table.Alter() },
			"a jump":                      func(b *bench) { b.table.SetNext(1000) },
			"rows and a deleted last row": func(b *bench) { b.say(3); b.table.Delete(20) },
		} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, memrows.Source{}, wpdb.TailOptions{}, rows(20), func(t *testing.T, b *bench) {
					time.Sleep(5 * time.Second)
					do(b)
					time.Sleep(5 * time.Second)
					if n := b.tail.Stats().Resets; n != 0 {
						t.Errorf("%d resets", n)
					}
				})
			})
		}
	})
	t.Run("a counter that went back", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, rows(20), func(t *testing.T, b *bench) {
			time.Sleep(5 * time.Second)
			b.table.Delete(20)
			b.table.SetNext(20) // as InnoDB before MySQL 8 and MariaDB 10.2.4 after a restart
			time.Sleep(5 * time.Second)
			if n := b.tail.Stats().Resets; n != 1 {
				t.Errorf("%d resets", n)
			}
		})
	})
	t.Run("while the database fails", func(t *testing.T) {
		inBubble(t, memrows.Source{}, wpdb.TailOptions{}, rows(20), func(t *testing.T, b *bench) {
			time.Sleep(5 * time.Second)
			b.table.Fail(errors.New("gone away"))
			b.table.Truncate()
			time.Sleep(30 * time.Second)
			b.table.Fail(nil)
			if batches := b.after(20 * time.Second); !slices.ContainsFunc(batches, func(x chat.Batch) bool { return x.Reset }) {
				t.Error("no reset")
			}
		})
	})
}

func TestTailGoesOnAfterErrors(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		x := b.table.Begin()
		x.Insert(memrows.Message{Chat: 1})
		b.say(2)
		time.Sleep(time.Second)
		b.sink.take()
		b.table.Fail(errors.New("server has gone away"))
		b.say(2)
		before := b.table.Queries()
		time.Sleep(5 * time.Minute)
		after := b.table.Queries()
		if n := after.Read + after.Edge - before.Read - before.Edge; n < 30 || n > 120 {
			t.Errorf("a failing database was asked %d times in five minutes", n)
		}
		x.Commit()
		b.table.Fail(nil)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]int64{1, 4, 5}, ids(b.sink.take())); diff != "" {
			t.Error(diff)
		}
		if b.tail.Stats().Errors == 0 {
			t.Error("no error was counted")
		}
	})
}

// A gap's window is time in which we could read: an outage must not eat it.
func TestTailOutageDoesNotGiveUpGaps(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		x := b.table.Begin()
		x.Insert(memrows.Message{Chat: 1})
		b.say(1)
		time.Sleep(time.Second)
		b.table.Fail(errors.New("server has gone away"))
		x.Commit() // the last it did before it became unreachable
		time.Sleep(5 * time.Minute)
		b.table.Fail(nil)
		if diff := cmp.Diff([]int64{1}, ids(b.after(20*time.Second))); diff != "" {
			t.Error(diff)
		}
	})
}
