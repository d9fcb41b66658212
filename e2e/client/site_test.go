//go:build e2e

package client

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdline/e2e/backstage"
)

// site is a WordPress database with chat tables, the program before it, and an
// nginx before that with several ways in.
type site struct {
	t       *testing.T
	db      *sql.DB // root's
	env     []string
	admin   string
	dir     string            // nginx's
	fronts  map[string]string // by name: the origin
	cables  map[string]*cable
	process *backstage.Process
}

// in is the same site for another test.
func (s *site) in(t *testing.T) *site {
	other := *s
	other.t = t
	return &other
}

// insecure is a name for this machine that no browser takes for a secure context.
const insecure = "chat.example.test"

// newSite starts all of it. env is added to the program's environment.
func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	var schema []byte
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		schema = append(schema, b...)
	}
	name, db := database.Database(t, string(schema))
	user := database.ReadOnlyUser(t, name)
	s := &site{t: t, db: db, admin: backstage.FreeAddress(t), fronts: map[string]string{}, cables: map[string]*cable{}}
	s.exec("INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', 'http://site.example.test'), ('home', 'http://site.example.test')")
	listen := backstage.FreeAddress(t)
	origins := s.runNginx(listen)
	s.env = append([]string{
		"HOLDLINE_LISTEN=" + listen, "HOLDLINE_ADMIN_LISTEN=" + s.admin,
		"HOLDLINE_DATABASE_ADDRESS=" + database.Socket(), "HOLDLINE_DATABASE_NAME=" + name,
		"HOLDLINE_DATABASE_USER=" + user, "HOLDLINE_DATABASE_PASSWORD=" + user,
		"HOLDLINE_AUTH_SECRET=0123456789abcdef0123456789abcdef",
		"HOLDLINE_AUTH_ALLOWED_ORIGINS=" + strings.Join(origins, ","),
		"HOLDLINE_TAIL_INTERVAL=10ms",
	}, env...)
	s.startProgram()
	return s
}

// startProgram starts the program and waits until it is ready.
func (s *site) startProgram() {
	s.t.Helper()
	s.process = backstage.Serve(s.t, program, s.admin, s.env)
}

// held is the number of connections that the program says it holds.
func (s *site) held() int { return s.metric("holdline_connections_held") }

// metric is one of the program's counts: 0 before it has counted.
func (s *site) metric(name string) int {
	s.t.Helper()
	n, _ := backstage.Metric(s.t, s.admin, name)
	return int(n)
}

// token has the program mint a token for channels.
func (s *site) token(channels ...string) string {
	s.t.Helper()
	return s.mint("e2e", channels...)
}

// mint is token for somebody; wp:1 is a user of WordPress.
func (s *site) mint(subject string, channels ...string) string {
	s.t.Helper()
	cmd := exec.Command(program, "token", "--channels", strings.Join(channels, ","), "--ttl", "1h", "--sub", subject)
	cmd.Env = s.env
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatal("mint a token:", err)
	}
	return strings.TrimSpace(string(out))
}

func (s *site) exec(query string, args ...any) sql.Result {
	s.t.Helper()
	res, err := s.db.ExecContext(context.Background(), query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// chat inserts an active session and returns its id and channel.
func (s *site) chat() (id int64, channel string) {
	s.t.Helper()
	id, err := s.exec(`INSERT INTO wp_wplc_chat_sessions (timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
		VALUES (NOW(), 'Ann', 'ann@example.com', '', 3, '1', '', NOW(), 0, '', '')`).LastInsertId()
	if err != nil {
		s.t.Fatal(err)
	}
	return id, fmt.Sprintf("wplc/%d", id)
}

// say inserts n messages, one transaction each, and returns their ids.
func (s *site) say(chat int64, n int) []int64 {
	s.t.Helper()
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = s.write(chat, fmt.Sprintf("message %d", i))
	}
	return ids
}

// write inserts one message.
func (s *site) write(chat int64, text string) int64 {
	s.t.Helper()
	id, err := s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, 'Admin', ?, '2026-03-19 10:30:00', 0, 1, '', '', 0, 0)`, chat, text).LastInsertId()
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}
