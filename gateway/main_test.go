package gateway_test

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/mariadb/mariadbtest"
	"holdline/internal/token"
	"holdline/internal/wpconfig"
)

// server is the one MariaDB of this package's tests.
var server *mariadbtest.Instance

func TestMain(m *testing.M) { os.Exit(mariadbtest.Main(m, &server, nil)) }

const (
	siteURL = "http://chat.example.test"
	secret  = "0123456789abcdef0123456789abcdef"
)

// salts are the constants of the site's wp-config.php.
func salts() map[string]any {
	m := make(map[string]any)
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		m[scheme+"_KEY"], m[scheme+"_SALT"] = "key of "+scheme, "salt of "+scheme
	}
	return m
}

// site is a WordPress with the chat plugin's tables, and a gateway before it.
type site struct {
	tb   testing.TB
	db   *sql.DB // root's
	name string
	opt  gateway.Options
	gw   *gateway.Gateway
	base string // URL of the gateway with its base path
	// client is what the transports' clients use.
	client *http.Client
	// rewire changes the gateway's backend; nil for nothing.
	rewire func(*gateway.Backend)
	stop   func() // ends the gateway, once
}

// site options.
type option func(*gateway.Options)

func with(change func(*config.Config)) option {
	return func(o *gateway.Options) { change(&o.Config) }
}

func portable(o *gateway.Options) { o.Portable = true }

// newSite starts a gateway on a database of the test's own and stops it after
// the test. The gateway's database user may only SELECT.
func newSite(tb testing.TB, options ...option) *site {
	tb.Helper()
	s := prepareSite(tb, options...)
	s.start()
	s.awaitReady()
	return s
}

// prepareSite is newSite without the start.
func prepareSite(tb testing.TB, options ...option) *site {
	tb.Helper()
	var schema []byte
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		b, err := os.ReadFile(filepath.Join("..", "testdata", "schema", file))
		if err != nil {
			tb.Fatal(err)
		}
		schema = append(schema, b...)
	}
	s := &site{tb: tb, client: httpClient}
	s.name, s.db = server.Database(tb, string(schema))
	s.exec("INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', ?), ('home', ?), ('timezone_string', 'Europe/Helsinki')", siteURL, siteURL)
	cfg, err := config.Load([]string{"--listen=127.0.0.1:0", "--admin-listen=localhost:0"}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	user := server.ReadOnlyUser(tb, s.name)
	cfg.Database.Address, cfg.Database.Name = server.Socket(), s.name
	cfg.Database.User, cfg.Database.Password = user, config.NewSecret(user)
	cfg.Auth.Secret = config.NewSecret(secret)
	cfg.Tail.Interval = 10 * time.Millisecond
	cfg.StateDir = tb.TempDir()
	opt := gateway.Options{Config: cfg, Version: "test", WordPress: &wpconfig.Config{Constants: salts()}}
	if testing.Verbose() {
		opt.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	for _, o := range options {
		o(&opt)
	}
	s.opt = opt
	return s
}

// start runs a gateway until stop is called or the test ends.
func (s *site) start() {
	s.tb.Helper()
	opt := s.opt
	gw, err := gateway.New(opt)
	if err != nil {
		s.tb.Fatal(err)
	}
	if s.rewire != nil {
		gw.Rewire(s.rewire)
	}
	if err := gw.Listen(); err != nil {
		s.tb.Fatal(err)
	}
	scheme := "http://"
	if opt.Config.TLS.On() {
		scheme = "https://"
	}
	s.gw, s.base = gw, scheme+gw.Addr().String()+opt.Config.BasePath
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- gw.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			s.tb.Error("the gateway ended with", err)
		}
	})
	s.tb.Cleanup(s.stop)
}

// awaitReady polls /readyz as a supervisor would.
func (s *site) awaitReady() {
	s.tb.Helper()
	s.await(s.tb, "the gateway is ready", func() bool {
		resp, err := http.Get("http://" + s.gw.AdminAddr().String() + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *site) exec(query string, args ...any) sql.Result {
	s.tb.Helper()
	res, err := s.db.ExecContext(context.Background(), query, args...)
	if err != nil {
		s.tb.Fatal(err)
	}
	return res
}

// chat inserts a session with a status and returns its id.
func (s *site) chat(status int) int64 {
	s.tb.Helper()
	id, err := s.exec(`INSERT INTO wp_wplc_chat_sessions (timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
		VALUES (NOW(), 'Ann', 'ann@example.com', '', ?, '1', '', NOW(), 0, '', '')`, status).LastInsertId()
	if err != nil {
		s.tb.Fatal(err)
	}
	return id
}

// say inserts a message of the agent and returns its id.
func (s *site) say(chat int64, text string) int64 {
	s.tb.Helper()
	id, err := s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, 'Admin', ?, '2026-03-19 10:30:00', 0, 1, '', '', 0, 0)`, chat, text).LastInsertId()
	if err != nil {
		s.tb.Fatal(err)
	}
	return id
}

// token mints one for channels.
func (s *site) token(channels ...string) string {
	s.tb.Helper()
	text, err := token.Keys{Secret: []byte(secret)}.Mint(token.Claims{
		Subject: "test", Channels: channels, Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	return text
}

// login makes a WordPress user with a live session and returns its cookie.
func (s *site) login(login string, agent bool) *http.Cookie {
	return s.loginUntil(login, agent, time.Now().Add(48*time.Hour))
}

// loginUntil returns the cookie that WordPress would have set
// (wp-includes/pluggable.php, wp_generate_auth_cookie).
func (s *site) loginUntil(login string, agent bool, end time.Time) *http.Cookie {
	s.tb.Helper()
	const pass = "$P$BXWvNuw0VJzBuWdPq10jP.0cZo7IXk."
	id, err := s.exec("INSERT INTO wp_users (user_login, user_pass, user_nicename, display_name) VALUES (?, ?, ?, ?)", login, pass, login, login).LastInsertId()
	if err != nil {
		s.tb.Fatal(err)
	}
	tok := strings.Repeat("t", 43)
	expires := end.Unix()
	verifier := sha256.Sum256([]byte(tok))
	s.exec("INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (?, 'session_tokens', ?)", id,
		fmt.Sprintf(`a:1:{s:64:"%x";a:1:{s:10:"expiration";i:%d;}}`, verifier, expires))
	if agent {
		s.exec("INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (?, 'wplc_ma_agent', '1')", id)
	}
	sum := func(h func() hash.Hash, key, text string) string {
		m := hmac.New(h, []byte(key))
		m.Write([]byte(text))
		return hex.EncodeToString(m.Sum(nil))
	}
	key := sum(md5.New, "key of LOGGED_INsalt of LOGGED_IN", fmt.Sprintf("%s|%s|%d|%s", login, pass[8:12], expires, tok))
	value := fmt.Sprintf("%s|%d|%s|%s", login, expires, tok, sum(sha256.New, key, fmt.Sprintf("%s|%d|%s", login, expires, tok)))
	return &http.Cookie{
		Name:  fmt.Sprintf("wordpress_logged_in_%x", md5.Sum([]byte(siteURL))),
		Value: url.QueryEscape(value),
	}
}
