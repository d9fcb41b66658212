package wplc

import (
	"context"
	"fmt"
	"strconv"

	"holdline/wpdb"
)

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
	return r.s.chats.ask(ctx, r.l.CID, r.patient, func(ctx context.Context, ids []int64) ([]chatRow, error) {
		return r.s.readChats(ctx, r.q, ids)
	})
}

func (s *Source) readChats(ctx context.Context, q wpdb.Querier, ids []int64) ([]chatRow, error) {
	query := fmt.Sprintf("SELECT COALESCE((SELECT MAX(`id`) FROM %s), 0), COALESCE(c.`id`, 0), COALESCE(c.`status`, 0),"+
		" c.`session`, c.`name`, c.`email` FROM (SELECT 1) AS one LEFT JOIN %s AS c ON c.`id` IN (%s)",
		quote(s.Table()), quote(s.sessionTable()), numbers(ids))
	found := make(map[int64]chatRow, len(ids))
	var highest int64
	err := eachRow(ctx, q, query, nil, func(scan func(...any) error) error {
		var id int64
		var session, name, email []byte
		c := chatRow{exists: true}
		if err := scan(&highest, &id, &c.status, &session, &name, &email); err != nil {
			return err
		}
		c.session, c.name, c.email = string(session), string(name), string(email)
		found[id] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %d chats: %w", len(ids), err)
	}
	chats := make([]chatRow, len(ids))
	for i, id := range ids {
		chats[i] = found[id]
		chats[i].highest = highest
	}
	return chats, nil
}

// numbers writes a list for IN.
func numbers(ids []int64) string {
	var b []byte
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(b)
}
