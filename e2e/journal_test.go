//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take on a slow machine.
const patience = 90 * time.Second

// report is what a client says about itself, in Go, as a line of JSON from
// Node, or as a POST from a page.
type report struct {
	Client string `json:"client"`
	Type   string `json:"type"` // an event's type, or open, again, closed, ended, refused, error
	ID     int64  `json:"id"`   // of the row, for messages
	Note   string `json:"note"` // for people
}

// journal is all that the clients of a test have reported. It is safe for
// concurrent use.
type journal struct {
	mu      sync.Mutex
	rows    map[string][]int64
	counts  map[string]map[string]int // client, type
	notes   map[string]string         // the last of each client
	changed chan struct{}             // closed and replaced by every report
}

// newJournal is empty, and shown when the test fails.
func newJournal(t *testing.T) *journal {
	j := &journal{
		rows: make(map[string][]int64), counts: make(map[string]map[string]int),
		notes: make(map[string]string), changed: make(chan struct{}),
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("what the clients reported:\n" + j.String())
		}
	})
	return j
}

func (j *journal) add(r report) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts[r.Client] == nil {
		j.counts[r.Client] = make(map[string]int)
	}
	j.counts[r.Client][r.Type]++
	if r.Type == "message" {
		j.rows[r.Client] = append(j.rows[r.Client], r.ID)
	}
	if r.Note != "" {
		j.notes[r.Client] = r.Type + ": " + r.Note
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

// count is how often a client has reported something.
func (j *journal) count(client, what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts[client][what]
}

// await waits until every client satisfies ok, which is called with the journal
// locked.
func (j *journal) await(t *testing.T, what string, clients []string, ok func(client string) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		j.mu.Lock()
		changed := j.changed
		missing := slices.DeleteFunc(slices.Clone(clients), ok)
		j.mu.Unlock()
		if len(missing) == 0 {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: waited in vain for %s", what, strings.Join(missing, ", "))
		}
	}
}

// awaitType waits until every client has reported something of a type.
func (j *journal) awaitType(t *testing.T, clients []string, what string) {
	t.Helper()
	j.await(t, what, clients, func(client string) bool { return j.counts[client][what] > 0 })
}

// awaitRow waits until every client has a row.
func (j *journal) awaitRow(t *testing.T, clients []string, id int64) {
	t.Helper()
	j.await(t, fmt.Sprint("row ", id), clients, func(client string) bool { return slices.Contains(j.rows[client], id) })
}

// compare checks that every client had exactly the rows, each once and in order.
func (j *journal) compare(t *testing.T, clients []string, want []int64) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, client := range clients {
		if got := j.rows[client]; !slices.Equal(got, want) {
			t.Errorf("%s had %d rows, not the %d there are, or not in order: %v", client, len(got), len(want), got)
		}
		if n := j.counts[client]["reset"]; n > 0 {
			t.Errorf("%s was reset %d times", client, n)
		}
	}
}

// String is the journal for a failed test.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, client := range slices.Sorted(maps.Keys(j.counts)) {
		fmt.Fprintf(&b, "%s: %v; last note %q\n", client, j.counts[client], j.notes[client])
	}
	return b.String()
}
