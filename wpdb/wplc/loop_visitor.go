package wplc

import (
	"context"
	"strconv"
)

// Values of status in answers to visitors. The plugin's type is kept: a number
// where it sets one, a string where it passes on a column.
var jsonNull = []byte("null")

func jsonInt(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// visitor8 is one round of wplc_call_to_server_visitor in 8.x (ajax_new.php:178-409).
func (r *round) visitor8(ctx context.Context) error {
	row, err := r.chat(ctx)
	if err != nil {
		return err
	}
	st := r.st
	r.head8()
	r.settle(&row)
	done := false
	if row.equals(r.l.form.status) {
		done, err = r.match8(ctx, row)
	} else {
		done, err = r.mismatch8(ctx, row)
	}
	if err != nil {
		return err
	}
	if r.l.Short {
		if !st.array.isSet("status") {
			st.array.set("status", row.statusJSON())
		}
		done = true
	}
	st.array.set("debug", jsonText(st.debug))
	if done {
		st.array.set("check", []byte("true"))
		r.answer.Now = true
	}
	if r.answer.Now {
		r.answer.Body = st.array.json()
	}
	return nil
}

// head8 sets what every answer of the visitor's loop begins with.
func (r *round) head8() {
	array, form := &r.st.array, r.l.form
	if r.st.round == 1 {
		array.set("check", []byte("false"))
		array.set("debug", jsonText(""))
		array.set("aname", jsonText(r.l.strings().Admin))
	}
	array.set("wplc_name", jsonText(echoed(form.name)))
	array.set("wplc_email", jsonText(echoed(form.email)))
	array.set("cid", jsonText(form.cid))
	array.set("aid", jsonText(form.cid))
}

// settle lets the row show what PHP would have written by now.
func (r *round) settle(row *chatRow) {
	if r.st.moved && row.exists && row.status == r.st.movedFrom {
		row.status = r.st.movedTo
	}
}

// equals is PHP's == between the column and the field, which is digits or empty.
// A missing row is null, and equals what is empty.
func (c *chatRow) equals(sent string) bool {
	if !c.exists || sent == "" {
		return !c.exists && sent == ""
	}
	n, err := strconv.ParseInt(sent, 10, 64)
	return err == nil && n == c.status
}

func (c *chatRow) statusText() string {
	if !c.exists {
		return ""
	}
	return strconv.FormatInt(c.status, 10)
}

func (c *chatRow) statusJSON() []byte {
	if !c.exists {
		return jsonNull
	}
	return jsonText(c.statusText())
}

// match8 is a round in which the browser is right about the status.
func (r *round) match8(ctx context.Context, row chatRow) (done bool, err error) {
	st := r.st
	st.held = ""
	if row.exists && row.status != statusPending {
		if st.round > 1 && r.otherTab(row) {
			st.array.set("status", jsonInt(statusElsewhere))
			r.answer.Now = true // while check stays false
			return false, nil
		}
		if st.round == 1 && row.status != statusUnanswered {
			r.beat(row, Effect{Kind: EffectBeat})
		}
	}
	switch {
	case !row.exists || row.status == statusMissed || row.status == statusUnanswered:
		st.array.set("status", jsonInt(statusUnanswered))
	case row.status == statusActive:
		return r.news8(ctx, row, statusActive)
	case row.status == statusMinimised:
		st.array.set("alert", []byte("true"))
		return r.news8(ctx, row, statusActive)
	case row.status == statusPending:
		st.debug = "we are here 299" // the line in ajax_new.php
		return r.news8(ctx, row, statusPending)
	}
	return false, nil
}

// news8 adds the messages that the visitor has not got.
func (r *round) news8(ctx context.Context, row chatRow, status int64) (done bool, err error) {
	rows, err := r.unread(ctx, row.highest, false, noteForVisitor, fromAgent)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	r.deliver(rows)
	r.st.array.set("status", jsonInt(status))
	r.st.array.set("data", r.s.newMessages(rows))
	return true, nil
}

// mismatch8 is a round in which the status is another than the browser believes.
func (r *round) mismatch8(ctx context.Context, row chatRow) (done bool, err error) {
	st, form := r.st, r.l.form
	st.held = " Doesnt match " + row.statusText() + " " + form.status
	st.debug += st.held
	st.array.set("status", row.statusJSON())
	loading := row.equalsNumber(form.status, statusBrowsing) // the page was just loaded
	if !row.exists {
		return false, nil
	}
	switch row.status {
	case statusEnded:
		r.beat(row, Effect{Kind: EffectMove, From: statusEnded, To: statusEndedHere})
		st.array.set("status", jsonInt(statusEndedHere))
		st.array.set("data", endedData(r.l.strings().AgentEnded))
		return true, nil
	case statusPending:
		st.debug = "we are here 340" // the line in ajax_new.php
		st.array.set("wplc_name", jsonText(row.name))
		st.array.set("wplc_email", jsonText(row.email))
		return true, r.past8(ctx, row)
	case statusActive:
		st.array.set("data", jsonNull)
		if loading {
			st.array.set("sound", []byte("false"))
			return true, r.past8(ctx, row)
		}
		return true, nil
	case statusTimedOut:
		r.beat(row, Effect{Kind: EffectMove, From: statusTimedOut, To: statusBrowsing})
	case statusDismissed:
		return true, nil
	case statusUnanswered:
		note, err := r.noAnswer(ctx)
		if err != nil {
			return false, err
		}
		st.array.set("data", jsonText(note))
		r.beat(row, Effect{Kind: EffectMissed, Name: form.name, Email: form.email})
		return true, nil
	case statusMinimised:
		if loading {
			return true, r.past8(ctx, row)
		}
		return true, nil
	}
	return false, nil
}

// endedData stands under a number that is no message's, 9999.
func endedData(text string) []byte {
	var message, data phpArray
	message.set("msg", jsonText(text))
	data.set("9999", message.json())
	return data.json()
}

// past8 adds the history, if there is any.
func (r *round) past8(ctx context.Context, row chatRow) error {
	rows, err := r.history(ctx, row.highest, history8, noteForVisitor, fromAgent)
	if err != nil {
		return err
	}
	// Visitors see the notes for them; an agent on the public site sees none.
	agent, err := r.isAgent(ctx)
	if err != nil {
		return err
	}
	notes := int64(noteForVisitor)
	if agent {
		notes = noNotes
	}
	if data := r.s.oldMessages(rows, notes); len(data) > 0 {
		r.st.array.set("data", data.json())
	}
	return nil
}

// equalsNumber is PHP's == between the field and a number.
func (c *chatRow) equalsNumber(sent string, n int64) bool {
	v, err := strconv.ParseInt(sent, 10, 64)
	return err == nil && v == n
}

// sameNumber is PHP's == between two texts: numbers are compared as such.
func sameNumber(a, b string) bool {
	if isDigits(a) && isDigits(b) && len(a) < 19 && len(b) < 19 {
		x, _ := strconv.ParseInt(a, 10, 64)
		y, _ := strconv.ParseInt(b, 10, 64)
		return x == y
	}
	return a == b
}

// beat says that the visitor's page is there, and so has the chat from now on.
func (r *round) beat(row chatRow, e Effect) {
	e.CID, e.Session = r.l.CID, r.l.form.session
	e.Switch = !sameNumber(row.session, e.Session)
	if e.Kind != EffectMove {
		e.From = row.status
	}
	r.answer.Effects = append(r.answer.Effects, e)
	if e.Kind == EffectMove {
		r.st.moved, r.st.movedFrom, r.st.movedTo = true, e.From, e.To
	}
	r.st.late = append(r.st.late[:0:0], row.session)
	r.s.tabs.take(e.CID, e.Session, row.session)
}

// otherTab tells whether another page has the chat. A request takes it with its
// first round, so that is about what happened since.
func (r *round) otherTab(row chatRow) bool {
	session := r.l.form.session
	if session == "" {
		return false
	}
	holder := r.s.tabs.holder(r.l.CID, row.session, r.st.late...)
	return holder != "" && !sameNumber(holder, session)
}
