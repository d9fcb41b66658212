package wordpress

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what waits for WordPress: some minutes of a very busy site. Beyond
// them the oldest is dropped.
const (
	mostBeats  = 20_000
	mostMoves  = 5_000
	mostRead   = 100_000
	mostMissed = 1_000
)

// beatLife is how long a heartbeat is worth sending. WordPress stamps it with the
// time of its arrival, and a visitor who is still there has made a newer one.
const beatLife = 2 * time.Minute

// Bounds of a visit's texts in bytes, since a header may have as many as it likes.
// The columns take 700, 500 and 100 characters of what is left of them.
const (
	mostURL     = 2048
	mostUA      = 1024
	mostSession = 100
	mostIP      = 45 // the longest text of an IPv6 address
)

// ordered is a map that remembers in which order its keys came. It forgets the
// oldest when there are too many, and gives them away from the front alone.
type ordered[K comparable, V any] struct {
	most  int
	merge func(older, newer V) V // nil: the newer
	of    map[K]V
	order []K
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// put adds a value or merges it into the one of its key, which keeps its place.
// It returns how many were dropped.
func (o *ordered[K, V]) put(key K, value V) (dropped int) {
	if older, ok := o.of[key]; ok {
		if o.merge != nil {
			value = o.merge(older, value)
		}
		o.of[key] = value
		return 0
	}
	if o.of == nil {
		o.of = make(map[K]V)
	}
	o.of[key] = value
	o.order = append(o.order, key)
	if len(o.order) > o.most {
		o.take(1)
		return 1
	}
	return 0
}

// take removes the oldest n.
func (o *ordered[K, V]) take(n int) []entry[K, V] {
	n = min(n, len(o.order))
	if n == 0 {
		return nil
	}
	taken := make([]entry[K, V], n)
	for i, key := range o.order[:n] {
		taken[i] = entry[K, V]{key, o.of[key]}
		delete(o.of, key)
	}
	if o.order = o.order[n:]; len(o.order) == 0 {
		o.of, o.order = nil, nil // a map never shrinks by itself
	}
	return taken
}

// back puts what was taken to the front again. What came anew since is newer.
func (o *ordered[K, V]) back(taken []entry[K, V]) (dropped int) {
	if len(taken) == 0 {
		return 0
	}
	since, newer := o.order, o.of
	o.order, o.of = nil, nil
	for _, e := range taken {
		dropped += o.put(e.key, e.value)
	}
	for _, key := range since {
		dropped += o.put(key, newer[key])
	}
	return dropped
}

// remove takes one out and tells whether it was there.
func (o *ordered[K, V]) remove(key K) bool {
	if _, ok := o.of[key]; !ok {
		return false
	}
	delete(o.of, key)
	o.order = slices.DeleteFunc(o.order, func(k K) bool { return k == key })
	return true
}

// len is how many there are.
func (o *ordered[K, V]) len() int { return len(o.order) }

type set = ordered[int64, struct{}]

// move is what makes two transitions the same.
type move struct {
	chat     int64
	from, to int
}

// timedBeat is a heartbeat and when its visitor was there.
type timedBeat struct {
	Beat
	at time.Time
}

// queue is what waits for WordPress. Its owner locks it.
type queue struct {
	beats        ordered[int64, timedBeat]
	moves        ordered[move, Transition]
	read, missed set
	age          bool
}

func newQueue() queue {
	return queue{
		beats: ordered[int64, timedBeat]{most: mostBeats, merge: func(older, newer timedBeat) timedBeat {
			newer.Visit = newer.over(older.Visit)
			return newer
		}},
		moves: ordered[move, Transition]{most: mostMoves, merge: func(older, newer Transition) Transition {
			newer.Visit = newer.over(older.Visit)
			return newer
		}},
		read:   set{most: mostRead},
		missed: set{most: mostMissed},
	}
}

func (q *queue) len() int {
	return q.beats.len() + q.moves.len() + q.read.len() + q.missed.len()
}

func (q *queue) empty() bool { return q.len() == 0 && !q.age }

// load is what one call takes out of the queue.
type load struct {
	beats        []entry[int64, timedBeat]
	moves        []entry[move, Transition]
	read, missed []entry[int64, struct{}]
	age          bool
}

func (l *load) empty() bool { return l.len() == 0 && !l.age }

func (l *load) len() int { return len(l.beats) + len(l.moves) + len(l.read) + len(l.missed) }

// take fills a call: to its limits, or to the given part of them. It returns how
// many beats were dropped because they had become too old.
func (q *queue) take(part int, age bool, now time.Time) (l load, stale int) {
	upTo := func(limit int) int { return max(1, limit/part) }
	for _, e := range q.beats.take(upTo(MaxSyncBeats)) {
		if now.Sub(e.value.at) > beatLife {
			stale++
			continue
		}
		l.beats = append(l.beats, e)
	}
	l.moves = q.moves.take(upTo(MaxSyncTransitions))
	l.read = q.read.take(upTo(MaxSyncRead))
	l.missed = q.missed.take(upTo(MaxSyncMissed))
	l.age = q.age && age
	q.age = q.age && !age
	return l, stale
}

// back returns a load that was not delivered.
func (q *queue) back(l load) (dropped int) {
	q.age = q.age || l.age
	return q.beats.back(l.beats) + q.moves.back(l.moves) + q.read.back(l.read) + q.missed.back(l.missed)
}

// sync is the load as a call's body.
func (l *load) sync() Sync {
	s := Sync{Age: l.age}
	for _, e := range l.beats {
		s.Beats = append(s.Beats, e.value.Beat)
	}
	for _, e := range l.moves {
		s.Transitions = append(s.Transitions, e.value)
	}
	for _, e := range l.read {
		s.Read = append(s.Read, e.key)
	}
	for _, e := range l.missed {
		s.Missed = append(s.Missed, e.key)
	}
	return s
}

// over is what two visits leave in the table, the receiver's after the older.
func (v Visit) over(older Visit) Visit {
	if v.Session == "" {
		v.Session = older.Session
	}
	if v.URL == nil {
		v.URL = older.URL
	}
	if v.UA == nil { // the address is stored together with it
		v.UA, v.IP = older.UA, older.IP
	}
	return v
}

// bounded cuts a visit's texts.
func (v Visit) bounded() Visit {
	v.Session, v.IP = clip(v.Session, mostSession), clip(v.IP, mostIP)
	if v.URL != nil {
		text := clip(*v.URL, mostURL)
		v.URL = &text
	}
	if v.UA != nil {
		text := clip(*v.UA, mostUA)
		v.UA = &text
	}
	return v
}

// clip cuts a text without halving a character. Text that is no UTF-8 becomes
// empty, as it does in WordPress's sanitize_text_field (wp_check_invalid_utf8).
func clip(text string, most int) string {
	if !utf8.ValidString(text) {
		return ""
	}
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return strings.Clone(text[:most]) // not to keep the rest in memory
}
