package wpdb_test

import (
	"slices"
	"testing"
	"time"

	"holdline/internal/memrows"
	"holdline/wpdb"
)

// More ids are in doubt than one query asks for: they take turns, and each is
// found in the end.
func TestTailAsksForManyGapsInTurns(t *testing.T) {
	inBubble(t, memrows.Source{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		var open []*memrows.Tx
		for range 2000 {
			x := b.table.Begin()
			x.Insert(memrows.Message{Chat: 1})
			open = append(open, x)
		}
		b.say(1)
		time.Sleep(20 * time.Second)
		for i, x := range open {
			if i%2 == 0 {
				x.Commit()
			} else {
				x.Rollback()
			}
		}
		got := ids(b.after(5 * time.Second))
		slices.Sort(got)
		if len(got) != 1000 || got[0] != 1 || got[999] != 1999 || len(slices.Compact(got)) != 1000 {
			t.Errorf("%d late rows", len(got))
		}
		time.Sleep(time.Minute)
		if s := b.tail.Stats(); s.GivenUp != 1000 || s.Late != 1000 {
			t.Errorf("%+v", s)
		}
	})
}
