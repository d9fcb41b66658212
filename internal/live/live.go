// Package live carries what people do on a channel and nobody stores: who is
// there, who writes, who has read how far, and signals that set up calls.
//
// All of it is said through the hub and forgotten soon. Everything that a
// browser can make grow has a limit, and a channel where one party waits alone,
// which is what most channels are, costs little more than its entry in a map: no
// goroutine, no timer, no telling.
//
// Whether a party may listen and speak on a channel is for the caller to know.
package live

import (
	"cmp"
	"container/list"
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// Teller is the hub, as this package needs it. Neither method may block.
type Teller interface {
	Tell(t hub.Telling)
	Forget(channel, keep string)
}

// Options of a Live.
type Options struct {
	Hub    Teller
	Logger *slog.Logger
	// Grace is how long a party still counts as present after its last
	// connection ended, so that neither a reconnect nor the pause between two
	// polls is told. 0 is 10 s.
	Grace time.Duration
	// Read is told how far a reader has got, seen and delivered alike, each step
	// once: it writes the source's read flags. It is called from Run's goroutine
	// and must not block. With nil nothing is written back.
	Read func(channel string, reader chat.Party, upTo int64)
}

// Limits of all channels together. Connections bound most of what is here, as
// one cannot enter without holding one; these are for what connections leave
// behind, and for accidents.
const (
	// maxChannels bounds the channels known at a time: some 50 MB when on each
	// waits one party.
	maxChannels = 1 << 18
	// maxEmpty bounds the channels that are remembered for when somebody was last
	// there, which polls over ever new channels would otherwise pile up for all of
	// linger. The one that was left first is forgotten first.
	maxEmpty = 10_000
	// linger is how long a channel is remembered after everybody has left it: an
	// agent who comes late sees that the visitor was there a moment ago.
	linger = time.Hour
	// maxErrands is how many tellings may wait for Run, which normally empties
	// them at once. Beyond it typing and receipts are dropped and signals refused.
	maxErrands = 1 << 14
)

// Live is safe for concurrent use. New starts nothing; Run tells.
type Live struct {
	opt   Options
	epoch time.Time
	wake  chan struct{} // there is an errand, or something is due before Run's timer

	mu          sync.Mutex
	channels    map[string]*channel
	due         timers    // channels on which time changes something
	empty       list.List // of *channel: where nobody is, the first left first
	errands     []func()  // what Run tells next, in the order in which it happened
	timer       moment    // when Run looks again by itself
	warned      moment    // of maxChannels
	signalBytes int       // of all signals kept
}

// moment counts from Live.epoch by the monotonic clock, in half the size of a
// time.Time. Zero is longer ago than anything here lasts, but for linger.
type moment int64

const never = moment(math.MaxInt64)

// New makes a Live that tells nothing yet.
func New(opt Options) *Live {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Grace = cmp.Or(opt.Grace, 10*time.Second)
	if opt.Read == nil {
		opt.Read = func(string, chat.Party, int64) {}
	}
	return &Live{
		opt:      opt,
		epoch:    time.Now().Add(-time.Hour), // so that zero is long ago
		wake:     make(chan struct{}, 1),
		channels: make(map[string]*channel),
		timer:    never,
	}
}

func (l *Live) now() moment { return moment(time.Since(l.epoch)) }

func (m moment) add(d time.Duration) moment { return m + moment(d) }

// Run tells what happens until ctx ends; it returns nil then. It is called once,
// and nothing is told without it.
func (l *Live) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var errands []func()
	for {
		select {
		case <-ctx.Done():
			l.finish()
			return nil
		case <-timer.C:
		case <-l.wake:
		}
		var wait time.Duration
		errands, wait = l.turn(errands)
		timer.Reset(wait)
		for _, do := range errands {
			do()
		}
		clear(errands) // they refer to what they told
		errands = errands[:0]
	}
}

// turn does what is due and returns all there is to tell, and how long nothing
// else is due. What is told then is told without the lock; since Run alone
// tells, the order stays. Spare is used for the errands to come.
func (l *Live) turn(spare []func()) (errands []func(), wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for len(l.due) > 0 && l.due[0].due <= now {
		l.expire(l.due[0], now)
	}
	for first := l.empty.Front(); first != nil && emptied(first).add(linger) <= now; first = l.empty.Front() {
		l.vanish(first.Value.(*channel))
	}
	l.timer = l.next()
	errands, l.errands = l.errands, spare
	return errands, time.Duration(l.timer - now)
}

// next is when there is something to do next.
func (l *Live) next() moment {
	next := never
	if len(l.due) > 0 {
		next = l.due[0].due
	}
	if first := l.empty.Front(); first != nil {
		next = min(next, emptied(first).add(linger))
	}
	return next
}

// finish hands on how far readers have got, for the half second that Receipt
// waits for more.
func (l *Live) finish() {
	l.mu.Lock()
	for _, c := range l.channels {
		if c.past == nil {
			continue
		}
		for _, a := range c.past.actors {
			l.readTo(c, a)
		}
	}
	errands := l.errands
	l.errands = nil
	l.mu.Unlock()
	for _, do := range errands {
		do()
	}
}

// unlock ends a change, and wakes Run if that is of any use.
func (l *Live) unlock() {
	useful := len(l.errands) > 0 || l.next() < l.timer
	l.mu.Unlock()
	if useful {
		select {
		case l.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

func (l *Live) tell(t hub.Telling) {
	l.errands = append(l.errands, func() { l.opt.Hub.Tell(t) })
}

func (l *Live) forget(channel, keep string) {
	l.errands = append(l.errands, func() { l.opt.Hub.Forget(channel, keep) })
}

// Stats are numbers for metrics.
type Stats struct {
	Channels    int // that anything is known of
	Empty       int // of these, where nobody is
	SignalBytes int // kept for who comes back to hear them
}

// Stats returns the present numbers.
func (l *Live) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{len(l.channels), l.empty.Len(), l.signalBytes}
}
