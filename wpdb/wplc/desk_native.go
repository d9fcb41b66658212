package wplc

import (
	"context"
	"time"

	"holdline/internal/chat"
)

// NativeLoop answers one request from the site's rows, without PHP. Its methods
// are for one goroutine at a time.
//
// Two requests of one client may be under way at once: a page that was loaded
// again has a new wplcsession and with it another cursor, but a browser whose
// line a proxy has cut asks again while the first request may still count as
// held. PHP then marks a message as read for whichever looks first, and it is
// lost if that one has nobody left to hear it. Here each request goes on from
// where the client stood when it came, so both get the message; which of the two
// lines is dead does not matter, and the page sees it once. What comes after
// both begins behind what either was told.
type NativeLoop struct {
	desk  *Desk
	loop  Loop
	key   string
	visit Visit
	came  time.Time

	begun bool
	base  LoopCursor // where the client stood when the request came
	state LoopState
	hold  time.Duration
	again time.Duration
	age   ageAsked

	cursor    LoopCursor // of the last Reply
	delivered []int64
}

// Native makes a loop that is answered from rows. client is the proven identity
// of who asks, "" for nobody; the caller has found that he may read.
func (d *Desk) Native(l Loop, client string, v Visit) *NativeLoop {
	return &NativeLoop{desk: d, loop: l, key: clientKey(client, &l), visit: v, came: time.Now(), hold: defaultHold}
}

// Channels are those whose events may give the loop something to say.
func (l *NativeLoop) Channels() []string { return l.loop.Channels() }

// Hold is PHP's, counted from the request's beginning.
func (l *NativeLoop) Hold() time.Duration { return l.hold }

// Again is when to look again without an event, 0 for never.
func (l *NativeLoop) Again() time.Duration { return l.again }

// Answer looks once and hands on what PHP would have written in that look.
func (l *NativeLoop) Answer(ctx context.Context, final bool) (*chat.Reply, error) {
	d := l.desk
	if !l.begun {
		if !final && d.mustWait(l.key) {
			l.hold, l.again = orDefault(d.src.Hold(ctx)), tellingTime
			return nil, nil
		}
		l.begun = true
		d.doubts.judge(l.key, l.came)
		l.base = d.cursors.Get(l.key).LoopCursor
		l.state.Cursor = l.base
	}
	l.again = 0 // what fails is looked at again by the caller
	answer, err := d.src.Answer(ctx, d.opt.Query, &l.loop, &l.state, final)
	if err != nil {
		return nil, err
	}
	d.write(&l.loop, answer.Effects, l.visit)
	l.hold = answer.Hold
	l.again = sooner(answer.Again, l.age.ask(d, &l.loop))
	if len(answer.Body) > 0 {
		l.cursor, l.delivered = answer.Cursor, answer.Delivered
		d.giving(l.key)
		return &chat.Reply{Body: answer.Body}, nil
	}
	// Nothing is there for this client, so nothing can get lost.
	d.remember(l.key, l.base, l.state.Cursor)
	return nil, nil
}

// Told moves the client on, and has the messages marked as read, unless it is in
// doubt whether they arrive.
func (l *NativeLoop) Told() {
	d := l.desk
	if d.inDoubt(&l.loop) && len(l.delivered) > 0 {
		d.suppose(l.key, l.base, l.cursor, l.delivered)
	} else {
		d.move(l.key, l.base, l.cursor, l.delivered)
	}
	d.gave(l.key, &l.loop)
}
