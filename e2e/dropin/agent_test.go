package dropin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// agent is a user of WordPress who is logged in and answers chats, with the plugin's
// script (js/testchat-agent.js) in each window.
type agent struct {
	*browser
	s   *stage
	t   *testing.T
	ctx context.Context
}

// login logs an agent in at the stage's front.
func login(s *stage, user string) *agent {
	s.t.Helper()
	header, err := s.site.Login(s.ctx, user)
	if err != nil {
		s.t.Fatal(err)
	}
	b := newBrowser(s)
	cookies, err := http.ParseCookie(header)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range cookies {
		c.Path = "/"
	}
	b.client.Jar.SetCookies(b.front, cookies)
	return &agent{browser: b, s: s, t: s.t, ctx: s.ctx}
}

// window is a page of the agent's with its loop.
type window struct {
	*agent
	seen  *record
	ctx   context.Context
	leave context.CancelFunc
	loop  sync.WaitGroup
	nonce string
	cid   string // "" is the dashboard

	mu     sync.Mutex
	status string // of the chat
	list   string // of the dashboard: the last one, sent back byte for byte
	rows   map[string]string
	said   map[string]bool // texts that the chat shows
	again  map[teller]int  // how many of them were told once more
}

var ajaxNonce = regexp.MustCompile(`var wplc_ajax_nonce = "([^"]+)"`)

// open loads the window of a chat, which accepts the chat, and begins its loop.
func (a *agent) open(cid string) *window {
	a.t.Helper()
	return a.load(cid).poll()
}

// dashboard opens the list of chats.
func (a *agent) dashboard() *window {
	a.t.Helper()
	return a.load("").poll()
}

func (a *agent) load(cid string) *window {
	a.t.Helper()
	path := "/wp-admin/admin.php?page=wplivechat-menu"
	if cid != "" {
		path += "&action=ac&cid=" + cid
	}
	page, err := a.page(a.ctx, path)
	if err != nil {
		a.t.Fatal("open a window: ", err)
	}
	nonce := ajaxNonce.FindStringSubmatch(page)
	if nonce == nil {
		a.t.Fatal("no nonce in the agents' page")
	}
	ctx, cancel := context.WithCancel(a.ctx)
	w := &window{
		agent: a, seen: a.s.newRecord(), ctx: ctx, leave: cancel,
		nonce: nonce[1], cid: cid, status: "3", list: "false", rows: map[string]string{},
		said: map[string]bool{}, again: map[teller]int{},
	}
	a.t.Cleanup(w.close)
	return w
}

// poll begins a window's loop.
func (w *window) poll() *window {
	w.loop.Go(func() {
		for first := true; w.once(first); first = false {
		}
	})
	return w
}

func (w *window) close() {
	w.leave()
	w.loop.Wait()
}

// once polls once, and tells after the script's pause whether to go on.
func (w *window) once(first bool) bool {
	w.mu.Lock()
	form := url.Values{
		"action": {"wplc_admin_long_poll"}, "security": {w.nonce},
		"wplc_list_visitors_data": {"false"}, "wplc_update_admin_chat_table": {w.list},
	}
	if w.cid != "" {
		form = url.Values{
			"action": {"wplc_admin_long_poll_chat"}, "security": {w.nonce}, "cid": {w.cid},
			"chat_status": {w.status}, "first_run": {fmt.Sprint(first)}, "msg_from_print": {"Admin"},
		}
	}
	w.mu.Unlock()
	got, err := w.ajax(w.ctx, form)
	pause := afterAnswer
	switch {
	case w.ctx.Err() != nil:
		return false
	case err != nil || got.status != http.StatusOK:
		pause = afterError
		w.seen.add(fmt.Sprintf("error %d %s %v", got.status, got.body, err))
	case got.body == "0":
		w.seen.add("the loop is stopped")
		return false
	case got.body != "":
		w.handle(got.body, tellerOf(got))
	}
	return got.status != http.StatusNotFound && w.wait(w.ctx, pause)
}

// teller is who has made an answer.
type teller string

const (
	byPHP      teller = "PHP"
	byHoldline teller = "Holdline"
)

// tellerOf goes by the header that testdata/dropin.php sets.
func tellerOf(got answer) teller {
	if got.header.Get("X-Answered-By") != "" {
		return byPHP
	}
	return byHoldline
}

func (w *window) handle(body string, from teller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var a struct {
		Error   json.RawMessage `json:"error"`
		Status  json.RawMessage `json:"chat_status"`
		History json.RawMessage `json:"chat_history"`
		Message json.RawMessage `json:"chat_message"`
		Table   *string         `json:"wplc_update_admin_chat_table"`
		Pending bool            `json:"pending"`
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Error != nil {
		w.seen.add("no good answer: " + body)
		return
	}
	if a.Table != nil {
		w.showList(*a.Table, a.Pending)
		return
	}
	if len(a.Status) > 0 {
		w.status = plainText(a.Status)
		w.seen.add("state " + w.status)
	}
	for _, messages := range []json.RawMessage{a.History, a.Message} {
		for _, e := range entries(messages) {
			// The agents' script shows what it is told, twice if it is told twice.
			text := messageText(w.seen.say(e.value))
			if w.said[text] {
				w.again[from]++
			}
			w.said[text] = true
		}
	}
}

// showList notes each row that has changed.
func (w *window) showList(list string, pending bool) {
	w.list = list
	for _, e := range entries(json.RawMessage(list)) {
		var row map[string]any
		if e.key == "ids" || e.key == "visitor_count" || json.Unmarshal(e.value, &row) != nil {
			continue
		}
		delete(row, "timestamp") // "0 min"
		text := encode(row)
		if w.rows[e.key] != text {
			w.rows[e.key] = text
			w.seen.add(fmt.Sprintf("pending %t, row %s", pending, text))
		}
	}
}

// write sends a message.
func (w *window) write(text string) {
	w.t.Helper()
	w.writeTo(w.cid, text)
}

// writeTo sends a message to another chat than the window's.
func (w *window) writeTo(cid, text string) {
	w.t.Helper()
	if got := w.post("wplc_admin_send_msg", url.Values{"cid": {cid}, "msg": {text}}); got.status != http.StatusOK || got.body != "sent" {
		w.t.Fatalf("an agent's message: %d %q", got.status, got.body)
	}
}

// accept takes a chat without a window for it.
func (w *window) accept(cid string) {
	w.t.Helper()
	if got := w.post("wplc_admin_accept_chat", url.Values{"cid": {cid}}); got.status != http.StatusOK {
		w.t.Fatalf("accept chat %s: %d %q", cid, got.status, got.body)
	}
}

// end presses Close chat.
func (w *window) end() {
	w.t.Helper()
	if got := w.post("wplc_admin_close_chat", nil); got.status != http.StatusOK || got.body != "done" {
		w.t.Fatalf("close the chat: %d %q", got.status, got.body)
	}
}

func (w *window) post(action string, fields url.Values) answer {
	w.t.Helper()
	form := url.Values{"action": {action}, "security": {w.nonce}, "cid": {w.cid}}
	for key, values := range fields {
		form[key] = values
	}
	got, err := w.ajax(w.agent.ctx, form)
	if err != nil {
		w.t.Fatalf("%s: %v", action, err)
	}
	return got
}

// withoutRepeats is what an agent saw, without the lines that were said before. PHP tells
// an agent twice what was unread when the window opened.
func withoutRepeats(lines []string) (kept []string, repeats int) {
	seen := map[string]bool{}
	for _, line := range lines {
		if strings.HasPrefix(line, "says ") && seen[messageText(line)] {
			repeats++
			continue
		}
		seen[messageText(line)] = true
		kept = append(kept, line)
	}
	return kept, repeats
}

// messageText is a line's text, which the history has with slashes.
func messageText(line string) string {
	var m struct{ Msg string }
	if json.Unmarshal([]byte(strings.TrimPrefix(line, "says ")), &m) != nil {
		return line
	}
	if _, note, ok := strings.Cut(m.Msg, "wplc_system_notification wplc-color-4'>"); ok {
		m.Msg = strings.TrimSuffix(note, "</span>")
	}
	return strings.ReplaceAll(m.Msg, `\`, "")
}
