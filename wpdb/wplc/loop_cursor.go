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
	farBack  = 4096        // … but no more than these …
	newBack  = 1024        // … and these while nobody knows how many were new
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

// behind is the highest id of one to two minutes ago. It is told that of now.
func (h *horizon) behind(highest int64) int64 {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.old.at.IsZero() || highest < h.old.highest { // the start, or ids have started again
		h.old, h.young = sighting{now, highest - newBack}, sighting{now, highest}
	}
	if now.Sub(h.young.at) >= lateness {
		h.old, h.young = h.young, sighting{now, highest}
	}
	return h.old.highest
}

// LoopCursor is how far a client of a chat's loop has got. The zero value is not
// known: such a client gets what is marked unread, as from PHP. It is a value.
type LoopCursor struct {
	known bool
	seen  int64   // every id up to here was looked at …
	given []int64 // … and of the last of them these were handed out
}

// past is the cursor after rows were handed out and all up to seen was looked at. Behind
// horizon, or lookBack ids if that is further, nothing comes any more.
func (c LoopCursor) past(seen int64, rows []record, horizon int64) LoopCursor {
	given := slices.Clone(c.given)
	for i := range rows {
		given = append(given, rows[i].id)
		seen = max(seen, rows[i].id)
	}
	given = slices.DeleteFunc(given, func(id int64) bool { return id <= min(seen-lookBack, max(horizon, seen-farBack)) })
	return LoopCursor{known: true, seen: seen, given: given}
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
	behind := r.s.horizon.behind(highest)
	ask := unreadOf{chat: r.l.CID, cursor: c, back: c.seen - behind, strict: strict, kinds: kinds}
	found, err := herd.ask(ctx, ask, r.patient, func(ctx context.Context, all []unreadOf) ([]portion, error) {
		return r.s.readUnread(ctx, r.q, all)
	})
	if err != nil {
		return nil, err
	}
	if found.more {
		highest = found.last
	}
	r.answer.Cursor = c.past(max(c.seen, highest), found.rows, behind)
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
	r.answer.Cursor = LoopCursor{}.past(highest, rows, r.s.horizon.behind(highest))
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
