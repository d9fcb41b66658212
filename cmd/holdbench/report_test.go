package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tc := range []struct {
		name   string
		sorted []time.Duration
		q      float64
		want   time.Duration
	}{
		{"median of 1..100", hundred, 0.5, 50},
		{"p90", hundred, 0.9, 90},
		{"p99", hundred, 0.99, 99},
		{"max", hundred, 1, 100},
		{"p99 of three", []time.Duration{1, 2, 3}, 0.99, 3},
		{"p50 of three", []time.Duration{1, 2, 3}, 0.5, 2},
		{"lowest", hundred, 0, 1},
		{"nothing", nil, 0.5, 0},
	} {
		if got := percentile(tc.sorted, tc.q); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("of three: %g", m)
	}
	if m := median([]float64{4, 1, 2, 9}); m != 3 {
		t.Errorf("of four: %g", m)
	}
	if !math.IsNaN(median(nil)) {
		t.Error("of nothing: a number")
	}
}

// Two channels, four clients: 0 and 2 are on channel 1, 1 and 3 on channel 2.
func TestTally(t *testing.T) {
	f := &fleet{clients: 4, channels: 2}
	sent := []message{{channel: 1, at: 10}, {channel: 2, at: 20}}
	samples := []sample{
		{seq: 5, client: 0, at: 13},
		{seq: 5, client: 2, at: 11},
		{seq: 5, client: 2, at: 30}, // twice
		{seq: 6, client: 1, at: 29},
		{seq: 6, client: 0, at: 29}, // not its channel
		{seq: 4, client: 1, at: 29}, // of an earlier burst
		// 6 never reached client 3
	}
	r := tally(f, samples, 5, sent)
	if r.missing != 1 || r.duplicates != 1 || r.foreign != 2 {
		t.Errorf("missing %d, duplicates %d, foreign %d", r.missing, r.duplicates, r.foreign)
	}
	if len(r.latencies) != 3 || r.latencies[0] != 1 || r.latencies[2] != 9 {
		t.Errorf("latencies %v", r.latencies)
	}
	if uneven := (&fleet{clients: 5, channels: 3}); uneven.subscribers(1) != 2 || uneven.subscribers(2) != 2 || uneven.subscribers(3) != 1 {
		t.Error("five clients on three channels are not 2, 2 and 1")
	}
}

func testReport() *report {
	r := newReport(options{rounds: 3})
	for round, v := range []float64{900, 1000, 5000} {
		r.add(place{overSSE, "holdline", round + 1}, "memory", "rss per connection", "B", v)
		r.add(place{overSSE, "nchan", round + 1}, "memory", "rss per connection", "B", 12*v)
		r.add(place{overWS, "holdline", round + 1}, "fanout", "p99", "ms", v)
		r.add(place{overWS, "nchan", round + 1}, "fanout", "p99", "ms", v/2)
	}
	return r
}

func TestSummary(t *testing.T) {
	r := testReport()
	if r.summarize() {
		t.Error("twice the peer's p99 passed")
	}
	memory, p99 := r.Summary[0], r.Summary[1]
	if memory.Medians["holdline"] != 1000 || memory.Verdict != "ok" || math.Abs(*memory.Ratio-1.0/12) > 1e-9 {
		t.Errorf("memory: %+v", memory)
	}
	if *p99.Ratio != 2 || p99.Verdict != "over" || p99.Bar != "ratio ≤ 1" {
		t.Errorf("p99: %+v", p99)
	}
	var table bytes.Buffer
	if err := r.table(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rss per connection", "1000 B", "12000 B", "0.08", "≤ 1024", "over"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
}

// Without a peer there is no ratio to hold a promise against, but the absolute
// ones stand.
func TestSummaryWithoutPeer(t *testing.T) {
	r := newReport(options{})
	at := place{overSSE, "holdline", 1}
	r.add(at, "fanout", "p99", "ms", 1e6)
	r.add(at, "leave", "rss left 2 s after all closed", "MB", -3)
	r.add(at, "fanout", "missing", "", 0)
	if !r.summarize() || r.Summary[0].Verdict != "" || r.Summary[1].Verdict != "ok" || r.Summary[2].Verdict != "ok" {
		t.Errorf("%+v", r.Summary)
	}
	r.add(at, "queries", "one chat, quiet, most / one client", "x", 1.2)
	r.add(at, "fanout", "missing", "", 2)
	if r.summarize() || r.Summary[2].Verdict != "over" || r.Summary[3].Verdict != "over" {
		t.Errorf("%+v", r.Summary)
	}
}

func TestReportIsJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	r := testReport()
	r.summarize()
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Measures) != 12 || len(back.Summary) != 2 || back.Measures[1].Server != "nchan" {
		t.Errorf("%+v", back)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions(nil, os.Stderr)
	if err != nil || o.clients != 10000 || o.rounds != 3 || !o.wants("queries") {
		t.Fatalf("defaults: %+v, %v", o, err)
	}
	_, err = parseOptions([]string{"--clients=20000", "--transport=sse,quic", "--scenario=all", "--peer=apache", "--every=0s"}, os.Stderr)
	if err == nil {
		t.Fatal("nonsense was taken")
	}
	for _, want := range []string{"--clients is 20000, not between 1 and 19000", `"quic"`, `"all"`, `"apache"`, "--every"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}
