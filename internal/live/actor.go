package live

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// maxActors bounds the parties per channel whose doings are remembered. One more
// displaces the one that has done nothing for longest, so that a channel that is
// never empty does not fill up for good.
const maxActors = 32

// How typing is told. Clients drop it by themselves after typingLasts, which
// outlasts two tellings of which one was lost.
const (
	typingEvery = 2 * time.Second        // between two tellings that a party still writes
	typingPause = 500 * time.Millisecond // at least, also when it stopped in between
	typingLasts = 6 * time.Second
)

// receiptEvery is how often the receipts of one party and kind are told: a burst
// of messages read in one go is two tellings, the first at once.
const receiptEvery = 500 * time.Millisecond

// actor is what a party has done on a channel, whether it is present or not: who
// falls back to plain requests still reads and writes.
type actor struct {
	chat.Party
	typing    bool
	typed     moment // when it was last told that it writes
	seen      receipt
	delivered receipt
	read      int64 // what Options.Read was told
}

// receipt is how far a reader has got, in one sense.
type receipt struct {
	upTo, told int64
	next       moment // when it may be told again
}

// actor returns who's doings on the channel, made if need be; nil when there is
// no room, or Run is hopelessly behind. The caller must settle the channel.
func (l *Live) actor(channel string, who chat.Party) (*channel, *actor) {
	if who.Kind == "" || len(l.errands) >= maxErrands {
		return nil, nil
	}
	c := l.channel(channel)
	if c == nil {
		return nil, nil
	}
	p := c.memory()
	i := slices.IndexFunc(p.actors, func(a *actor) bool { return a.Is(who) })
	if i < 0 {
		if len(p.actors) == maxActors {
			l.dropActor(c)
		}
		p.actors = append(p.actors, &actor{Party: who})
		i = len(p.actors) - 1
	}
	a := p.actors[i]
	a.Party = who                      // a name may have become known
	copy(p.actors[i:], p.actors[i+1:]) // to the end: it did something last
	p.actors[len(p.actors)-1] = a
	return c, a
}

// dropActor forgets the first of a channel's actors.
func (l *Live) dropActor(c *channel) {
	a := c.past.actors[0]
	c.past.actors = slices.Delete(c.past.actors, 0, 1)
	l.readTo(c, a)
	for _, kind := range []chat.Type{chat.TypeDelivered, chat.TypeSeen} {
		if r := a.receipt(kind); r.told > 0 {
			l.forget(c.name, keepReceipt(kind, a.Party))
		}
	}
}

// Typing says that who writes on the channel, or has stopped. It is told to the
// others (data {"typing":true,"expires_ms":6000} or {"typing":false}), but no
// more often than they need; it is not kept, as it is told again soon.
func (l *Live) Typing(channel string, who chat.Party, on bool) {
	l.mu.Lock()
	defer l.unlock()
	c, a := l.actor(channel, who)
	if a == nil {
		return
	}
	now := l.now()
	defer l.settle(c, now)
	stands := a.typing && now < a.typed.add(typingLasts)
	a.typing = stands
	data := `{"typing":false}`
	if on {
		wait := typingPause
		if stands {
			wait = typingEvery
		}
		if now < a.typed.add(wait) {
			return
		}
		a.typed = now
		data = fmt.Sprintf(`{"typing":true,"expires_ms":%d}`, typingLasts.Milliseconds())
	} else if !stands {
		return
	}
	a.typing = on
	l.tell(hub.Telling{
		Event:  chat.Event{Type: chat.TypeTyping, Channel: channel, From: &who, Data: json.RawMessage(data)},
		Except: &who,
	})
}

// Receipt says that who has all of the channel up to the row upTo: on its screen
// (chat.TypeSeen) or in its browser (chat.TypeDelivered). It is told to everybody
// (data {"up_to":1234}) and kept for who comes later. It never goes back, so the
// caller sees to it that no upTo is beyond the last row.
func (l *Live) Receipt(channel string, who chat.Party, kind chat.Type, upTo int64) {
	if kind != chat.TypeSeen && kind != chat.TypeDelivered || upTo <= 0 {
		return
	}
	l.mu.Lock()
	defer l.unlock()
	c, a := l.actor(channel, who)
	if a == nil {
		return
	}
	now := l.now()
	if r := a.receipt(kind); upTo > r.upTo {
		r.upTo = upTo
		l.tellReceipt(c, a, kind, now)
	}
	l.settle(c, now)
}

func (a *actor) receipt(kind chat.Type) *receipt {
	if kind == chat.TypeSeen {
		return &a.seen
	}
	return &a.delivered
}

// nextDue is when a receipt is to be told that waits for its turn.
func (a *actor) nextDue() moment {
	due := never
	for _, r := range []*receipt{&a.delivered, &a.seen} {
		if r.upTo > r.told {
			due = min(due, r.next)
		}
	}
	return due
}

func (l *Live) expireReceipts(c *channel, now moment) {
	for _, a := range c.past.actors {
		l.tellReceipt(c, a, chat.TypeDelivered, now)
		l.tellReceipt(c, a, chat.TypeSeen, now)
	}
}

// tellReceipt tells how far a reader has got if that is new and it is its turn.
func (l *Live) tellReceipt(c *channel, a *actor, kind chat.Type, now moment) {
	r := a.receipt(kind)
	if r.upTo <= r.told || now < r.next {
		return
	}
	r.told, r.next = r.upTo, now.add(receiptEvery)
	who := a.Party
	l.tell(hub.Telling{
		Event: chat.Event{
			Type: kind, Channel: c.name, From: &who,
			Data: json.RawMessage(fmt.Sprintf(`{"up_to":%d}`, r.upTo)),
		},
		Keep: keepReceipt(kind, who),
	})
	l.readTo(c, a)
}

// readTo hands on how far a reader has got if that is new.
func (l *Live) readTo(c *channel, a *actor) {
	upTo := max(a.seen.upTo, a.delivered.upTo)
	if upTo <= a.read {
		return
	}
	a.read = upTo
	channel, who := c.name, a.Party
	l.errands = append(l.errands, func() { l.opt.Read(channel, who, upTo) })
}

// keepReceipt is what the hub keeps a reader's receipt as.
func keepReceipt(kind chat.Type, who chat.Party) string {
	return fmt.Sprintf("%s/%s/%d", kind, who.Kind, who.ID)
}
