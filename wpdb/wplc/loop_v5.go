package wplc

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
)

// openStatuses5 are those that 5.x lists: it knows no 12.
const openStatuses5 = "2,3,5,8,9,10"

// history5 selects the oldest messages of a chat (functions.php:585-597 of 5.0.4).
const history5 = "`chat_sess_id` = ? ORDER BY `timestamp`, `id`"

// visitor5 is one round of wplc_call_to_server_visitor in 5.x (ajax_new.php:148-262
// of 5.0.4).
func (r *round) visitor5(ctx context.Context) error {
	row, err := r.chat(ctx)
	if err != nil {
		return err
	}
	st := r.st
	r.head5()
	r.settle(&row)
	done := false
	if row.equals(r.l.form.status) {
		done, err = r.match5(ctx, row)
	} else {
		done, err = r.mismatch5(ctx, row)
	}
	if err != nil {
		return err
	}
	if done {
		st.array.set("check", []byte("true"))
		r.answer.Now = true
	}
	if r.answer.Now {
		r.answer.Body = st.array.json()
	}
	return nil
}

// head5 sets what every answer of the visitor's loop begins with.
func (r *round) head5() {
	array, form := &r.st.array, r.l.form
	if r.st.round == 1 {
		array.set("check", []byte("false"))
	}
	array.set("wplc_name", jsonText(echoed(form.name)))
	array.set("wplc_email", jsonText(echoed(form.email)))
	array.set("cid", jsonText(form.cid))
}

func (r *round) match5(ctx context.Context, row chatRow) (done bool, err error) {
	st := r.st
	if !row.exists || row.status == statusPending {
		return false, nil
	}
	if st.round > 1 && r.otherTab(row) {
		st.array.set("status", jsonInt(statusElsewhere))
		r.answer.Now = true // while check stays false
		return false, nil
	}
	switch {
	case row.status == statusMissed:
		r.beat(row, Effect{Kind: EffectMove, From: statusMissed, To: statusBrowsing})
		st.array.set("status", jsonInt(statusBrowsing))
		return true, nil
	case st.round == 1:
		r.beat(row, Effect{Kind: EffectBeat})
	}
	if row.status != statusActive {
		return false, nil
	}
	rows, err := r.unread(ctx, row.highest, true, fromAgent)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	named, err := r.showsNames(ctx)
	if err != nil {
		return false, err
	}
	r.deliver(rows)
	st.array.set("status", jsonInt(statusActive))
	st.array.set("data", jsonText(newHTML5(rows, named)))
	return true, nil
}

func (r *round) mismatch5(ctx context.Context, row chatRow) (done bool, err error) {
	st := r.st
	st.array.set("status", row.statusJSON())
	loading := row.equalsNumber(r.l.form.status, statusBrowsing)
	switch {
	case !row.exists || row.status == statusMissed: // null == 0
		st.array.set("data", jsonText(r.l.strings().NoAnswer5))
		return true, nil
	case row.status == statusEnded:
		r.beat(row, Effect{Kind: EffectMove, From: statusEnded, To: statusEndedHere})
		st.array.set("status", jsonInt(statusEndedHere))
		st.array.set("data", jsonText(r.l.strings().AgentEnded))
		return true, nil
	case row.status == statusPending:
		st.array.set("wplc_name", jsonText(row.name))
		st.array.set("wplc_email", jsonText(row.email))
		return true, nil
	case row.status == statusActive:
		st.array.set("data", jsonNull)
		if loading {
			return true, r.past5(ctx, row)
		}
		return true, nil
	case row.status == statusTimedOut:
		r.beat(row, Effect{Kind: EffectMove, From: statusTimedOut, To: statusBrowsing})
	case row.status == statusDismissed:
		return true, nil
	case row.status == statusMinimised:
		if loading {
			return true, r.past5(ctx, row)
		}
		return true, nil
	}
	return false, nil
}

// past5 adds the history, if there is any.
func (r *round) past5(ctx context.Context, row chatRow) error {
	rows, err := r.history(ctx, row.highest, history5, fromAgent)
	if err != nil || len(rows) == 0 {
		return err
	}
	named, err := r.showsNames(ctx)
	if err != nil {
		return err
	}
	r.st.array.set("data", jsonText(oldHTML5(rows, named, r.picture5())))
	return nil
}

func (r *round) showsNames(ctx context.Context) (bool, error) {
	settings, _, err := r.s.setting(ctx, "WPLC_SETTINGS")
	return isOn(settings, "wplc_display_name"), err
}

// picture5 is shown at a visitor's lines: that of the request's own cookie,
// whoever wrote them.
func (r *round) picture5() string {
	if r.l.EmailCookie == "" {
		return ""
	}
	email := asciiLower(strings.Trim(sanitized(addSlashes(r.l.EmailCookie)), " \t\n\r\x00\x0b"))
	return "<img src='//www.gravatar.com/avatar/" + md5hex(email) + "?s=20' />"
}

const (
	lineEnd5      = "<div class='wplc-clear-float-message'></div>"
	lineBreakEnd5 = "<br />" + lineEnd5
)

// newHTML5 is wplc_return_user_chat_messages. Slashes stay: visitors saw "It\'s".
func newHTML5(rows []record, named bool) string {
	var b strings.Builder
	for i := range rows {
		from, msg := string(rows[i].from), string(rows[i].msg)
		if named {
			b.WriteString("<span class='wplc-admin-message'> <strong>" + from + "</strong>: " + msg + "</span>" + lineBreakEnd5)
		} else {
			b.WriteString("<span class='wplc-admin-message'>" + msg + "</span>" + lineEnd5)
		}
	}
	return b.String()
}

// oldHTML5 is wplc_return_chat_messages: without names, a line that comes more
// than a minute after the one before shows its time.
func oldHTML5(rows []record, named bool, picture string) string {
	var b strings.Builder
	var before time.Time
	for i := range rows {
		m := &rows[i]
		class, image := "wplc-user-message", picture
		if m.originates == fromAgent {
			class, image = "wplc-admin-message", ""
		}
		if named {
			b.WriteString("<span class='" + class + "'>" + image + " <strong>" + string(m.from) + "</strong>: " + string(m.msg) + "</span>" + lineBreakEnd5)
			continue
		}
		shown := ""
		at, err := time.Parse(time.DateTime, string(m.timestamp))
		if err == nil && at.Sub(before) > time.Minute {
			shown = at.Format("Monday, January 02 2006 03:04 PM")
		}
		before = at
		b.WriteString("<span class='chat_time'>" + shown + "</span><span class='" + class + "'>" + string(m.msg) + "</span>" + lineBreakEnd5)
	}
	return b.String()
}

// agent5 is one round of wplc_admin_long_poll_chat in 5.x (ajax_new.php:93-125 of
// 5.0.4). The history is in the page there.
func (r *round) agent5(ctx context.Context) error {
	agent, err := r.isAgent(ctx)
	if err != nil {
		return err
	}
	if !agent {
		r.say([]byte(securityIssue)) // asked for again at once, for ever, as with PHP
		return nil
	}
	row, err := r.chat(ctx)
	if err != nil {
		return err
	}
	if r.l.form.opened {
		r.checkOpened(row)
		return nil
	}
	var array phpArray
	r.agentStatus(&array, row)
	rows, err := r.unread(ctx, row.highest, true, fromVisitor)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		named, err := r.showsNames(ctx)
		if err != nil {
			return err
		}
		r.deliver(rows)
		array.set("chat_message", jsonText(agentHTML5(rows, named, r.picture5())))
		array.set("action", jsonText("wplc_new_chat_message"))
	}
	if len(array) > 0 {
		r.say(array.json())
	}
	return nil
}

// agentHTML5 is wplc_return_admin_chat_messages.
func agentHTML5(rows []record, named bool, picture string) string {
	var b strings.Builder
	for i := range rows {
		line := string(rows[i].msg)
		if named {
			line = picture + "<strong>" + string(rows[i].from) + "</strong>: " + line
		}
		b.WriteString("<span class='wplc-user-message'>" + line + "</span>" + lineBreakEnd5)
	}
	return b.String()
}

// list5 is wplc_list_chats_new of 5.x; ok is false where there is nobody.
func (b *board) list5() (list []byte, again time.Duration, ok bool) {
	var all, ids phpArray
	again = math.MaxInt64
	chats := 0
	for i := range b.rows {
		v := &b.rows[i]
		if v.status == statusPending || v.status == statusActive {
			chats++
		}
		id := strconv.FormatInt(v.id, 10)
		ids.add(id, []byte("true"))
		image := `<img src="//www.gravatar.com/avatar/` + md5hex(v.email) + `?s=20&d=mm" />`
		entry, change := b.entry(v, b.action5(v, chats), image, browser5(v.agent), "")
		all.add(id, entry.json())
		again = min(again, change)
	}
	all.set("ids", ids.json())
	return all.json(), again, len(ids) > 0
}

// action5 is the button of a visitor. After the second chat none works: Pro is
// for more than one.
func (b *board) action5(v *visitor, chats int) string {
	switch {
	case chats > 1:
		return `<a href="javascript:void(0);" class="wplc_second_chat_request button button-primary" style='cursor:not-allowed' title="` +
			b.words.GetPro5 + `" target="_BLANK">` + b.words.AcceptChat + "</a>"
	case v.status == statusPending:
		return b.chatButton(v, b.words.AcceptChat)
	case v.status == statusActive:
		return b.chatButton(v, b.words.OpenChat)
	case v.status == statusBrowsing:
		return b.inviteButton()
	}
	return ""
}

// browser5 spells Internet Explorer in two ways, so its picture is not found; and
// it does not know Edge, which says that it is Chrome.
func browser5(userAgent string) browser {
	if isOldExplorer(userAgent) {
		return browser{"Internet explorer", "web_16x16.png"}
	}
	return otherBrowser(userAgent)
}
