package wplc

import (
	"sync"
	"time"
)

const (
	// soonest and latest are when a page polls that has got an answer: its script pauses
	// for 1.5 s, and browsers make that up to a second longer in a hidden tab.
	soonest = 1400 * time.Millisecond
	latest  = 2600 * time.Millisecond
	// doubtLife is how long the read flags wait for it. A tab that has been hidden for
	// long polls once a minute.
	doubtLife = 20 * time.Second
	// doubtLook is how often answers are looked for that are older.
	doubtLook = 5 * time.Second
)

// maxRepeats bounds how often the same client is told again because of the time of
// its polls: other scripts may have other pauses.
const maxRepeats = 3

// inDoubt tells whether it is to be judged by the next poll if an answer to this
// request arrived. Only visitors' pages of 8.x leave out what they have. To all
// others a repeat is a fault that a person sees, and the time of a poll is too weak
// a sign for that; what they miss behind such a proxy they miss with PHP as well,
// until the page is loaded again.
func (d *Desk) inDoubt(l *Loop) bool {
	return l.Careful && d.src.facts.Version == 8 && !l.Agent && l.CID > 0
}

// got tells whether a page that polls again so long after an answer was sent has
// got it. If it has not, it polls at any time: its script tries again 5 s after it
// has met an error, whenever that was. So it is told again unless it is punctual.
func got(after time.Duration) bool { return after >= soonest && after <= latest }

// doubt is an answer of which nobody knows whether it found its browser.
type doubt struct {
	at      time.Time // when it was sent, or was found not to have arrived
	about   []unsure  // none once it has been judged
	repeats int
	marked  bool // read flags do not wait as long as the page may stay away
}

// unsure is what hangs on an answer. Both are called with the lock.
type unsure struct {
	settle func(received bool) // once: as soon as it is known, or taken for known
	mark   func()              // has the messages marked as read, though it is not known
}

// doubts are answers that went into a proxy which does not tell that a browser has
// left (Apache's mod_proxy looks only when it has something to pass on). The
// client's next poll tells. Until then the client stays where it was.
type doubts struct {
	mu    sync.Mutex
	byKey map[string]*doubt
}

func newDoubts() *doubts { return &doubts{byKey: make(map[string]*doubt)} }

// add begins to doubt.
func (q *doubts) add(key string, about unsure) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.byKey[key]
	if d == nil {
		if len(q.byKey) >= maxClients {
			about.settle(true)
			return
		}
		d = &doubt{}
		q.byKey[key] = d
	}
	d.at, d.about, d.marked = time.Now(), append(d.about, about), false
}

// judge is told of each new poll and when it came. One that came before the answer
// was sent says nothing: it was held beside.
func (q *doubts) judge(key string, came time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.byKey[key]
	if d == nil || d.about == nil || came.Before(d.at) {
		return
	}
	if got(came.Sub(d.at)) || d.repeats >= maxRepeats {
		delete(q.byKey, key)
		d.end(true)
		return
	}
	d.repeats++
	d.at = came
	d.end(false)
}

// end settles; the doubt itself may stay, to count the repeats.
func (d *doubt) end(received bool) {
	for _, about := range d.about {
		about.settle(received)
	}
	d.about = nil
}

// expire has messages marked as read as PHP would, when pages do not poll again, and
// takes for received what nobody can be told again.
func (q *doubts) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, d := range q.byKey {
		age := time.Since(d.at)
		switch {
		case age < doubtLife || d.marked && age < clientLife:
		case d.about != nil && age < clientLife:
			d.marked = true
			for _, about := range d.about {
				about.mark()
			}
		default:
			delete(q.byKey, key)
			d.end(true)
		}
	}
}

// settle takes all for received.
func (q *doubts) settle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.byKey {
		d.end(true)
	}
	clear(q.byKey)
}

func (q *doubts) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.byKey)
}

// telling is an answer on its way from the Desk to the connection.
type telling struct {
	since  time.Time // zero once it was told
	waited bool      // for, by another request of its client
}

// tellingTime is how long a client that asks again waits for its last answer to
// count as told. A browser can have the bytes and ask again before Told was called;
// after that time the answer's line was lost.
const tellingTime = 100 * time.Millisecond

// giving notes that a client's answer is on its way.
func (d *Desk) giving(key string) {
	d.telling.Update(key, func(t telling) telling { return telling{time.Now(), t.waited} })
}

// mustWait tells whether a client's request has to wait for the end of its last one.
func (d *Desk) mustWait(key string) (wait bool) {
	if d.telling.Get(key).since.IsZero() {
		return false
	}
	d.telling.Update(key, func(t telling) telling {
		wait = !t.since.IsZero() && time.Since(t.since) < tellingTime
		t.waited = t.waited || wait
		return t
	})
	return wait
}

// gave ends giving, and lets those who waited look.
func (d *Desk) gave(key string, l *Loop) {
	waited := false
	d.telling.Update(key, func(t telling) telling {
		waited = t.waited
		return telling{}
	})
	if waited {
		d.opt.Wake(l.Channels()[0])
	}
}
