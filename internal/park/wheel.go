package park

import (
	"context"
	"sync"
	"time"
)

const (
	slotWidth = 100 * time.Millisecond
	slotCount = 1024 // one round is 102 s: heartbeats and holds fit into it

	// longestWait keeps due within 32 bits of slots. Nothing is held for a year.
	longestWait = 365 * 24 * time.Hour
)

// timer is one wish of a connection to be called, linked into the wheel without
// an allocation of its own. Its links belong to the wheel's lock.
type timer struct {
	next, prev *timer // nil while it is not in the wheel
	owner      *conn
	due        uint32 // in slots since the wheel's start
}

// wheel is a hashed timer wheel: setting, replacing and cancelling are a few
// pointer writes whatever the number of timers. Timers that are due wait on a
// list of their own until somebody claims them, so that no callback runs under
// the lock and a timer that is replaced at the last moment does not ring.
type wheel struct {
	start time.Time

	mu    sync.Mutex
	now   uint32 // every slot up to this one has been looked at
	ready timer  // head of the list of due timers
	slots [slotCount]timer
}

func newWheel() *wheel {
	w := &wheel{start: time.Now()}
	w.ready.next, w.ready.prev = &w.ready, &w.ready
	for i := range w.slots {
		head := &w.slots[i]
		head.next, head.prev = head, head
	}
	return w
}

// clock is the number of whole slots since the start.
func (w *wheel) clock() uint32 {
	return uint32(time.Since(w.start) / slotWidth)
}

// set makes t due once d has passed, rounded up to a slot, in place of what it
// was set to before. A d of 0 or less only cancels.
func (w *wheel) set(t *timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.unlink()
	if d <= 0 {
		return
	}
	wait := time.Since(w.start) + min(d, longestWait)
	t.due = max(uint32((wait+slotWidth-1)/slotWidth), w.now+1)
	t.link(&w.slots[t.due%slotCount])
}

// claim takes t if it is due and nobody has replaced it meanwhile.
func (w *wheel) claim(t *timer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.next == nil || t.due > w.now {
		return false
	}
	t.unlink()
	return true
}

// advance moves what has become due to the ready list.
func (w *wheel) advance() {
	target := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	// After a pause longer than a round (a suspended machine) every slot still
	// needs only one look.
	first := w.now + 1
	if target > slotCount {
		first = max(first, target-slotCount+1)
	}
	for slot := first; slot <= target; slot++ {
		head := &w.slots[slot%slotCount]
		for t := head.next; t != head; {
			next := t.next
			if t.due <= target {
				t.unlink()
				t.link(&w.ready)
			}
			t = next
		}
	}
	w.now = max(w.now, target)
}

// late is how long ago a slot should have been looked at that was not.
func (w *wheel) late() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, time.Since(w.start)-time.Duration(w.now+1)*slotWidth)
}

// first is a timer that is due and not yet claimed, or nil.
func (w *wheel) first() *timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ready.next == &w.ready {
		return nil
	}
	return w.ready.next
}

// run turns the wheel until ctx ends and has the owners of due timers called.
func (w *wheel) run(ctx context.Context) {
	tick := time.NewTicker(slotWidth)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.advance()
		// expire claims t or finds that somebody else took it off the list, so
		// every turn of this loop makes the list shorter.
		for t := w.first(); t != nil; t = w.first() {
			t.owner.expire(t)
		}
	}
}

func (t *timer) link(head *timer) {
	t.prev, t.next = head.prev, head
	t.prev.next, head.prev = t, t
}

func (t *timer) unlink() {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
}
