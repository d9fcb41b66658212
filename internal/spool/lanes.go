package spool

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// lane is the waiting records of one key, oldest first. Those at its head are
// handed out, and while any is in flight the lane rests.
type lane struct {
	name   string
	queue  []*entry
	flight int       // how many of them, from the head on, are in flight
	due    time.Time // when its head may be taken
	rests  bool      // neither in the heap nor empty: its head is in flight or not yet durable
}

// laneHeap has the lanes that can be taken from, the longest due first, so that
// no lane starves another.
type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }
func (h laneHeap) Less(i, j int) bool {
	return cmp.Or(h[i].due.Compare(h[j].due), cmp.Compare(h[i].queue[0].seq, h[j].queue[0].seq)) < 0
}
func (h laneHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *laneHeap) Push(x any)   { *h = append(*h, x.(*lane)) }
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// admit adds a record to its lane's end. The caller holds the lock.
func (s *Spool) admit(name string, e *entry) {
	l := s.lanes[name]
	if l == nil {
		l = &lane{name: name, rests: true}
		s.lanes[name] = l
	}
	e.lane = l
	l.queue = append(l.queue, e)
	s.waiting[e.key()] = e
	e.seg.live++
	s.liveBytes += int64(e.size)
	s.reserved += e.markSize()
}

// rouse makes a resting lane available at the time given, if its head is there
// to be taken. The caller holds the lock.
func (s *Spool) rouse(l *lane, due time.Time) {
	if !l.rests || l.flight > 0 || len(l.queue) == 0 || l.queue[0].pending != nil {
		return
	}
	l.rests, l.due = false, due
	heap.Push(&s.ready, l)
	nudge(s.wake)
}

// dismiss takes a record out, wherever in its lane it is. The caller holds the
// lock, and rouses the lane if it was the head.
func (s *Spool) dismiss(e *entry) {
	l := e.lane
	for i, other := range l.queue {
		if other != e {
			continue
		}
		copy(l.queue[1:i+1], l.queue[:i]) // mostly nothing: it is the head
		l.queue[0] = nil
		l.queue = l.queue[1:]
		break
	}
	if len(l.queue) == 0 {
		delete(s.lanes, l.name)
	}
	delete(s.waiting, e.key())
	e.seg.live--
	s.liveBytes -= int64(e.size)
	s.reserved -= e.markSize()
}

// markSize is the room that the record's mark will need.
func (e *entry) markSize() int64 {
	return item{lane: e.lane.name, id: e.id}.frameSize()
}

// nudge leaves a note in a channel of one slot.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fate is what became of a record.
type fate struct {
	seq   uint64
	ref   int64
	at    int64 // Unix nanoseconds
	state State
}

// memory knows the fates of client ids for a while, and never of more than max. There
// may be 100,000 of them, so it has their fingerprints in place of their names.
type memory struct {
	window time.Duration
	max    int
	fates  map[fingerprint]fate
	order  []fingerprint // oldest first from index old on; each is there once
	old    int
}

// fingerprint stands for a key: half a SHA-256, so that nobody can make two that
// are the same, and with it a message that is taken for one that is stored.
type fingerprint [16]byte

func (k key) fingerprint() (f fingerprint) {
	text := make([]byte, 0, 128)
	text = binary.AppendUvarint(text, uint64(len(k.lane)))
	text = append(append(text, k.lane...), k.id...)
	sum := sha256.Sum256(text)
	copy(f[:], sum[:])
	return f
}

func newMemory(window time.Duration, limit int) memory {
	return memory{window: window, max: limit, fates: make(map[fingerprint]fate)}
}

func (m *memory) get(k key, now time.Time) (fate, bool) {
	f, ok := m.fates[k.fingerprint()]
	return f, ok && now.UnixNano()-f.at < int64(m.window)
}

// put remembers. A key that is known keeps its turn to be forgotten, which
// happens only when its window is over.
func (m *memory) put(k key, f fate) {
	name := k.fingerprint()
	if _, known := m.fates[name]; !known {
		m.order = append(m.order, name)
	}
	m.fates[name] = f
	for len(m.fates) > m.max {
		m.forgetOldest()
	}
}

func (m *memory) expire(now time.Time) {
	for m.old < len(m.order) && now.UnixNano()-m.fates[m.order[m.old]].at >= int64(m.window) {
		m.forgetOldest()
	}
}

func (m *memory) forgetOldest() {
	delete(m.fates, m.order[m.old])
	m.old++
	if m.old > len(m.order)/2 {
		n := copy(m.order, m.order[m.old:])
		m.order, m.old = m.order[:n], 0
	}
}
