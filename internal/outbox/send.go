package outbox

import (
	"context"
	"errors"

	"holdline/internal/chat"
	"holdline/internal/spool"
)

// lane is a channel's messages on their way into the spool. It exists while there
// are some.
type lane struct {
	channel string
	queue   []letter // not yet begun
	size    int      // of queue and of what the runner has in hand
	// shown is closed when all that the runner has in hand was told as pending.
	// What is taken from the spool waits for it before it is stored: a row must
	// not come before its pending message.
	shown chan struct{}
}

// letter is a message and who waits for its answer.
type letter struct {
	Message
	answer func(Answer)
	ticket spool.Ticket
	err    error
}

// Send takes a message and never blocks. The answer is called exactly once, from
// another goroutine, and must not block either: pending, or stored or failed for
// a repetition, or failed with the reason full, unavailable, too_long or
// bad_request. Messages that are sent before Run wait for it; those sent after it
// are unavailable. Two calls for one channel are in order when the first has
// returned before the second begins.
func (o *Outbox) Send(m Message, answer func(Answer)) {
	if refusal := o.enqueue(letter{Message: m, answer: answer}); refusal != nil {
		go answer(Answer{State: StateFailed, Refusal: refusal})
	}
}

func (o *Outbox) enqueue(m letter) *chat.Refusal {
	if err := check(m.Message); err != nil {
		return &chat.Refusal{Reason: chat.ReasonBadRequest, Text: err.Error()}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase == ended {
		o.stats.Rejected++
		return restarting.refusal()
	}
	l := o.lanes[m.Channel]
	if o.stats.Queued >= o.opt.Queue || l != nil && l.size >= o.opt.LaneQueue {
		o.stats.Rejected++
		return busy.refusal()
	}
	if l == nil {
		l = &lane{channel: m.Channel}
		o.lanes[m.Channel] = l
		if o.phase == running {
			o.runners.Go(func() { o.runLane(l) })
		}
	}
	l.queue = append(l.queue, m)
	l.size++
	o.stats.Queued++
	return nil
}

// sorry is why a message is not taken now.
type sorry chat.Refusal

func (s sorry) refusal() *chat.Refusal { r := chat.Refusal(s); return &r }

var (
	restarting = sorry{chat.ReasonUnavailable, "The server is restarting: try again in a moment."}
	busy       = sorry{chat.ReasonFull, "Too many messages at a time: try again in a moment."}
	full       = sorry{chat.ReasonFull, "Too many messages wait to be stored: try again later."}
	badDisk    = sorry{chat.ReasonUnavailable, "The message could not be kept: try again later."}
	tooLong    = sorry{chat.ReasonTooLong, "The message is too long."}
)

// runLane puts a channel's messages into the spool, all that are there at a time
// with one sync, until none is left.
func (o *Outbox) runLane(l *lane) {
	for {
		o.mu.Lock()
		group := l.queue
		l.queue = nil
		if len(group) == 0 {
			delete(o.lanes, l.channel)
			o.mu.Unlock()
			return
		}
		l.shown = make(chan struct{})
		o.mu.Unlock()

		o.keep(group)

		o.mu.Lock()
		l.size -= len(group)
		o.stats.Queued -= len(group)
		close(l.shown)
		o.mu.Unlock()
	}
}

// keep puts messages of one channel into the spool and answers each. It waits for
// the disk without a limit: an answer that it was not kept would be a guess.
func (o *Outbox) keep(group []letter) {
	for i := range group {
		m := &group[i]
		var body []byte
		if body, m.err = encode(m.Message); m.err == nil {
			m.ticket, m.err = o.opt.Spool.Begin(m.Channel, spoolID(m.Message), body)
		}
	}
	for i := range group {
		m := &group[i]
		var receipt spool.Receipt
		if m.err == nil {
			receipt, m.err = m.ticket.Wait(context.Background())
		}
		m.answer(o.answerTo(m, receipt))
	}
}

// answerTo tells the other side of a new message, and what to tell its sender.
func (o *Outbox) answerTo(m *letter, receipt spool.Receipt) Answer {
	if m.err != nil {
		o.tally(func(s *Stats) { s.Rejected++ })
		refusal := badDisk
		switch {
		case errors.Is(m.err, spool.ErrFull):
			refusal = full
		case errors.Is(m.err, spool.ErrInvalid):
			refusal = tooLong // lane and id were checked
		case errors.Is(m.err, spool.ErrClosed):
			refusal = restarting
		}
		return Answer{State: StateFailed, Refusal: refusal.refusal()}
	}
	switch receipt.State {
	case spool.Stored:
		return Answer{State: StateStored, ID: receipt.Ref}
	case spool.Refused:
		return Answer{State: StateFailed, Refusal: refusalOf(receipt.Ref)}
	case spool.Accepted:
		o.tally(func(s *Stats) { s.Accepted++ })
		o.tellPending(m.Message)
	}
	return Answer{State: StatePending}
}

// awaitShown waits until the channel's messages that may have been taken from the
// spool were told as pending.
func (o *Outbox) awaitShown(ctx context.Context, channel string) error {
	o.mu.Lock()
	var shown chan struct{}
	if l := o.lanes[channel]; l != nil {
		shown = l.shown
	}
	o.mu.Unlock()
	if shown == nil {
		return nil
	}
	select {
	case <-shown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
