package outbox

import (
	"context"
	"sync"
	"time"

	"holdline/internal/backoff"
)

// Bounds of the waits between tries. Up to half of each is left to chance, so that
// channels that failed together do not come back together. A channel that fails
// while others do not waits up to maxDelay. The gate waits less, since its probes
// are one for the whole site, and everybody waits for WordPress to be back.
const (
	minDelay = 250 * time.Millisecond
	maxDelay = 10 * time.Second
	maxProbe = 2 * time.Second
)

// gate is shut while WordPress as a whole does not answer. One caller at a time
// then passes, as a probe; the first success opens it for all.
type gate struct {
	mu       sync.Mutex
	failures int       // in a row; 0 is open
	since    time.Time // when it was shut
	next     time.Time // when the next probe may go
	probing  bool      // somebody waits for that, or is under way
	passed   time.Time // the last success
	changed  chan struct{}
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// enter waits until a call may be made; leave, or ctx's error, follows.
func (g *gate) enter(ctx context.Context) (probe bool, err error) {
	for {
		g.mu.Lock()
		shut, mine, changed := g.failures > 0, !g.probing, g.changed
		wait := time.Until(g.next)
		if shut && mine {
			g.probing = true
		}
		g.mu.Unlock()
		switch {
		case !shut:
			return false, ctx.Err()
		case mine:
			return true, g.pause(ctx, wait)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// pause is the probe's wait. A call that was under way when the gate was shut may
// end it early.
func (g *gate) pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		g.mu.Lock()
		open, changed := g.failures == 0, g.changed
		g.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-t.C:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outcome is what a call tells of WordPress as a whole.
type outcome int

const (
	unknown outcome = iota // nothing: one channel's own trouble, or the end
	answered
	silent
)

// leave reports how the call went. turned says that this opened or shut the gate;
// was is for how long it had been shut.
func (g *gate) leave(probe bool, how outcome) (turned bool, was time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		g.probing = false
	}
	now := time.Now()
	switch how {
	case answered:
		turned, was = g.failures > 0, now.Sub(g.since)
		g.failures, g.passed = 0, now
	case silent:
		turned = g.failures == 0
		if turned {
			g.since = now
		}
		g.failures++
		g.next = now.Add(backoff.Equal(g.failures, minDelay, maxProbe))
	}
	close(g.changed)
	g.changed = make(chan struct{})
	return turned, was
}

// shut tells since when the gate is shut, zero for open, and how long until the
// next probe.
func (g *gate) shut() (since time.Time, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures == 0 {
		return time.Time{}, 0
	}
	return g.since, max(time.Until(g.next), 0)
}

// passedAfter tells whether a call went well after that time.
func (g *gate) passedAfter(t time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed.After(t)
}
