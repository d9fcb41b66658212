package gateway

import (
	"time"

	"golang.org/x/time/rate"

	"holdline/internal/chat"
	"holdline/internal/lru"
)

// Each sender has three purses, so that neither who types nor who sets up a call
// has to wait with a message: limits.sends a second for messages and as many for
// signals, which are as large, and five times as many for the rest, which is a few
// bytes each. Four seconds' worth may be spent at once.
const (
	eventShare = 5
	burstShare = 4
)

// rates bounds what one sender may say in a while, over all its connections.
// It is safe for concurrent use.
type rates struct {
	sends int // limits.sends
	of    *lru.Map[string, *purses]
}

// purses are one sender's.
type purses struct {
	sends, signals, events purse
}

type purse struct {
	tokens *rate.Limiter
	shut   time.Time // nothing may be said until then
}

const (
	// maxSenders are remembered; who was silent for longest is forgotten first. Who
	// has said nothing for pursesLife has its purses full again.
	maxSenders = 10_000
	pursesLife = 2 * burstShare * time.Second
	// refusedFor is how long a sender who was refused has to wait: as much as it
	// takes until limits.sends can be said at once again. Were it only until the
	// next one can, a client that sends a long queue would be refused every other
	// message, and they would come out of order.
	refusedFor = time.Second
)

func newRates(sends int) *rates {
	return &rates{sends: sends, of: lru.New[string, *purses](maxSenders, pursesLife)}
}

// take lets a sender say one message of a kind, or tells how long it has to wait.
func (r *rates) take(sender, kind string, now time.Time) (wait time.Duration) {
	r.of.Update(sender, func(all *purses) *purses {
		if all == nil {
			all = &purses{sends: r.purse(1), signals: r.purse(1), events: r.purse(eventShare)}
		}
		wait = all.of(kind).take(now)
		return all
	})
	return wait
}

func (a *purses) of(kind string) *purse {
	switch kind {
	case typeSend:
		return &a.sends
	case string(chat.TypeSignal):
		return &a.signals
	}
	return &a.events
}

func (p *purse) take(now time.Time) (wait time.Duration) {
	if wait := p.shut.Sub(now); wait > 0 {
		return wait
	}
	if p.tokens.AllowN(now, 1) {
		return 0
	}
	p.shut = now.Add(refusedFor)
	return refusedFor
}

func (r *rates) purse(share int) purse {
	n := share * r.sends
	return purse{tokens: rate.NewLimiter(rate.Limit(n), burstShare*n)}
}

// maxWords is how much may come over one WebSocket between two heartbeats before
// it is cut: twice of what a sender may say in that time, so that lawful use never
// comes near it, and what is refused can be told so and come again once.
func (r *rates) maxWords(heartbeat time.Duration) uint32 {
	const share = 1 + 1 + eventShare
	perSecond := share * r.sends
	longest := heartbeat + heartbeat/20 // see ws.Server.Heartbeat
	return uint32(2 * (perSecond*burstShare + int(float64(perSecond)*longest.Seconds())))
}
