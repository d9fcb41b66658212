package wordpress

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"holdline/internal/backoff"
)

// When the courier calls. Its heartbeats come every 29 s from each visitor and
// have to arrive within 120 s; PHP's 30 s rules of ageing want a call more often.
const (
	everyBatch  = 22 * time.Second
	readWithin  = 300 * time.Millisecond // after a crash, PHP tells again what is not flagged as read
	urgentPause = 200 * time.Millisecond // between calls that cannot wait
	urgentLag   = 10 * time.Millisecond  // one request often makes two writes
	helloEvery  = 5 * time.Minute        // when there is nothing else to say
	refusedFor  = time.Minute            // until who refused us is asked again
	callTimeout = 30 * time.Second
	farewell    = 2 * time.Second  // for what is under way at the end, and the last batch
	leastRetry  = time.Second      // at random from here on, so that many sites of
	mostRetry   = 30 * time.Second // one machine do not come back together
)

// CourierOptions are a courier's; Do and Logger are required.
type CourierOptions struct {
	// Do makes one signed POST of SyncAction. Its answer has at most MaxSyncBody
	// bytes. It is called by two goroutines at once.
	Do     func(ctx context.Context, body []byte) (status int, answer []byte, err error)
	Logger *slog.Logger
	Every  time.Duration // between two batches; 0 is 22 s
}

// Courier carries to WordPress the writes that the plugin's loops would have made
// there. What it takes it merges and keeps, within bounds, until the companion
// plugin has it. Its methods may be called concurrently, and Run once.
type Courier struct {
	opt       CourierOptions
	bell      chan struct{} // there may be something to do sooner
	met       chan struct{} // closed once it is known whether the companion is there
	over      chan struct{} // closed when Run has ended
	adoptions *adoptions

	mu       sync.Mutex
	queue    queue
	batchAt  time.Time // when what is queued has to go; zero when nothing is
	readBy   time.Time // when message ids have to go; zero when there are none
	urgentAt time.Time // when what cannot wait has to go; zero when all can
	part     int       // of the limits, that one call may fill: halves, quarters …
	last     result    // of the last call; "" before the first
	streak   int       // of failures
	retryAt  time.Time // after a last that was no success
	calledAt time.Time // when Run last began to call
	known    SyncAnswer
	verdict  error // ErrAbsent or ErrRefused, or nil
	isMet    bool
	stats    CourierStats
}

// CourierStats count from New on.
type CourierStats struct {
	// Calls by their result: delivered, replayed, failed, too_large, absent,
	// wrong_secret, wrong_clock, blocked.
	Calls       map[string]int64
	Queued      int       // heartbeats, transitions and ids that wait
	Dropped     int64     // that never arrived: too many, too old, or no companion
	LastSuccess time.Time // zero: never
}

// NewCourier returns a courier that begins with Run. What it is given before waits.
func NewCourier(opt CourierOptions) *Courier {
	if opt.Every <= 0 {
		opt.Every = everyBatch
	}
	return &Courier{
		opt: opt, queue: newQueue(), part: 1, adoptions: newAdoptions(),
		bell: make(chan struct{}, 1), met: make(chan struct{}), over: make(chan struct{}),
		stats: CourierStats{Calls: make(map[string]int64)},
	}
}

// Beat takes a visitor's heartbeat for the next batch. Chats in status 2 and 12
// have none: they must age.
func (c *Courier) Beat(b Beat) {
	if b.Chat <= 0 || b.Status == 2 || b.Status == 12 {
		return
	}
	b.Visit = b.bounded()
	c.put(false, func(q *queue) int { return q.beats.put(b.Chat, timedBeat{b, time.Now()}) })
}

// Move takes a heartbeat that changes the status. It goes at once.
func (c *Courier) Move(t Transition) {
	if t.Chat <= 0 {
		return
	}
	t.Visit = t.bounded()
	c.put(true, func(q *queue) int { return q.moves.put(move{t.Chat, t.From, t.To}, t) })
}

// Missed takes a chat whose visitor was just told that nobody answers. It goes at
// once; a Move from 12 to 12 belongs to it.
func (c *Courier) Missed(chat int64) {
	if chat <= 0 {
		return
	}
	c.put(true, func(q *queue) int { return q.missed.put(chat, struct{}{}) })
}

// Read takes the ids of messages that were delivered. They go within 300 ms.
func (c *Courier) Read(ids ...int64) {
	c.put(false, func(q *queue) (dropped int) {
		for _, id := range ids {
			if id > 0 {
				dropped += q.read.put(id, struct{}{})
			}
		}
		if c.readBy.IsZero() && q.read.len() > 0 {
			c.readBy = time.Now().Add(readWithin)
		}
		return dropped
	})
}

// Age asks for the plugin's ageing with the next batch.
func (c *Courier) Age() {
	c.put(false, func(q *queue) int { q.age = true; return 0 })
}

// Flush sends at once what is queued, except for an Age.
func (c *Courier) Flush() { c.put(true, func(*queue) int { return 0 }) }

// put changes the queue under the lock and wakes Run.
func (c *Courier) put(urgent bool, change func(q *queue) (dropped int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Dropped += int64(change(&c.queue))
	if errors.Is(c.verdict, ErrAbsent) {
		c.empty()
	}
	if c.queue.empty() {
		return
	}
	if c.batchAt.IsZero() {
		c.batchAt = time.Now().Add(c.opt.Every)
	}
	if urgent && c.urgentAt.IsZero() {
		c.urgentAt = latest(time.Now().Add(urgentLag), c.calledAt.Add(urgentPause))
	}
	select {
	case c.bell <- struct{}{}:
	default: // it has been rung
	}
}

// empty drops the queue, for nobody will take it. The caller has the lock.
func (c *Courier) empty() {
	c.stats.Dropped += int64(c.queue.len())
	c.queue, c.batchAt, c.readBy, c.urgentAt = newQueue(), time.Time{}, time.Time{}, time.Time{}
}

// Hello returns what the companion plugin told last, which must not be changed. It
// waits for the first answer of any kind, and afterwards does not wait at all: a
// WordPress that has gone silent is as it was. The error wraps ErrAbsent or
// ErrRefused when that was the last answer, or is the context's.
func (c *Courier) Hello(ctx context.Context) (SyncAnswer, error) {
	select {
	case <-c.met:
	default:
		select {
		case <-c.met:
		case <-c.over:
			return SyncAnswer{}, errOver
		case <-ctx.Done():
			return SyncAnswer{}, fmt.Errorf("wait for WordPress's first answer: %w", context.Cause(ctx))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known, c.verdict
}

var errOver = errors.New("the calls to WordPress have ended")

// Stats tells how it goes.
func (c *Courier) Stats() CourierStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Calls, s.Queued = maps.Clone(s.Calls), c.queue.len()
	return s
}

// Run says hello and then carries what comes, until ctx ends and for two seconds
// more at most. It returns nil.
func (c *Courier) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	others.Go(func() { // a call that is cancelled may have arrived, and come again: let it end
		select {
		case <-calls.Done():
			return
		case <-ctx.Done():
		}
		limit, free := context.WithTimeout(calls, farewell)
		defer free()
		<-limit.Done()
		cancel()
	})
	var adopting sync.WaitGroup
	adopting.Go(func() { c.runAdoptions(ctx, calls) })
	c.carry(ctx, calls)
	adopting.Wait()
	cancel()
	others.Wait()
	close(c.over)
	return nil
}

// carry is Run's loop: one call at a time.
func (c *Courier) carry(ctx, calls context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at, hello := c.due()
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			c.lastRound(calls)
			return
		case <-c.bell:
			continue
		case <-timer.C:
		}
		c.begin()
		if hello {
			c.hello(calls)
		} else {
			c.round(calls, false)
		}
	}
}

func (c *Courier) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calledAt = time.Now()
	c.part = max(1, c.part/2) // what was too large may pass by now
}

// due is when to call next, and whether to say hello alone.
func (c *Courier) due() (at time.Time, hello bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != delivered {
		return c.retryAt, !c.isMet || c.verdict != nil || c.queue.empty()
	}
	at, hello = c.stats.LastSuccess.Add(helloEvery), true
	for _, then := range []time.Time{c.batchAt, c.readBy, c.urgentAt} {
		if !then.IsZero() && then.Before(at) {
			at, hello = then, false
		}
	}
	return at, hello
}

// hello sends an empty call.
func (c *Courier) hello(ctx context.Context) {
	body, err := encode(Sync{})
	if err != nil {
		c.trouble(failed, err)
		return
	}
	answer, result, err := c.call(ctx, body, callTimeout)
	switch {
	case result == delivered:
		c.success(result, answer)
	case result == replayed || result == tooLarge: // a cache or a firewall
		c.trouble(blocked, fmt.Errorf("%w: it answers a new and empty call with %q", ErrRefused, result))
	default:
		c.trouble(result, err)
	}
}

// round sends what is queued, in as many calls as it takes.
func (c *Courier) round(ctx context.Context, all bool) {
	part := 1 // of the limits, which long texts need not reach for the call to be full
	for more := true; more; {
		var l load
		var body []byte
		var err error
		if l, body, more, err = c.load(&part, all); err != nil {
			c.trouble(failed, err)
			return
		}
		if l.empty() {
			return
		}
		answer, result, err := c.call(ctx, body, callTimeout)
		switch {
		case result == delivered || result == replayed:
			c.success(result, answer)
		case result == tooLarge && c.halve():
			c.back(l)
			more = true
		default:
			if result == tooLarge { // one of each kind was
				c.drop(l.len())
			} else {
				c.back(l)
			}
			c.trouble(result, err)
			return
		}
	}
}

// lastRound sends what is queued at the end, if there is a chance.
func (c *Courier) lastRound(ctx context.Context) {
	c.mu.Lock()
	hope := c.isMet && c.verdict == nil
	c.mu.Unlock()
	if hope {
		c.round(ctx, true)
	}
	if n := c.Stats().Queued; n > 0 {
		c.opt.Logger.Warn("writes for WordPress are lost with this end", "count", n)
	}
}

// load takes one call's writes out of the queue, and raises part where so many
// have too many bytes. There is more where the limits left some.
func (c *Courier) load(part *int, all bool) (l load, body []byte, more bool, err error) {
	for ; ; *part *= 2 {
		l, more = c.take(*part, all)
		if body, err = encode(l.sync()); err != nil || len(body) <= MaxSyncBody {
			return l, body, more, err
		}
		c.back(l)
	}
}

func (c *Courier) take(part int, all bool) (l load, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	l, stale := c.queue.take(c.part*part, all || !now.Before(c.batchAt), now)
	c.stats.Dropped += int64(stale)
	if more = c.queue.len() > 0; !more {
		c.urgentAt, c.readBy = time.Time{}, time.Time{}
	}
	if c.queue.empty() {
		c.batchAt = time.Time{}
	}
	return l, more
}

// back takes a load again that was not delivered.
func (c *Courier) back(l load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Dropped += int64(c.queue.back(l))
	c.batchAt = time.Now() // it has waited already
}

func (c *Courier) drop(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Dropped += int64(n)
}

// halve makes calls smaller, until they cannot be.
func (c *Courier) halve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.part > MaxSyncRead {
		return false
	}
	c.part *= 2
	return true
}

// encode writes a call's body. Each has another name, or it would be a replay.
func encode(s Sync) ([]byte, error) {
	s.Call = rand.Text()
	return encodeJSON(s)
}

// encodeJSON leaves markup as it is: escaped it would be six times as long.
func encodeJSON(v any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write a call to WordPress: %w", err)
	}
	return body.Bytes(), nil
}

// call makes one call and counts it.
func (c *Courier) call(ctx context.Context, body []byte, timeout time.Duration) (SyncAnswer, result, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var a SyncAnswer
	r := failed
	status, text, err := c.opt.Do(ctx, body)
	if err != nil {
		err = fmt.Errorf("call WordPress: %w", err)
	} else {
		a, r, err = readAnswer(status, text, time.Now())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Calls[string(r)]++
	return a, r, err
}

// success notes that WordPress has what it was sent.
func (c *Courier) success(r result, a SyncAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r == delivered {
		c.known = a
	}
	if c.last != delivered {
		c.opt.Logger.Info("the companion plugin takes writes", "plugin", c.known.Plugin, "wordpress", c.known.Hello.WordPress)
	}
	c.last, c.streak, c.verdict, c.stats.LastSuccess = delivered, 0, nil, time.Now()
	c.meet()
}

// trouble notes that it has not, logs what is new about it, and plans the next try.
func (c *Courier) trouble(r result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	isNew := c.last != r
	c.last = r
	if r == failed || r == tooLarge {
		c.streak++
		c.retryAt = time.Now().Add(backoff.Full(c.streak, leastRetry, mostRetry))
		if isNew {
			c.opt.Logger.Warn("writes wait until WordPress takes them", "error", err, "count", c.queue.len())
		}
		return
	}
	c.streak, c.verdict, c.retryAt = 0, err, time.Now().Add(refusedFor)
	if r == absent {
		c.empty()
	}
	if isNew {
		level := slog.LevelError
		if errors.Is(err, ErrAbsent) {
			level = slog.LevelInfo // a site may do without
		}
		c.opt.Logger.Log(context.Background(), level, "WordPress takes no writes; asking once a minute", "error", err)
	}
	c.meet()
}

// meet ends the wait of Hello. The caller has the lock.
func (c *Courier) meet() {
	if !c.isMet {
		c.isMet = true
		close(c.met)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
