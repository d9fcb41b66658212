package wplc

import (
	"sync"
	"time"
)

const (
	// soonest is less than the pause of a page's script after an answer (1.5 s), and
	// errorPause about the one after an error (5 s; 8/js/wplc_u.js:480-510).
	soonest         = 1400 * time.Millisecond
	errorPauseFrom  = 4500 * time.Millisecond
	errorPauseUntil = 6 * time.Second
	// doubtLife is how long a page may take to poll again. One in a hidden tab takes a
	// minute.
	doubtLife = 20 * time.Second
	// doubtLook is how often answers are looked for that are older.
	doubtLook = 5 * time.Second
)

// habits are how a page's script shows, by the time of its next poll, whether it
// got the answer to the last one.
type habits struct {
	doubtful bool // it does show that, and cannot be known otherwise
	// leavesOut tells that the page shows no message twice, so that in doubt it may be
	// told again.
	leavesOut bool
}

// habits of the plugin's script that made a request. Agents of 5.x poll again
// without a pause. A dashboard is told the whole list each time.
func (d *Desk) habitsOf(l *Loop) habits {
	version8 := d.src.facts.Version == 8
	return habits{
		doubtful:  l.Careful && l.CID > 0 && (version8 || !l.Agent),
		leavesOut: version8 && !l.Agent,
	}
}

// got tells whether a page that polls again so long after an answer was sent has
// got it. It tried to poll long before if not: at once where a line was cut, or when
// its network was back.
func (h habits) got(after time.Duration) bool {
	return after >= soonest && !(h.leavesOut && after >= errorPauseFrom && after <= errorPauseUntil)
}

// maxRepeats bounds how often the same client is told again because of the time of
// its polls: two windows of one agent poll under the same name, and other scripts may
// have other pauses.
func (h habits) maxRepeats() int {
	if h.leavesOut {
		return 3
	}
	return 1
}

// doubt is an answer of which nobody knows whether it found its browser.
type doubt struct {
	at      time.Time // when it was sent, or was found not to have arrived
	settle  []func(received bool)
	repeats int
}

// doubts are answers that went into a proxy which does not tell that a browser has
// left (Apache's mod_proxy looks only when it has something to pass on). The
// client's next poll tells. Until then the client stays where it was.
type doubts struct {
	mu    sync.Mutex
	byKey map[string]*doubt
}

func newDoubts() *doubts { return &doubts{byKey: make(map[string]*doubt)} }

// add begins to doubt. settle is called once, with the lock: as soon as it is known
// whether the answer was received, or taken for that.
func (q *doubts) add(key string, settle func(received bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.byKey[key]
	if d == nil {
		if len(q.byKey) >= maxClients {
			settle(true)
			return
		}
		d = &doubt{}
		q.byKey[key] = d
	}
	d.at, d.settle = time.Now(), append(d.settle, settle)
}

// judge is told of each new poll and when it came. One that came before the answer
// was sent says nothing: it was held beside.
func (q *doubts) judge(key string, came time.Time, page habits) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.byKey[key]
	if d == nil || d.settle == nil || came.Before(d.at) {
		return
	}
	if page.got(came.Sub(d.at)) || d.repeats >= page.maxRepeats() {
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
	for _, settle := range d.settle {
		settle(received)
	}
	d.settle = nil
}

// expire takes for received what is older than life.
func (q *doubts) expire(life time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, d := range q.byKey {
		if time.Since(d.at) >= life {
			delete(q.byKey, key)
			d.end(true)
		}
	}
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
	d.telling.update(key, func(t telling) telling { return telling{time.Now(), t.waited} })
}

// mustWait tells whether a client's request has to wait for the end of its last one.
func (d *Desk) mustWait(key string) (wait bool) {
	if d.telling.get(key).since.IsZero() {
		return false
	}
	d.telling.update(key, func(t telling) telling {
		wait = !t.since.IsZero() && time.Since(t.since) < tellingTime
		t.waited = t.waited || wait
		return t
	})
	return wait
}

// gave ends giving, and lets those who waited look.
func (d *Desk) gave(key string, l *Loop) {
	waited := false
	d.telling.update(key, func(t telling) telling {
		waited = t.waited
		return telling{}
	})
	if waited {
		d.opt.Wake(l.Channels()[0])
	}
}
