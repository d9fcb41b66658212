package wplc

import (
	"bytes"
	"strconv"
	"time"

	"holdline/internal/phpser"
)

// noNotes is for a reader of the history who sees no system notes at all.
const noNotes = -1

// historyLength is how many messages a page shows when it is loaded.
const historyLength = 100

// history8 selects the newest messages of a chat (wp-live-chat-support.php:4967-5012).
// No index helps with that.
const history8 = "`chat_sess_id` = ? ORDER BY `timestamp` DESC, `id` DESC"

// newMessages prints what a loop has not sent before, by row id
// (wplc_return_user_chat_messages and wplc_return_admin_chat_messages).
func (s *Source) newMessages(rows []record) []byte {
	var all phpArray
	for i := range rows {
		m := &rows[i]
		var message phpArray
		if m.isNote() {
			message.set("msg", jsonText(string(m.msg)))
			message.set("other", s.otherWithTimes(m))
			message.set("originates", jsonInt(m.originates))
		} else {
			message.set("msg", jsonText(newText(string(m.msg))))
			message.set("originates", jsonInt(m.originates))
			message.set("other", s.otherWithTimes(m))
		}
		all.set(strconv.FormatInt(m.id, 10), message.json())
	}
	return all.json()
}

// oldMessages are the messages that a page shows when it is loaded
// (wplc_return_chat_messages): other keys, other slashes, other types. Of the
// notes those of one kind are shown.
func (s *Source) oldMessages(rows []record, notes int64) phpArray {
	var all phpArray
	for i := range rows {
		m := &rows[i]
		originates := jsonText(strconv.FormatInt(m.originates, 10))
		var message phpArray
		switch {
		case m.isNote() && m.originates != notes:
			continue
		case m.isNote():
			message.set("msg", jsonText(oldNote(m)))
			message.set("other", s.otherWithTimes(m))
			message.set("originates", originates)
		default:
			other := s.otherWithTimes(m)
			if m.originates == fromAgent {
				other = rawOther(m.other)
			}
			message.set("msg", jsonText(oldText(string(m.msg))))
			message.set("originates", originates)
			message.set("other", other)
		}
		all.set(m.oldKey(), message.json())
	}
	return all
}

func (m *record) isNote() bool {
	return m.originates == noteForVisitor || m.originates == noteForAgents
}

// oldKey is the id that the writing client gave, if it is not empty to PHP.
func (m *record) oldKey() string {
	if rel := string(m.rel); rel != "" && rel != "0" {
		return rel
	}
	return strconv.FormatInt(m.id, 10)
}

// newText takes slashes off twice, which costs a typed backslash as well.
func newText(stored string) string {
	if m, ok := proForm(stored); ok {
		stored = m.text
	}
	for range strips8 {
		stored = stripSlashes(stored)
	}
	return stored
}

// oldText leaves the slashes to the browser, but for texts that Pro has left.
func oldText(stored string) string {
	if m, ok := proForm(stored); ok {
		return stripSlashes(m.text)
	}
	return stored
}

func oldNote(m *record) string {
	at, err := time.Parse(time.DateTime, string(m.timestamp))
	if err != nil {
		at = time.Unix(0, 0).UTC() // date() of what is no date
	}
	return "<span class='chat_time wplc-color-4'>" + at.Format("02 Jan 2006 15:04:05") + "</span> " +
		"<span class='wplc_system_notification wplc-color-4'>" + string(m.msg) + "</span>"
}

// otherWithTimes is the extra column as an array, with the message's time: the
// wall clock's digits read as UTC, and the real time.
func (s *Source) otherWithTimes(m *record) []byte {
	wall, utcTime := []byte("false"), []byte("false") // strtotime of what is no date
	if at, err := time.Parse(time.DateTime, string(m.timestamp)); err == nil {
		wall = jsonInt(at.Unix())
		utcTime = jsonInt(utc(string(m.timestamp), s.site.Location()).Unix())
	}
	var other phpArray
	for key, value := range m.otherParsed.All() {
		if printed, err := phpser.AppendJSON(nil, value); err == nil {
			other.set(key.String(), printed)
		}
	}
	other.set("datetime", wall)
	other.set("datetimeUTC", utcTime)
	return other.json()
}

// rawOther is maybe_unserialize of a column. Objects are never made.
func rawOther(stored []byte) []byte {
	v, err := phpser.Parse(stored)
	if err != nil {
		if bytes.HasPrefix(stored, []byte("a:")) {
			return []byte("false") // damaged
		}
		return jsonText(string(stored))
	}
	printed, err := phpser.AppendJSON(nil, v)
	if err != nil {
		return jsonText("") // an infinite number: PHP would have no answer at all
	}
	return printed
}
