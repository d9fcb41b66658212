package wplc

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"holdline/internal/chat"
)

// said are the fields of PHP's answers that decide what becomes of them. Each
// may be of any type.
type said struct {
	Status  json.RawMessage `json:"status"`
	Data    json.RawMessage `json:"data"`         // to visitors: messages or a notice
	Typing  json.RawMessage `json:"typing"`       // Pro, once for each change
	Message json.RawMessage `json:"chat_message"` // to agents
	Rating  json.RawMessage `json:"chat_rating"`  // Pro, once
	List    json.RawMessage `json:"wplc_update_admin_chat_table"`
}

// parseSaid reads an answer; ok is false for what is no JSON object. Other
// plugins may have printed something before it.
func parseSaid(body []byte) (t said, ok bool) {
	at := bytes.IndexByte(body, '{')
	if at < 0 {
		return t, false
	}
	return t, json.Unmarshal(body[at:], &t) == nil
}

func isSet(value json.RawMessage) bool { return len(value) > 0 && string(value) != "null" }

// says tells whether PHP's answer is one for the page. A short poll is always
// answered; where the page did not ask for one, it is an answer only if PHP would
// have said the same in a loop that it holds, by the branches of ajax_new.php:
// 252-397. The rest is thrown away; the page has it (its own status), or will
// never get it (7, and 5, 0, 8 that it does not expect).
func (f *forward) says(reply *chat.Reply) bool {
	switch {
	case reply.Status != 0 && reply.Status != http.StatusOK:
		return true
	case len(bytes.TrimSpace(reply.Body)) == 0:
		return false
	case !f.short:
		return true
	}
	t, ok := parseSaid(reply.Body)
	if !ok {
		// Broken by somebody's output. When PHP had something to say it would have
		// been just as broken.
		return f.why == forNews
	}
	if isSet(t.Data) || isSet(t.Typing) {
		return true
	}
	status, err := strconv.ParseInt(string(bytes.Trim(t.Status, `"`)), 10, 64)
	row := chatRow{exists: true, status: status}
	return err == nil && !row.equals(f.loop.form.status) && (isAnswered8(status) || status > statusUnanswered)
}

// isAnswered8 tells whether PHP says at once that a chat has this status, and
// the page another. That it ended (1) comes as 8, with data.
func isAnswered8(status int64) bool {
	switch status {
	case statusPending, statusActive, statusDismissed, statusMinimised:
		return true
	}
	return false
}

// carries tells whether an answer holds what PHP will not tell again: messages,
// which it has marked as read, and news of which it keeps that they were told.
func (l *Loop) carries(reply *chat.Reply) bool {
	if l.Action == ActionDashboard || reply.Status != 0 && reply.Status != http.StatusOK {
		return false
	}
	t, ok := parseSaid(reply.Body)
	if !ok {
		return bytes.IndexByte(reply.Body, '{') >= 0 // broken, but there may be messages in it
	}
	return isSet(t.Data) || isSet(t.Typing) || isSet(t.Message) || isSet(t.Rating)
}

// printSeed is for hashes that live no longer than the process.
var printSeed = maphash.MakeSeed()

// print tells forms apart which PHP answers differently.
func (l *Loop) print() string {
	if l.Action == ActionDashboard {
		return tablePrint(l.form.table)
	}
	return l.form.status + strconv.FormatBool(l.form.first) + strconv.FormatBool(l.form.opened) + strconv.FormatBool(l.Short)
}

func tablePrint(table string) string {
	return strconv.FormatUint(maphash.String(printSeed, table), 16)
}

// nextTable is what a dashboard sends in its next form once it got an answer.
func nextTable(reply *chat.Reply) string {
	var table string
	if t, ok := parseSaid(reply.Body); !ok || json.Unmarshal(t.List, &table) != nil {
		return noTable
	}
	return table
}

// gripe tells the operator about something that fails again and again, once in a
// minute.
type gripe struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

const gripeEvery = time.Minute

func (g *gripe) tell(logger *slog.Logger, what string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	if !g.last.IsZero() && time.Since(g.last) < gripeEvery {
		return
	}
	logger.Warn(what, "error", err, "failures", g.count)
	g.last, g.count = time.Now(), 0
}
