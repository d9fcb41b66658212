package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// place says where a figure belongs.
type place struct {
	transport string
	server    string
	round     int
}

// measure is one figure of one round.
type measure struct {
	Scenario  string  `json:"scenario"`
	Transport string  `json:"transport"`
	Metric    string  `json:"metric"`
	Unit      string  `json:"unit,omitempty"`
	Server    string  `json:"server"`
	Round     int     `json:"round"`
	Value     float64 `json:"value"`
}

// report gathers the figures of a run, in order.
type report struct {
	Conditions map[string]any  `json:"conditions"`
	Measures   []measure       `json:"measures"`
	Summary    []line          `json:"summary"`
	Upgrade    []upgradeReport `json:"upgrade,omitempty"`
}

// line is the median of a metric over the rounds, for each server.
type line struct {
	Scenario  string             `json:"scenario"`
	Transport string             `json:"transport"`
	Metric    string             `json:"metric"`
	Unit      string             `json:"unit,omitempty"`
	Medians   map[string]float64 `json:"medians"`
	Ratio     *float64           `json:"ratio,omitempty"` // Holdline's median to the peer's
	Bar       string             `json:"bar,omitempty"`
	Verdict   string             `json:"verdict,omitempty"` // "ok" or "over"
}

// bar is a promise that a run can break.
type bar struct {
	scenario, metric string
	low, high        float64 // of Holdline's median, or of the ratio
	ratio            bool
	not              string // a transport the promise does not speak of
}

// bars are the project's promises about held connections.
func bars() []bar {
	return []bar{
		{scenario: "memory", metric: "rss per connection", high: 1024},
		{scenario: "leave", metric: "rss left 2 s after all closed", low: math.Inf(-1), high: 15},
		{scenario: "fanout", metric: "p99", high: 1, ratio: true, not: overPoll},
		{scenario: "fanout", metric: "server CPU per 1M deliveries", high: 1, ratio: true, not: overPoll},
		{scenario: "fanout", metric: "missing"},
		{scenario: "fanout", metric: "duplicates"},
		{scenario: "fanout", metric: "dropped clients"},
		{scenario: "idle", metric: "server CPU in 30 s", high: 1, ratio: true},
		{scenario: "latency", metric: "timer p50", high: 40},
		{scenario: "latency", metric: "wake p50", high: 5},
		{scenario: "latency", metric: "timer missing"},
		{scenario: "latency", metric: "wake missing"},
		{scenario: "slow", metric: "p99 beside stopped / alone", high: 1.2},
		{scenario: "slow", metric: "beside stopped: missing"},
		{scenario: "start", metric: "exec to ready, p50", high: 200},
		{scenario: "start", metric: "rss without clients", high: 20},
		{scenario: "start", metric: "size of the program", high: 20},
		{scenario: "upgrade", metric: "lost"},
		{scenario: "upgrade", metric: "repeated"},
		{scenario: "upgrade", metric: "refused connects"},
		{scenario: "upgrade", metric: "never came back"},
		{scenario: "queries", metric: "one chat, rows flowing, most / one client", low: 0.95, high: 1.05},
		{scenario: "queries", metric: "one chat, quiet, most / one client", low: 0.95, high: 1.05},
		{scenario: "queries", metric: "a chat each, rows flowing, most / one client", low: 0.95, high: 1.05},
		{scenario: "queries", metric: "a chat each, quiet, most / one client", low: 0.95, high: 1.05},
	}
}

func newReport(o options) *report {
	return &report{Conditions: map[string]any{
		"go": runtime.Version(), "system": runtime.GOOS + "/" + runtime.GOARCH, "cores": runtime.NumCPU(),
		"started": time.Now().UTC().Format(time.RFC3339), "rounds": o.rounds,
		"clients": o.clients, "channels": o.channels, "idle_clients": o.idleClients, "idle_channels": min(o.idleClients, o.idleChannels),
		"messages": o.messages, "body_bytes": o.size, "every": o.every.String(), "tail_interval": o.interval.String(),
	}}
}

func (r *report) add(at place, scenario, metric, unit string, value float64) {
	r.Measures = append(r.Measures, measure{
		Scenario: scenario, Transport: at.transport, Metric: metric, Unit: unit,
		Server: at.server, Round: at.round, Value: value,
	})
}

// summarize fills Summary and tells whether every promise was kept.
func (r *report) summarize() bool {
	type key struct{ scenario, transport, metric, unit string }
	values := map[key]map[string][]float64{}
	var order []key
	for _, m := range r.Measures {
		k := key{m.Scenario, m.Transport, m.Metric, m.Unit}
		if values[k] == nil {
			values[k] = map[string][]float64{}
			order = append(order, k)
		}
		values[k][m.Server] = append(values[k][m.Server], m.Value)
	}
	r.Summary = nil
	kept := true
	for _, k := range order {
		l := line{Scenario: k.scenario, Transport: k.transport, Metric: k.metric, Unit: k.unit, Medians: map[string]float64{}}
		for server, v := range values[k] {
			l.Medians[server] = median(v)
		}
		ours, peer := l.Medians["holdline"], l.Medians["nchan"]
		// Kernel figures can shrink with what else the machine does: no ratio then.
		if len(l.Medians) == 2 && peer > 0 && ours >= 0 {
			ratio := ours / peer
			l.Ratio = &ratio
		}
		l.judge()
		kept = kept && l.Verdict != "over"
		r.Summary = append(r.Summary, l)
	}
	return kept
}

// judge holds the line against the bar that speaks of it.
func (l *line) judge() {
	i := slices.IndexFunc(bars(), func(b bar) bool {
		return b.scenario == l.Scenario && b.metric == l.Metric && b.not != l.Transport
	})
	ours, measured := l.Medians["holdline"]
	if i < 0 || !measured {
		return
	}
	b := bars()[i]
	switch {
	case b.ratio && l.Ratio == nil:
		return
	case b.ratio:
		ours = *l.Ratio
		l.Bar = fmt.Sprintf("ratio ≤ %g", b.high)
	case b.low > 0:
		l.Bar = fmt.Sprintf("%g to %g", b.low, b.high)
	default:
		l.Bar = fmt.Sprintf("≤ %g", b.high)
	}
	if l.Verdict = "ok"; ours < b.low || ours > b.high || math.IsNaN(ours) {
		l.Verdict = "over"
	}
}

// table prints the summary.
func (r *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\ttransport\tmetric\tholdline\tnchan\tratio\tbar\t")
	for _, l := range r.Summary {
		ratio := "-"
		if l.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *l.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Scenario, l.Transport, l.Metric,
			l.value("holdline"), l.value("nchan"), ratio, l.Bar, l.Verdict)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for i := range r.Upgrade {
		if err := r.Upgrade[i].histogram(w); err != nil {
			return err
		}
	}
	return nil
}

func (l *line) value(server string) string {
	v, ok := l.Medians[server]
	if !ok {
		return "-"
	}
	digits := 0
	if v != math.Trunc(v) && math.Abs(v) < 1000 {
		digits = 2
	}
	text := fmt.Sprintf("%.*f", digits, v)
	if l.Unit != "" {
		text += " " + l.Unit
	}
	return text
}

// write stores the report as JSON.
func (r *report) write(path string) error { return writeJSON(path, r) }

func writeJSON(path string, report any) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// percentile is the smallest value that at least the fraction q of sorted does
// not exceed (nearest rank); 0 of nothing.
func percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle value, or the mean of the middle two.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
