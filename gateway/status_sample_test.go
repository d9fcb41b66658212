package gateway

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
	"holdline/wpdb"
)

func TestSampleIsTheDifferenceOfTwoReadings(t *testing.T) {
	var h history
	at := time.UnixMilli(1_000_000)
	tails := func(reads int64, busy time.Duration) map[string]wpdb.TailStats {
		return map[string]wpdb.TailStats{"wplc": {Reads: reads, Busy: busy}}
	}
	first := h.add(reading{at: at, rows: 500, events: 400, tails: tails(10, time.Second), memory: 20e6})
	if first.Rows != 0 || first.Events != 0 || first.Query != nil || first.Wait != nil {
		t.Errorf("the first has nothing to compare with: %+v", first)
	}
	got := h.add(reading{
		at: at.Add(2 * time.Second), held: [transports]int{overSSE: 3, overLoop: 1}, rows: 510, events: 430, listeners: 4,
		tails: tails(50, time.Second+80*time.Millisecond), memory: 21e6,
	})
	query, wait := 2.0, 52.0
	want := sample{At: 1_002_000, SSE: 3, Loop: 1, Rows: 5, Events: 15, Query: &query, Wait: &wait, Memory: 21e6}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Nobody listens any more: no query, so nothing is known of it.
	quiet := h.add(reading{at: at.Add(4 * time.Second), rows: 510, events: 430, tails: tails(50, time.Second+80*time.Millisecond), memory: 19e6})
	if quiet.Query != nil || quiet.Wait != nil || h.lag("wplc") != 0 {
		t.Errorf("%+v, lag %v", quiet, h.lag("wplc"))
	}
	if h.baseline() != 19e6 {
		t.Error("the least with nobody held is", h.baseline())
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	for i := range statusSamples + 7 {
		h.add(reading{at: time.UnixMilli(int64(i) * 2000)})
	}
	list := h.samples()
	if len(list) != statusSamples || list[0].At != 7*2000 || list[statusSamples-1].At != (statusSamples+6)*2000 {
		t.Errorf("%d samples from %d to %d", len(list), list[0].At, list[len(list)-1].At)
	}
}

func TestLagGrowsWhileReadsFail(t *testing.T) {
	var h history
	at := time.Unix(1000, 0)
	read := func(after time.Duration, reads, errors int64, listeners int) {
		h.add(reading{at: at.Add(after), listeners: listeners, tails: map[string]wpdb.TailStats{"wplc": {Reads: reads, Errors: errors}}})
	}
	for _, step := range []struct {
		name          string
		after         time.Duration
		reads, errors int64
		listeners     int
		lag           time.Duration
	}{
		{"the first", 0, 5, 0, 1, 0},
		{"it reads", 2 * time.Second, 9, 0, 1, 0},
		{"reads fail", 4 * time.Second, 12, 3, 1, 2 * time.Second},
		{"no connection: errors without reads", 6 * time.Second, 12, 5, 1, 4 * time.Second},
		{"it hangs", 8 * time.Second, 12, 5, 1, 6 * time.Second},
		{"one is good again", 10 * time.Second, 14, 6, 1, 0},
		{"nobody listens", 12 * time.Second, 14, 6, 0, 0},
	} {
		read(step.after, step.reads, step.errors, step.listeners)
		if got := h.lag("wplc"); got != step.lag {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	if h.lag("unknown") != 0 {
		t.Error("a tail that is not there lags")
	}
}

func TestCensusCountsTransportsAndTheTimeOfLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(config.Limits{Connections: 10, PerAddress: 10, PerUser: 10})
		enter := func(over transport) *pass {
			p, err := a.enter(netip.MustParseAddr("192.0.2.1"), "", over, grant{})
			if err != nil {
				t.Fatal(err)
			}
			return &p
		}
		check := func(want [transports]int, seconds int) {
			t.Helper()
			held, loops := a.census(time.Now())
			if held != want || loops != time.Duration(seconds)*time.Second {
				t.Errorf("%v, loops %v; want %v, %d s", held, loops, want, seconds)
			}
		}
		sse := enter(overSSE)
		time.Sleep(time.Hour) // a stream is no loop
		one := enter(overLoop)
		time.Sleep(10 * time.Second)
		two := enter(overLoop)
		check([transports]int{overSSE: 1, overLoop: 2}, 10)
		time.Sleep(5 * time.Second)
		one.Release()
		one.Release() // the second time is nothing
		check([transports]int{overSSE: 1, overLoop: 1}, 20)
		time.Sleep(time.Second)
		two.Release()
		sse.Release()
		time.Sleep(time.Hour)
		check([transports]int{}, 21)
	})
}

func TestSavingsAreNeverMoreThanPHPWouldHaveSpent(t *testing.T) {
	for name, c := range map[string]struct {
		held        int
		heldFor     time.Duration
		asked       time.Duration
		resident    int64
		wantSeconds float64
		wantMemory  int64
	}{
		"nothing is held":                   {0, 0, 0, 20e6, 0, 0},
		"PHP was asked longer than we held": {1, 3 * time.Second, 5 * time.Second, 20e6, 0, 0},
		"too few to outweigh this process":  {5, time.Minute, 0, 20e6, 60, 0},
		"a hundred loops":                   {100, time.Hour, time.Minute, 20e6, 3540, 370e6},
	} {
		s := savingsOf(c.held, c.heldFor, c.asked, c.resident)
		if s.WorkerSeconds != c.wantSeconds || s.Memory != c.wantMemory {
			t.Errorf("%s: %v s, %d bytes", name, s.WorkerSeconds, s.Memory)
		}
	}
}

func TestResidentMemoryIsPlausible(t *testing.T) {
	if m := residentMemory(); m < 4<<20 || m > 64<<30 {
		t.Error(m)
	}
}
