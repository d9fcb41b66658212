package gateway

import (
	"bytes"
	"os"
	runtimemetrics "runtime/metrics"
	"strconv"
	"sync"
	"time"

	"holdline/wpdb"
)

const (
	// statusEvery is the distance of two samples.
	statusEvery = 2 * time.Second
	// statusSamples bound the plots: five minutes.
	statusSamples = 150
)

// sample is one point of the plots. Null is "cannot be known": no query was made,
// or nobody listens.
type sample struct {
	At     int64    `json:"at"` // Unix time in milliseconds
	SSE    int      `json:"sse"`
	WS     int      `json:"ws"`
	Poll   int      `json:"poll"`
	Loop   int      `json:"loop"`
	Rows   float64  `json:"rows"`     // per second, read from the tables
	Events float64  `json:"events"`   // per second, handed to who listens
	Query  *float64 `json:"query_ms"` // mean time of a query for new rows
	Wait   *float64 `json:"wait_ms"`  // how long a row written now waits for its query, at most and without a doorbell
	Memory int64    `json:"memory_bytes"`
}

// reading is what a sample is made of: totals, but for what is held.
type reading struct {
	at        time.Time
	held      [transports]int
	rows      int64
	events    uint64
	tails     map[string]wpdb.TailStats
	listeners int
	memory    int64
}

// history keeps the newest samples. It is safe for concurrent use.
type history struct {
	mu      sync.Mutex
	ring    [statusSamples]sample
	n       int // samples ever taken
	last    reading
	fresh   map[string]time.Time // when each tail was last read well, or had nobody to read for
	memory0 int64                // before anybody was held
}

// add makes a sample of the difference to the last reading.
func (h *history) add(r reading) sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := sample{
		At: r.at.UnixMilli(), Memory: r.memory,
		SSE: r.held[overSSE], WS: r.held[overWS], Poll: r.held[overPoll], Loop: r.held[overLoop],
	}
	if r.total() == 0 && (h.memory0 == 0 || r.memory < h.memory0) {
		h.memory0 = r.memory
	}
	if seconds := r.at.Sub(h.last.at).Seconds(); h.n > 0 && seconds > 0 {
		s.Rows = float64(r.rows-h.last.rows) / seconds
		s.Events = float64(r.events-h.last.events) / seconds
		s.Query, s.Wait = h.delay(r, seconds)
	}
	h.notice(r)
	h.ring[h.n%statusSamples] = s
	h.n++
	h.last = r
	return s
}

func (r *reading) total() (n int) {
	for _, held := range r.held {
		n += held
	}
	return n
}

// delay is of the slowest tail.
func (h *history) delay(r reading, seconds float64) (query, wait *float64) {
	for name, now := range r.tails {
		before, known := h.last.tails[name]
		if reads := now.Reads - before.Reads; known && reads > 0 {
			mean := float64((now.Busy - before.Busy).Microseconds()) / 1e3 / float64(reads)
			query = slower(query, mean)
			wait = slower(wait, seconds*1e3/float64(reads)+mean)
		}
	}
	return query, wait
}

func slower(a *float64, b float64) *float64 {
	if a == nil || *a < b {
		return &b
	}
	return a
}

// notice remembers which tails are read. One for which nobody listens sleeps, and
// that is no lag.
func (h *history) notice(r reading) {
	if h.fresh == nil {
		h.fresh = make(map[string]time.Time)
	}
	for name, now := range r.tails {
		before := h.last.tails[name]
		good := now.Reads-before.Reads > now.Errors-before.Errors
		if _, known := h.fresh[name]; good || !known || r.listeners == 0 {
			h.fresh[name] = r.at
		}
	}
}

// lag is how long ago a tail was last read while somebody listened; 0 where all is
// well. It is known to within statusEvery.
func (h *history) lag(name string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, known := h.fresh[name]
	if !known {
		return 0
	}
	return h.last.at.Sub(at)
}

// samples is a copy, oldest first.
func (h *history) samples() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]sample, 0, min(h.n, statusSamples))
	for i := max(0, h.n-statusSamples); i < h.n; i++ {
		list = append(list, h.ring[i%statusSamples])
	}
	return list
}

// baseline is the least memory that was seen with nobody held; 0 for unknown.
func (h *history) baseline() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory0
}

// residentMemory is what the process occupies, in bytes: on Linux as the kernel
// counts it (proc(5), statm), elsewhere what Go has from the system.
func residentMemory() int64 {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(text); len(fields) > 1 {
			if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	of := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(of)
	return int64(of[0].Value.Uint64() - of[1].Value.Uint64())
}
