package wplc

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// AUTO_INCREMENT ids become visible in the order of commits, so ids behind the position
// are read again.
const (
	lookBack = 64          // so many at the least …
	lateness = time.Minute // … and all that were new in this time, as tail.gap_window has it …
	farBack  = 4096        // … but no more than these
)

// horizon knows behind which id no row becomes visible any more. The zero value is
// ready, and methods may be called concurrently.
type horizon struct {
	mu         sync.Mutex
	old, young sighting
}

// sighting is the highest id there was at a time.
type sighting struct {
	at      time.Time
	highest int64
}

// behind is the highest id of one to two minutes ago. It is told that of now. After the
// start nobody knows it, and it is as far away as may be.
func (h *horizon) behind(highest int64) int64 {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.old.at.IsZero() || highest < h.old.highest { // the start, or ids have started again
		h.old, h.young = sighting{now, max(0, highest-farBack)}, sighting{now, highest}
	}
	if now.Sub(h.young.at) >= lateness {
		h.old, h.young = h.young, sighting{now, highest}
	}
	return h.old.highest
}

// LoopCursor is how far a client of a chat's loop has got. The zero value is not
// known: such a client gets what is marked unread, as from PHP. It is a value.
//
// What may still become visible behind it is counted from when the client last
// looked: it may come back long after that, to another process.
type LoopCursor struct {
	known   bool
	seen    int64   // every id up to here was looked at …
	settled int64   // … up to here when no row could become visible any more …
	given   []int64 // … and of those behind it these were handed out
}

// floor is the id up to which nothing is read again.
func (c LoopCursor) floor() int64 { return min(c.seen-lookBack, max(c.settled, c.seen-farBack)) }

// past is the cursor after rows were handed out and all up to seen was looked at, of
// which nothing becomes visible any more up to settled.
func (c LoopCursor) past(seen, settled int64, rows []record) LoopCursor {
	next := LoopCursor{known: true, seen: seen, settled: max(c.settled, settled), given: slices.Clone(c.given)}
	for i := range rows {
		next.given = append(next.given, rows[i].id)
		next.seen = max(next.seen, rows[i].id)
	}
	next.drop()
	return next
}

// joined is the position after a request that began at base and has come to
// next, where another request of the same client may have come to c meanwhile:
// a browser asks again when a proxy has cut its line, and the first request is
// not always seen to be over. What either got the client has. Only when ids
// have started again next counts alone.
func (c LoopCursor) joined(base, next LoopCursor) LoopCursor {
	if !c.known || next.seen < base.seen {
		return next
	}
	both := LoopCursor{known: true, seen: max(c.seen, next.seen), settled: max(c.settled, next.settled)}
	both.given = slices.Concat(c.given, next.given)
	slices.Sort(both.given)
	both.given = slices.Compact(both.given)
	both.drop()
	return both
}

// drop forgets of the rows handed out those that are not read again.
func (c *LoopCursor) drop() {
	floor := c.floor()
	c.given = slices.DeleteFunc(c.given, func(id int64) bool { return id <= floor })
}

// unread reads the messages of some kinds that the client has not got, oldest
// first.
//
// A client that is known gets what has a higher id than it has seen, and of what
// became visible late what is still unread. Unless strict, the read flag says
// nothing about the former: PHP may have set it for an answer that never arrived,
// and the page shows no message twice. Where pages do show messages twice (agents,
// 5.x) the flag decides, as in PHP.
func (r *round) unread(ctx context.Context, highest int64, strict bool, kinds ...int64) ([]record, error) {
	c := r.st.Cursor
	if c.seen > highest {
		c = LoopCursor{} // ids have started again (TRUNCATE)
	}
	herd := &r.s.news
	if !c.known {
		herd = &r.s.newcomers // their query takes much longer
	}
	settled := r.s.horizon.behind(highest)
	ask := unreadOf{chat: r.l.CID, cursor: c, strict: strict, kinds: kinds}
	found, err := herd.ask(ctx, ask, r.patient, func(ctx context.Context, all []unreadOf) ([]portion, error) {
		return r.s.readUnread(ctx, r.q, all)
	})
	if err != nil {
		return nil, err
	}
	if found.more {
		highest, settled = found.last, min(found.last, settled)
	}
	r.answer.Cursor = c.past(max(c.seen, highest), settled, found.rows)
	if len(found.rows) == 0 {
		r.st.Cursor = r.answer.Cursor // nothing that could get lost
	}
	byTime(found.rows)
	return found.rows, nil
}

// private rows are those of talks between agents (Pro), see Decode.
func (m *record) private() bool { return m.afrom > 0 || m.ato > 0 }

// byTime is the order of ORDER BY timestamp, with the ids for rows of one second.
func byTime(rows []record) {
	slices.SortFunc(rows, func(a, b record) int {
		return cmp.Or(strings.Compare(string(a.timestamp), string(b.timestamp)), cmp.Compare(a.id, b.id))
	})
}

// history reads the rows that a page shows when it is loaded, which condition and
// order select, and puts the client's cursor behind them.
//
// PHP leaves them unread and sends those that are again with the next poll, where
// they are marked. Here that poll will not bring them, so they are marked now:
// originates are the kinds that this client's loop marks.
func (r *round) history(ctx context.Context, highest int64, query string, originates ...int64) ([]record, error) {
	found, err := r.s.messages(ctx, r.q, query, historyLength, r.l.CID)
	if err != nil {
		return nil, err
	}
	rows := found.rows
	r.answer.Cursor = LoopCursor{}.past(highest, r.s.horizon.behind(highest), rows)
	rows = slices.DeleteFunc(rows, func(m record) bool { return m.private() })
	byTime(rows)
	for i := range rows {
		if rows[i].status == 0 && slices.Contains(originates, rows[i].originates) {
			r.answer.Delivered = append(r.answer.Delivered, rows[i].id)
		}
	}
	return rows, nil
}

// deliver notes which messages the answer has.
func (r *round) deliver(rows []record) {
	for i := range rows {
		r.answer.Delivered = append(r.answer.Delivered, rows[i].id)
	}
}
