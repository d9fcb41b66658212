package wpdb

import (
	"cmp"
	"slices"
	"time"
)

// Bounds of the gap list.
const (
	// maxGaps is how many skipped ids are remembered. A jump of millions (an
	// explicit id) leaves the newest.
	maxGaps = 8192
	// askAtOnce is how many of them one read asks for: an IN list that MariaDB
	// keeps as a range (in_predicate_conversion_threshold is 1000).
	askAtOnce = 800
	// young gaps are asked for at every read: nearly all late commits are within
	// milliseconds. Older ones take turns, once a second.
	young    = 2 * time.Second
	oldEvery = time.Second
	// doubt is how long an id may be missing from an uncommitted look before it
	// is taken for rolled back. It is still read until the window ends, but
	// cursors no longer carry it.
	doubt = 5 * time.Second
)

// gaps are the ids that were skipped and may still be committed: a lower id can
// commit after a higher one, since AUTO_INCREMENT hands out ids before the
// commit. The list belongs to the tail's goroutine.
type gaps struct {
	window time.Duration
	list   []gap // ascending by id
	open   []int64
	fresh  bool  // open is up to date
	turn   int64 // the id up to which the old ones have had their turn
	asked  time.Time
	given  int64 // ids given up, for the metric
}

type gap struct {
	id    int64
	since time.Time
	// settled ids are known to be rolled back, as far as that can be known.
	settled bool
	// final ids are asked for after the end of the window, for the last time.
	final bool
}

// skip remembers the ids between two neighbours.
func (g *gaps) skip(after, before int64, now time.Time) {
	if before-after-1 > maxGaps {
		g.given += before - after - 1 - maxGaps
		after = before - 1 - maxGaps
	}
	for id := after + 1; id < before; id++ {
		g.list = append(g.list, gap{id: id, since: now})
		g.fresh = false
	}
	if over := len(g.list) - maxGaps; over > 0 {
		g.given += int64(over)
		g.list = slices.Delete(g.list, 0, over)
	}
}

// fill takes an id off the list and tells whether it was on it.
func (g *gaps) fill(id int64) bool {
	i, ok := g.find(id)
	if ok {
		g.list = slices.Delete(g.list, i, i+1)
		g.fresh = false
	}
	return ok
}

func (g *gaps) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(g.list, id, func(e gap, id int64) int { return cmp.Compare(e.id, id) })
}

// expire gives up what was asked for in vain after its window. It is called after
// a read that succeeded: an outage takes nothing from the list.
func (g *gaps) expire() {
	before := len(g.list)
	g.list = slices.DeleteFunc(g.list, func(e gap) bool { return e.final })
	if n := before - len(g.list); n > 0 {
		g.given += int64(n)
		g.fresh = false
	}
}

// due returns the ids to ask for in this read, ascending.
func (g *gaps) due(now time.Time) []int64 {
	firstYoung := len(g.list)
	for firstYoung > 0 && now.Sub(g.list[firstYoung-1].since) < young && len(g.list)-firstYoung < askAtOnce {
		firstYoung--
	}
	ids := g.dueOld(g.list[:firstYoung], now)
	for _, e := range g.list[firstYoung:] {
		ids = append(ids, e.id)
	}
	return ids
}

// dueOld picks those whose window has ended and, once a second, those whose turn
// it is.
func (g *gaps) dueOld(old []gap, now time.Time) (ids []int64) {
	from, to := 0, 0
	if now.Sub(g.asked) >= oldEvery && len(old) > 0 {
		g.asked = now
		if from, _ = g.find(g.turn + 1); from >= len(old) {
			from = 0
		}
		to = min(len(old), from+askAtOnce)
		g.turn = old[to-1].id
	}
	for i := range old {
		e := &old[i]
		e.final = e.final || now.Sub(e.since) >= g.window && len(ids) < askAtOnce
		if e.final || i >= from && i < to {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// doubtful returns the ids worth an uncommitted look: missing for a moment and
// not settled yet, newest first up to askAtOnce.
func (g *gaps) doubtful(now time.Time) []int64 {
	var ids []int64
	for i := len(g.list) - 1; i >= 0 && len(ids) < askAtOnce; i-- {
		if e := g.list[i]; !e.settled && now.Sub(e.since) >= doubt {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// settle notes which of the ids that were asked for are not in flight.
func (g *gaps) settle(asked, inFlight []int64) {
	slices.Sort(inFlight)
	for _, id := range asked {
		if _, ok := slices.BinarySearch(inFlight, id); ok {
			continue
		}
		i, ok := g.find(id)
		if ok {
			g.list[i].settled = true
			g.fresh = false
		}
	}
}

// marks returns the ids in doubt, ascending: what a cursor must carry. The slice
// is shared and never changed.
func (g *gaps) marks() []int64 {
	if !g.fresh {
		g.fresh = true
		n := 0
		for _, e := range g.list {
			if !e.settled {
				n++
			}
		}
		g.open = slices.Grow([]int64(nil), n) // to the point: thousands of events in memory share some hundreds of them
		for _, e := range g.list {
			if !e.settled {
				g.open = append(g.open, e.id)
			}
		}
	}
	return g.open
}
