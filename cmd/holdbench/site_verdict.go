package main

import (
	"fmt"
	"time"
)

// What the project promises of a site whose visitors Holdline holds.
const (
	pageBar  = 1.2 // p95 of a page to that of a site without a loop
	queryBar = 1.2 // queries a second with all visitors to those with one
	// syncEvery is the least time between two syncs with WordPress while nobody
	// does anything; each is one request to PHP.
	syncEvery = 20 * time.Second
)

// judge fills Verdicts and tells whether every promise was kept.
func (r *siteReport) judge() bool {
	r.Verdicts = nil
	kept := true
	add := func(ok bool, format string, a ...any) {
		r.Verdicts = append(r.Verdicts, siteVerdict{Line: fmt.Sprintf(format, a...), Kept: ok})
		kept = kept && ok
	}
	if s := r.stage(stageMany); s != nil && s.Pages.Times.N > 0 {
		// No promise of ours: it says what the comparison is worth.
		add(true, "PHP alone, %d visitors: %d of %d pages had not come after %.0f s",
			s.Visitors, s.Pages.Unanswered, s.Pages.Times.N, pageCap.Seconds())
	}
	s := r.stage(stageHoldline)
	if s == nil {
		return kept
	}
	if ratio, ok := r.pageRatio(s); ok {
		add(ratio <= pageBar, "page load p95 with %d held loops is %.2f of an idle site's (at most %.1f)", s.Visitors, ratio, pageBar)
	}
	judgeWorkers(s, add)
	judgeQueries(s, add)
	for _, d := range []*delays{s.SQL, s.Ajax} {
		if d != nil {
			add(d.Missing == 0 && d.Twice == 0, "of %d messages %d were lost and %d came twice (none may)", d.Messages, d.Missing, d.Twice)
		}
	}
	if s.Ajax != nil {
		add(s.Bells > 0, "the companion plugin rang for %d of %d messages of an agent", s.Bells, s.Ajax.Messages)
	}
	add(s.Polls.Failed == 0, "%d of %d polls failed (none may)", s.Polls.Failed, s.Polls.Sent)
	return kept
}

func judgeWorkers(s *siteStage, add func(bool, string, ...any)) {
	if s.Quiet.Seconds == 0 {
		return
	}
	syncs := int(s.Quiet.Seconds/syncEvery.Seconds()) + 1
	moments := ""
	if m := s.Quiet.moments(); m != "" {
		moments = ", not at " + m
	}
	add(s.Quiet.Requests <= syncs, "PHP got %d requests in %.0f s with all visitors idle (syncs only: at most %d); 0 workers were busy in %.1f %% of samples%s",
		s.Quiet.Requests, s.Quiet.Seconds, syncs, 100*s.Quiet.zeroShare(), moments)
}

func judgeQueries(s *siteStage, add func(bool, string, ...any)) {
	if len(s.Rates) < 2 {
		return
	}
	one, all := s.Rates[0], s.Rates[len(s.Rates)-1]
	if one.PerSecond == 0 {
		return
	}
	add(all.PerSecond/one.PerSecond <= queryBar, "queries a second: %s with %d visitors, %s with %d (constant: at most %.1f times)",
		one, one.Visitors, all, all.Visitors, queryBar)
}
