package poll

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
)

// held is one loop that waits. The first look at it happens in its handler, every
// other one on one asker at a time; events that come during a look make for one
// more.
type held struct {
	loops     *Loops
	loop      Loop
	conn      park.Conn
	seat      hub.Seat
	pass      Pass
	header    http.Header // for whatever is answered
	until     time.Time
	live      atomic.Pointer[chan struct{}] // is closed once it hears its channels
	places    []place                       // in the roll, which guards it
	said      atomic.Pointer[chat.Reply]    // the answer, by whoever was first to give one
	ready     atomic.Uint32                 // what there is: the answer, the connection
	state     atomic.Uint32                 // of the looks: coming, rest, due, looking, again
	raw       bool                          // HTTP/1.x: the head is ours to write
	keepAlive bool
	last      bool // by who gave the answer: the connection ends with it
}

const (
	coming uint32 = iota // its first look will find whatever comes now
	rest
	due     // in the queue
	looking // in its handler or with an asker
	again   // the same, and something has come since
)

var (
	_ hub.Subscriber = (*held)(nil)
	_ park.Holder    = (*held)(nil)
)

// wake asks for a look. A loop without its connection gets it later.
func (h *held) wake() {
	for {
		switch s := h.state.Load(); s {
		case rest:
			if h.state.CompareAndSwap(rest, due) {
				h.loops.put(h)
				return
			}
		case looking:
			if h.state.CompareAndSwap(looking, again) {
				return
			}
		default:
			return
		}
	}
}

// look asks the loop once, or once more if something came meanwhile.
func (h *held) look(ctx context.Context) {
	h.state.Store(looking)
	for !h.seat.Left() && h.said.Load() == nil {
		// The Lot's clock is too coarse to tell: looks in close succession put off
		// the alarm again and again.
		reply, pause := h.ask(ctx, time.Until(h.until) <= 0)
		if reply != nil {
			h.say(reply, false)
			return
		}
		h.rearm(pause)
		if h.state.CompareAndSwap(looking, rest) {
			return
		}
		h.state.Store(looking)
	}
}

// ask has the loop look once. A nil reply means that it goes on waiting, and
// pause when to look again if no event comes before, 0 for not.
func (h *held) ask(ctx context.Context, final bool) (reply *chat.Reply, pause time.Duration) {
	ok := h.loops.guard(func() {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		found, err := h.loop.Answer(ctx, final)
		if err == nil {
			err = sendable(found)
		}
		switch {
		case err != nil:
			h.loops.Logger.Debug("a loop could not be looked at", "error", err)
			pause = retryPause
		case found != nil:
			reply = found
		case !final:
			pause = h.loop.Again()
		}
	})
	if !ok || final && reply == nil {
		return &h.loops.nothing, 0
	}
	return reply, pause
}

// sendable finds a status that cannot end a request: net/http panics on some, and
// a browser would wait for another answer behind the others (RFC 9110 section
// 15.2).
func sendable(reply *chat.Reply) error {
	if reply != nil && reply.Status != 0 && (reply.Status < 200 || reply.Status > 999) {
		return fmt.Errorf("its answer has the status %d", reply.Status)
	}
	return nil
}

// Live lets a loop that arrives look for the first time, and one that did not wait
// for it once more: something may have come between that look and now.
func (h *held) Live(string, *hub.Delivery) {
	h.wake() // first, as the look that the other begins is enough
	if live := h.live.Swap(nil); live != nil {
		close(*live)
	}
}

// Deliver implements hub.Subscriber: what came is only a reason to look, and none
// if it has no cursor. No loop of a plugin has words for what is not stored.
func (h *held) Deliver(d *hub.Delivery) {
	if d.Cursor != "" {
		h.wake()
	}
}

// rearm waits for the end of the hold, or with a pause for a look before that.
func (h *held) rearm(pause time.Duration) {
	left := time.Until(h.until)
	if pause > 0 {
		left = min(left, pause)
	}
	h.setAlarm(left)
}

// setAlarm asks for an alarm after d, or as soon as may be: the Lot takes 0 for
// none.
func (h *held) setAlarm(d time.Duration) { h.conn.SetAlarm(max(d, 1)) }

// Alarm is the end of the hold, or the end of the patience with a look that was
// due or under way by then, or before both the time to look without an event.
// Loops that rest at the end are not looked at: nothing has come since the last
// look, and a crowd of the idle would ask the database for nothing.
func (h *held) Alarm(park.Conn) {
	over := time.Since(h.until)
	switch {
	case over >= answerTimeout, over >= 0 && h.state.Load() == rest:
		h.end(false)
		return
	case over >= 0:
		h.setAlarm(answerTimeout - over)
	default:
		h.setAlarm(-over) // should the look not come to set its own
	}
	h.wake()
}

// say gives the answer, unless another has been given. The connection does not
// outlive the last one.
func (h *held) say(reply *chat.Reply, last bool) {
	if h.said.CompareAndSwap(nil, reply) {
		h.last = last
		h.meet()
	}
}

// meet is for who brings the answer and for who brings the connection: the second
// of them sends the one over the other.
func (h *held) meet() {
	if h.ready.Add(1) == 2 {
		keepAlive := h.keepAlive && !h.last
		h.conn.Finish(h.response(h.said.Load(), keepAlive), keepAlive)
	}
}

// end answers that nothing came, whatever a look may find that is under way: it
// will not be told, so it is found again by the next request.
func (h *held) end(last bool) { h.say(&h.loops.nothing, last) }

// told tells the loop that its reply is on its way. How many events are in it only
// the plugin knows, so it counts as one.
func (h *held) told(reply *chat.Reply) {
	if reply != nil && reply != &h.loops.nothing {
		h.pass.Delivered(1)
		h.loops.guard(h.loop.Told)
	}
}

// WantsBytes implements park.Reader: what the client sends now is its next
// request.
func (h *held) WantsBytes() bool { return false }

// Received implements park.Holder.
func (h *held) Received(park.Conn, []byte) {}

// Closed implements park.Holder. Only here it is known whether an answer found
// its browser.
func (h *held) Closed(_ park.Conn, why park.Reason) {
	if why == park.ReasonFinished {
		h.told(h.said.Load())
	}
	h.leave()
}

// leave gives everything back. It is called once, by the connection's end or by who
// answers without one.
func (h *held) leave() {
	h.loops.roll.leave(h)
	h.seat.Leave()
	h.pass.Release()
}

// Pass is the client's right to be here, for whoever checks it again.
func (h *held) Pass() any { return h.pass }

// End answers that nothing came: to a legacy loop that is the only good-bye
// there is, and its next request finds what has come meanwhile. It goes to the
// server's successor, hence over a new connection. A loop that arrives is answered
// so as soon as its first look is over.
func (h *held) End(park.Reason, time.Duration) { h.end(true) }
