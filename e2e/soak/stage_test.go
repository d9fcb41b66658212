//go:build e2e && linux

package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/internal/freeport"
	"holdline/internal/wpsite"
)

// secret is auth.secret and HOLDLINE_SECRET.
const secret = "0123456789abcdef0123456789abcdef"

// stage is all that is tested: WordPress with MariaDB, PHP-FPM and nginx, and Holdline.
type stage struct {
	t        *testing.T
	ctx      context.Context
	dir      string
	site     *wpsite.Site
	clock    *clock
	holdline *holdline
	port     string // Holdline's; it listens on all addresses, for the namespace's sake
}

// children is how many requests PHP works on at once. Loops that PHP has to answer when
// Holdline is away take one each.
const children = 24

func newStage(ctx context.Context, t *testing.T, rng *rand.Rand) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("Holdline's log and heap profiles are kept: ", dir)
			return
		}
		os.RemoveAll(dir)
	})
	if err := os.Chmod(dir, 0o755); err != nil { // for PHP and MariaDB
		t.Fatal(err)
	}
	s := &stage{t: t, ctx: ctx, dir: dir, clock: newClock(t, dir, rng)}
	addresses, err := freeport.Addresses(2)
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, err = net.SplitHostPort(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	s.raise(wpsite.Options{Children: children}, addresses[0])
	s.holdline = newHoldline(t, dir, addresses[1], []string{
		"HOLDLINE_LISTEN=0.0.0.0:" + s.port, "HOLDLINE_ADMIN_LISTEN=" + addresses[1],
		"HOLDLINE_WORDPRESS_CONFIG=" + s.site.Config, "HOLDLINE_WORDPRESS_UPSTREAM=" + s.inner(),
		"HOLDLINE_DATABASE_USER=" + s.site.HoldlineUser, "HOLDLINE_DATABASE_PASSWORD=" + s.site.HoldlinePassword,
		"HOLDLINE_AUTH_SECRET=" + secret, "HOLDLINE_LOOPS_WPLC_ANSWER=native", "HOLDLINE_TRUSTED_PROXIES=127.0.0.1",
		"HOLDLINE_STATE_DIR=" + filepath.Join(dir, "state"), "HOLDLINE_HEARTBEAT=5s", "HOLDLINE_DRAIN=10s",
		"HOLDLINE_LIMITS_PER_ADDRESS=20000", "HOLDLINE_LIMITS_PER_USER=1000",
	})
	s.exec(`REPLACE INTO wp_options (option_name, option_value, autoload) VALUES ('wplc_advanced_settings',
		'a:2:{s:15:"wplc_iterations";i:8;s:24:"wplc_delay_between_loops";i:250000;}', 'yes')`) // held for two seconds
	return s
}

// direct is Holdline without nginx.
func (s *stage) direct() string { return "http://127.0.0.1:" + s.port }

// inner is the door that nginx's rule opens for Holdline.
func (s *stage) inner() string { return "http://127.0.0.1:" + s.site.NginxInnerPort }

// raise brings the site up, then gives nginx the rule that the program prints and the
// companion plugin its secret.
func (s *stage) raise(opts wpsite.Options, listen string) {
	s.t.Helper()
	var err error
	if s.site, err = wpsite.Up(s.ctx, opts); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.site.Down(); err != nil {
			s.t.Error(err)
		}
	})
	out, err := exec.Command(program, "snippet", "nginx", "--listen", listen, "--wordpress-config", s.site.Config,
		"--wordpress-upstream", s.inner(), "--php", "unix:"+s.site.FPMSocket).Output()
	if err != nil {
		s.t.Fatal("print nginx's rule: ", err)
	}
	outside, inside, ok := strings.Cut(string(out), "# --- In the site's server block")
	if !ok {
		s.t.Fatal("nginx's rule has no second half")
	}
	opts.Holdline, opts.Secret, opts.Rules = "http://"+listen, secret, filepath.Join(s.dir, "rules")
	if err := os.Mkdir(opts.Rules, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for name, text := range map[string]string{"nginx-http.conf": outside, "nginx.conf": "#" + inside} {
		if err := os.WriteFile(filepath.Join(opts.Rules, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.site.Configure(s.ctx, opts); err != nil {
		s.t.Fatal(err)
	}
	pass(s.ctx, 3*time.Second) // PHP's opcache looks every two seconds whether wp-config.php has changed
}

func (s *stage) exec(statements string, args ...any) {
	s.t.Helper()
	if _, err := s.site.DB().ExecContext(s.ctx, statements, args...); err != nil {
		s.t.Fatal(err)
	}
}

// must ends the test on an error.
func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// chat makes a chat that is going on. Nobody's page keeps it alive as the plugin's do, so
// it is made one that was active in the future: PHP ends those that are silent for five
// minutes.
func (s *stage) chat() int64 {
	s.t.Helper()
	res, err := s.site.DB().ExecContext(s.ctx, `INSERT INTO wp_wplc_chat_sessions
		(timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
		VALUES (NOW(), 'Ann', 'ann@example.com', '', 3, '1', '', '2037-01-01', 1, '', '')`)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := res.LastInsertId()
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// answers waits until an address answers well.
func answers(ctx context.Context, t *testing.T, what, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	last := ""
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%s", resp.Status)
		}
		if ctx.Err() == nil {
			last = err.Error()
		}
		if !pass(ctx, 20*time.Millisecond) {
			t.Fatalf("%s does not answer: %s", what, last)
		}
	}
}
