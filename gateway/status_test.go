package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/r3labs/sse/v2"

	"holdline/config"
)

var update = flag.Bool("update", false, "write testdata/status.shape.json anew")

// part fetches one of the operator's addresses.
func (s *site) part(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	resp, err := httpClient.Get("http://" + s.gw.AdminAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestStatusPageRunsItsOwnFilesOnly(t *testing.T) {
	s := newSite(t)
	resp, page := s.part(t, "/status")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatal(resp.Status, resp.Header)
	}
	wantPolicy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	if got := resp.Header.Get("Content-Security-Policy"); got != wantPolicy {
		t.Errorf("policy %q", got)
	}
	files := map[string]string{"status/status.css": "text/css", "status/status.js": "text/javascript", "status/icon.svg": "image/svg+xml"}
	var asked []string
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(page, -1) {
		asked = append(asked, m[1])
		resp, text := s.part(t, "/"+m[1])
		if resp.StatusCode != 200 || text == "" {
			t.Errorf("%s: %s", m[1], resp.Status)
		}
		if kind, ok := files[m[1]]; ok && (resp.Header.Get("Content-Type") != kind+"; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: %v", m[1], resp.Header)
		}
		if strings.HasPrefix(m[1], "status/") {
			text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "") // a name, fetched by nobody
			if strings.Contains(text, "http:") || strings.Contains(text, "https:") || strings.Contains(text, "@import") {
				t.Errorf("%s asks for something from elsewhere", m[1])
			}
		}
	}
	for name := range files {
		if !slices.Contains(asked, name) {
			t.Errorf("the page does not use %s", name)
		}
	}
	// The policy would stop these in the browser.
	if inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\son\w+=|\sstyle=|https?:`).FindString(page); inline != "" {
		t.Errorf("the page has %q", inline)
	}
}

// shape has types in the place of values, and all samples as one.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any)
		for k, value := range v {
			out[k] = shape(value)
		}
		if _, ok := v["warnings"]; ok {
			out["warnings"] = "list" // a busy machine may have some
		}
		return out
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{shape(v[len(v)-1])}
	case nil:
		return "null"
	case float64:
		return "number"
	}
	return fmt.Sprintf("%T", v)
}

func TestStatusJSONHasItsShape(t *testing.T) {
	s, _ := dropIn(t, "strict")
	var got any
	s.await(t, "there are samples and a companion plugin's answer", func() bool {
		resp, text := s.part(t, "/status.json")
		if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatal(resp.Header)
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(text, `"at":`) && strings.Contains(text, `"state":"absent"`)
	})
	text, err := json.MarshalIndent(shape(got), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "status.shape.json")
	if *update {
		if err := os.WriteFile(golden, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(text)); diff != "" {
		t.Error("what scripts read has changed (write it anew with -update):", diff)
	}
}

// statusReport is what these tests read of /status.json.
type statusReport struct {
	Ready       bool
	Why         string
	Connections struct {
		ByTransport map[string]int `json:"by_transport"`
	}
	Loops struct {
		Held          int
		HeldSeconds   float64 `json:"held_seconds"`
		WorkerSeconds float64 `json:"worker_seconds_saved"`
	}
	Sources  []struct{ Rows int }
	Warnings []struct{ Text string }
	History  []struct {
		At              int64
		SSE, Poll, Loop int
		Rows, Events    float64
		Query           *float64 `json:"query_ms"`
	}
}

// viewer reads the live stream as it comes.
type statusViewer struct {
	t     *testing.T
	resp  *http.Response
	lines *sse.EventStreamReader
	text  string // of all events
}

func (s *site) view(t *testing.T) *statusViewer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.gw.AdminAddr().String()+"/status/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &statusViewer{t: t, resp: resp, lines: sse.NewEventStreamReader(bufio.NewReader(resp.Body), 1<<20)}
}

func (v *statusViewer) next() (r statusReport) {
	v.t.Helper()
	event, err := v.lines.ReadEvent()
	if err != nil {
		v.t.Fatal(err)
	}
	v.text += string(event)
	for line := range bytes.Lines(event) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if err := json.Unmarshal(data, &r); err != nil {
				v.t.Fatal(err)
			}
			return r
		}
	}
	v.t.Fatalf("an event without data: %q", event)
	return r
}

// until reads on until a report is as wanted.
func (v *statusViewer) until(what string, done func(statusReport) bool) statusReport {
	v.t.Helper()
	for range 25 {
		if r := v.next(); done(r) {
			return r
		}
	}
	v.t.Fatal("in vain waited until ", what)
	return statusReport{}
}

func TestStatusIsToldLive(t *testing.T) {
	s, _ := dropInHolding(t, atLongest, "strict")
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	v := s.view(t)
	if v.resp.Header.Get("Content-Type") != "text/event-stream" || v.resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(v.resp.Header)
	}
	if first := v.next(); !first.Ready || len(first.History) == 0 {
		t.Errorf("%+v", first)
	}
	stream := s.hold(t, "sse", channel, bearer(s.token(channel)))
	answer := make(chan string, 1)
	go func() {
		_, text := s.post(t, urlencoded, visitorForm(id).Encode(), bound(t, id))
		answer <- text
	}()
	r := v.until("both are seen", func(r statusReport) bool {
		last := r.History[len(r.History)-1]
		return last.SSE == 1 && last.Loop == 1 && last.Query != nil && r.Loops.HeldSeconds > 0
	})
	if r.Connections.ByTransport["sse"] != 1 || r.Loops.Held != 1 || len(r.History) != 1 {
		t.Errorf("%+v", r)
	}
	s.say(id, "words that nobody else shall see")
	<-answer
	v.until("the row is seen", func(r statusReport) bool {
		last := r.History[len(r.History)-1]
		return r.Sources[0].Rows == 1 && last.Rows > 0 && last.Events > 0 && last.Loop == 0
	})
	stream.leave()
	v.until("the stream has gone", func(r statusReport) bool { return r.Connections.ByTransport["sse"] == 0 })
	for _, private := range []string{"words that nobody", "Ann", "ann@example.com", secret, s.token(channel), siteURL, s.opt.Config.Database.User} {
		if strings.Contains(v.text, private) {
			t.Errorf("the page tells %q", private)
		}
	}
	if n := s.metric(t, `holdline_events_total{type="message"}`); n != 1 {
		t.Error("messages by the metrics:", n)
	}
}

func TestStatusTellsWhatIsWrong(t *testing.T) {
	s := newSite(t)
	v := s.view(t)
	v.next()
	restart := killDatabase(t)
	r := v.until("it is told", func(r statusReport) bool { return !r.Ready && len(r.Warnings) > 0 })
	if !strings.Contains(r.Why, "database trouble") || !strings.Contains(r.Warnings[0].Text, "the database is in trouble") {
		t.Errorf("%+v", r)
	}
	if s.metric(t, "holdline_serving") != 0 {
		t.Error("holdline_serving is not 0")
	}
	restart()
	v.until("it is well again", func(r statusReport) bool { return r.Ready })
	if s.metric(t, "holdline_serving") != 1 {
		t.Error("holdline_serving is not 1")
	}
}

func TestStatusIsThereBeforeTheDatabase(t *testing.T) {
	s := prepareSite(t, with(func(c *config.Config) { c.Database.Address = "/nowhere/mysqld.sock" }))
	s.start()
	var r statusReport
	s.await(t, "a reason is known", func() bool {
		_, text := s.part(t, "/status.json")
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(r.Why, "connect") && len(r.Warnings) > 0
	})
	if r.Ready || len(r.Sources) != 0 {
		t.Errorf("%+v", r)
	}
	if resp, _ := s.part(t, "/status"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// TestViewersEndWithTheServer also holds a viewer that reads nothing.
func TestViewersEndWithTheServer(t *testing.T) {
	s := newSite(t)
	v := s.view(t)
	v.next()
	s.view(t)
	s.stop()
	for {
		_, err := v.lines.ReadEvent()
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		break
	}
}

func TestResumesAreCounted(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	pass := bearer(s.token(channel))
	s.hold(t, "sse", channel, pass).leave()
	if n := s.metric(t, "holdline_resumes_total"); n != 0 {
		t.Errorf("%d came back, and nobody did", n)
	}
	s.hold(t, "sse", channel, pass, func(r *http.Request) { r.Header.Set("Last-Event-ID", "1") }).leave()
	if n := s.metric(t, `holdline_resumes_total{transport="sse"}`); n != 1 {
		t.Error(n)
	}
}
