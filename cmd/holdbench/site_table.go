package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// siteLine is one row of the table; value is "" where a stage has none.
type siteLine struct {
	label string
	value func(*siteStage) string
}

// siteLines are the rows of the table.
func siteLines(r *siteReport) []siteLine {
	var lines []siteLine
	lines = append(lines, pageLines(r)...)
	lines = append(lines, workerLines()...)
	lines = append(lines, queryLines(r)...)
	lines = append(lines, costLines()...)
	return append(lines, delayLines()...)
}

func pageLines(r *siteReport) []siteLine {
	time := func(get func(quantiles) float64) func(*siteStage) string {
		return func(s *siteStage) string { return pageTime(s.Pages, get(s.Pages.Times)) }
	}
	return []siteLine{
		{"page load p50", time(func(q quantiles) float64 { return q.P50 })},
		{"page load p95", time(func(q quantiles) float64 { return q.P95 })},
		{"page load max", time(func(q quantiles) float64 { return q.Max })},
		{"p95 to that without a loop", func(s *siteStage) string {
			ratio, ok := r.pageRatio(s)
			if !ok {
				return ""
			}
			if s.Pages.Times.P95 >= ms(pageCap) {
				return fmt.Sprintf("> %.0fx", ratio)
			}
			return fmt.Sprintf("%.2fx", ratio)
		}},
		{fmt.Sprintf("pages not there after %.0f s", pageCap.Seconds()), func(s *siteStage) string {
			return count(s.Pages.Unanswered, s.Pages.Times.N)
		}},
	}
}

// pageTime is a time in ms, or the cap that it has exceeded.
func pageTime(l loads, value float64) string {
	switch {
	case l.Times.N == 0:
		return ""
	case value >= ms(pageCap):
		return fmt.Sprintf("> %.0f s", pageCap.Seconds())
	}
	return fmt.Sprintf("%.1f ms", value)
}

// pageRatio is a stage's p95 to that of the site without a loop.
func (r *siteReport) pageRatio(s *siteStage) (float64, bool) {
	idle := r.stage(stageNone)
	if idle == nil || idle.Pages.Times.P95 == 0 || s.Pages.Times.N == 0 {
		return 0, false
	}
	return s.Pages.Times.P95 / idle.Pages.Times.P95, true
}

func workerLines() []siteLine {
	quietly := func(value func(quiet) string) func(*siteStage) string {
		return func(s *siteStage) string {
			if s.Quiet.Seconds == 0 {
				return ""
			}
			return value(s.Quiet)
		}
	}
	return []siteLine{
		{"all idle: seconds", quietly(func(q quiet) string { return fmt.Sprintf("%.0f", q.Seconds) })},
		{"all idle: samples with 0 busy workers", quietly(func(q quiet) string { return fmt.Sprintf("%.1f %%", 100*q.zeroShare()) })},
		{"all idle: samples by busy workers", quietly(quiet.histogram)},
		{"all idle: busy moments", quietly(quiet.moments)},
		{"all idle: requests to PHP", quietly(func(q quiet) string { return fmt.Sprint(q.Requests) })},
	}
}

// queryLines has a row for each number of visitors that was measured.
func queryLines(r *siteReport) []siteLine {
	sizes := map[int]bool{}
	for _, s := range r.Stages {
		for _, rate := range s.Rates {
			sizes[rate.Visitors] = true
		}
	}
	var lines []siteLine
	for _, n := range slices.Sorted(maps.Keys(sizes)) {
		lines = append(lines, siteLine{fmt.Sprintf("all idle: queries/s, %d visitors", n), func(s *siteStage) string {
			i := slices.IndexFunc(s.Rates, func(r rate) bool { return r.Visitors == n })
			if i < 0 {
				return ""
			}
			return s.Rates[i].String()
		}})
	}
	return lines
}

// String is the sum, and whose it is.
func (r rate) String() string {
	if len(r.Users) == 0 {
		return fmt.Sprintf("%.2f", r.PerSecond)
	}
	var users []string
	for _, name := range slices.Sorted(maps.Keys(r.Users)) {
		users = append(users, fmt.Sprintf("%s %.2f", name, r.Users[name]))
	}
	return fmt.Sprintf("%.2f (%s)", r.PerSecond, strings.Join(users, ", "))
}

func costLines() []siteLine {
	var lines []siteLine
	for _, name := range []string{costPHP, costMariaDB, costHoldline} {
		lines = append(lines, siteLine{"all idle: CPU of " + name + ", s a minute", func(s *siteStage) string {
			cpu, ok := s.Quiet.CPU[name]
			if !ok || s.Quiet.Seconds == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", cpu/s.Quiet.Seconds*60)
		}})
	}
	for _, m := range []struct{ label, name string }{
		{"memory: PHP-FPM's workers (PSS)", costPHP},
		{"memory: MariaDB (PSS)", costMariaDB},
		{"memory: Holdline (RSS)", costHoldline},
	} {
		lines = append(lines, siteLine{m.label, func(s *siteStage) string {
			bytes, ok := s.Quiet.Memory[m.name]
			if !ok {
				return ""
			}
			return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
		}})
	}
	return append(lines, siteLine{"memory for each held loop", func(s *siteStage) string {
		if s.PerLoop == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f B", s.PerLoop)
	}})
}

func delayLines() []siteLine {
	insert := func(s *siteStage) *delays { return s.SQL }
	ajax := func(s *siteStage) *delays { return s.Ajax }
	commit := func(d *delays) quantiles { return d.Committed }
	begin := func(d *delays) quantiles { return d.Begun }
	line := func(label string, of func(*siteStage) *delays, from func(*delays) quantiles) siteLine {
		return siteLine{label + ": p50 / p95 / p99 / max", func(s *siteStage) string {
			d := of(s)
			if d == nil || from(d).N == 0 {
				return ""
			}
			q := from(d)
			return fmt.Sprintf("%.0f / %.0f / %.0f / %.0f ms", q.P50, q.P95, q.P99, q.Max)
		}}
	}
	fate := func(label string, of func(*siteStage) *delays) siteLine {
		return siteLine{label + ": held / between polls / missing / twice", func(s *siteStage) string {
			d := of(s)
			if d == nil {
				return ""
			}
			return fmt.Sprintf("%d / %d / %d / %d", d.Committed.N, d.Between, d.Missing, d.Twice)
		}}
	}
	return []siteLine{
		line("INSERT's COMMIT to answer", insert, commit),
		fate("INSERT", insert),
		line("agent's POST begun to answer", ajax, begin),
		line("agent's POST answered to answer", ajax, commit),
		fate("agent's POST", ajax),
		{"doorbells for these POSTs", func(s *siteStage) string {
			if s.Ajax == nil || s.Name != stageHoldline {
				return ""
			}
			return count(s.Bells, s.Ajax.Messages)
		}},
		{"polls sent / with news / failed / chats ended", func(s *siteStage) string {
			if s.Polls.Sent == 0 {
				return ""
			}
			return fmt.Sprintf("%d / %d / %d / %d", s.Polls.Sent, s.Polls.Answered, s.Polls.Failed, s.Polls.Ended)
		}},
		{"visitors with the binding cookie", func(s *siteStage) string {
			if s.Visitors == 0 {
				return ""
			}
			return count(s.Bound, s.Visitors)
		}},
	}
}

func count(n, of int) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", n, of)
}
