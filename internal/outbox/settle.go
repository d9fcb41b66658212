package outbox

import (
	"errors"
	"time"
)

// trouble is of a channel whose oldest message could not be stored at the last
// try.
type trouble struct {
	failures int // in a row
	failedAt time.Time
	told     string // the message whose sender was told of a delay
	toldAt   time.Time
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

// failuresOf is how often in a row a channel's oldest message was not stored.
func (o *Outbox) failuresOf(channel string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.troubles[channel]; t != nil {
		return t.failures
	}
	return 0
}

func (o *Outbox) settleAll(all []taken, cause error) error {
	for _, lane := range byChannel(all) {
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
	channel := t.msg.Channel
	o.mu.Lock()
	tr := o.trouble(channel)
	if progress {
		tr.failures = 0
	}
	tr.failures++
	tr.failedAt = time.Now()
	failures, wait := tr.failures, backoff(tr.failures, maxDelay)
	o.mu.Unlock()
	if since, _ := o.gate.shut(); failures == tellOperator && since.IsZero() {
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
