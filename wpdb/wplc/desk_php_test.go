package wplc

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"holdline/internal/chat"
)

// php does on a test site's tables what the plugin's PHP does in its loops
// (ajax_new.php of 8.0.25): it looks in rounds, marks as read what it will print,
// writes heartbeats and ages. The answers have only the fields that matter.
type php struct {
	db *sql.DB
	// start is how long WordPress takes before the first look, finish from the
	// last to the answer.
	start, finish time.Duration
	mu            sync.Mutex
	busy, most    int // workers
	calls         int
	shorts        int
	fail          error
	status        int
}

// forward makes a Forward of a browser's request.
func (p *php) forward(form url.Values) Forward {
	return func(ctx context.Context, short bool) (*chat.Reply, error) {
		p.mu.Lock()
		p.calls++
		if short {
			p.shorts++
		}
		p.busy++
		p.most = max(p.most, p.busy)
		fail, status := p.fail, p.status
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			p.busy--
			p.mu.Unlock()
		}()
		time.Sleep(p.start)
		if fail != nil {
			return nil, fail
		}
		if status != 0 {
			return &chat.Reply{Status: status, Body: []byte("-1")}, nil
		}
		body, err := p.rounds(ctx, form, short || form.Get("short_poll") == "true")
		time.Sleep(p.finish)
		return &chat.Reply{Header: http.Header{"X-Php": {"1"}}, Body: body}, err
	}
}

func (p *php) rounds(ctx context.Context, form url.Values, short bool) ([]byte, error) {
	for round := 1; round <= 55; round++ {
		var answer map[string]any
		var err error
		if form.Get("action") == ActionAgent {
			answer, err = p.agent(form)
		} else {
			if round == 28 {
				p.age()
			}
			answer, err = p.visitor(form, round, short)
		}
		if err != nil {
			return nil, err
		}
		if answer != nil {
			return json.Marshal(answer)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil, nil
}

func (p *php) visitor(form url.Values, round int, short bool) (map[string]any, error) {
	cid, sent := form.Get("cid"), form.Get("status")
	var status, session string
	err := p.db.QueryRow("SELECT status, session FROM wp_wplc_chat_sessions WHERE id = ?", cid).Scan(&status, &session)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	answer := map[string]any{"cid": cid}
	if status == sent {
		if round > 1 && status != "2" && session != "" && session != form.Get("wplcsession") {
			return map[string]any{"status": statusElsewhere, "check": false}, nil
		}
		if round == 1 && status != "2" && status != "12" {
			if err := p.write("UPDATE wp_wplc_chat_sessions SET last_active_timestamp = ?, session = ? WHERE id = ?", p.now(), form.Get("wplcsession"), cid); err != nil {
				return nil, err
			}
		}
		if status == "3" || status == "10" || status == "2" {
			data, err := p.unread(cid, "0,1")
			if err != nil || len(data) > 0 {
				answer["status"], answer["data"] = 3, data
				return answer, err
			}
		}
		answer["status"] = status
		if status == "12" {
			answer["status"] = 12
		}
		return only(short, answer), nil
	}
	answer["status"] = status
	switch status {
	case "1":
		answer["status"], answer["data"] = 8, map[string]any{"9999": "ended"}
		return answer, p.write("UPDATE wp_wplc_chat_sessions SET status = 8 WHERE id = ?", cid)
	case "12":
		answer["data"] = "no answer"
		return answer, p.write("UPDATE wp_wplc_chat_sessions SET last_active_timestamp = ? WHERE id = ?", p.now(), cid)
	case "7":
		return only(short, answer), p.write("UPDATE wp_wplc_chat_sessions SET status = 5, last_active_timestamp = ? WHERE id = ?", p.now(), cid)
	case "3":
		answer["data"] = nil
		return answer, nil
	case "2", "9", "10":
		return answer, nil
	}
	return only(short, answer), nil
}

func only(short bool, answer map[string]any) map[string]any {
	if short {
		return answer
	}
	return nil
}

func (p *php) agent(form url.Values) (map[string]any, error) {
	var status string
	if err := p.db.QueryRow("SELECT status FROM wp_wplc_chat_sessions WHERE id = ?", form.Get("cid")).Scan(&status); err != nil {
		return nil, err
	}
	answer := map[string]any{}
	if form.Get("first_run") == "true" {
		return map[string]any{"chat_history": map[string]any{}}, nil
	}
	if status != form.Get("chat_status") {
		answer["chat_status"] = status
	}
	data, err := p.unread(form.Get("cid"), "2,3")
	if len(data) > 0 {
		answer["chat_message"] = data
	}
	if len(answer) == 0 {
		return nil, err
	}
	return answer, err
}

// unread reads and marks, as one step: that PHP makes two of it loses messages
// that no proxy can save.
func (p *php) unread(cid, kinds string) (map[string]any, error) {
	rows, err := p.db.Query("SELECT id, msg FROM wp_wplc_chat_msgs WHERE chat_sess_id = ? AND status = 0 AND originates IN ("+kinds+")", cid)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	data := map[string]any{}
	for rows.Next() {
		var id int64
		var msg string
		if err := rows.Scan(&id, &msg); err != nil {
			return nil, err
		}
		data[strconv.FormatInt(id, 10)] = map[string]any{"msg": msg}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for id := range data {
		if err := p.write("UPDATE wp_wplc_chat_msgs SET status = 1 WHERE id = ?", id); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// age is wplc_update_chat_statuses for the statuses that visitors wait in.
func (p *php) age() {
	for _, step := range [][3]int{{12, 30, 0}, {2, 30, 12}, {3, 300, 1}, {5, 120, 7}, {10, 120, 7}} {
		p.write("UPDATE wp_wplc_chat_sessions SET status = ? WHERE status = ? AND last_active_timestamp < ? - INTERVAL ? SECOND", step[2], step[0], p.now(), step[1])
	}
}

func (p *php) now() string { return time.Now().UTC().Format(time.DateTime) }

func (p *php) write(query string, args ...any) error {
	_, err := p.db.Exec(query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

func (p *php) counts() (calls, shorts, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, p.shorts, p.most
}
