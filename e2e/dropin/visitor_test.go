package dropin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// visitor is one page of the site in a visitor's browser, with the plugin's script
// (js/testchat-visitor.js) in it: the first poll is short, held ones come from the
// start of a chat on.
type visitor struct {
	*browser
	t      *testing.T
	seen   *record
	ctx    context.Context // of the page
	leave  context.CancelFunc
	loops  sync.WaitGroup
	asked  atomic.Int32 // polls that were begun
	failed atomic.Int32 // polls that were answered by an error

	mu      sync.Mutex
	session string // new with every page
	status  int
	run     bool
	polling bool // a loop is under way
	data    *loopData
	shown   map[string]bool
	name    string
	email   string
	token   string // of the plugin's REST routes
}

// loopData is the form of the loop, which the script changes while it goes on.
type loopData struct {
	cid, name, email string
	status           int
}

var restToken = regexp.MustCompile(`var wplc_restapi_token = "([^"]+)"`)

// visit loads a page in a browser of its own.
func visit(s *stage, session string) *visitor {
	s.t.Helper()
	return open(s, newBrowser(s), session, "/shop/", s.newRecord())
}

// open loads a page, and returns when its first poll was answered.
func open(s *stage, b *browser, session, path string, seen *record) *visitor {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	v := &visitor{
		browser: b, t: s.t, seen: seen, ctx: ctx, leave: cancel,
		session: session, status: 5, shown: map[string]bool{}, name: "Guest", email: "guest@example.test",
	}
	s.t.Cleanup(v.close)
	page, err := b.page(ctx, path)
	if err != nil {
		s.t.Fatal("load a page: ", err)
	}
	if token := restToken.FindStringSubmatch(page); token != nil {
		v.token = token[1]
	}
	if _, err := b.ajax(ctx, url.Values{"action": {"wplc_get_chat_box"}, "cid": {b.cookie("wplc_cid")}}); err != nil {
		s.t.Fatal("load the chat's box: ", err)
	}
	v.data = v.loopData()
	first := make(chan struct{})
	v.poll(v.data, true, func() { close(first) })
	<-first
	return v
}

// close leaves the page: what is under way is broken off.
func (v *visitor) close() {
	v.leave()
	v.loops.Wait()
}

// comeBack goes on polling after close, as a page does whose network was away.
func (v *visitor) comeBack(s *stage) {
	v.ctx, v.leave = context.WithCancel(s.ctx)
	v.asked.Store(0)
	v.poll(v.data, false, func() {})
}

// reload opens another page of the site in the same browser and notes on in the
// same record.
func (v *visitor) reload(s *stage, session, path string) *visitor {
	v.t.Helper()
	v.close()
	v.seen.add("— another page —")
	next := open(s, v.browser, session, path, v.seen)
	next.mu.Lock()
	next.name, next.email = v.name, v.email
	next.mu.Unlock()
	return next
}

func (v *visitor) loopData() *loopData {
	return &loopData{cid: v.cookie("wplc_cid"), name: v.name, email: v.email, status: v.status}
}

// poll is wplc_call_to_server_chat and all that follows it. first is called after
// the first answer.
func (v *visitor) poll(data *loopData, short bool, first func()) {
	v.polling = true
	v.loops.Go(func() {
		for v.once(data, short, first) {
			short, first = false, func() {}
		}
		v.mu.Lock()
		v.polling = false
		v.mu.Unlock()
	})
}

// once polls once, and tells after the script's pause whether to go on.
func (v *visitor) once(data *loopData, short bool, done func()) bool {
	v.mu.Lock()
	form := url.Values{
		"action": {"wplc_call_to_server_visitor"}, "cid": {data.cid}, "status": {strconv.Itoa(data.status)},
		"wplc_name": {data.name}, "wplc_email": {data.email}, "wplcsession": {v.session}, "wplc_is_mobile": {"false"},
		"wplc_extra_data[object_switch]": {"true"}, "first_run": {strconv.FormatBool(short)}, "short_poll": {strconv.FormatBool(short)},
	}
	v.mu.Unlock()
	v.asked.Add(1)
	got, err := v.ajax(v.ctx, form)
	pause := afterAnswer
	switch {
	case v.ctx.Err() != nil:
	case err != nil || got.status != http.StatusOK:
		pause = afterError
		v.failed.Add(1)
		v.seen.add(fmt.Sprintf("error %d %s %v Retrying in 5 seconds...", got.status, got.body, err))
	default:
		v.handle(got.body, data)
	}
	v.mu.Lock()
	goOn := v.run && got.status != http.StatusNotFound
	v.mu.Unlock()
	done()
	return goOn && v.wait(v.ctx, pause)
}

// loopAnswer is what the script reads of an answer.
type loopAnswer struct {
	Name   *string         `json:"wplc_name"`
	Email  *string         `json:"wplc_email"`
	CID    json.RawMessage `json:"cid"`    // a number or a text
	Status json.RawMessage `json:"status"` // a number, a text or null
	Data   json.RawMessage `json:"data"`   // messages, HTML or null
}

// handle is wplc_loop_response_handler.
func (v *visitor) handle(body string, data *loopData) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch body {
	case "":
		return
	case "0":
		v.seen.add("the loop is stopped")
		v.run = false
		return
	}
	var a loopAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		v.seen.add("no JSON: " + body)
		v.run = false
		return
	}
	if a.Name != nil && a.Email != nil {
		data.name, data.email = *a.Name, *a.Email
	}
	if cid := plainText(a.CID); cid != "" {
		data.cid = cid
		v.setCookie("wplc_cid", cid)
	}
	if len(a.Status) == 0 || string(a.Status) == "null" {
		return
	}
	next, err := strconv.Atoi(plainText(a.Status))
	if err != nil {
		v.seen.add("no status: " + body)
	}
	if next != v.status {
		v.setStatus(next)
	}
	data.status = v.status
	v.show(a.Data)
	if next == 8 || next == 11 {
		v.run = false
		if next == 8 {
			v.setCookie("wplc_chat_status", "")
			v.setCookie("wplc_cid", "")
		}
	}
}

// plainText is a JSON number or text as JavaScript's String() makes it.
func plainText(value json.RawMessage) string { return string(bytes.Trim(value, `"`)) }

func (v *visitor) setStatus(next int) {
	v.status = next
	v.setCookie("wplc_chat_status", strconv.Itoa(next))
	v.seen.add(fmt.Sprintf("state %d", next))
	if next == 2 || next == 3 || next == 10 {
		v.run = true
	}
}

func (v *visitor) show(data json.RawMessage) {
	var html string
	if bytes.HasPrefix(data, []byte(`"`)) && json.Unmarshal(data, &html) == nil {
		v.seen.add("shows " + html)
		return
	}
	for _, e := range entries(data) {
		if !v.shown[e.key] {
			v.shown[e.key] = true
			v.seen.say(e.value)
		}
	}
}

// post does what a button does, and returns what PHP said.
func (v *visitor) post(action string, fields url.Values) answer {
	v.t.Helper()
	form := url.Values{"action": {action}, "cid": {v.cookie("wplc_cid")}}
	for key, values := range fields {
		form[key] = values
	}
	got, err := v.ajax(v.ctx, form)
	if err != nil {
		v.t.Fatalf("%s: %v", action, err)
	}
	return got
}

// mustPost is post for what cannot fail.
func (v *visitor) mustPost(action, want string, fields url.Values) {
	v.t.Helper()
	if got := v.post(action, fields); got.status != http.StatusOK || want != "*" && got.body != want {
		v.t.Fatalf("%s: %d %q, want %q", action, got.status, got.body, want)
	}
}

// start asks for a chat.
func (v *visitor) start(name, email string) {
	v.t.Helper()
	v.mu.Lock()
	v.name, v.email = name, email
	v.mu.Unlock()
	got := v.post("wplc_start_chat", url.Values{"name": {name}, "email": {email}, "wplcsession": {v.session}})
	if _, err := strconv.Atoi(got.body); err != nil {
		v.t.Fatalf("start a chat: %d %q", got.status, got.body)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.setCookie("wplc_cid", got.body)
	v.setStatus(2)
	v.data.cid, v.data.status = got.body, 2
	if !v.polling {
		v.data = v.loopData()
		v.poll(v.data, false, func() {})
	}
}

// chat is the number of the visitor's chat.
func (v *visitor) chat() string { return v.cookie("wplc_cid") }

func (v *visitor) send(text string) {
	v.t.Helper()
	v.mustPost("wplc_user_send_msg", "sent", url.Values{"msg": {text}})
}

func (v *visitor) minimise() {
	v.t.Helper()
	v.mustPost("wplc_user_minimize_chat", "", nil)
}

func (v *visitor) maximise() {
	v.t.Helper()
	v.mustPost("wplc_user_maximize_chat", "", url.Values{"chat_status": {"3"}})
}

// end presses End Chat.
func (v *visitor) end() {
	v.t.Helper()
	form := url.Values{"token": {v.token}, "chat_id": {v.chat()}, "agent_id": {"0"}}
	got, err := v.do(v.ctx, http.MethodPost, "/wp-json/wp_live_chat_support/v1/end_chat", formType, form.Encode())
	if err != nil || !strings.Contains(got.body, `"code":"200"`) {
		v.t.Fatalf("end the chat: %d %s %v", got.status, got.body, err)
	}
}
