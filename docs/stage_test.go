//go:build linux

package docs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/config"
	"holdline/e2e/backstage"
	"holdline/gateway"
	"holdline/internal/mariadb/mariadbtest"
	"holdline/internal/token"
)

var (
	server  *mariadbtest.Instance // the one MariaDB of these tests
	program string                // the built holdline
)

func TestMain(m *testing.M) { os.Exit(backstage.Main(m, &server, &program, nil)) }

// stage is a machine as a page takes it for granted: WordPress's folder and
// database, and nothing of Holdline's but the program.
type stage struct {
	*testing.T
	dir    string // stands for /
	home   string
	listen string // of Holdline
	admin  string
	front  string // the site's address, with Holdline behind it
	keys   token.Keys
	words  *strings.Replacer
	env    []string

	running *backstage.Process // Holdline in the background

	mu      sync.Mutex
	reports []string // of a page in a browser
	page    string   // that the site shows
}

// newStage makes a stage with the tables of WordPress and the chat plugin.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, dir: t.TempDir(), listen: backstage.FreeAddress(t), admin: backstage.FreeAddress(t)}
	s.home = filepath.Join(s.dir, "home")
	site := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(site.Close)
	s.front = site.URL
	s.words = strings.NewReplacer(
		"/var/www/html", s.dir+"/var/www/html", "/etc/", s.dir+"/etc/", "/var/lib/", s.dir+"/var/lib/", "/home/you/", s.home+"/",
		"https://example.com", s.front, "https://your.site", s.front,
		"127.0.0.1:8787", s.listen, "127.0.0.1:8788", s.admin, "127.0.0.1:8080", backstage.FreeAddress(t),
	)
	for _, dir := range []string{
		"home/bin", "var/www/html/wp-content/mu-plugins", "var/lib",
		"etc/holdline", "etc/systemd/system", "etc/nginx/conf.d", "etc/nginx/snippets", "etc/apache2/conf-available", "etc/apache2/sites-available",
	} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.put("var/www/html/wp-config.php", s.wpConfig())
	s.keys = s.siteKeys()
	s.fillDatabase()
	s.env = append(os.Environ(),
		"HOME="+s.home, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "STATE_DIRECTORY=", "XDG_STATE_HOME=",
		// Ports that are free, whatever a page says.
		"HOLDLINE_LISTEN="+s.listen, "HOLDLINE_ADMIN_LISTEN="+s.admin,
	)
	return s
}

// put writes a file of the stage.
func (s *stage) put(name, text string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) wpConfig() string {
	var b strings.Builder
	b.WriteString("<?php\n")
	for _, line := range [][2]string{
		{"DB_NAME", "wordpress"}, {"DB_USER", "wp"}, {"DB_PASSWORD", "wp"}, {"DB_HOST", "localhost:" + server.Socket()}, {"DB_CHARSET", "utf8mb4"},
	} {
		fmt.Fprintf(&b, "define( '%s', '%s' );\n", line[0], line[1])
	}
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		for _, part := range []string{"KEY", "SALT"} {
			fmt.Fprintf(&b, "define( '%s_%s', '%s' );\n", scheme, part, strings.Repeat(scheme[:1], 64))
		}
	}
	b.WriteString("$table_prefix = 'wp_';\n")
	return b.String()
}

// siteKeys are what Holdline makes of the site's own.
func (s *stage) siteKeys() token.Keys {
	s.Helper()
	cfg, err := config.Load([]string{"--wordpress-config=" + s.dir + "/var/www/html/wp-config.php"}, nil)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := gateway.ReadWordPress(&cfg); err != nil {
		s.Fatal(err)
	}
	return token.Keys{Secret: []byte(cfg.Auth.Secret.Reveal())}
}

// fillDatabase makes the database of a site with chat 42, anew.
func (s *stage) fillDatabase() {
	s.Helper()
	s.sql("", `DROP DATABASE IF EXISTS wordpress; CREATE DATABASE wordpress CHARACTER SET utf8mb4;
		DROP USER IF EXISTS holdline@localhost, wp@localhost, holdline@'203.0.113.7';
		CREATE USER wp@localhost IDENTIFIED BY 'wp'; GRANT ALL ON wordpress.* TO wp@localhost`)
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		text, err := os.ReadFile(filepath.Join("../testdata/schema", file))
		if err != nil {
			s.Fatal(err)
		}
		s.sql("wordpress", string(text))
	}
	s.sql("wordpress", fmt.Sprintf(`INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', '%[1]s'), ('home', '%[1]s');
		INSERT INTO wp_wplc_chat_sessions (id, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
		VALUES (42, NOW(), 'Ann', 'ann@example.com', '', 3, '1', '', NOW(), 0, '', '')`, s.front))
}

func (s *stage) sql(database, statements string) {
	s.Helper()
	if err := server.Exec(s.Context(), database, statements); err != nil {
		s.Fatal(err)
	}
}

// say writes a row of the agent into chat 42.
func (s *stage) say(text string) {
	s.Helper()
	s.sql("wordpress", fmt.Sprintf(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (42, 'Admin', '%s', NOW(), 0, 1, '', '', 0, 0)`, text))
}

// command is a shell's, in the stage's folder.
func (s *stage) command(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.words.Replace(text))
	cmd.Dir, cmd.Env = s.home, s.env
	return cmd
}

// sh runs a text as a shell does and returns what it prints.
func (s *stage) sh(what, text string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	defer cancel()
	out, err := s.command(ctx, text).CombinedOutput()
	if err != nil {
		s.Fatalf("%s: %v\n%s\n%s", what, err, text, out)
	}
	return string(out)
}

// serve is the site: a page, and Holdline behind its own path.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/holdline/v1/"):
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.listen})
		proxy.FlushInterval = -1
		proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
		proxy.ServeHTTP(w, r)
	case r.URL.Path == "/report":
		text := make([]byte, 1<<16)
		n, _ := r.Body.Read(text)
		s.mu.Lock()
		s.reports = append(s.reports, string(text[:n]))
		s.mu.Unlock()
	case r.URL.Path == "/":
		binding, err := s.keys.Sign(token.Binding{Channels: []string{"wplc/42"}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			panic(err)
		}
		http.SetCookie(w, &http.Cookie{Name: token.BindingCookie, Value: binding, HttpOnly: true, Path: "/"})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, s.page)
	case r.URL.Path == "/jquery.js":
		http.ServeFile(w, r, "/usr/share/wordpress/wp-includes/js/jquery/jquery.min.js")
	default:
		http.NotFound(w, r)
	}
}

// reported tells whether the page has said something with such a text in it.
func (s *stage) reported(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.reports, "\n"), part)
}

// serveHoldline runs Holdline until the test ends.
func (s *stage) serveHoldline(command string) {
	s.Helper()
	s.endHoldline()
	s.running = backstage.Start(s, s.command(context.Background(), "exec "+strings.TrimSpace(command)))
	backstage.AwaitReady(s, s.admin)
}

// endHoldline ends it, if it runs, and its successors.
func (s *stage) endHoldline() {
	s.Helper()
	if s.running != nil {
		s.running.Kill(s)
	}
	s.running = nil
}
