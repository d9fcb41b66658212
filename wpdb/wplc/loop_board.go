package wplc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"holdline/internal/phpser"
	"holdline/wpdb"
)

// visitor is one open session as the dashboard shows it.
type visitor struct {
	id, status  int64
	name, email string
	url, began  string
	ip, agent   string // out of the column ip
	otherText   string
	other       phpser.Value
}

// maxVisitors and maxVisitorsSize (bytes of text) bound the list, which PHP does
// not. The oldest are shown, as they come first.
const (
	maxVisitors     = 5000
	maxVisitorsSize = 8 << 20
)

// boards reads the open sessions for everybody who asks at about the same time:
// an answer counts for all that were waiting before the question was put.
type boards struct {
	turn  chan struct{} // holds one token: who takes it may read
	once  sync.Once
	asked time.Time // when the rows were asked for
	rows  []visitor
}

func (b *boards) read(ctx context.Context, q wpdb.Querier, s *Source) ([]visitor, error) {
	b.once.Do(func() {
		b.turn = make(chan struct{}, 1)
		b.turn <- struct{}{}
	})
	arrived := time.Now()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.turn:
	}
	defer func() { b.turn <- struct{}{} }()
	if b.asked.After(arrived) {
		return b.rows, nil
	}
	asked := time.Now()
	rows, err := s.readVisitors(ctx, q)
	if err != nil {
		return nil, err
	}
	b.asked, b.rows = asked, rows
	return rows, nil
}

// readVisitors makes the dashboard's question. No index helps with it.
func (s *Source) readVisitors(ctx context.Context, q wpdb.Querier) ([]visitor, error) {
	statuses := openStatuses
	if s.facts.Version == 5 {
		statuses = openStatuses5
	}
	query := fmt.Sprintf("SELECT `id`, `status`, `name`, `email`, `url`, `timestamp`, `ip`, LEFT(`other`, %d) FROM %s"+
		" WHERE `status` IN (%s) ORDER BY `timestamp`, `id` LIMIT %d", maxOther, quote(s.sessionTable()), statuses, maxVisitors)
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read the open chats: %w", err)
	}
	defer rows.Close()
	var all []visitor
	for size := 0; rows.Next() && size < maxVisitorsSize; {
		var v visitor
		var name, email, url, began, ip, other []byte
		if err := rows.Scan(&v.id, &v.status, &name, &email, &url, &began, &ip, &other); err != nil {
			return nil, fmt.Errorf("read the open chats: %w", err)
		}
		v.name, v.email, v.url, v.began = string(name), string(email), string(url), string(began)
		v.otherText = string(other)
		size += len(name) + len(email) + len(url) + len(ip) + len(other)
		v.ip, v.agent = address(ip)
		if parsed, err := phpser.Parse(other); err == nil {
			v.other = parsed
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the open chats: %w", err)
	}
	return all, nil
}

// address takes the column ip apart, an array with the address and the browser.
func address(column []byte) (ip, agent string) {
	v, err := phpser.Parse(column)
	if err != nil {
		return "", ""
	}
	text := func(key string) string {
		field, _ := v.Get(key)
		s, _ := field.Text()
		return s
	}
	return text("ip"), text("user_agent")
}
