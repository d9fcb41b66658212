// Package memrows is a chat table in memory: what MySQL shows a tail of a table
// with an AUTO_INCREMENT key, without MySQL. The demo runs on it where no
// MariaDB can be had, and tests make it commit in any order and fail at will.
package memrows

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"holdline/internal/chat"
	"holdline/wpdb"
)

// Message is what a writer inserts.
type Message struct {
	Chat int64  // the channel is wplc/<Chat>
	Kind string // chat.KindVisitor or chat.KindAgent
	Name string
	Body string
	At   time.Time // when it was written
	// ClientID is the id that the sender's client gave it, in the column rel.
	ClientID string
	// Silent rows are such as nobody can decode: they have an id and say nothing.
	Silent bool
}

// Table implements wpdb.Rows. It is safe for concurrent use.
type Table struct {
	mu      sync.Mutex
	rows    []row // ascending by id, the uncommitted ones among them
	next    int64 // AUTO_INCREMENT
	created int   // counts Alter
	fail    error
	vague   bool
	queries Queries
}

var _ wpdb.Rows = (*Table)(nil)

type row struct {
	id        int64
	event     chat.Event
	silent    bool
	committed bool
}

// Queries counts calls of the methods of wpdb.Rows.
type Queries struct{ Read, Find, Present, Edge, InFlight int }

// New returns an empty table whose first id is 1.
func New() *Table { return &Table{next: 1} }

// Tx is a transaction: its rows have ids from the moment of their insertion and
// are seen when it commits. It is for one goroutine.
type Tx struct {
	t   *Table
	ids []int64
}

// Begin starts a transaction.
func (t *Table) Begin() *Tx { return &Tx{t: t} }

// Insert adds a row and returns its id, the next there is.
func (x *Tx) Insert(m Message) int64 {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	id := x.t.next
	x.t.put(id, m)
	x.ids = append(x.ids, id)
	return id
}

// Commit makes the rows visible, all at once.
func (x *Tx) Commit() {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	for _, id := range x.ids {
		if i, ok := x.t.find(id); ok {
			x.t.rows[i].committed = true
		}
	}
}

// Rollback takes the rows back. Their ids are not given out again.
func (x *Tx) Rollback() {
	for _, id := range x.ids {
		x.t.Delete(id)
	}
}

// Insert adds one row and commits it.
func (t *Table) Insert(m Message) (id int64) {
	x := t.Begin()
	id = x.Insert(m)
	x.Commit()
	return id
}

// put adds an uncommitted row. t.mu is held.
func (t *Table) put(id int64, m Message) {
	r := row{id: id, silent: m.Silent, event: chat.Event{
		Type:    chat.TypeMessage,
		Channel: "wplc/" + strconv.FormatInt(m.Chat, 10),
		From:    &chat.Party{Kind: m.Kind, Name: m.Name},
		Body:    m.Body,
		SentAt:  m.At,

		ClientID: m.ClientID,
	}}
	if m.Silent {
		r.event = chat.Event{}
	}
	i, _ := t.find(id)
	t.rows = slices.Insert(t.rows, i, r)
	t.next = max(t.next, id+1)
}

func (t *Table) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(t.rows, id, func(r row, id int64) int { return cmp.Compare(r.id, id) })
}

// Delete removes a row, if it is there.
func (t *Table) Delete(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.find(id); ok {
		t.rows = slices.Delete(t.rows, i, i+1)
	}
}

// Truncate empties the table and begins the ids again. As with InnoDB on
// MariaDB, the table does not look as if it had been made anew.
func (t *Table) Truncate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows, t.next = nil, 1
}

// Alter is an ALTER TABLE: it makes the table anew with the same rows.
func (t *Table) Alter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.created++
}

// SetNext sets the id that comes next, as an explicit id, an ALTER TABLE or the
// restart of an old InnoDB does. It must be beyond every id there is.
func (t *Table) SetNext(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = id
}

// Fail makes every query fail with err until it is called with nil.
func (t *Table) Fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = err
}

// BeVague makes InFlight inconclusive, as it is with MyISAM and Galera.
func (t *Table) BeVague() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.vague = true
}

// Queries returns the counters.
func (t *Table) Queries() Queries {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queries
}

// ask begins every query: it counts, and fails if it shall. The caller unlocks.
func (t *Table) ask(ctx context.Context, counter func(*Queries) *int) error {
	t.mu.Lock()
	*counter(&t.queries)++
	return cmp.Or(ctx.Err(), t.fail)
}

// Read implements wpdb.Rows.
func (t *Table) Read(ctx context.Context, after int64, ids []int64, limit int) ([]wpdb.Row, error) {
	err := t.ask(ctx, func(q *Queries) *int { return &q.Read })
	defer t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	rows, _ := t.collect(after, 1<<63-1, ids, limit, func(*row) bool { return true })
	return rows, nil
}

// Find implements wpdb.Rows.
func (t *Table) Find(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) ([]wpdb.Row, int64, error) {
	err := t.ask(ctx, func(q *Queries) *int { return &q.Find })
	defer t.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	rows, cut := t.collect(after, upTo, ids, limit, func(r *row) bool {
		return names == nil || slices.ContainsFunc(names, func(n string) bool { return r.event.Channel == "wplc/"+n })
	})
	return rows, cut, nil
}

// collect gathers committed rows; cut is the last id when the limit was reached.
func (t *Table) collect(after, upTo int64, ids []int64, limit int, keep func(*row) bool) (rows []wpdb.Row, cut int64) {
	add := func(r *row) bool {
		if r.committed && keep(r) {
			rows = append(rows, wpdb.Row{ID: r.id, Event: r.event, Silent: r.silent})
			if len(rows) == limit {
				cut = r.id
			}
		}
		return cut == 0
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	low := ids[:len(ids)-countAbove(ids, after)]
	for _, id := range low {
		if i, ok := t.find(id); ok && !add(&t.rows[i]) {
			return rows, cut
		}
	}
	start, _ := t.find(after + 1)
	for i := start; i < len(t.rows); i++ {
		r := &t.rows[i]
		_, asked := slices.BinarySearch(ids, r.id)
		if r.id > upTo && !asked {
			continue
		}
		if !add(r) {
			return rows, cut
		}
	}
	return rows, 0
}

// countAbove counts the ascending ids that are more than limit.
func countAbove(ids []int64, limit int64) int {
	i, _ := slices.BinarySearch(ids, limit+1)
	return len(ids) - i
}

// Present implements wpdb.Rows.
func (t *Table) Present(ctx context.Context, after, upTo int64) (ids []int64, err error) {
	err = t.ask(ctx, func(q *Queries) *int { return &q.Present })
	defer t.mu.Unlock()
	for i := range t.rows {
		if r := &t.rows[i]; err == nil && r.committed && r.id > after && r.id <= upTo {
			ids = append(ids, r.id)
		}
	}
	return ids, err
}

// Edge implements wpdb.Rows.
func (t *Table) Edge(ctx context.Context) (wpdb.Edge, error) {
	err := t.ask(ctx, func(q *Queries) *int { return &q.Edge })
	defer t.mu.Unlock()
	if err != nil {
		return wpdb.Edge{}, err
	}
	e := wpdb.Edge{Next: t.next, Created: strconv.Itoa(t.created)}
	for _, r := range slices.Backward(t.rows) {
		if r.committed {
			e.Max = r.id
			break
		}
	}
	return e, nil
}

// InFlight implements wpdb.Rows.
func (t *Table) InFlight(ctx context.Context, ids []int64) (found []int64, conclusive bool, err error) {
	err = t.ask(ctx, func(q *Queries) *int { return &q.InFlight })
	defer t.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	for _, id := range ids {
		if _, ok := t.find(id); ok {
			found = append(found, id)
		}
	}
	return found, !t.vague, nil
}

// Source is the wpdb.Source of a Table: it names the channels' source and
// decodes nothing, because the rows are events already.
type Source struct{}

var _ wpdb.Source = Source{}

// Name is "wplc": the demo's pages are the same with and without a database.
func (Source) Name() string { return "wplc" }

// Table is a name for logs.
func (Source) Table() string { return "memory" }

// Columns implements wpdb.Source.
func (Source) Columns() string { return "id" }

// Decode implements wpdb.Source and is never called by a Table.
func (Source) Decode(func(...any) error) (wpdb.Row, error) {
	return wpdb.Row{}, errors.New("memrows: rows in memory need no decoding")
}

// Filter implements wpdb.Source and is never called by a Table.
func (Source) Filter([]string) (string, []any) { return "FALSE", nil }
