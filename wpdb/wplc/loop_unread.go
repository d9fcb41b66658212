package wplc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdline/wpdb"
)

// maxUnread bounds the messages of one answer; maxUnreadRows and maxUnreadSize
// (bytes of text) those of one query. What is left comes with the next poll, 1.5
// seconds later.
const (
	maxUnread     = 200
	maxUnreadRows = 2000
	maxUnreadSize = 4 << 20
)

// unreadOf asks for the messages that one client has not got.
type unreadOf struct {
	chat   int64
	cursor LoopCursor
	strict bool // the read flag decides
	kinds  []int64
}

// portion is what one query found.
type portion struct {
	rows []record
	more bool  // there may be others …
	last int64 // … behind this id
}

// readUnread asks for several clients at once. If that is too much for one
// portion, each gets its own, so that nobody waits behind a chat that is flooded.
func (s *Source) readUnread(ctx context.Context, q wpdb.Querier, asks []unreadOf) ([]portion, error) {
	conditions := make([]string, len(asks))
	for i := range asks {
		conditions[i] = asks[i].condition()
	}
	slices.Sort(conditions)
	conditions = slices.Compact(conditions)
	limit := min(maxUnread*len(conditions), maxUnreadRows)
	found, err := s.messages(ctx, q, strings.Join(conditions, " OR ")+" ORDER BY `id`", limit)
	if err != nil {
		return nil, err
	}
	portions := make([]portion, len(asks))
	for i := range asks {
		if found.more && len(conditions) > 1 {
			alone, err := s.readUnread(ctx, q, asks[i:i+1])
			if err != nil {
				return nil, err
			}
			portions[i] = alone[0]
			continue
		}
		portions[i] = asks[i].portion(found)
	}
	return portions, nil
}

// portion takes out of what was found for all what one of them wants.
func (u *unreadOf) portion(found portion) portion {
	mine := portion{more: found.more, last: found.last}
	for i := range found.rows {
		m := &found.rows[i]
		if !u.wants(m) {
			continue
		}
		if len(mine.rows) == maxUnread {
			mine.more, mine.last = true, mine.rows[maxUnread-1].id
			break
		}
		mine.rows = append(mine.rows, *m)
	}
	return mine
}

// condition selects what wants takes, but for private rows. All that is in it are
// numbers of our own; ranges of the primary key come out of it unless the client
// is not known.
func (u *unreadOf) condition() string {
	b := strconv.AppendInt([]byte("(`chat_sess_id` = "), u.chat, 10)
	b = append(append(append(b, " AND `originates` IN ("...), numbers(u.kinds)...), ')')
	c := u.cursor
	if c.known {
		b = strconv.AppendInt(append(b, " AND `id` > "...), c.floor(), 10)
	}
	if u.strict || !c.known {
		b = append(b, " AND `status` = 0"...)
	} else {
		b = append(strconv.AppendInt(append(b, " AND (`status` = 0 OR `id` > "...), c.seen, 10), ')')
	}
	for _, id := range c.given {
		b = strconv.AppendInt(append(b, " AND `id` <> "...), id, 10)
	}
	return string(append(b, ')'))
}

func (u *unreadOf) wants(m *record) bool {
	c := u.cursor
	return m.chat == u.chat && slices.Contains(u.kinds, m.originates) && !m.private() &&
		(!c.known || m.id > c.floor()) &&
		(m.status == 0 || c.known && !u.strict && m.id > c.seen) &&
		!slices.Contains(c.given, m.id)
}

// messages reads at most limit rows, in the order that stands behind a condition.
func (s *Source) messages(ctx context.Context, q wpdb.Querier, where string, limit int, args ...any) (found portion, err error) {
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s LIMIT %d", s.columns, quote(s.Table()), where, limit)
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return found, fmt.Errorf("read messages: %w", err)
	}
	defer rows.Close()
	for size := 0; rows.Next() && size < maxUnreadSize; {
		var m record
		if err := rows.Scan(m.fields()...); err != nil {
			return found, fmt.Errorf("read messages: %w", err)
		}
		m.parseOther()
		size += len(m.msg) + len(m.other)
		found.rows, found.last = append(found.rows, m), m.id
		found.more = size >= maxUnreadSize || len(found.rows) == limit
	}
	if err := rows.Err(); err != nil {
		return found, fmt.Errorf("read messages: %w", err)
	}
	return found, nil
}
