package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

const (
	// keepPending is how long a pending message is kept after it was stored. Its
	// row ends it sooner, unless the tail never brings it.
	keepPending = 10 * time.Second
	// keepWithdrawn is how long somebody who comes back hears of a withdrawal.
	keepWithdrawn = time.Minute
	// tellAgain is how long a sender is not told again that a message is delayed.
	tellAgain = 10 * time.Second
	// downFor is how long WordPress is silent before all senders hear of it.
	downFor = 2 * time.Second
	// lookAgain is between two looks at what is to be forgotten.
	lookAgain = time.Second
	// pageSize is how many waiting messages are read from the disk at a time.
	pageSize = 100
	// troubleAge is when a channel's trouble that nobody renews is forgotten.
	troubleAge = 2 * time.Minute
)

func event(t chat.Type, m Message) chat.Event {
	return chat.Event{Type: t, Channel: m.Channel, ClientID: m.ClientID, From: &m.From}
}

func (o *Outbox) tellPending(m Message) {
	e := event(chat.TypeMessage, m)
	e.Pending, e.Body, e.SentAt = true, m.Body, m.SentAt
	o.opt.Hub.Tell(hub.Telling{Event: e, Keep: e.PendingKey()})
}

// tellWithdrawn replaces the pending message by its end.
func (o *Outbox) tellWithdrawn(m Message, why *chat.Refusal) {
	e := event(chat.TypeWithdrawn, m)
	if e.PendingKey() == "" {
		return // damaged beyond knowing whose it was
	}
	e.Data = data(map[string]any{"reason": why.Reason, "text": why.Text})
	keep := "w/" + m.From.Kind + "/" + m.ClientID
	o.opt.Hub.Tell(hub.Telling{Event: e, Keep: keep})
	o.opt.Hub.Forget(m.Channel, e.PendingKey())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.withdrawn = append(o.withdrawn, note{m.Channel, keep, time.Now().Add(keepWithdrawn)})
}

// forgetLater is for a message that was stored.
func (o *Outbox) forgetLater(m Message) {
	e := event(chat.TypeMessage, m)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stored = append(o.stored, note{m.Channel, e.PendingKey(), time.Now().Add(keepPending)})
}

// tellDelayed tells the sender of a channel's oldest message, unless it was told
// of the same one a short time ago.
func (o *Outbox) tellDelayed(m Message, retry time.Duration) {
	id, now := spoolID(m), time.Now()
	o.mu.Lock()
	t := o.trouble(m.Channel)
	again := t.told != id || now.Sub(t.toldAt) >= tellAgain
	if again {
		t.told, t.toldAt = id, now
	}
	o.mu.Unlock()
	if !again {
		return
	}
	e := event(chat.TypeDelayed, m)
	e.Data = data(map[string]any{"reason": chat.ReasonUnavailable, "retry_ms": retry.Milliseconds()})
	o.opt.Hub.Tell(hub.Telling{Event: e, To: e.From})
}

func data(v map[string]any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// tellWaiting shows what an earlier life left to be stored.
func (o *Outbox) tellWaiting(ctx context.Context) error {
	rows := rowsOf(o.opt.Rows)
	for _, channel := range o.opt.Spool.Lanes() {
		for after, more := uint64(0), true; more; {
			if ctx.Err() != nil {
				return nil
			}
			recs, err := o.opt.Spool.Waiting(channel, after, pageSize)
			if err != nil {
				return fmt.Errorf("outbox: reading what waits: %w", err)
			}
			var ms []Message
			for _, r := range recs {
				// One that cannot be read is refused when its turn comes.
				if m, err := readRecord(r); err == nil {
					ms = append(ms, m)
				}
				after = r.Seq
			}
			if err := o.tellOpen(ctx, ms, rows); err != nil {
				rows = nil // everybody who sends waits for this
				o.opt.Logger.Warn("messages that were stored right before the restart may be shown as pending once more", "error", err)
			}
			more = len(recs) > 0
		}
	}
	return nil
}

// rowsOf is Options.Rows, or nil.
type rowsOf func(ctx context.Context, ms []Message) ([]int64, error)

// tellOpen tells the messages that have no row as pending. The call of WordPress
// that the earlier life was in may still make rows: one that came right before its
// message was told is found by the second look.
func (o *Outbox) tellOpen(ctx context.Context, ms []Message, rows rowsOf) error {
	open, _, err := o.part(ctx, ms, rows)
	for _, m := range open {
		o.tellPending(m)
	}
	if err != nil {
		return err
	}
	_, stored, err := o.part(ctx, open, rows)
	for _, m := range stored {
		e := event(chat.TypeMessage, m)
		o.opt.Hub.Forget(m.Channel, e.PendingKey())
	}
	return err
}

// part parts messages by whether they have a row; with an error, none has.
func (o *Outbox) part(ctx context.Context, ms []Message, rows rowsOf) (open, stored []Message, err error) {
	if rows == nil || len(ms) == 0 {
		return ms, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.opt.Timeout)
	defer cancel()
	ids, err := rows(ctx, ms)
	if err == nil && len(ids) != len(ms) {
		err = fmt.Errorf("outbox: rows of %d messages for %d", len(ids), len(ms))
	}
	if err != nil {
		return ms, nil, err
	}
	for i, m := range ms {
		if ids[i] == 0 {
			open = append(open, m)
		} else {
			stored = append(stored, m)
		}
	}
	return open, stored, nil
}

// note is something that the hub keeps until due.
type note struct {
	channel, keep string
	due           time.Time
}

// due takes from the front of notes, which are in order of time, those whose time
// has come.
func due(notes *[]note, now time.Time) []note {
	n := 0
	for n < len(*notes) && !(*notes)[n].due.After(now) {
		n++
	}
	over := (*notes)[:n:n]
	if *notes = (*notes)[n:]; len(*notes) == 0 {
		*notes = nil
	}
	return over
}

// tidy forgets what is over, and tells all senders when WordPress is down: the
// workers only tell those whose turn it was.
func (o *Outbox) tidy(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var told time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		o.forgetDue(now)
		since, retry := o.gate.shut()
		if since.IsZero() || now.Sub(since) < downFor || now.Sub(told) < tellAgain {
			continue
		}
		told = now
		if err := o.tellAllDelayed(ctx, retry); err != nil {
			return err
		}
	}
}

func (o *Outbox) forgetDue(now time.Time) {
	o.mu.Lock()
	stored, withdrawn := due(&o.stored, now), due(&o.withdrawn, now)
	for channel, t := range o.troubles {
		if now.Sub(t.failedAt) > troubleAge && now.Sub(t.toldAt) > troubleAge {
			delete(o.troubles, channel)
		}
	}
	o.mu.Unlock()
	for _, notes := range [][]note{stored, withdrawn} {
		for _, n := range notes {
			o.opt.Hub.Forget(n.channel, n.keep)
		}
	}
}

func (o *Outbox) tellAllDelayed(ctx context.Context, retry time.Duration) error {
	for _, channel := range o.opt.Spool.Lanes() {
		if ctx.Err() != nil {
			return nil
		}
		recs, err := o.opt.Spool.Waiting(channel, 0, 1)
		if err != nil {
			return fmt.Errorf("outbox: reading what waits: %w", err)
		}
		for _, r := range recs {
			if m, err := readRecord(r); err == nil {
				o.tellDelayed(m, retry)
			}
		}
	}
	return nil
}
