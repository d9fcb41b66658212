package wpdb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdline/internal/chat"
)

const (
	// lookBack is how many ids before a table's end are looked at when reading
	// begins there: one of them may be inserted and not yet committed.
	lookBack = 256
	// farBack is how far back a row may be inserted that is not committed yet. So
	// far only those are waited for that can be seen uncommitted.
	farBack = maxGaps
	// startDoubt is the doubt of an id missing there. Most are old deletions,
	// which cursors need not carry for long.
	startDoubt = time.Second
	// checkEvery is how often it is looked whether the ids began again.
	checkEvery = time.Second
)

// start takes up position at the table's end: what is there already is history.
// Only a table that was emptied is read from its beginning, so that its first
// rows are not lost.
func (t *Tail) start(ctx context.Context, ticket uint64) error {
	edge, err := t.rows.Edge(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	last := edge.Max
	if t.restarted && last <= int64(t.opt.Batch) {
		last = 0
	}
	t.last, t.lastRow = last, chat.Event{}
	t.gaps = gaps{window: t.opt.GapWindow, given: t.gaps.given}
	if last > 0 {
		if err := t.look(ctx, now); err != nil {
			return fmt.Errorf("begin at the table's end: %w", err)
		}
	}
	t.edge, t.checked, t.flowed = edge, now, now
	t.witness = witness{t.last, t.lastRow}
	t.stats.last.Store(last)
	batch := chat.Batch{Source: t.src.Name(), Mark: t.mark(), Reset: t.restarted, Fresh: ticket}
	t.positioned, t.awake, t.restarted = true, true, false
	t.answered, t.told = ticket, batch.Mark.Open
	return t.sink.Publish(ctx, batch)
}

// look learns which of the ids before the position are missing, and what the
// newest row holds, by which a table that was made anew can be told from one
// that was altered.
func (t *Tail) look(ctx context.Context, now time.Time) error {
	after, near := max(0, t.last-farBack), max(0, t.last-lookBack)
	present, err := t.rows.Present(ctx, after, t.last)
	if err != nil {
		return err
	}
	for _, id := range present {
		t.gaps.skip(after, id, now.Add(startDoubt-doubt))
		after = id
	}
	if err := t.forgetDeleted(ctx, near); err != nil {
		return err
	}
	rows, err := t.rows.Read(ctx, t.last-1, nil, 1)
	if err != nil {
		return err
	}
	if len(rows) == 1 && rows[0].ID == t.last {
		t.lastRow = rows[0].Event
	}
	return nil
}

// forgetDeleted leaves of the missing ids up to near those that are inserted and
// not committed: the others are old deletions, of which there may be thousands. A
// client that comes back from another node may still wait for such a row.
func (t *Tail) forgetDeleted(ctx context.Context, near int64) error {
	var far []int64
	for _, g := range t.gaps.list {
		if g.id <= near {
			far = append(far, g.id)
		}
	}
	if len(far) == 0 {
		return nil
	}
	found, _, err := t.rows.InFlight(ctx, far) // where it cannot tell, nearly all the same
	if err != nil {
		return err
	}
	slices.Sort(found)
	t.gaps.list = slices.DeleteFunc(t.gaps.list, func(g gap) bool {
		_, inFlight := slices.BinarySearch(found, g.id)
		return g.id <= near && !inFlight
	})
	return nil
}

// check notices that the ids began again: TRUNCATE, a restored dump, or an old
// InnoDB that forgot its counter over a restart. Then the position is void.
func (t *Tail) check(ctx context.Context) error {
	now := time.Now()
	if now.Sub(t.checked) < checkEvery {
		return nil
	}
	edge, err := t.rows.Edge(ctx)
	if err != nil {
		return err
	}
	// Without a word on the next id, a lower end may be a deletion.
	anew := edge.Max < t.last && edge.Next > 0 && edge.Next <= t.last
	made := edge.Created != t.edge.Created
	if !anew && t.witness.id > 0 && (made || t.last != t.witness.id) {
		// Emptied and already filled past where we stood, or just what it was?
		rows, err := t.rows.Read(ctx, t.witness.id-1, nil, 1)
		if err != nil {
			return fmt.Errorf("look at a row of before: %w", err)
		}
		if len(rows) == 1 && rows[0].ID == t.witness.id {
			anew = t.witness.contradicts(&rows[0].Event, made)
		} else {
			anew = made // else it was deleted
		}
	}
	t.edge, t.checked = edge, now
	t.witness = witness{t.last, t.lastRow}
	if anew {
		t.positioned, t.restarted = false, true
		t.stats.resets.Add(1)
		t.opt.Logger.Warn("the table's ids began again; clients are told to reset", "source", t.src.Name(), "highest_id", edge.Max)
	}
	return nil
}

// witness is the row that was the newest when edge was read: what has come since
// may be of another table already. CREATE_TIME alone does not tell, because
// MariaDB leaves it as it is over a TRUNCATE of InnoDB.
type witness struct {
	id  int64
	row chat.Event
}

// contradicts tells whether the row that now has the id is another one. Its text
// may have been edited, which counts only where the table was made anew.
func (w *witness) contradicts(now *chat.Event, made bool) bool {
	return now.Channel != w.row.Channel || !now.SentAt.Equal(w.row.SentAt) || made && now.Body != w.row.Body
}
