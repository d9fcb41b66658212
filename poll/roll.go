package poll

import (
	"maps"
	"slices"
	"sync"
)

// roll lists the loops that arrive or are held: all of them, and those of each
// channel. The hub's lists would not do: a loop without channels is not in them,
// and all that they can be told is an event, which would go to streams as well.
type roll struct {
	mu     sync.Mutex
	shut   bool // nobody enters
	all    map[*held]struct{}
	firsts map[string]*place
}

// place is where one loop stands in the list of one channel. There are tens of
// thousands, so it is kept small.
type place struct {
	channel    string
	held       *held
	prev, next *place
}

// setShut lets nobody enter, or everybody again.
func (r *roll) setShut(shut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = shut
}

// enter lists a loop, unless the roll is shut.
func (r *roll) enter(h *held, channels []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return false
	}
	if r.all == nil {
		r.all, r.firsts = make(map[*held]struct{}), make(map[string]*place)
	}
	r.all[h] = struct{}{}
	h.places = make([]place, len(channels))
	for i, channel := range channels {
		p := &h.places[i]
		*p = place{channel: channel, held: h, next: r.firsts[channel]}
		if p.next != nil {
			p.next.prev = p
		}
		r.firsts[channel] = p
	}
	return true
}

// leave strikes a loop off, also one that was never listed.
func (r *roll) leave(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, h)
	for i := range h.places {
		p := &h.places[i]
		if p.next != nil {
			p.next.prev = p.prev
		}
		switch {
		case p.prev != nil:
			p.prev.next = p.next
		case p.next != nil:
			r.firsts[p.channel] = p.next
		default:
			delete(r.firsts, p.channel)
		}
	}
	h.places = nil
}

// wake asks for a look at every loop of a channel.
func (r *roll) wake(channel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := r.firsts[channel]; p != nil; p = p.next {
		p.held.wake()
	}
}

// list returns every loop that arrives or is held at this moment.
func (r *roll) list() []*held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.AppendSeq(make([]*held, 0, len(r.all)), maps.Keys(r.all))
}
