package wplc

import (
	"net/url"
	"strconv"
	"strings"
)

// loopForm are the fields that decide an answer, as the browser sent them.
type loopForm struct {
	cid     string // digits; sent back as they came
	status  string // the status the browser believes in: digits or empty
	session string // wplcsession, as PHP stores it
	name    string
	email   string
	first   bool // first_run is exactly "true" (agents)
	opened  bool // asks whether the visitor opened the chat (agents)
	table   string
}

// maxSession is the longest wplcsession, that of the column. Pages send 13 digits.
const maxSession = 100

// Fields that change what PHP does with a loop.
const (
	fieldAction  = "action"
	fieldCID     = "cid"
	fieldStatus  = "status"      // of the visitor
	fieldAStatus = "chat_status" // of the agent
	fieldSession = "wplcsession"
	fieldName    = "wplc_name"
	fieldEmail   = "wplc_email"
	fieldShort   = "short_poll"
	fieldFirst   = "first_run"
	fieldAction2 = "action_2"
	fieldTable   = "wplc_update_admin_chat_table"
	fieldNonce   = "security"
)

// unknownChat is [Loop].CID where PHP would read some chat.
const unknownChat = -1

// Recognise reads the POST body of admin-ajax.php. ok is false for everything
// that is not one of the plugin's three loops in the form in which its own
// JavaScript sends it: other actions, a visitor without a chat (PHP makes one), a
// chat named by a hash, a field that is there twice, and every loop of a site in
// Node mode. WordPress has to answer these.
//
// It does answer some that no browser sends: for PHP and MySQL "41 ", "41x" and
// "4.1e1" are chat 41. So when ok is false and Action is set, CID is the chat that
// PHP would show the sender, or -1 if that cannot be told; whoever guards chats
// decides about these as well before they are passed on.
func (s *Source) Recognise(form url.Values) (l Loop, ok bool) {
	action := loopAction(form)
	if action == "" {
		return Loop{}, false
	}
	l = Loop{Action: action, Agent: action != ActionVisitor, Nonce: form.Get(fieldNonce)}
	if !isPlain(form) {
		l.CID = unknownChat
		return l, false
	}
	if action == ActionDashboard {
		l.form.table = form.Get(fieldTable)
		return l, !s.facts.NodeMode
	}
	l.form = loopForm{
		cid:     form.Get(fieldCID),
		status:  form.Get(fieldStatus),
		session: sanitized(addSlashes(form.Get(fieldSession))),
		name:    form.Get(fieldName),
		email:   form.Get(fieldEmail),
		first:   l.Agent && form.Get(fieldFirst) == "true",
		opened:  l.Agent && form.Get(fieldAction2) == "wplc_long_poll_check_user_opened_chat",
	}
	if l.Agent {
		l.form.status = form.Get(fieldAStatus)
	} else {
		// 5.x has neither of the two.
		l.Short = s.facts.Version == 8 && (strings.TrimSpace(form.Get(fieldShort)) == "true" || strings.TrimSpace(form.Get(fieldFirst)) == "1")
	}
	l.CID = castID(l.form.cid)
	ok = !s.facts.NodeMode && l.CID > 0 && isDigits(l.form.cid) && isStatus(l.form.status) && len(l.form.session) <= maxSession
	return l, ok
}

// loopAction is the loop that PHP may see in a form, "" for none. Of fields whose
// names come to the same it takes the last, but any that names a visitor's loop
// makes the form one of those: nobody else is asked who he is.
func loopAction(form url.Values) (action string) {
	for key, values := range form {
		if phpName(key) != fieldAction {
			continue
		}
		for _, value := range values {
			if value == ActionVisitor || isLoop(value) && action == "" {
				action = value
			}
		}
	}
	return action
}

func isLoop(action string) bool {
	return action == ActionVisitor || action == ActionAgent || action == ActionDashboard
}

// isPlain tells whether PHP makes the same of the form as url.Values: each field
// once, and none whose name PHP would change into one of ours (php_register_variable_ex
// in main/php_variables.c: blanks at the front go, " " and "." become "_", "["
// makes an array, NUL ends the name).
func isPlain(form url.Values) bool {
	for key, values := range form {
		if name := phpName(key); isField(name) && (name != key || len(values) != 1) {
			return false
		}
	}
	return true
}

// phpName is what PHP makes of a field's name.
func phpName(key string) string {
	name := strings.TrimLeft(key, " ")
	if at := strings.IndexAny(name, "[\x00"); at >= 0 {
		name = name[:at]
	}
	return strings.NewReplacer(" ", "_", ".", "_").Replace(name)
}

func isField(name string) bool {
	switch name {
	case fieldAction, fieldCID, fieldStatus, fieldAStatus, fieldSession, fieldName, fieldEmail,
		fieldShort, fieldFirst, fieldAction2, fieldTable, fieldNonce:
		return true
	}
	return false
}

// castID is the row that `id` = '<text>' finds once WordPress has sanitized the
// text: MySQL compares a number with the number a text begins with. 0 is none.
func castID(text string) int64 {
	text = sanitized(addSlashes(text))
	for end := len(text); end > 0; end-- {
		if strings.Trim(text[:end], "+-.eE0123456789") != "" {
			continue
		}
		if f, err := strconv.ParseFloat(text[:end], 64); err == nil {
			if id := int64(f); f >= 1 && f <= 1<<53 && float64(id) == f {
				return id
			}
			return 0
		}
	}
	return 0
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// isStatus takes what the plugin's JavaScript can send: a number that it was sent
// before, or nothing for a chat that has none. For any other text it depends on
// PHP's version whether it equals a number.
func isStatus(s string) bool { return s == "" || len(s) <= 9 && isDigits(s) }
