//go:build e2e && linux

package soak_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// judgement is what the clients' testimonies come to, held against the table.
type judgement struct {
	mischief                            *mischief
	missing, repeated, phantoms, resets int
	byOthers                            int // see lostByOthers
	deliveries, visits, again           int
	byWay                               map[string]int
	late                                map[string][]time.Duration
	faults                              []string
}

// judge compares what everybody was told with what is in the table. Whoever had a cursor
// must have every row that came to be afterwards, once. Rows may come in any order: the
// order of commits is not that of ids.
func judge(t *table, all []testimony, m *mischief) *judgement {
	j := &judgement{mischief: m, byWay: map[string]int{}, late: map[string][]time.Duration{}}
	for i := range all {
		j.hear(t, &all[i])
	}
	return j
}

func (j *judgement) hear(t *table, w *testimony) {
	seen := make(map[row]bool, len(w.Seen))
	for _, r := range w.Seen {
		seen[r] = true
		if !t.all[r] {
			j.phantoms++ // a killed database took it back
		}
	}
	for _, chat := range w.Chats {
		for i := range t.rows[chat] {
			r := &t.rows[chat][i]
			if w.Start.IsZero() || !r.begun.After(w.Start) || seen[rowOf(r.id, r.text)] {
				continue
			}
			if j.lostByOthers(w, r) {
				j.byOthers++
			} else {
				j.missing++
				j.fault("%s by %s was never told row %d of chat %d, %q of %s (marked as read: %t)", w.Name, w.Way, r.id, chat, r.text, r.begun.Format("15:04:05.000"), r.read)
			}
		}
	}
	for _, repeat := range w.Repeats {
		j.repeated++
		j.fault("%s by %s was told again: %s", w.Name, w.Way, repeat)
	}
	for _, fault := range w.Faults {
		j.fault("%s by %s was refused: %s", w.Name, w.Way, fault)
	}
	if w.Resets > 0 {
		j.resets += w.Resets
		j.fault("%s by %s was told %d times that its cursor means nothing", w.Name, w.Way, w.Resets)
	}
	if w.Start.IsZero() {
		j.fault("%s by %s was never told where it stands", w.Name, w.Way)
	}
	j.deliveries += len(w.Seen)
	j.visits += w.Visits
	j.again += w.Again
	j.byWay[w.Way] += len(w.Seen)
	for n, late := range w.Late {
		m := j.mischief.marks[n]
		after := m.after
		if after == quiet { // the transports differ, and nothing else does
			after += ", " + strings.TrimSuffix(w.Way, ", no keep-alive")
		}
		j.late[after] = append(j.late[after], max(0, late-m.took))
	}
}

// lostByOthers tells of a row that the plugin's loop was not told, whether somebody else
// may have lost it: nginx had the answer in its hands when it was killed, or PHP answered,
// because Holdline was away, and was killed itself, or its database. The loop has no
// cursor: who answers it marks the row as read, PHP at once and Holdline when the front has
// taken it and has not hung up; where WordPress is away as well, that mark may get lost.
func (j *judgement) lostByOthers(w *testimony, r *tableRow) bool {
	return isLoop(w) && slices.ContainsFunc(j.mischief.losses, func(loss window) bool { return loss.has(r) })
}

func isLoop(w *testimony) bool { return strings.HasPrefix(w.Way, byLoop.name) }

func (j *judgement) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// lateness says how long it took to catch up, after each kind of trouble.
func (j *judgement) lateness(count map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s %5s %10s %10s %10s\n", "after", "times", "p50", "p99", "worst")
	for _, after := range slices.Sorted(maps.Keys(j.late)) {
		late := j.late[after]
		slices.Sort(late)
		at := func(percent int) string {
			return fmt.Sprintf("%.1f ms", float64(late[(len(late)-1)*percent/100].Microseconds())/1000)
		}
		times := "" // of what is no trouble
		if n := count[after]; n > 0 {
			times = strconv.Itoa(n)
		}
		fmt.Fprintf(&b, "%-22s %5s %10s %10s %10s\n", after, times, at(50), at(99), at(100))
	}
	return b.String()
}

// limits of what a process may weigh more after the day than a fresh one. Descriptors: the pool
// of the database opens and closes its two, and each door to PHP keeps some. Heap: it is
// so small that rows of another length in the ring are many parts of a hundred.
const (
	moreMemory      = 0.05
	moreHeap        = 2 // MB
	moreGoroutines  = 2
	moreDescriptors = 4
)

// compare holds a process that has lived against a fresh one.
func compare(before, after gauge, race bool) (text string, faults []string) {
	for _, c := range []struct {
		what       string
		was, is    float64
		may        float64
		unit       string
		judged     bool
		unjudgedBy string
	}{
		{"resident memory", before.Memory / 1e6, after.Memory / 1e6, before.Memory / 1e6 * moreMemory, "MB", !race, "the race detector's own"},
		{"live heap", before.Heap / 1e6, after.Heap / 1e6, before.Heap/1e6*moreMemory + moreHeap, "MB", race, "see resident memory"},
		{"descriptors", before.Descriptors, after.Descriptors, moreDescriptors, "", true, ""},
		{"goroutines", before.Goroutines, after.Goroutines, moreGoroutines, "", true, ""},
	} {
		note := ""
		if !c.judged {
			note = "  (not judged: " + c.unjudgedBy + ")"
		}
		text += fmt.Sprintf("%-18s fresh %8.1f, lived %8.1f %s%s\n", c.what, c.was, c.is, c.unit, note)
		if c.judged && c.is > c.was+c.may {
			faults = append(faults, fmt.Sprintf("%s: a fresh process has %.1f, the one that lived %.1f %s", c.what, c.was, c.is, c.unit))
		}
	}
	detail := func(g gauge) string {
		return fmt.Sprintf("the program's pages %.1f, spans of the heap %.1f, idle %.1f, stacks %.1f, Go's own %.1f MB", g.Files/1e6, g.Spans/1e6, g.Idle/1e6, g.Stacks/1e6, g.Runtime/1e6)
	}
	return text + "of it fresh: " + detail(before) + "\nof it lived: " + detail(after), faults
}
