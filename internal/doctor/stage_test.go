package doctor_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/doctor"
	"holdline/internal/freeport"
	"holdline/wpdb"
)

const password = "pass-word-of-the-database-user"

// stage is a site that is well: MariaDB with WordPress's tables, PHP with the
// companion plugin, a Holdline, and nginx before it with one door for each way of
// being set up.
type stage struct {
	t        *testing.T
	dir      string
	database string
	root     *sql.DB
	conf     string // wp-config.php
	php      string // host:port
	listen   string
	admin    string
	doors    map[string]string // host:port of nginx, by what is wrong with it
}

// doors of nginx: what is added to a rule, in the place of what is right.
const (
	proxied   = "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_read_timeout 75s;"
	upgrading = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgraded;"
	telling   = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
)

func doorRules() map[string]string {
	return map[string]string{
		"right": proxied + upgrading + telling + "proxy_buffering off;",
		// What comes by HTTP/1.1 in chunks, nginx passes on even so.
		"buffering":  strings.Replace(proxied, "1.1", "1.0", 1) + telling + "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
		"no upgrade": proxied + telling + "proxy_buffering off;",
		"silent":     proxied + upgrading + "proxy_buffering off;",
		"impatient":  strings.Replace(proxied, "75s", "2s", 1) + upgrading + telling + "proxy_buffering off;",
		"lost":       "return 404;",
	}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	free, err := freeport.Addresses(3 + len(doorRules()))
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, dir: t.TempDir(), listen: free[0], admin: free[1], php: free[2], doors: map[string]string{}}
	for name := range doorRules() {
		s.doors[name] = free[3+len(s.doors)]
	}
	s.database, s.root = server.Database(t, s.schema())
	s.conf = s.writeConfig("wp-config.php", "secret phrase")
	s.grant("holdline", wpdb.MinimalGrants("wp_", s.database, "holdline", []string{"wp_wplc_chat_msgs", "wp_wplc_chat_sessions"})...)
	s.startPHP()
	s.startNginx()
	s.startHoldline()
	return s
}

func (s *stage) schema() string {
	s.t.Helper()
	text := ""
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "schema", file))
		if err != nil {
			s.t.Fatal(err)
		}
		text += string(b)
	}
	url := "http://" + s.doors["right"]
	return text + fmt.Sprintf("INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', '%[1]s'), ('home', '%[1]s'), ('timezone_string', 'Europe/Helsinki');", url)
}

// keyOf is one of the eight phrases of a site.
func keyOf(name, phrase string) string { return strings.Repeat(phrase+" ", 3) + name }

func (s *stage) writeConfig(name, phrase string) string {
	s.t.Helper()
	text := fmt.Sprintf("<?php\ndefine('DB_NAME', '%s');\ndefine('DB_USER', 'wordpress');\ndefine('DB_PASSWORD', 'x');\ndefine('DB_HOST', 'localhost:%s');\n$table_prefix = 'wp_';\n",
		s.database, server.Socket())
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		for _, part := range []string{"_KEY", "_SALT"} {
			text += fmt.Sprintf("define('%s', '%s');\n", scheme+part, keyOf(scheme+part, phrase))
		}
	}
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// grant makes a user with these rights alone. The server is shared: its name has
// the database's.
func (s *stage) grant(user string, grants ...string) {
	s.t.Helper()
	statements := []string{fmt.Sprintf("CREATE USER '%s'@'localhost' IDENTIFIED BY '%s'", user, password)}
	for _, q := range append(statements, grants...) {
		s.exec(q)
	}
	s.t.Cleanup(func() { s.exec("DROP USER '" + user + "'@'localhost'") })
}

func (s *stage) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.root.ExecContext(context.Background(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// config is what Holdline and its doctor are told.
func (s *stage) config(args ...string) config.Config {
	s.t.Helper()
	cfg, err := config.Load(append([]string{
		"--listen=" + s.listen, "--admin-listen=" + s.admin, "--heartbeat=4s", "--limits-connections=1000",
		"--wordpress-config=" + s.conf, "--wordpress-upstream=http://" + s.php,
		"--database-user=holdline", "--database-password=" + password, "--state-dir=" + filepath.Join(s.dir, "state"),
	}, args...), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// options are an examination of this stage with other settings.
func (s *stage) options(args ...string) doctor.Options {
	s.t.Helper()
	cfg := s.config(args...)
	wp, err := gateway.ReadWordPress(&cfg)
	return doctor.Options{
		Config: cfg, WordPress: wp, WordPressErr: err, Quick: true,
		Root: fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:        8000000 kB\n")}},
	}
}

func (s *stage) startHoldline() {
	s.t.Helper()
	cfg := s.config()
	wp, err := gateway.ReadWordPress(&cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{Config: cfg, WordPress: wp, Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := g.Listen(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); ; {
		a, err := client.Get("http://" + s.admin + "/readyz")
		if err == nil {
			a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("Holdline is not ready: %v", err)
		}
	}
}

func (s *stage) startPHP() {
	s.t.Helper()
	cmd := exec.Command("php", "-d", "display_errors=stderr", "-S", s.php, "testdata/wordpress.php")
	cmd.Env = append(os.Environ(), "SITE_CONFIG="+s.conf)
	s.start(cmd, regexp.MustCompile(`\) started`))
}

func (s *stage) startNginx() {
	s.t.Helper()
	if err := os.Chmod(s.dir, 0o755); err != nil { // its workers are nobody
		s.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "daemon off; pid %[1]s/pid; error_log stderr notice; events {}\nhttp { access_log off;\n", s.dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", kind, s.dir, kind)
	}
	b.WriteString("map $http_upgrade $upgraded { default close; websocket upgrade; }\n")
	pass := "proxy_pass http://" + s.listen + "; "
	for name, rule := range doorRules() {
		if rule != "return 404;" {
			rule = pass + rule
		}
		fmt.Fprintf(&b, "server { listen %s; location /holdline/v1/ { %s }\n", s.doors[name], rule)
		if name == "buffering" {
			fmt.Fprintf(&b, "location = /holdline/v1/ws { %s }\n", pass+doorRules()["right"])
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	path := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // which few users have on their PATH
	}
	s.start(exec.Command(program, "-c", path), regexp.MustCompile("start worker process"))
}

// start runs a program until the test ends, and returns when its log says that it
// is ready.
func (s *stage) start(cmd *exec.Cmd, ready *regexp.Regexp) {
	s.t.Helper()
	log, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("this test needs %s; .ci/install has the package: %v", cmd.Path, err)
	}
	lines := bufio.NewReader(log)
	for said := ""; ; {
		line, err := lines.ReadString('\n')
		said += line
		if err != nil {
			s.t.Fatalf("%s did not start: %v\n%s", cmd.Path, errors.Join(err, cmd.Wait()), said)
		}
		if ready.MatchString(line) {
			break
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, lines) // ends with the process
	}()
	s.t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			s.t.Errorf("stop %s: %v", cmd.Path, err)
		}
		<-ended
		cmd.Wait() // it was interrupted
	})
}

// login makes the cookie of a user who logged in to a site with the phrase
// (wp_generate_auth_cookie, wp-includes/pluggable.php).
func (s *stage) login(phrase string) string {
	s.t.Helper()
	const user, token, pass = "anna", "token-of-a-browser-that-is-logged-in", "$P$BabcdefghijklmnopQRSTUVWXYZ.01"
	expires := time.Now().Add(24 * time.Hour).Unix()
	sum := sha256.Sum256([]byte(token))
	session := fmt.Sprintf(`a:1:{s:64:"%s";a:2:{s:10:"expiration";i:%d;s:5:"login";i:1;}}`, hex.EncodeToString(sum[:]), expires)
	s.exec("REPLACE INTO wp_users (ID, user_login, user_pass) VALUES (7, ?, ?)", user, pass)
	s.exec("DELETE FROM wp_usermeta WHERE user_id = 7")
	s.exec("INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (7, 'session_tokens', ?)", session)
	mac := func(h func() hash.Hash, key, text string) string {
		m := hmac.New(h, []byte(key))
		m.Write([]byte(text))
		return hex.EncodeToString(m.Sum(nil))
	}
	salt := keyOf("LOGGED_IN_KEY", phrase) + keyOf("LOGGED_IN_SALT", phrase)
	key := mac(md5.New, salt, fmt.Sprintf("%s|%s|%d|%s", user, pass[8:12], expires, token))
	signed := mac(sha256.New, key, fmt.Sprintf("%s|%d|%s", user, expires, token))
	name := md5.Sum([]byte("http://" + s.doors["right"]))
	return fmt.Sprintf("wordpress_logged_in_%s=%s%%7C%d%%7C%s%%7C%s", hex.EncodeToString(name[:]), user, expires, token, signed)
}

// stable is a transcript without what differs from run to run.
func (s *stage) stable(text string) string {
	pairs := []string{s.dir, "/site", server.Socket(), "/run/mysqld/mysqld.sock", s.php, "127.0.0.1:8080", s.listen, "127.0.0.1:8787", s.admin, "127.0.0.1:8788"}
	for name, address := range s.doors {
		pairs = append(pairs, address, strings.ReplaceAll(name, " ", "-")+".example")
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	for _, p := range []struct{ pattern, with string }{
		{`\b` + s.database + `\b`, "wordpress"},
		{`[0-9.]+ ms`, "N ms"},
		{`wordpress_logged_in_[0-9a-f]+`, "wordpress_logged_in_HASH"},
		{`MariaDB [0-9.]+`, "MariaDB N"},
		{`user [0-9]+$`, "user N"},
		{`in time zone \w+`, "in time zone SYSTEM"},
		{`may open \d{4,} files, which is room for \d+`, "may open N files, which is room for N"},
	} {
		text = regexp.MustCompile("(?m)"+p.pattern).ReplaceAllString(text, p.with)
	}
	return text
}
