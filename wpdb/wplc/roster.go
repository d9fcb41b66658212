package wplc

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/wpdb"
)

// Bounds of the agents' list. Anybody can open chats under names and addresses of
// any length; a list that does not fit an agent's queue would close the agent's
// connection each time it is sent.
const (
	maxListed   = 500
	maxListSize = 128 << 10 // bytes of JSON of all chats together
	maxListText = 200       // characters of a name, an address, a URL
)

// session is one row of wplc_chat_sessions, in comparable form. The texts are
// empty unless the list shows the session.
type session struct {
	id, status, agent, department int64
	started, name, email, url     string
}

// sessions is the answer to a question, newest first.
type sessions struct {
	found []session
	// floor is the lowest id of which the answer says whether it exists.
	floor int64
}

// lacks tells whether the answer says that there is no such session.
func (rows sessions) lacks(id int64) bool {
	_, found := slices.BinarySearchFunc(rows.found, id, func(row session, id int64) int {
		return cmp.Compare(id, row.id)
	})
	return !found && id >= rows.floor
}

func (s *Source) readSessions(ctx context.Context, q wpdb.Querier, ask question) (sessions, error) {
	var answer sessions
	rows, err := q.QueryContext(ctx, s.query(ask))
	if err != nil {
		return answer, err
	}
	defer rows.Close()
	var row session
	var started, name, email, url sql.RawBytes // NULL is empty
	into := []any{&row.id, &row.status, &row.agent, &row.department, &started, &name, &email, &url}
	if ask.brief {
		into = into[:3]
	}
	answer.found = make([]session, 0, len(ask.ids))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return answer, err
		}
		row.started, row.name, row.email, row.url = string(started), string(name), string(email), string(url)
		answer.found = append(answer.found, row)
	}
	if err := rows.Err(); err != nil {
		return answer, err
	}
	if len(answer.found) == maxRead {
		answer.floor = answer.found[maxRead-1].id
	}
	return answer, nil
}

// roster is the agents' list: every open session, as far as known.
type roster struct {
	open    map[int64]session
	newest  int64 // highest session id seen
	scanned time.Time
	rescan  bool // the newest session is gone: ids may have started again
	changed bool // since told
	told    []byte
}

func (l *roster) scanDue(now time.Time) bool {
	since := now.Sub(l.scanned)
	return l.scanned.IsZero() || since >= scanEvery || l.rescan && since >= rescanWait
}

// update takes an answer in.
func (l *roster) update(ask question, rows sessions, now time.Time) {
	if ask.scan {
		l.replace(rows)
		l.scanned = now
		return
	}
	for _, row := range rows.found {
		l.set(row)
	}
	for _, id := range ask.ids {
		if rows.lacks(id) {
			l.remove(id)
		}
	}
	l.rescan = l.newest > 0 && rows.lacks(l.newest)
	if len(rows.found) > 0 {
		l.newest = max(l.newest, rows.found[0].id)
	}
}

func (l *roster) replace(rows sessions) {
	open := make(map[int64]session)
	for _, row := range rows.found {
		if isOpen(row.status) {
			open[row.id] = row
		}
	}
	l.changed = l.changed || l.open == nil || !maps.Equal(open, l.open)
	l.open, l.rescan, l.newest = open, false, 0
	if len(rows.found) > 0 {
		l.newest = rows.found[0].id
	}
}

func (l *roster) set(row session) {
	if !isOpen(row.status) {
		l.remove(row.id)
		return
	}
	if old, ok := l.open[row.id]; !ok || old != row {
		l.open[row.id] = row
		l.changed = true
	}
}

func (l *roster) remove(id int64) {
	if _, ok := l.open[id]; ok {
		delete(l.open, id)
		l.changed = true
	}
}

// listData is the Data of an event on wplc/agents, for agents only.
type listData struct {
	Visitors int               `json:"visitors"`       // open sessions, at most maxRead
	Chats    []json.RawMessage `json:"chats"`          // of listedChat, oldest first
	More     int               `json:"more,omitempty"` // older chats that did not fit in
}

// listedChat is one pending, active, minimised or unanswered chat.
type listedChat struct {
	ID           int64     `json:"id"`
	Name         string    `json:"name"`
	Email        string    `json:"email,omitempty"`
	Status       int64     `json:"status"`
	State        string    `json:"state"`
	AgentID      int64     `json:"agent_id,omitempty"`
	DepartmentID int64     `json:"department_id,omitempty"` // Pro
	StartedAt    time.Time `json:"started_at,omitzero"`
	URL          string    `json:"url,omitempty"` // the page the visitor is on
}

// event is the list, if it is another than the one told last.
func (l *roster) event(loc *time.Location) (e chat.Event, changed bool, err error) {
	if !l.changed {
		return chat.Event{}, false, nil
	}
	data, err := l.encode(loc)
	if err != nil {
		return chat.Event{}, false, fmt.Errorf("wplc: encode the list of chats: %w", err)
	}
	l.changed = false
	if bytes.Equal(data, l.told) {
		return chat.Event{}, false, nil
	}
	l.told = data
	return chat.Event{Type: chat.TypeStatus, Channel: room{}.channel(), Data: data}, true, nil
}

func (l *roster) encode(loc *time.Location) ([]byte, error) {
	var chats []session
	for _, row := range l.open {
		if isListed(row.status) {
			chats = append(chats, row)
		}
	}
	// The newest are kept, and shown in the plugin's order.
	slices.SortFunc(chats, func(a, b session) int { return cmp.Compare(b.id, a.id) })
	more := max(0, len(chats)-maxListed)
	chats = chats[:len(chats)-more]

	data := listData{Visitors: len(l.open), Chats: []json.RawMessage{}}
	encoded := make(map[int64][]byte, len(chats))
	size := 0
	for i, row := range chats {
		b, err := json.Marshal(row.listed(loc))
		if err != nil {
			return nil, err
		}
		if size += len(b); size > maxListSize {
			more += len(chats) - i
			chats = chats[:i]
			break
		}
		encoded[row.id] = b
	}
	slices.SortFunc(chats, func(a, b session) int {
		return cmp.Or(strings.Compare(a.started, b.started), cmp.Compare(a.id, b.id))
	})
	for _, row := range chats {
		data.Chats = append(data.Chats, encoded[row.id])
	}
	data.More = more
	return json.Marshal(data)
}

func (row session) listed(loc *time.Location) listedChat {
	return listedChat{
		ID:           row.id,
		Name:         name(row.name),
		Email:        name(row.email),
		Status:       row.status,
		State:        stateOf(row.status),
		AgentID:      row.agent,
		DepartmentID: row.department,
		StartedAt:    utc(row.started, loc),
		URL:          strings.ToValidUTF8(row.url, "\uFFFD"),
	}
}
