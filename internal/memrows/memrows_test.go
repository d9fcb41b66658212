package memrows

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/wpdb"
)

func idsOf(rows []wpdb.Row) (ids []int64) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// The table must lie as little as MySQL does: what is not committed is not read,
// and is in flight.
func TestTransactions(t *testing.T) {
	table := New()
	x, y := table.Begin(), table.Begin()
	x.Insert(Message{Chat: 1})
	y.Insert(Message{Chat: 2})
	x.Insert(Message{Chat: 1})
	table.Insert(Message{Chat: 2})
	read := func(want ...int64) {
		t.Helper()
		rows, err := table.Read(t.Context(), 0, nil, 10)
		if diff := cmp.Diff(want, idsOf(rows)); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	read(4)
	found, _, _ := table.InFlight(t.Context(), []int64{1, 2, 3, 9})
	if diff := cmp.Diff([]int64{1, 2, 3}, found); diff != "" {
		t.Error(diff)
	}
	x.Commit()
	y.Rollback()
	read(1, 3, 4)
	if e, _ := table.Edge(t.Context()); e.Max != 4 || e.Next != 5 {
		t.Errorf("%+v", e)
	}
	table.Truncate()
	read()
	if id := table.Insert(Message{}); id != 1 {
		t.Errorf("began again at %d", id)
	}
}

func TestFind(t *testing.T) {
	table := New()
	for i := range int64(10) {
		table.Insert(Message{Chat: 1 + i%2})
	}
	for _, tt := range []struct {
		name        string
		names       []string
		after, upTo int64
		ids         []int64
		limit       int
		want        []int64
		cut         int64
	}{
		{"all", nil, 3, 6, nil, 100, []int64{4, 5, 6}, 0},
		{"one chat", []string{"1"}, 0, 6, nil, 100, []int64{1, 3, 5}, 0},
		{"with open ids", []string{"1"}, 6, 8, []int64{1, 2, 3}, 100, []int64{1, 3, 7}, 0},
		{"with an id beyond", nil, 6, 7, []int64{9}, 100, []int64{7, 9}, 0},
		{"cut", nil, 0, 10, nil, 4, []int64{1, 2, 3, 4}, 4},
		{"cut among open ids", nil, 6, 8, []int64{2, 1, 2}, 2, []int64{1, 2}, 2},
		{"none", []string{"7"}, 0, 10, nil, 4, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, cut, err := table.Find(t.Context(), tt.names, tt.after, tt.upTo, tt.ids, tt.limit)
			if diff := cmp.Diff(tt.want, idsOf(rows)); diff != "" || cut != tt.cut || err != nil {
				t.Error(diff, cut, err)
			}
		})
	}
}

func TestFail(t *testing.T) {
	table := New()
	broken := errors.New("gone away")
	table.Fail(broken)
	if _, err := table.Read(t.Context(), 0, nil, 1); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := table.Edge(t.Context()); !errors.Is(err, broken) {
		t.Error(err)
	}
	if q := table.Queries(); q.Read != 1 || q.Edge != 1 {
		t.Errorf("%+v", q)
	}
}
