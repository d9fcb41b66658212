// Package wpsite brings up the test site of testdata/site for end-to-end tests: a
// real WordPress with PHP-FPM, MariaDB, nginx and Apache on loopback, in one folder.
package wpsite

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Options say how the site is to be. The zero value is a site without Holdline and
// with the chat plugin of testdata/site.
type Options struct {
	// Dir holds the site; empty is a new folder that Down removes.
	Dir string
	// Children is how many requests PHP can work on at once; 0 is 5.
	Children int
	// Holdline is the base URL (http://127.0.0.1:8787) to which nginx and Apache send
	// admin-ajax.php and /holdline/v1/; empty is PHP alone.
	Holdline string
	// Secret is the companion plugin's HOLDLINE_SECRET. With it and Holdline set,
	// wordpress/holdline.php is installed.
	Secret string
	// Rules is a folder whose files take the place of the fronts' built-in rules for
	// Holdline: nginx-http.conf (http level), nginx.conf (server level),
	// apache-server.conf (outside the virtual host), apache.conf (inside).
	Rules string
	// Plugin is the folder of another chat plugin.
	Plugin string
}

// Site is a site that is up. Its methods may be called concurrently, Configure and
// Down excepted.
type Site struct {
	Dir string
	// URL is the site's own, nginx; ApacheURL is the same WordPress behind Apache.
	URL, ApacheURL string
	// UpstreamURL is PHP without Holdline in the path: wordpress.upstream.
	UpstreamURL string
	// NginxInnerPort and ApacheInnerPort are free: Rules may listen there on 127.0.0.1.
	NginxInnerPort, ApacheInnerPort string
	// Config is the path of wp-config.php; Root the folder it is in.
	Config, Root string
	// FPMSocket is where PHP-FPM takes FastCGI.
	FPMSocket string
	// Socket is MariaDB's; Database the name of WordPress's database.
	Socket, Database string
	// HoldlineUser may SELECT in Database and nothing else.
	HoldlineUser, HoldlinePassword string

	script    string
	temporary bool
	statusURL string
	db        *sql.DB
	client    *http.Client
}

// Up installs the site where Dir has none, and starts it. It takes some seconds,
// and more when Debian packages have to be installed first. The site goes down with
// Down, or by itself soon after this process has ended. The file testdata/site/site.sh
// is looked for in the folders above the current one, where a test runs.
func Up(ctx context.Context, opts Options) (*Site, error) {
	script, err := findScript()
	if err != nil {
		return nil, err
	}
	s := &Site{Dir: opts.Dir, script: script, client: &http.Client{Transport: &http.Transport{}}}
	if s.Dir == "" {
		s.temporary = true
		if s.Dir, err = os.MkdirTemp("", "hlsite"); err != nil {
			return nil, fmt.Errorf("make a folder for the test site: %w", err)
		}
	}
	if err := s.Configure(ctx, opts); err != nil {
		return nil, errors.Join(err, s.Down())
	}
	return s, nil
}

func findScript() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the test site's script: %w", err)
	}
	for {
		path := filepath.Join(dir, "testdata", "site", "site.sh")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the test site's script: no testdata/site/site.sh in this folder or above")
		}
		dir = filepath.Dir(dir)
	}
}

// Configure applies other options to the running site and restarts the servers that
// they concern. Dir stays; an empty Holdline takes it out of the path.
func (s *Site) Configure(ctx context.Context, opts Options) error {
	args := []string{
		"up", s.Dir, "--owner", strconv.Itoa(os.Getpid()),
		"--holdline", opts.Holdline, "--secret", opts.Secret, "--rules", opts.Rules,
	}
	if opts.Children > 0 {
		args = append(args, "--children", strconv.Itoa(opts.Children))
	}
	if opts.Plugin != "" {
		args = append(args, "--plugin", opts.Plugin)
	}
	if _, err := s.run(ctx, args...); err != nil {
		return fmt.Errorf("bring up the test site: %w", err)
	}
	return s.readEnv(ctx)
}

// run runs the script and returns what it printed. Its complaint is the error's text.
func (s *Site) run(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.script, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func (s *Site) readEnv(ctx context.Context) error {
	out, err := s.run(ctx, "env", s.Dir)
	if err != nil {
		return fmt.Errorf("read the test site's settings: %w", err)
	}
	env := parseEnv(out)
	s.URL, s.ApacheURL, s.UpstreamURL = env["URL"], env["APACHE_URL"], env["UPSTREAM_URL"]
	s.NginxInnerPort, s.ApacheInnerPort = env["NGINX_INNER_PORT"], env["APACHE_INNER_PORT"]
	s.Config, s.Root, s.FPMSocket = env["WP_CONFIG"], filepath.Dir(env["WP_CONFIG"]), env["FPM_SOCKET"]
	s.statusURL = env["FPM_STATUS_URL"]
	s.Socket, s.Database = env["DB_SOCKET"], env["DB_NAME"]
	s.HoldlineUser, s.HoldlinePassword = env["HOLDLINE_DB_USER"], env["HOLDLINE_DB_PASSWORD"]
	if s.db == nil {
		s.db, err = s.OpenAs(env["DB_USER"], env["DB_PASSWORD"])
	}
	return err
}

// parseEnv reads the lines NAME=value that a shell could read too.
func parseEnv(text string) map[string]string {
	env := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok && !strings.HasPrefix(name, "#") {
			env[name] = strings.NewReplacer("'", "", `\`, "").Replace(value)
		}
	}
	return env
}

// OpenAs connects to the database as another of its users. The caller closes the pool.
func (s *Site) OpenAs(user, password string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = user, password, "unix", s.Socket, s.Database
	cfg.MultiStatements = true
	cfg.Logger = &mysql.NopLogger{} // its caller has the errors
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the test site's database: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// DB is WordPress's own access to its database, to write as PHP does. Down closes it.
func (s *Site) DB() *sql.DB { return s.db }

// Kill ends one of the site's servers at once with all its children, as a crash would
// (SIGKILL), and waits for it: mariadbd, php-fpm, nginx or apache2. Start starts it again.
func (s *Site) Kill(ctx context.Context, server string) error {
	text, err := os.ReadFile(filepath.Join(s.Dir, "run", server+".pid"))
	if err != nil {
		return fmt.Errorf("kill %s: %w", server, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("kill %s: %w", server, err)
	}
	// Each is the first of a process group of its own, and children that outlive it would
	// go on answering.
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", server, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("kill %s: %w", server, ctx.Err())
		}
	}
	return nil
}

// Start starts servers that Kill has ended, and returns when they answer.
func (s *Site) Start(ctx context.Context, servers ...string) error {
	if _, err := s.run(ctx, append([]string{"start", s.Dir}, servers...)...); err != nil {
		return fmt.Errorf("start %s: %w", strings.Join(servers, " and "), err)
	}
	return nil
}

// Login logs a user in through wp-login.php and returns the value of the header
// Cookie. There are the agents admin and agent1, and subscriber1.
func (s *Site) Login(ctx context.Context, user string) (cookie string, err error) {
	out, err := s.run(ctx, "login", s.Dir, user)
	if err != nil {
		return "", fmt.Errorf("log %s in: %w", user, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(out, "Cookie: ")), nil
}

// PHP runs code, which begins with <?php, inside WordPress and returns its output.
func (s *Site) PHP(ctx context.Context, code string, args ...string) (string, error) {
	file, err := os.CreateTemp(s.Dir, "*.php")
	if err != nil {
		return "", fmt.Errorf("run PHP in the test site: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(code)
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("run PHP in the test site: %w", err)
	}
	out, err := s.run(ctx, append([]string{"php", s.Dir, file.Name()}, args...)...)
	if err != nil {
		return "", fmt.Errorf("run PHP in the test site: %w", err)
	}
	return out, nil
}

// BusyWorkers is how many of PHP-FPM's workers have a request now. It asks none of them.
func (s *Site) BusyWorkers(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.statusURL, nil)
	if err != nil {
		return 0, fmt.Errorf("ask PHP-FPM's status page: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask PHP-FPM's status page: %w", err)
	}
	defer resp.Body.Close()
	var page struct {
		Active int `json:"active processes"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&page); err != nil {
		return 0, fmt.Errorf("read PHP-FPM's status page (%s): %w", resp.Status, err)
	}
	return page.Active, nil
}

// Down ends every process of the site and waits for it. The folder goes too when Up
// made it.
func (s *Site) Down() error {
	s.client.CloseIdleConnections()
	if s.db != nil {
		s.db.Close()
	}
	// The caller's context may be over; the servers have to end all the same.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.run(ctx, "down", s.Dir); err != nil {
		return fmt.Errorf("bring the test site down: %w", err)
	}
	if s.temporary {
		return os.RemoveAll(s.Dir)
	}
	return nil
}
