package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The stages of a site run.
const (
	stageNone     = "no loop"
	stageFew      = "PHP, a worker left"
	stageMany     = "PHP, all visitors"
	stageHoldline = "Holdline"
)

// siteReport is what a site run has measured.
type siteReport struct {
	Conditions map[string]any `json:"conditions"`
	Stages     []*siteStage   `json:"stages"`
	Verdicts   []siteVerdict  `json:"verdicts"`
}

// siteStage is one column: a site with so many visitors whose polls are held.
type siteStage struct {
	Name     string `json:"name"`
	Visitors int    `json:"visitors"`
	Bound    int    `json:"visitors_with_binding_cookie"`

	Pages loads      `json:"pages"`
	Quiet quiet      `json:"quiet"`
	Rates []rate     `json:"queries"`
	SQL   *delays    `json:"insert_to_answer,omitempty"`
	Ajax  *delays    `json:"agent_post_to_answer,omitempty"`
	Bells int        `json:"doorbells"`
	Polls pollCounts `json:"polls"`
	// PerLoop is the memory of one held loop, in bytes; 0 is unknown.
	PerLoop float64 `json:"bytes_per_held_loop"`
}

// pollCounts is what became of the visitors' polls.
type pollCounts struct {
	Sent     int64 `json:"sent"`
	Answered int64 `json:"answered_with_news"`
	Failed   int64 `json:"failed"`
	Ended    int64 `json:"chats_ended"`
}

func (p pollCounts) minus(q pollCounts) pollCounts {
	return pollCounts{Sent: p.Sent - q.Sent, Answered: p.Answered - q.Answered, Failed: p.Failed - q.Failed, Ended: p.Ended - q.Ended}
}

// quiet is what happened while nobody did anything but wait.
type quiet struct {
	Seconds  float64            `json:"seconds"`
	Busy     map[int]int        `json:"busy_workers"` // samples with so many busy workers
	Moments  []span             `json:"busy_moments"`
	Requests int                `json:"php_requests"`
	CPU      map[string]float64 `json:"cpu_seconds"`
	Memory   map[string]int64   `json:"memory_bytes"`
	Workers  int                `json:"php_workers"`
}

// span is a time with busy workers, in seconds from the first sample.
type span struct {
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Workers int     `json:"workers"` // at most
}

// rate is the database's statements a second while so many visitors wait: all,
// and the users' (those who have asked anything).
type rate struct {
	Visitors  int                `json:"visitors"`
	PerSecond float64            `json:"per_second"`
	Users     map[string]float64 `json:"by_user"`
}

// siteVerdict is a number that the project has promised, in one line.
type siteVerdict struct {
	Line string `json:"line"`
	Kept bool   `json:"kept"`
}

// stageOrder is the order of the table's columns.
func stageOrder() []string { return []string{stageNone, stageFew, stageMany, stageHoldline} }

func newSiteReport(o options) *siteReport {
	return &siteReport{Conditions: map[string]any{
		"go": runtime.Version(), "system": runtime.GOOS + "/" + runtime.GOARCH, "cores": runtime.NumCPU(),
		"started": time.Now().UTC().Format(time.RFC3339), "visitors": o.visitors, "php_workers": o.children,
		"quiet_seconds": o.seconds, "page_loads": o.pages, "messages": o.latencyMessages,
	}}
}

func (r *siteReport) stage(name string) *siteStage {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// zeroShare is the share of samples in which no worker was busy.
func (q quiet) zeroShare() float64 {
	all := 0
	for n := range maps.Values(q.Busy) {
		all += n
	}
	if all == 0 {
		return 0
	}
	return float64(q.Busy[0]) / float64(all)
}

// histogram lists the samples by busy workers, fewest first.
func (q quiet) histogram() string {
	var parts []string
	for _, workers := range slices.Sorted(maps.Keys(q.Busy)) {
		parts = append(parts, fmt.Sprintf("%d: %d", workers, q.Busy[workers]))
	}
	return strings.Join(parts, ", ")
}

// moments lists when workers were busy; a long list is cut.
func (q quiet) moments() string {
	const most = 8
	var parts []string
	for i, m := range q.Moments {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(q.Moments)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%.1f–%.1f s", m.From, m.To))
	}
	return strings.Join(parts, ", ")
}

// spans joins samples with busy workers to moments. Samples are every apart.
func spans(samples []int, every time.Duration) []span {
	var found []span
	open := false
	for i, workers := range samples {
		if workers == 0 {
			open = false
			continue
		}
		at := float64(i) * every.Seconds()
		if !open {
			found = append(found, span{From: at})
			open = true
		}
		last := &found[len(found)-1]
		last.To, last.Workers = at+every.Seconds(), max(last.Workers, workers)
	}
	return found
}

// write stores the report as JSON.
func (r *siteReport) write(path string) error { return writeJSON(path, r) }

// print writes the table and the verdicts.
func (r *siteReport) print(w io.Writer) error {
	slices.SortStableFunc(r.Stages, func(a, b *siteStage) int {
		return slices.Index(stageOrder(), a.Name) - slices.Index(stageOrder(), b.Name)
	})
	rows := [][]string{{""}}
	for _, s := range r.Stages {
		rows[0] = append(rows[0], s.title())
	}
	for _, line := range siteLines(r) {
		row := []string{line.label}
		some := false
		for _, s := range r.Stages {
			value := line.value(s)
			some = some || value != ""
			row = append(row, value)
		}
		if some {
			rows = append(rows, row)
		}
	}
	text := markdown(rows) + "\n"
	for _, v := range r.Verdicts {
		mark := "ok"
		if !v.Kept {
			mark = "OVER"
		}
		text += fmt.Sprintf("- %s: %s\n", mark, v.Line)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (s *siteStage) title() string {
	if s.Visitors == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s (%d)", s.Name, s.Visitors)
}

// markdown aligns rows to a table whose first row is the head. Empty cells get a dash.
func markdown(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for i, row := range rows {
		for j, cell := range row {
			if cell == "" && i > 0 {
				row[j] = "-"
			}
			widths[j] = max(widths[j], len([]rune(row[j])))
		}
	}
	var sb strings.Builder
	for i, row := range rows {
		for j, cell := range row {
			sb.WriteString("| " + cell + strings.Repeat(" ", widths[j]-len([]rune(cell))+1))
		}
		sb.WriteString("|\n")
		if i == 0 {
			for _, width := range widths {
				sb.WriteString("|" + strings.Repeat("-", width+2))
			}
			sb.WriteString("|\n")
		}
	}
	return sb.String()
}
