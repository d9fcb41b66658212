package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFPMStatus(t *testing.T) {
	page := `{"pool":"www","process manager":"static","accepted conn":17,"listen queue":0,` +
		`"idle processes":2,"active processes":3,"total processes":5,"slow requests":0}`
	s, err := parseFPMStatus([]byte(page))
	if err != nil || s.Active != 3 || s.Accepted != 17 || s.Total != 5 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "<html>", `{"pool":"www"}`, "Access denied."} {
		if _, err := parseFPMStatus([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a status page", bad)
		}
	}
}

func TestIsPoolWorker(t *testing.T) {
	for title, want := range map[string]bool{
		"php-fpm: pool www\x00\x00 ":                     true,
		"php-fpm: pool www          ":                    true,
		"php-fpm: pool www_status":                       false,
		"php-fpm: master process (/x/pool: etc.conf)":    false,
		"nginx: worker process\x00":                      false,
		"":                                               false,
		"php-fpm: pool shop_status_page\x00\x00\x00\x00": true,
	} {
		if got := isPoolWorker([]byte(title)); got != want {
			t.Errorf("%q: %v", title, got)
		}
	}
}

func TestMetric(t *testing.T) {
	text := []byte("# HELP holdline_doorbells_total x\nholdline_doorbells_total{bell=\"wake\"} 42\nholdline_doorbells_total{bell=\"wp\"} 7\n")
	if n := metric(text, `holdline_doorbells_total{bell="wake"}`); n != 42 {
		t.Errorf("%d rings, want 42", n)
	}
	if n := metric(text, "holdline_doorbells"); n != 0 {
		t.Errorf("a name's beginning was taken for it: %d", n)
	}
}

func TestStatementsSince(t *testing.T) {
	at := time.Now()
	before := statements{at: at, questions: 100, users: map[string]int64{"wordpress": 50, "holdline": 10}}
	after := statements{at: at.Add(10 * time.Second), questions: 182, users: map[string]int64{"wordpress": 110, "holdline": 10, "new": 20}}
	r := after.since(before, 7)
	if r.Visitors != 7 || r.PerSecond != 8 || r.Users["wordpress"] != 6 || r.Users["new"] != 2 || len(r.Users) != 2 {
		t.Errorf("%+v", r)
	}
	if text := r.String(); text != "8.00 (new 2.00, wordpress 6.00)" {
		t.Error(text)
	}
}

func TestSpans(t *testing.T) {
	got := spans([]int{0, 1, 3, 0, 0, 2}, 100*time.Millisecond)
	want := []span{{From: 0.1, To: 0.3, Workers: 3}, {From: 0.5, To: 0.6, Workers: 2}}
	round := func(s span) span {
		s.From, s.To = float64(int(s.From*10+.5))/10, float64(int(s.To*10+.5))/10
		return s
	}
	for i := range got {
		got[i] = round(got[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if none := spans([]int{0, 0}, time.Second); none != nil {
		t.Errorf("idle workers: %+v", none)
	}
}

func TestQuiet(t *testing.T) {
	q := quiet{Busy: map[int]int{2: 1, 0: 7}}
	for i := range 10 {
		q.Moments = append(q.Moments, span{From: float64(i), To: float64(i) + 0.5})
	}
	if q.zeroShare() != 0.875 || q.histogram() != "0: 7, 2: 1" {
		t.Errorf("%g, %s", q.zeroShare(), q.histogram())
	}
	if m := q.moments(); !strings.HasPrefix(m, "0.0–0.5 s, 1.0–1.5 s") || !strings.HasSuffix(m, "and 2 more") {
		t.Error(m)
	}
	if (quiet{}).zeroShare() != 0 {
		t.Error("a share of nothing")
	}
}

func TestSortLetters(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1e12 + int64(ms)) }
	d := sortLetters([]letter{
		{begun: at(100), committed: at(110), asked: at(0), arrived: at(150), copies: 1},
		{begun: at(200), committed: at(230), asked: at(180), arrived: at(225), copies: 2}, // before the INSERT returned, and twice
		{begun: at(300), committed: at(310), asked: at(301), arrived: at(2000), copies: 1},
		{begun: at(400), committed: at(410)},
	})
	if d.Messages != 4 || d.Between != 1 || d.Missing != 1 || d.Twice != 1 {
		t.Errorf("%+v", d)
	}
	if d.Committed.N != 2 || d.Committed.Max != 40 || d.Committed.P50 != -5 || d.Begun.Max != 50 || d.Begun.P50 != 25 {
		t.Errorf("%+v", d)
	}
}

func TestMailbox(t *testing.T) {
	var b mailbox
	asked := time.Now()
	b.arrived(5, asked) // faster than the INSERT returned
	b.sent(5, asked, asked)
	b.sent(6, asked, asked)
	b.arrived(5, time.Now())
	letters, missing := b.take(5, 6)
	if missing != 1 || letters[0].copies != 2 || !letters[0].asked.Equal(asked) || letters[1].copies != 0 {
		t.Errorf("%d missing of %+v", missing, letters)
	}
}

func TestPollCounts(t *testing.T) {
	all, before := pollCounts{Sent: 9, Answered: 7, Failed: 5, Ended: 3}, pollCounts{Sent: 1, Answered: 2, Failed: 3, Ended: 3}
	if got, want := all.minus(before), (pollCounts{Sent: 8, Answered: 5, Failed: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSteps(t *testing.T) {
	for all, want := range map[int][]int{200: {1, 50}, 50: {1}, 4: {1}, 1: {}} {
		if got := steps(all); !slices.Equal(got, want) {
			t.Errorf("below %d: %v", all, got)
		}
	}
}

// fullSite is a report in which every promise is kept.
func fullSite() *siteReport {
	r := newSiteReport(options{visitors: 200, children: 5})
	times := func(p50, p95, max float64, n int) quantiles {
		return quantiles{N: n, P50: p50, P95: p95, P99: max, Max: max}
	}
	capMS := ms(pageCap)
	r.Stages = []*siteStage{
		{Name: stageNone, Pages: loads{Times: times(20, 30, 50, 200)}, Quiet: quiet{Seconds: 60, Busy: map[int]int{0: 600}}},
		{
			Name: stageHoldline, Visitors: 200, Bound: 200, Pages: loads{Times: times(21, 33, 60, 200)}, PerLoop: 15000, Bells: 100,
			Quiet: quiet{
				Seconds: 60, Busy: map[int]int{0: 597, 1: 3}, Requests: 3, Workers: 5,
				Moments: []span{{From: 12.3, To: 12.4, Workers: 1}},
				CPU:     map[string]float64{costPHP: 0.1, costHoldline: 0.5}, Memory: map[string]int64{costPHP: 50e6, costHoldline: 20e6},
			},
			Rates: []rate{{Visitors: 1, PerSecond: 2, Users: map[string]float64{"holdline": 1.5, "wordpress": 0.5}}, {Visitors: 200, PerSecond: 2.1}},
			SQL:   &delays{Messages: 100, Between: 2, Committed: times(28, 40, 55, 98), Begun: times(29, 41, 56, 98)},
			Ajax:  &delays{Messages: 100, Committed: times(-2, 4, 5, 100), Begun: times(25, 40, 45, 100)},
			Polls: pollCounts{Sent: 900, Answered: 200},
		},
		{Name: stageMany, Visitors: 200, Pages: loads{Unanswered: 28, Times: times(capMS, capMS, capMS, 30)}},
	}
	return r
}

func TestSiteTable(t *testing.T) {
	r := fullSite()
	if !r.judge() {
		t.Errorf("a promise is broken: %+v", r.Verdicts)
	}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| no loop  | PHP, all visitors (200) | Holdline (200) ", "> 30 s", "> 1000x", "1.10x", "28 of 30", "0: 597, 1: 3", "12.3–12.4 s",
		"2.00 (holdline 1.50, wordpress 0.50)", "28 / 40 / 55 / 55 ms", "-2 / 4 / 5 / 5 ms", "98 / 2 / 0 / 0", "100 of 100", "15000 B", "20.0 MB",
		"- ok: page load p95 with 200 held loops is 1.10",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	head, _, _ := strings.Cut(out.String(), "\n")
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != strings.Count(head, "|") {
			t.Errorf("another number of columns: %s", line)
		}
	}
}

func TestSiteVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*siteStage)
		want  string
	}{
		"slow pages":    {func(s *siteStage) { s.Pages.Times.P95 = 37 }, "page load p95"},
		"PHP works":     {func(s *siteStage) { s.Quiet.Requests = 5 }, "PHP got 5 requests"},
		"queries grow":  {func(s *siteStage) { s.Rates[1].PerSecond = 40 }, "queries a second"},
		"a lost row":    {func(s *siteStage) { s.SQL.Missing = 1 }, "1 were lost"},
		"a double":      {func(s *siteStage) { s.Ajax.Twice = 1 }, "1 came twice"},
		"a silent bell": {func(s *siteStage) { s.Bells = 0 }, "rang for 0"},
		"a failed poll": {func(s *siteStage) { s.Polls.Failed = 1 }, "1 of 900 polls failed"},
	} {
		r := fullSite()
		tc.spoil(r.stage(stageHoldline))
		if r.judge() {
			t.Errorf("%s: passed", name)
		}
		broken := slices.DeleteFunc(r.Verdicts, func(v siteVerdict) bool { return v.Kept })
		if len(broken) != 1 || !strings.Contains(broken[0].Line, tc.want) {
			t.Errorf("%s: %+v", name, broken)
		}
	}
}

// A run that broke off early still prints what it has.
func TestSiteReportUnfinished(t *testing.T) {
	r := newSiteReport(options{})
	r.Stages = []*siteStage{{Name: stageHoldline}}
	r.judge()
	if err := r.print(&bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "site.json")
	if err := fullSite().write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back siteReport
	if err := json.Unmarshal(text, &back); err != nil || back.stage(stageHoldline).SQL.Between != 2 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestSiteOptions(t *testing.T) {
	o, err := parseOptions([]string{"--scenario=site"}, os.Stderr)
	if err != nil || o.visitors != 200 || o.children != 5 || o.window() != time.Minute || !o.wants(siteScenario) {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err = parseOptions([]string{"--scenario=site,idle", "--visitors=3", "--seconds=0", "--loop=node"}, os.Stderr)
	if err == nil {
		t.Fatal("nonsense was taken")
	}
	for _, want := range []string{"site runs alone", "--visitors is 3, fewer than the 5", "--seconds is 0", `"node"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}
