package dropin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// way is who answers the plugin's loops.
type way struct {
	name   string
	answer string // loops.wplc.answer; "" is PHP, without Holdline
}

var (
	php    = way{"PHP", ""}
	native = way{"Holdline native", "native"}
	relay  = way{"Holdline relay", "relay"}
)

// stage is a site for one test: empty tables, idle PHP, and Holdline where the way
// wants it.
type stage struct {
	*ground
	t        *testing.T
	ctx      context.Context
	way      way
	front    front
	url      string  // of the site, at the front
	pace     float64 // of its browsers
	env      []string
	holdline *backstage.Process
}

// newStage prepares the shared site of a way, when no other test has it. Settings of
// Holdline are environment variables.
func newStage(t *testing.T, w way, f front, settings ...string) *stage {
	t.Helper()
	g := plain
	if w.answer != "" {
		g = held[f]
	}
	return g.stage(t, w, f, settings...)
}

func (g *ground) stage(t *testing.T, w way, f front, settings ...string) *stage {
	t.Helper()
	g.mu.Lock()
	t.Cleanup(g.mu.Unlock)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute+*hourFor)
	t.Cleanup(cancel)
	s := &stage{ground: g, t: t, ctx: ctx, way: w, front: f, url: g.url(f), pace: fast}
	if f == apache {
		// It does not say when a browser leaves. So Holdline takes an answer for received
		// only if the page polls again as the plugin's script does.
		s.pace = 1
	}
	backstage.Eventually(t, "PHP is idle", 2*time.Minute, func() bool {
		busy, err := g.site.BusyWorkers(ctx)
		return err == nil && busy == 0
	})
	s.exec("TRUNCATE wp_wplc_chat_sessions; TRUNCATE wp_wplc_chat_msgs; DELETE FROM wp_options WHERE option_name LIKE '%transient%holdline%'")
	s.holdFor(10, 250*time.Millisecond)
	if w.answer == "" {
		return s
	}
	s.env = append([]string{
		"HOLDLINE_LISTEN=" + g.listen, "HOLDLINE_ADMIN_LISTEN=" + g.admin,
		"HOLDLINE_WORDPRESS_CONFIG=" + g.site.Config, "HOLDLINE_WORDPRESS_UPSTREAM=" + g.upstream(f),
		"HOLDLINE_DATABASE_USER=" + g.site.HoldlineUser, "HOLDLINE_DATABASE_PASSWORD=" + g.site.HoldlinePassword,
		"HOLDLINE_AUTH_SECRET_FILE=" + g.secretFile, "HOLDLINE_LOOPS_WPLC_ANSWER=" + w.answer,
		"HOLDLINE_TRUSTED_PROXIES=127.0.0.1", "HOLDLINE_LIMITS_PER_ADDRESS=5000", "HOLDLINE_LOG_LEVEL=debug",
		"HOLDLINE_STATE_DIR=" + t.TempDir(), // ids come again with each test, but a kill is within one
	}, settings...)
	s.startHoldline()
	return s
}

// holdFor sets how long a loop is held, as the plugin's settings page does.
func (s *stage) holdFor(rounds int, pause time.Duration) {
	s.t.Helper()
	s.exec(fmt.Sprintf(`REPLACE INTO wp_options (option_name, option_value, autoload) VALUES ('wplc_advanced_settings',
		'a:2:{s:15:"wplc_iterations";i:%d;s:24:"wplc_delay_between_loops";i:%d;}', 'yes')`, rounds, pause.Microseconds()))
}

func (s *stage) exec(statements string, args ...any) {
	s.t.Helper()
	if _, err := s.site.DB().ExecContext(s.ctx, statements, args...); err != nil {
		s.t.Fatal(err)
	}
}

// column is the first row's only value; "" when there is no row.
func (s *stage) column(query string, args ...any) string {
	s.t.Helper()
	rows, err := s.site.DB().QueryContext(s.ctx, query, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	value := ""
	if rows.Next() {
		err = rows.Scan(&value)
	}
	if err := errors.Join(err, rows.Err()); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return value
}

// startHoldline starts it, and returns when it is ready.
func (s *stage) startHoldline() {
	s.t.Helper()
	s.holdline = backstage.Serve(s.t, program, s.admin, s.env)
}

// metric is one of Holdline's own numbers.
func (s *stage) metric(name string) float64 {
	s.t.Helper()
	value, ok := backstage.Metric(s.t, s.admin, name)
	if !ok {
		s.t.Fatal("no metric ", name)
	}
	return value
}

// heldLoops is how many loops wait: in Holdline, or in PHP's workers.
func (s *stage) heldLoops() int {
	s.t.Helper()
	if s.holdline != nil {
		return int(s.metric("holdline_connections_held"))
	}
	busy, err := s.site.BusyWorkers(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return busy
}

// pass lets time pass for the programs that are watched, and tells whether the
// context still lives.
func pass(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
