package live

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// Limits of signals. Each is kept by the hub for signalFor, so that one who is
// just reconnecting hears it: a call's offer, its answer, and some dozens of
// addresses (ICE candidates, RFC 8838) of a few hundred bytes for each peer. As
// none is told that is not kept, these bound the rate too.
const (
	signalFor         = 30 * time.Second
	maxSignal         = 64 << 10  // bytes of one; the gateway's limits.signal comes first
	maxSenderSignals  = 128       // kept of one party on a channel
	maxChannelSignals = 192       // kept on a channel, well below the notes that the hub keeps of one
	maxChannelBytes   = 256 << 10 // of these
	maxSignalBytes    = 16 << 20  // kept on all channels
)

// signal is one that the hub keeps.
type signal struct {
	id    string
	from  chat.Party
	until moment
	size  int
}

// Signal hands data, any JSON value or nothing, to one party of the channel, on
// whatever connections it has or will have in the next 30 s. A repeated id of the
// same party changes nothing. The error is a *chat.Refusal: bad_request, too_long,
// full, or rate.
func (l *Live) Signal(channel string, from, to chat.Party, id string, data json.RawMessage) error {
	if err := chat.CheckClientID(id); err != nil {
		return err
	}
	if to.Kind != chat.KindVisitor && to.Kind != chat.KindAgent || from.Kind == "" {
		return &chat.Refusal{Reason: chat.ReasonBadRequest, Text: `a signal goes to one "visitor" or "agent"`}
	}
	if len(data) > maxSignal {
		return &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("a signal is at most %d bytes long", maxSignal)}
	}
	if len(data) == 0 {
		data = nil // null: Marshal would refuse the other empty value
	}
	// The name of to is a stranger's word for it. Marshal copies data, which may
	// be lent, and refuses what is no JSON.
	whole, err := json.Marshal(struct {
		To      chat.Party      `json:"to"`
		Payload json.RawMessage `json:"payload"`
	}{chat.Party{Kind: to.Kind, ID: to.ID}, data})
	if err != nil {
		return &chat.Refusal{Reason: chat.ReasonBadRequest, Text: "a signal's payload must be JSON"}
	}
	l.mu.Lock()
	defer l.unlock()
	c, a := l.actor(channel, from)
	if a == nil {
		return full()
	}
	now := l.now()
	defer l.settle(c, now)
	s := signal{id: id, from: from, until: now.add(signalFor), size: len(whole)}
	if fresh, err := l.admit(c, s); err != nil || !fresh {
		return err
	}
	c.past.signals = append(c.past.signals, s)
	l.signalBytes += s.size
	l.tell(hub.Telling{
		Event: chat.Event{Type: chat.TypeSignal, Channel: channel, ClientID: id, From: &from, Data: whole},
		To:    &to,
		Keep:  s.keep(),
	})
	return nil
}

// admit tells whether there is room for a signal; fresh is false for one that is
// kept already.
func (l *Live) admit(c *channel, s signal) (fresh bool, err error) {
	kept, bytes := 0, s.size
	for _, other := range c.past.signals {
		if other.keep() == s.keep() {
			if !other.from.Is(s.from) {
				return false, &chat.Refusal{Reason: chat.ReasonBadRequest, Text: "client_id is in use: make a new one for each signal"}
			}
			return false, nil
		}
		if other.from.Is(s.from) {
			kept++
		}
		bytes += other.size
	}
	switch {
	case kept >= maxSenderSignals:
		return false, &chat.Refusal{
			Reason: chat.ReasonRate,
			Text:   fmt.Sprintf("at most %d signals in %s", maxSenderSignals, signalFor),
		}
	case len(c.past.signals) >= maxChannelSignals, bytes > maxChannelBytes, l.signalBytes+s.size > maxSignalBytes:
		return false, full()
	}
	return true, nil
}

func full() error {
	return &chat.Refusal{Reason: chat.ReasonFull, Text: "too many signals are under way: try again in half a minute"}
}

// expireSignals has the hub forget those whose time is over.
func (l *Live) expireSignals(c *channel, now moment) {
	over := 0
	for over < len(c.past.signals) && c.past.signals[over].until <= now {
		s := c.past.signals[over]
		l.signalBytes -= s.size
		l.forget(c.name, s.keep())
		over++
	}
	c.past.signals = slices.Delete(c.past.signals, 0, over)
}

// keep is what the hub keeps the signal as.
func (s signal) keep() string { return "s/" + s.from.Kind + "/" + s.id }
