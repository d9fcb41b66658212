package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"holdline/wordpress"
)

// status is the operator's page: samples of the last minutes, and the state as it
// is now for whoever looks. While nobody looks it costs a sample every two seconds
// and asks the database nothing.
type status struct {
	g       *Gateway
	started time.Time
	history history
	feed    *feed
	parts   map[string]http.HandlerFunc
}

// newStatus starts nothing; run does.
func newStatus(g *Gateway) (*status, error) {
	s := &status{g: g, started: time.Now()}
	s.feed = newFeed(func() []byte { return s.encode(s.whole(context.Background())) })
	var err error
	s.parts, err = statusParts()
	return s, err
}

// report is /status.json. Its text holds no secrets, nothing that was said in a
// chat and no visitor's address.
type report struct {
	Version     string             `json:"version"`
	Commit      string             `json:"commit"` // "" if it is not known
	Now         time.Time          `json:"now"`
	Started     time.Time          `json:"started"`
	Uptime      float64            `json:"uptime_seconds"`
	PID         int                `json:"pid"`
	Ready       bool               `json:"ready"`
	Why         string             `json:"why"` // not ready, and what to do; else ""
	Companion   companionState     `json:"companion"`
	Connections connectionState    `json:"connections"`
	Memory      memoryState        `json:"memory"`
	Loops       savings            `json:"loops"`
	LoopAnswers map[string]float64 `json:"loops_by_answer"`
	Sources     []sourceState      `json:"sources"`
	Spool       *spoolState        `json:"spool"` // null: nothing can be sent
	Sends       map[string]float64 `json:"sends_by_result"`
	Refusals    map[string]float64 `json:"refusals_by_reason"`
	Warnings    []warning          `json:"warnings"` // newest first
	EverySecs   float64            `json:"sample_seconds"`
	// History has all samples in the first event of a stream and in /status.json,
	// and the newest one in all other events.
	History []sample `json:"history"`
}

// companionState is of the plugin in WordPress.
type companionState struct {
	State       string     `json:"state"` // present, absent, refused, waiting or none
	Text        string     `json:"text"`
	LastSuccess *time.Time `json:"last_success"`
	Queued      int        `json:"queued"`
	Dropped     int64      `json:"dropped"`
}

type connectionState struct {
	Held        int            `json:"held"`
	Idle        int            `json:"idle"` // answered polls that wait for their next request
	Limit       int            `json:"limit"`
	Subscribers int            `json:"subscribers"`
	ByTransport map[string]int `json:"by_transport"`
}

type memoryState struct {
	Resident int64 `json:"resident_bytes"`
	Baseline int64 `json:"baseline_bytes"` // least that was seen with nobody held; 0: unknown
	// PerConnection is what each connection adds to the baseline; null where there
	// are too few for that to mean anything.
	PerConnection *int64 `json:"per_connection_bytes"`
}

type sourceState struct {
	Name    string  `json:"name"`
	Rows    int64   `json:"rows"`
	Late    int64   `json:"late_rows"` // committed after a higher id, and found
	GivenUp int64   `json:"gaps_given_up"`
	Errors  int64   `json:"errors"`
	LastID  int64   `json:"last_id"`
	Lag     float64 `json:"lag_seconds"`
}

type spoolState struct {
	Messages int     `json:"messages"`
	Bytes    int64   `json:"bytes"`
	Oldest   float64 `json:"oldest_seconds"`
	Down     bool    `json:"down"` // WordPress stores nothing
}

// run samples until ctx ends, and then lets the viewers go.
func (s *status) run(ctx context.Context) error {
	defer s.feed.close()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		newest := s.history.add(s.read())
		if s.feed.count() > 0 {
			r := s.now(ctx)
			r.History = []sample{newest}
			s.feed.publish(s.encode(r))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// read takes what a sample is made of.
func (s *status) read() reading {
	r := reading{at: time.Now(), memory: residentMemory()}
	r.held, _ = s.g.admission.census(r.at)
	r.events = s.g.metrics.published.Load()
	if at := s.g.attached.Load(); at != nil {
		r.listeners = at.hub.Subscribers()
		r.tails = at.tailStats()
		for _, t := range r.tails {
			r.rows += t.Rows
		}
	}
	return r
}

// whole is a report with all samples.
func (s *status) whole(ctx context.Context) *report {
	r := s.now(ctx)
	r.History = s.history.samples()
	return r
}

// now is a report without samples. It asks the database for a sign of life.
func (s *status) now(ctx context.Context) *report {
	g, now := s.g, time.Now()
	held, loopTime := g.admission.census(now)
	resident := residentMemory()
	counts := g.metrics.tallies()
	why := g.notServing(ctx)
	r := &report{
		Version: g.opt.Version, Commit: g.opt.Commit, Now: now.UTC(), Started: s.started.UTC(), Uptime: now.Sub(s.started).Seconds(), PID: os.Getpid(),
		Ready: why == "", Why: brief(why), EverySecs: statusEvery.Seconds(),
		Companion:   companionState{State: "none", Text: "not needed: no source here is answered for"},
		Connections: connectionState{Held: g.lot.Held(), Idle: g.lot.Idle(), Limit: g.settings().Limits.Connections, ByTransport: map[string]int{}},
		Memory:      s.memory(resident),
		Loops:       savingsOf(held[overLoop], loopTime, g.metrics.loopsAsked(), resident),
		LoopAnswers: counts["holdline_loops_total"], Sends: counts["holdline_sends_total"], Refusals: counts["holdline_requests_refused_total"],
		Sources: []sourceState{}, Warnings: g.warnings.newestFirst(),
	}
	for t, n := range held {
		r.Connections.ByTransport[transport(t).String()] = n
	}
	if at := g.attached.Load(); at != nil {
		s.addSite(r, at)
	}
	return r
}

// addSite adds what there is only once the database has answered.
func (s *status) addSite(r *report, at *attached) {
	r.Connections.Subscribers = at.hub.Subscribers()
	for _, f := range at.backend.Feeds {
		t := f.Tail.Stats()
		r.Sources = append(r.Sources, sourceState{
			Name: f.Tail.Name(), Rows: t.Rows, Late: t.Late, GivenUp: t.GivenUp, Errors: t.Errors, LastID: t.Last,
			Lag: s.history.lag(f.Tail.Name()).Seconds(),
		})
	}
	if at.backend.Loops != nil {
		r.Companion = companionOf(at.backend.Loops.Courier)
	}
	if box := at.speech.box.Load(); box != nil {
		disk := box.spool.Stats()
		r.Spool = &spoolState{Messages: disk.Waiting, Bytes: disk.Bytes, Down: box.outbox.Stats().Down}
		if !disk.Oldest.IsZero() {
			r.Spool.Oldest = time.Since(disk.Oldest).Seconds()
		}
	}
}

// companionOf asks without waiting.
func companionOf(courier *wordpress.Courier) companionState {
	stats := courier.Stats()
	c := companionState{State: "present", Queued: stats.Queued, Dropped: stats.Dropped}
	if !stats.LastSuccess.IsZero() {
		last := stats.LastSuccess.UTC()
		c.LastSuccess = &last
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	hello, err := courier.Hello(over)
	switch {
	case errors.Is(err, wordpress.ErrAbsent):
		c.State, c.Text = "absent", brief(err.Error())
	case errors.Is(err, wordpress.ErrRefused):
		c.State, c.Text = "refused", brief(err.Error())
	case err != nil || hello.Version == 0:
		c.State, c.Text = "waiting", "WordPress has not answered yet"
	default:
		c.Text = "takes writes"
		if hello.Plugin != "" {
			c.Text = brief(fmt.Sprintf("plugin %s on WordPress %s", hello.Plugin, hello.Hello.WordPress))
		}
	}
	return c
}

// minConnections is how many must be held before their memory is divided by them:
// below that the noise of a process is larger.
const minConnections = 200

func (s *status) memory(resident int64) memoryState {
	m := memoryState{Resident: resident, Baseline: s.history.baseline()}
	n := int64(s.g.lot.Held() + s.g.lot.Idle())
	if n >= minConnections && m.Baseline > 0 && resident > m.Baseline {
		each := (resident - m.Baseline) / n
		m.PerConnection = &each
	}
	return m
}

// encode cannot fail: a report has numbers, texts and times, and no NaN.
func (s *status) encode(r *report) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		s.g.log.Error("the status cannot be told", "error", err)
	}
	return b
}

func (s *status) serveJSON(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(append(s.encode(s.whole(r.Context())), '\n')); err != nil {
		s.g.log.Debug("the status could not be told", "error", err)
	}
}
