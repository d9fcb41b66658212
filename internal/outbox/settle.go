package outbox

import (
	"errors"
	"time"

	"holdline/internal/backoff"
)

// trouble is of a channel whose oldest message could not be stored at the last
// try.
type trouble struct {
	failures int // in a row
	failedAt time.Time
	alone    bool   // a call failed that had nothing else
	told     string // the message whose sender was told of a delay
	toldAt   time.Time
}

// isOwnTrouble tells whether a failed call says more about its only channel than
// about WordPress: others were stored since the channel failed the last time.
func (o *Outbox) isOwnTrouble(all []taken) bool {
	if len(byChannel(all)) > 1 {
		return false
	}
	channel := all[0].msg.Channel
	if own, _ := o.suspected(channel); !own {
		return false
	}
	o.mu.Lock()
	last := o.trouble(channel).failedAt
	o.mu.Unlock()
	return o.gate.passedAfter(last)
}

// trouble is made if need be. The caller holds the lock.
func (o *Outbox) trouble(channel string) *trouble {
	t := o.troubles[channel]
	if t == nil {
		t = new(trouble)
		o.troubles[channel] = t
	}
	return t
}

// suspected tells whether the channel is to be tried alone, lest it takes others
// down with it, and how often in a row its oldest message was not stored.
func (o *Outbox) suspected(channel string) (bool, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.troubles[channel]
	if t == nil {
		return false, 0
	}
	return t.alone || t.failures >= suspect, t.failures
}

// settleAll marks what a call was given; cause is its error.
func (o *Outbox) settleAll(all []taken, cause error) error {
	lanes := byChannel(all)
	if cause != nil && len(lanes) == 1 {
		o.mu.Lock()
		o.trouble(all[0].msg.Channel).alone = true
		o.mu.Unlock()
	}
	for _, lane := range lanes {
		if err := o.settle(lane, cause); err != nil {
			return err
		}
	}
	return nil
}

// settle marks messages of one channel in their order, up to the first that was
// not stored; that one and all behind it come again.
func (o *Outbox) settle(lane []taken, cause error) error {
	for i, t := range lane {
		var err error
		switch {
		case t.fate.ID > 0:
			err = o.done(t)
		case t.fate.Refused != nil:
			err = o.refuse(t)
		default:
			return o.retry(t, i > 0, cause)
		}
		if err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.troubles, lane[0].msg.Channel)
	return nil
}

func (o *Outbox) done(t taken) error {
	if err := o.opt.Spool.Done(t.seq, t.fate.ID); err != nil {
		return err
	}
	o.tally(func(s *Stats) { s.Stored++ })
	o.forgetLater(t.msg)
	return nil
}

func (o *Outbox) refuse(t taken) error {
	why := *t.fate.Refused
	ref := refusalRef(&why)
	if why.Text == "" {
		why.Text = refusalOf(ref).Text
	}
	if err := o.opt.Spool.Refuse(t.seq, ref); err != nil {
		return err
	}
	o.tally(func(s *Stats) { s.Refused++ })
	if t.bad != nil {
		o.opt.Logger.Error("a message cannot be read back and is given up",
			"channel", t.msg.Channel, "client_id", t.msg.ClientID, "error", t.bad)
	}
	o.tellWithdrawn(t.msg, &why)
	return nil
}

var errNotTried = errors.New("outbox: it was not tried")

// retry gives back a channel's messages from t on. The sender is told before: a
// word of delay must not come after the row.
func (o *Outbox) retry(t taken, progress bool, cause error) error {
	channel, limit := t.msg.Channel, maxDelay
	since, _ := o.gate.shut()
	if !since.IsZero() {
		limit = maxProbe // the gate sees to it that few calls come of it
	}
	o.mu.Lock()
	tr := o.trouble(channel)
	if progress {
		tr.failures = 0
	}
	tr.failures++
	tr.failedAt = time.Now()
	failures, wait := tr.failures, backoff.Equal(tr.failures, minDelay, limit)
	o.mu.Unlock()
	if failures == tellOperator && since.IsZero() {
		if cause == nil {
			cause = errNotTried
		}
		o.opt.Logger.Warn("a channel's messages are not stored, while others are", "channel", channel, "error", cause)
	}
	if !progress {
		o.tellDelayed(t.msg, wait)
	}
	return o.opt.Spool.Retry(t.seq, wait)
}
