package wplc

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
)

// actionStart is the visitor's "Start Chat".
const actionStart = "wplc_start_chat"

// Creates tells whether PHP may make a new chat of a form, whose answer then
// tells its number, see [Created]: a visitor's first poll, or a start without a
// chat. It is false for every form that names a chat in any way.
func Creates(form url.Values) bool {
	if action := form.Get(fieldAction); action != ActionVisitor && action != actionStart || !isPlain(form) {
		return false
	}
	switch form.Get(fieldCID) {
	case "", "null", "0": // what the plugin takes for none (ajax_new.php:191, 210)
		return true
	}
	return false
}

// Created is the chat that PHP has made of a form, by its answer. The browser
// that sent the form owns that chat, so ok must not be true of a number that
// came from the form: PHP prints a chat that it was given as a string, and one
// that it made as a number (first poll), or bare (start).
func Created(form url.Values, answer []byte) (cid int64, ok bool) {
	if !Creates(form) {
		return 0, false
	}
	number := bytes.TrimSpace(answer)
	if form.Get(fieldAction) == ActionVisitor {
		var poll struct {
			CID json.RawMessage `json:"cid"`
		}
		if json.Unmarshal(number, &poll) != nil {
			return 0, false
		}
		number = poll.CID
	}
	if !isDigits(string(number)) || number[0] == '0' {
		return 0, false
	}
	cid, err := strconv.ParseInt(string(number), 10, 64)
	return cid, err == nil
}
