package dropin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdline/internal/freeport"
	"holdline/internal/wpsite"
)

// secret is auth.secret and HOLDLINE_SECRET.
const secret = "0123456789abcdef0123456789abcdef"

// ground is a WordPress that tests use one after the other, with or without Holdline
// in the path.
type ground struct {
	mu   sync.Mutex // of the test that uses it
	site *wpsite.Site
	opts wpsite.Options

	listen, admin string // Holdline's addresses; "" without
	secretFile    string
}

// newPlainGround has enough workers for the loops of a whole test.
func newPlainGround(ctx context.Context) (*ground, error) {
	g := &ground{opts: wpsite.Options{Children: 40}}
	return g, g.up(ctx)
}

// newHeldGround has few workers: Holdline needs none for what it holds. The fronts
// have the rules that `holdline snippet` prints.
func newHeldGround(ctx context.Context, dir string) (*ground, error) {
	g := &ground{opts: wpsite.Options{Children: 12}, secretFile: filepath.Join(dir, "secret")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(g.secretFile, []byte(secret), 0o600); err != nil {
		return nil, err
	}
	if err := g.up(ctx); err != nil {
		return g, err
	}
	addresses, err := freeport.Addresses(2)
	if err != nil {
		return g, err
	}
	g.listen, g.admin = addresses[0], addresses[1]
	g.opts.Holdline, g.opts.Secret, g.opts.Rules = "http://"+g.listen, secret, filepath.Join(dir, "rules")
	if err := g.writeRules(); err != nil {
		return g, err
	}
	if err := g.configure(ctx); err != nil {
		return g, err
	}
	return g, g.awaitConfig(ctx)
}

// awaitConfig waits until PHP has the secret: its opcache looks every two seconds
// whether wp-config.php has changed, and Holdline, once refused, asks again after a
// minute.
func (g *ground) awaitConfig(ctx context.Context) error {
	want := g.opts.Holdline + "/holdline/v1 " + secret
	got := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); pass(ctx, 100*time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.upstream(nginx)+ajaxPath+"?action=dropin_config", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got = string(text); err != nil || got == want {
			return err
		}
	}
	return fmt.Errorf("PHP does not take the new wp-config.php: it has %q", got)
}

func (g *ground) up(ctx context.Context) error {
	site, err := wpsite.Up(ctx, g.opts)
	if err != nil {
		return err
	}
	g.site = site
	plugin, err := os.ReadFile("testdata/dropin.php")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(site.Root, "wp-content", "mu-plugins", "dropin.php"), plugin, 0o644)
}

// configure puts the options in force, and starts what does not run.
func (g *ground) configure(ctx context.Context) error {
	if err := g.site.Configure(ctx, g.opts); err != nil {
		return err
	}
	return g.completeURL()
}

// completeURL gives the companion plugin Holdline's address with the base path: the
// site's script knows only the host.
func (g *ground) completeURL() error {
	text, err := os.ReadFile(g.site.Config)
	if err != nil {
		return err
	}
	whole := strings.Replace(string(text), "'"+g.opts.Holdline+"'", "'"+g.opts.Holdline+"/holdline/v1'", 1)
	if g.opts.Holdline == "" || whole == string(text) {
		return nil
	}
	return os.WriteFile(g.site.Config, []byte(whole), 0o640)
}

func (g *ground) down() error {
	if g == nil || g.site == nil {
		return nil
	}
	return g.site.Down()
}

// front is a web server before WordPress.
type front string

const (
	nginx  front = "nginx"
	apache front = "Apache"
)

func (g *ground) url(f front) string {
	if f == apache {
		return g.site.ApacheURL
	}
	return g.site.URL
}

// upstream is the door that the front's rule opens for Holdline.
func (g *ground) upstream(f front) string {
	if f == apache {
		return "http://127.0.0.1:" + g.site.ApacheInnerPort
	}
	return "http://127.0.0.1:" + g.site.NginxInnerPort
}

// writeRules has the program print the rules, and cuts each at the line that says
// where its second half belongs.
func (g *ground) writeRules() error {
	if err := os.MkdirAll(g.opts.Rules, 0o755); err != nil {
		return err
	}
	for _, rule := range []struct {
		front               front
		kind, cut           string
		outside, insideFile string
	}{
		{nginx, "nginx", "# --- In the site's server block", "nginx-http.conf", "nginx.conf"},
		{apache, "apache", "# --- 2. Inside the site's virtual host", "apache-server.conf", "apache.conf"},
	} {
		cmd := exec.Command(program, "snippet", rule.kind, "--listen", g.listen, "--wordpress-config", g.site.Config,
			"--wordpress-upstream", g.upstream(rule.front), "--php", "unix:"+g.site.FPMSocket)
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("print the rule for %s: %w", rule.front, err)
		}
		outside, inside, ok := strings.Cut(string(out), rule.cut)
		if !ok {
			return fmt.Errorf("the rule for %s has no line %q", rule.front, rule.cut)
		}
		err = errors.Join(
			os.WriteFile(filepath.Join(g.opts.Rules, rule.outside), []byte(outside), 0o644),
			os.WriteFile(filepath.Join(g.opts.Rules, rule.insideFile), []byte("#"+inside), 0o644))
		if err != nil {
			return err
		}
	}
	return nil
}

// stopPHP ends PHP-FPM; configure starts it again.
func (g *ground) stopPHP() error {
	text, err := os.ReadFile(filepath.Join(g.site.Dir, "run", "php-fpm.pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGTERM)
}
