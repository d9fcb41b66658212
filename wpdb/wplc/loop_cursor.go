package wplc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxUnread and maxUnreadSize (bytes of text) bound the messages of one answer.
	// What is left comes with the next poll, 1.5 seconds later.
	maxUnread     = 200
	maxUnreadSize = 4 << 20
	// lookBack is how many ids behind the position are read again: AUTO_INCREMENT
	// ids become visible in the order of commits.
	lookBack = 64
)

// LoopCursor is how far a client of a chat's loop has got. The zero value is not
// known: such a client gets what is marked unread, as from PHP. It is a value.
type LoopCursor struct {
	known bool
	seen  int64   // every id up to here was looked at …
	given []int64 // … and of the last lookBack of them these were handed out
}

// past is the cursor after rows were handed out and all up to seen was looked at.
func (c LoopCursor) past(seen int64, rows []record) LoopCursor {
	given := slices.Clone(c.given)
	for i := range rows {
		given = append(given, rows[i].id)
		seen = max(seen, rows[i].id)
	}
	given = slices.DeleteFunc(given, func(id int64) bool { return id <= seen-lookBack })
	return LoopCursor{known: true, seen: seen, given: given}
}

// unread reads the messages that the client has not got, oldest first.
//
// A client that is known gets what has a higher id than it has seen, and of what
// became visible late what is still unread. Unless strict, the read flag says
// nothing about the former: PHP may have set it for an answer that never arrived,
// and the page shows no message twice. Where pages do show messages twice (agents,
// 5.x) the flag decides, as in PHP.
func (r *round) unread(ctx context.Context, highest int64, originates string, strict bool) ([]record, error) {
	c := r.st.Cursor
	if c.seen > highest {
		c = LoopCursor{} // ids have started again (TRUNCATE)
	}
	rows, more, err := r.messages(ctx, c.condition(strict)+" AND `originates` IN ("+originates+") ORDER BY `id` LIMIT ?", r.l.CID, maxUnread)
	if err != nil {
		return nil, err
	}
	if more {
		highest = rows[len(rows)-1].id
	}
	rows = slices.DeleteFunc(rows, func(m record) bool { return m.private() })
	r.answer.Cursor = c.past(max(c.seen, highest), rows)
	if len(rows) == 0 {
		r.st.Cursor = r.answer.Cursor // nothing that could get lost
	}
	byTime(rows)
	return rows, nil
}

// condition selects what a client has not got. The ids are numbers of our own.
func (c LoopCursor) condition(strict bool) string {
	if !c.known {
		return "`chat_sess_id` = ? AND `status` = 0"
	}
	b := strconv.AppendInt([]byte("`id` > "), c.seen-lookBack, 10)
	b = append(b, " AND `chat_sess_id` = ?"...)
	if strict {
		b = append(b, " AND `status` = 0"...)
	} else {
		b = append(strconv.AppendInt(append(b, " AND (`status` = 0 OR `id` > "...), c.seen, 10), ')')
	}
	for _, id := range c.given {
		b = strconv.AppendInt(append(b, " AND `id` <> "...), id, 10)
	}
	return string(b)
}

// private rows are those of talks between agents (Pro), see Decode.
func (m *record) private() bool { return m.afrom > 0 || m.ato > 0 }

// byTime is the order of ORDER BY timestamp, with the ids for rows of one second.
func byTime(rows []record) {
	slices.SortFunc(rows, func(a, b record) int {
		return cmp.Or(strings.Compare(string(a.timestamp), string(b.timestamp)), cmp.Compare(a.id, b.id))
	})
}

// messages reads rows by a condition that ends with a limit of maxUnread; more
// says that there may be others behind them.
func (r *round) messages(ctx context.Context, where string, args ...any) (found []record, more bool, err error) {
	rows, err := r.q.QueryContext(ctx, "SELECT "+r.s.columns+" FROM "+quote(r.s.Table())+" WHERE "+where, args...)
	if err != nil {
		return nil, false, fmt.Errorf("read the messages of chat %d: %w", r.l.CID, err)
	}
	defer rows.Close()
	for size := 0; rows.Next() && size < maxUnreadSize; {
		var m record
		if err := rows.Scan(m.fields()...); err != nil {
			return nil, false, fmt.Errorf("read the messages of chat %d: %w", r.l.CID, err)
		}
		m.parseOther()
		size += len(m.msg) + len(m.other)
		found = append(found, m)
		more = size >= maxUnreadSize || len(found) == maxUnread
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("read the messages of chat %d: %w", r.l.CID, err)
	}
	return found, more, nil
}

// history reads the rows that a page shows when it is loaded, which condition and
// order select, and puts the client's cursor behind them.
//
// PHP leaves them unread and sends those that are again with the next poll, where
// they are marked. Here that poll will not bring them, so they are marked now:
// originates are the kinds that this client's loop marks.
func (r *round) history(ctx context.Context, highest int64, query string, originates ...int64) ([]record, error) {
	rows, _, err := r.messages(ctx, query, r.l.CID)
	if err != nil {
		return nil, err
	}
	r.answer.Cursor = LoopCursor{}.past(highest, rows)
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

// chatRow is what the loops read of a session.
type chatRow struct {
	exists      bool
	status      int64
	session     string
	name, email string
	highest     int64 // id in the table of messages
}

// chat reads the loop's session by its primary key, and how far the messages go.
// That comes first: what is written after it will have been looked at too little
// rather than not at all.
func (r *round) chat(ctx context.Context) (chatRow, error) {
	query := fmt.Sprintf("SELECT COALESCE((SELECT MAX(`id`) FROM %s), 0), c.`status`, c.`session`, c.`name`, c.`email`"+
		" FROM (SELECT 1) AS one LEFT JOIN %s AS c ON c.`id` = ?", quote(r.s.Table()), quote(r.s.sessionTable()))
	rows, err := r.q.QueryContext(ctx, query, r.l.CID)
	if err != nil {
		return chatRow{}, fmt.Errorf("read chat %d: %w", r.l.CID, err)
	}
	defer rows.Close()
	var c chatRow
	for rows.Next() {
		var status *int64
		var session, name, email []byte
		if err := rows.Scan(&c.highest, &status, &session, &name, &email); err != nil {
			return chatRow{}, fmt.Errorf("read chat %d: %w", r.l.CID, err)
		}
		c.session, c.name, c.email = string(session), string(name), string(email)
		if c.exists = status != nil; c.exists {
			c.status = *status
		}
	}
	if err := rows.Err(); err != nil {
		return chatRow{}, fmt.Errorf("read chat %d: %w", r.l.CID, err)
	}
	return c, nil
}
