package hub

import (
	"slices"
	"sort"

	"holdline/internal/chat"
)

// Bounds of the ring. A client that lost its line for some seconds, and every
// long poll between two requests, is caught up from here without a query.
const (
	ringEvents = 4096
	ringBytes  = 4 << 20
)

// ring keeps the newest events of one source in the order in which they were
// published. It holds exactly the rows that a reader at the newest mark has and
// one at floor has not.
type ring struct {
	floor   chat.Mark
	entries []ringEntry
	packed  int // of the oldest; see pack
	bytes   int
}

type ringEntry struct {
	id    int64
	after int64 // Last of the source's mark once this was published; never falls
	d     *Delivery
}

// restart forgets everything: history before m is not known here.
func (r *ring) restart(m chat.Mark) { *r = ring{floor: m} }

// append adds what was published just now.
func (r *ring) append(ds []*Delivery) {
	for _, d := range ds {
		for i := range d.Events {
			e := &d.Events[i]
			if e.ID == 0 {
				continue // a state, kept elsewhere
			}
			one := d
			if len(d.Events) > 1 {
				one = newDelivery(d.Events[i : i+1 : i+1])
			}
			r.entries = append(r.entries, ringEntry{e.ID, e.Mark.Last, one})
			r.bytes += one.size()
		}
	}
	r.trim()
	r.pack()
}

// trim drops the oldest entries beyond the bounds.
func (r *ring) trim() {
	n, bytes := max(0, len(r.entries)-ringEvents), r.bytes
	for i := range n {
		bytes -= r.entries[i].d.size()
	}
	for bytes > ringBytes && n < len(r.entries) {
		bytes -= r.entries[n].d.size()
		n++
	}
	r.drop(n)
}

// drop removes the n oldest entries and moves the floor to the mark that stood
// behind the last of them.
func (r *ring) drop(n int) {
	for _, e := range r.entries[:n] {
		r.bytes -= e.d.size()
		r.floor = e.d.Events[0].Mark
	}
	// Deleting at the front moves 4096 small entries; it happens once per batch
	// and keeps no dropped delivery reachable.
	r.entries = slices.Delete(r.entries, 0, n)
	r.packed = max(0, r.packed-n)
}

// covers tells whether every row that a reader at from lacks is in the ring, as
// far as the newest mark has it at all.
func (r *ring) covers(from chat.Mark) bool {
	if from.Last < r.floor.Last {
		return false
	}
	return !slices.ContainsFunc(from.Open, r.floor.Has)
}

// since returns the entries on the given channels that a reader at from lacks
// and one at to has, oldest first, up to the bounds of one slice. next is the
// mark behind the last entry returned, or to itself when complete.
func (r *ring) since(from, to chat.Mark, on func(channel string) bool) (ds []*Delivery, next chat.Mark, complete bool) {
	start := 0
	if len(from.Open) == 0 {
		start = sort.Search(len(r.entries), func(i int) bool { return r.entries[i].after > from.Last })
	}
	events, bytes := 0, 0
	next = from
	for _, e := range r.entries[start:] {
		if from.Has(e.id) || !to.Has(e.id) || !on(e.d.channel) {
			continue
		}
		if events == sliceEvents || bytes >= sliceBytes {
			return ds, next, false
		}
		ds = append(ds, e.d)
		events++
		bytes += e.d.size()
		// What was filled in may be ahead of a sender that is behind.
		next = meet(e.d.Events[0].Mark, to)
	}
	return ds, to, true
}

// backfill puts older rows, read from the database, before what the ring holds:
// all rows that a reader at from lacks and one at floor has, ascending.
func (r *ring) backfill(from chat.Mark, rows []chat.Event, cursor func(chat.Mark) string) {
	top := r.floor
	r.floor = meet(from, top)
	older := make([]ringEntry, 0, len(rows)+len(r.entries))
	for i := range rows {
		e := rows[i]
		if from.Has(e.ID) || !top.Has(e.ID) {
			continue
		}
		// Marks begin at the new floor, not at from: other clients will be served
		// by these entries who have less than the one who asked.
		e.Mark = between(r.floor, top, e.ID)
		e.Cursor = cursor(e.Mark)
		d := newDelivery([]chat.Event{e})
		older = append(older, ringEntry{e.ID, e.Mark.Last, d})
		r.bytes += d.size()
	}
	pack(older)
	r.entries = append(older, r.entries...)
	r.packed += len(older)
}

// between is the mark of a reader that stood at from and has been given, in
// ascending order, all rows up to id that a reader at to has.
func between(from, to chat.Mark, id int64) chat.Mark {
	last := max(id, from.Last)
	above := from.Open[sort.Search(len(from.Open), func(i int) bool { return from.Open[i] > id }):]
	return chat.Mark{Last: last, Open: union(below(to.Open, id), above)}
}

// join is the mark of a reader who has what a reader at either mark has.
func join(a, b chat.Mark) chat.Mark {
	if a.Last > b.Last {
		a, b = b, a
	}
	if !slices.ContainsFunc(b.Open, a.Has) {
		return b
	}
	return chat.Mark{Last: b.Last, Open: slices.DeleteFunc(slices.Clone(b.Open), a.Has)}
}

// meet is the mark of a reader who has what readers at both marks have.
func meet(a, b chat.Mark) chat.Mark {
	if a.Last > b.Last {
		a, b = b, a
	}
	m := chat.Mark{Last: a.Last, Open: union(a.Open, below(b.Open, a.Last))}
	// What is open lies below Last, and the last row of one may be open to the other.
	for n := len(m.Open); n > 0 && m.Open[n-1] == m.Last; n-- {
		m.Last, m.Open = m.Last-1, m.Open[:n-1]
	}
	return m
}

// below returns the part of ascending ids that is at most limit.
func below(ids []int64, limit int64) []int64 {
	return ids[:sort.Search(len(ids), func(i int) bool { return ids[i] > limit })]
}

// union merges ascending ids.
func union(a, b []int64) []int64 {
	switch {
	case len(b) == 0 || slices.Equal(a, b):
		return a
	case len(a) == 0:
		return b
	}
	merged := make([]int64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		x := min(a[0], b[0])
		merged = append(merged, x)
		if a[0] == x {
			a = a[1:]
		}
		if b[0] == x {
			b = b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
