//go:build e2e && linux

package soak_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// trouble is one thing that goes wrong, for a time.
type trouble struct {
	name string
	// ends tells that it ends the process of Holdline. Near the end of a run there are
	// none of these, for the last process to have a past to be weighed after.
	ends  bool
	lasts span // from do to undo
	do    func(*stage, *namespace)
	undo  func(*stage, *namespace) // nil for nothing to put right
}

type span struct{ least, most time.Duration }

func (s span) pick(rng *rand.Rand) time.Duration {
	return s.least + time.Duration(rng.Int64N(int64(s.most-s.least)+1))
}

const killNginx = "kill nginx"

// troubles are all there are. What is killed is started again, and answers, before
// anybody is asked to catch up.
var troubles = []trouble{
	{
		name: "kill MariaDB", lasts: span{0, 8 * time.Second},
		do:   func(s *stage, _ *namespace) { s.must(s.site.Kill(s.ctx, "mariadbd")) },
		undo: func(s *stage, _ *namespace) { s.must(s.site.Start(s.ctx, "mariadbd")) },
	},
	{
		name: "kill PHP-FPM", lasts: span{0, 15 * time.Second},
		do:   func(s *stage, _ *namespace) { s.must(s.site.Kill(s.ctx, "php-fpm")) },
		undo: func(s *stage, _ *namespace) { s.must(s.site.Start(s.ctx, "php-fpm")) },
	},
	{
		name: killNginx, lasts: span{0, 6 * time.Second},
		do:   func(s *stage, _ *namespace) { s.must(s.site.Kill(s.ctx, "nginx")) },
		undo: func(s *stage, _ *namespace) { s.must(s.site.Start(s.ctx, "nginx")) },
	},
	{
		name: "kill Holdline", ends: true, lasts: span{0, 8 * time.Second},
		do:   func(s *stage, _ *namespace) { s.holdline.kill() },
		undo: func(s *stage, _ *namespace) { s.holdline.start(s.ctx) },
	},
	{
		name: "restart Holdline", ends: true,
		do:   func(s *stage, _ *namespace) { s.holdline.stop() },
		undo: func(s *stage, _ *namespace) { s.holdline.start(s.ctx) },
	},
	{
		name: "upgrade Holdline", ends: true,
		do: func(s *stage, _ *namespace) { s.holdline.upgrade(s.ctx) },
	},
	{
		name: "step the clocks", lasts: span{0, 5 * time.Second},
		do: func(s *stage, _ *namespace) { s.clock.wander(s.t) }, // until it is stepped again
	},
	{
		name: "clocks an hour off", lasts: span{10 * time.Second, 20 * time.Second},
		do:   func(s *stage, _ *namespace) { s.clock.step(s.t, s.clock.far()) },
		undo: func(s *stage, _ *namespace) { s.clock.step(s.t, 0) },
	},
	{
		name: "cut the network", lasts: span{5 * time.Second, 40 * time.Second},
		do:   func(_ *stage, n *namespace) { n.plug(false) },
		undo: func(_ *stage, n *namespace) { n.plug(true) },
	},
	{
		name: "a loose cable", lasts: span{5 * time.Second, 15 * time.Second},
		do:   func(s *stage, n *namespace) { s.must(n.loosen()) },
		undo: func(s *stage, n *namespace) { s.must(n.fasten()) },
	},
}

// mischief makes troubles one after the other. What it does, and in which order, is the
// seed's; how long things take is the machine's.
type mischief struct {
	*stage
	net     *namespace
	writers *writers
	crowd   *crowd
	rng     *rand.Rand
	quick   bool // little time between troubles
	deck    []trouble
	calm    bool // no more ends of Holdline

	count  map[string]int
	marks  map[int]mark
	losses []window // in which PHP, or a killed nginx, may lose what it marks as read
	hups   int
	faults []string
}

// until makes troubles until a time; what was begun is put right.
func (m *mischief) until(end time.Time) {
	for time.Now().Before(end) && m.ctx.Err() == nil && !(m.calm && *only != "") {
		gap := span{4 * time.Second, 12 * time.Second}
		if m.quick {
			gap = span{time.Second, 2 * time.Second}
		}
		pass(m.ctx, gap.pick(m.rng))
		m.mark(quiet, 30*time.Second)
		m.one()
	}
}

// draw takes the next from a shuffled deck of all, so that none is left out for long.
func (m *mischief) draw() trouble {
	if len(m.deck) == 0 {
		m.deck = slices.DeleteFunc(slices.Clone(troubles), func(t trouble) bool {
			return m.calm && t.ends || *only != "" && !slices.Contains(strings.Split(*only, ","), t.name)
		})
		m.rng.Shuffle(len(m.deck), func(i, j int) { m.deck[i], m.deck[j] = m.deck[j], m.deck[i] })
	}
	next := m.deck[0]
	m.deck = m.deck[1:]
	return next
}

// reform leaves Holdline's process alone from now on.
func (m *mischief) reform() {
	m.calm = true
	m.deck = slices.DeleteFunc(m.deck, func(t trouble) bool { return t.ends })
}

func (m *mischief) one() {
	t := m.draw()
	m.count[t.name]++
	lasts := t.lasts.pick(m.rng)
	if m.quick {
		lasts = min(lasts, 10*time.Second)
	}
	hup := m.rng.IntN(2) == 0
	began := time.Now()
	if t.name == killNginx {
		m.losses = append(m.losses, window{from: began.Add(-inHand), to: began.Add(time.Second)})
	}
	t.do(m.stage, m.net)
	pass(m.ctx, lasts/2)
	if hup && m.holdline.pid != 0 {
		m.hups++
		m.holdline.signal(syscall.SIGHUP)
	}
	pass(m.ctx, lasts-lasts/2)
	if t.undo != nil {
		t.undo(m.stage, m.net)
	}
	away := time.Since(began)
	if t.ends && t.undo != nil {
		m.losses = append(m.losses, window{from: began, to: time.Now().Add(phpHolds), marked: true})
	}
	caught := m.mark(t.name, 90*time.Second)
	m.t.Logf("%s  %-20s %5.1fs, caught up after %.1fs", time.Now().Format("15:04:05"), t.name, away.Seconds(), caught.Seconds())
}

// window is a time in which rows came that others may have lost.
type window struct {
	from, to time.Time
	marked   bool // only what is marked as read
}

func (w window) has(r *tableRow) bool {
	return r.begun.After(w.from) && r.begun.Before(w.to) && (r.read || !w.marked)
}

const (
	// inHand is how old a row may be that nginx has in its hands: Holdline may have been
	// away before, and has told then what came meanwhile.
	inHand = 15 * time.Second
	// phpHolds is how long PHP keeps the loops that came to it while Holdline was away.
	phpHolds = 30 * time.Second
)

// mark writes a row into every chat and waits until all who are here have it.
func (m *mischief) mark(after string, patience time.Duration) (took time.Duration) {
	last, err := m.writers.mark(m.ctx, after)
	if err != nil {
		m.faults = append(m.faults, err.Error())
		return 0
	}
	m.marks[last.n] = last
	began := time.Now()
	for {
		n, who := m.crowd.lack(last)
		if n == 0 {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			m.faults = append(m.faults, fmt.Sprintf("%s: %v after %q %d clients lack %s, such as %s by %s",
				time.Now().Format("15:04:05"), patience, after, n, last, who.name, who.way.name))
			return time.Since(began)
		}
		if !pass(m.ctx, 50*time.Millisecond) {
			return 0
		}
	}
}
