package wplc

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"holdline/internal/phpser"
)

// dashboardEvery is how often the dashboard is looked at although the agents'
// list has not changed: it shows more than that, such as the page on which
// somebody browses. PHP looks twice a second; here one look serves every agent.
const dashboardEvery = 5 * time.Second

// dashboard is one round of wplc_admin_long_poll (ajax_new.php:83-140).
func (r *round) dashboard(ctx context.Context) error {
	agent, err := r.isAgent(ctx)
	if err != nil {
		return err
	}
	version8 := r.s.facts.Version == 8
	if !agent {
		// 5.x shows the list to whoever has a nonce; here he waits for nothing.
		if version8 {
			r.say([]byte(`{"error":1}`))
		}
		return nil
	}
	b := board{words: r.l.strings(), now: time.Now(), loc: r.s.site.Location()}
	if b.admin, b.plugin, err = r.places(ctx); err != nil {
		return err
	}
	if b.rows, err = r.s.boards.read(ctx, r.q, r.s); err != nil {
		return err
	}
	table, again, shown := b.list8()
	if !version8 {
		table, again, shown = b.list5()
	}
	r.answer.Again = min(again, dashboardEvery)

	before, hadBefore := r.l.form.table, r.l.form.table != noTable
	if shown == hadBefore && (!shown || string(table) == before) {
		return nil
	}
	var array phpArray
	array.set("old_chat_data", textOrFalse(before, hadBefore))
	array.set("wplc_update_admin_chat_table", textOrFalse(string(table), shown))
	array.set("pending", strconv.AppendBool(nil, b.pending(version8)))
	array.set("action", jsonText("wplc_update_chat_list"))
	r.say(array.json())
	return nil
}

func textOrFalse(s string, ok bool) []byte {
	if !ok {
		return []byte("false")
	}
	return jsonText(s)
}

// board is the dashboard's list for one agent at one moment.
type board struct {
	words         Strings
	admin, plugin string
	now           time.Time
	loc           *time.Location
	rows          []visitor
}

// pending tells whether it should ring.
func (b *board) pending(version8 bool) bool {
	for _, v := range b.rows {
		if v.status != statusPending {
			continue
		}
		if unanswered, ok := v.other.Get("unanswered"); !version8 || ok && unanswered.Kind() != phpser.Null {
			return true
		}
	}
	return false
}

// list8 is wplc_list_chats_new of 8.x (functions.php:602-697); again is when the
// same rows will look different.
func (b *board) list8() (list []byte, again time.Duration, ok bool) {
	var all, ids phpArray
	all.set("visitor_count", jsonText(strconv.Itoa(len(b.rows))))
	again = math.MaxInt64
	for i := range b.rows {
		v := &b.rows[i]
		id := strconv.FormatInt(v.id, 10)
		ids.add(id, []byte("true"))
		image := "<img src=\"//www.gravatar.com/avatar/" + md5hex(v.email) + "?s=30&d=mm\"  class='wplc-user-message-avatar' />"
		entry, change := b.entry(v, b.action8(v), image, browser8(v.agent), " target='_BLANK'")
		entry.set("other", rawOther([]byte(v.otherText)))
		all.add(id, entry.json())
		again = min(again, change)
	}
	if len(ids) > 0 {
		all.set("ids", ids.json())
	}
	return all.json(), again, true
}

// entry is what both versions show of a visitor.
func (b *board) entry(v *visitor, action, image string, br browser, ipTarget string) (entry phpArray, change time.Duration) {
	ago, kind, change := b.age(v)
	entry.set("name", jsonText(v.name))
	entry.set("email", jsonText(v.email))
	entry.set("status", jsonText(strconv.FormatInt(v.status, 10)))
	entry.set("action", jsonText(action))
	entry.set("timestamp", jsonText(ago))
	entry.set("type", jsonText(kind))
	entry.set("image", jsonText(image))

	address := b.words.NoAddress
	if v.ip != "" {
		address = "<a href='http://www.ip-adress.com/ip_tracer/" + v.ip + "' title='" + b.words.WhoisFor + " " + v.ip + "'" +
			ipTarget + ">" + v.ip + "</a>"
	}
	var data phpArray
	data.set("browsing", jsonText(v.url))
	data.set("browsing_nice_url", niceURL(v.url))
	data.set("browser", jsonText("<img src='"+b.plugin+"/images/"+br.file+"' alt='"+br.name+"' title='"+br.name+"' /> "))
	data.set("ip", jsonText(address))
	entry.set("data", data.json())
	return entry, change
}

// age tells how long ago a chat began, by the digits of the site's clock.
func (b *board) age(v *visitor) (ago, kind string, change time.Duration) {
	_, offset := b.now.In(b.loc).Zone()
	began, _ := time.Parse(time.DateTime, v.began)
	seconds := b.now.Unix() + int64(offset) - began.Unix()
	ago, next := timeAgo(seconds)
	kind = b.words.Returning
	if seconds < 3600 {
		kind, next = b.words.New, min(next, 3600)
	}
	return ago, kind, time.Duration(min(next-seconds, 3600)) * time.Second
}

// action8 is the button of a visitor (wplc_filter_list_chats_actions).
func (b *board) action8(v *visitor) string {
	switch v.status {
	case statusBrowsing:
		return b.inviteButton()
	case statusPending:
		return b.chatButton(v, b.words.AcceptChat)
	case statusActive, statusMinimised, statusUnanswered:
		return b.chatButton(v, b.words.OpenChat)
	}
	return ""
}

func (b *board) inviteButton() string {
	return `<a href="javascript:void(0);" id="wplc_initiate_chat" class="wplc_initiate_chat button button-secondary">` +
		b.words.InitiateChat + "</a>"
}

func (b *board) chatButton(v *visitor, label string) string {
	id := strconv.FormatInt(v.id, 10)
	return `<a href="` + b.admin + `admin.php?page=wplivechat-menu&action=ac&cid=` + id +
		`" class="wplc_open_chat button button-primary" window-title="WP_Live_Chat_` + id + `">` + label + "</a>"
}

// maxNiceURL is how much of a path is shown, in bytes.
const maxNiceURL = 20

// niceURL is the path, cut. PHP cuts within a character, which
// leaves the dashboard blank; here the character goes as a whole.
func niceURL(url string) []byte {
	path, kind := phpPath(url)
	switch {
	case kind == noURL:
		return []byte("false")
	case kind == noPath:
		return jsonNull
	case len(path) > maxNiceURL:
		return jsonText(clip(path, maxNiceURL) + "...")
	}
	return jsonText(path)
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

type browser struct{ name, file string }

// browser8 goes by the first name found in the user agent (functions.php:1948-1995).
func browser8(userAgent string) browser {
	if isOldExplorer(userAgent) || strings.Contains(userAgent, "Edge") {
		return browser{"Internet Explorer", "internet-explorer_16x16.png"}
	}
	return otherBrowser(userAgent)
}

func isOldExplorer(userAgent string) bool {
	return strings.Contains(userAgent, "MSIE") || strings.Contains(userAgent, "Trident")
}

// otherBrowser is the part of the table that 5.x has as well.
func otherBrowser(userAgent string) browser {
	switch {
	case strings.Contains(userAgent, "Firefox"):
		return browser{"Mozilla Firefox", "firefox_16x16.png"}
	case strings.Contains(userAgent, "Chrome"):
		return browser{"Google Chrome", "chrome_16x16.png"}
	case strings.Contains(userAgent, "Opera"):
		return browser{"Opera", "opera_16x16.png"}
	case strings.Contains(userAgent, "Safari"):
		return browser{"Safari", "safari_16x16.png"}
	}
	return browser{"Other browser", "web_16x16.png"}
}
