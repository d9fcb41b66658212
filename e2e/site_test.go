//go:build e2e

package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdline/e2e/backstage"
)

// site is a WordPress database with chat tables, and the program before it.
type site struct {
	t       *testing.T
	db      *sql.DB // root's
	env     []string
	listen  string // the same after every restart
	admin   string
	process *backstage.Process
}

// newSite starts the program on a database of the test's own. Pages of the
// origins may connect; env is added to the program's environment.
func newSite(t *testing.T, origins []string, env ...string) *site {
	t.Helper()
	var schema []byte
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		b, err := os.ReadFile(filepath.Join("..", "testdata", "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		schema = append(schema, b...)
	}
	name, db := database.Database(t, string(schema))
	user := database.ReadOnlyUser(t, name)
	s := &site{t: t, db: db, listen: backstage.FreeAddress(t), admin: backstage.FreeAddress(t)}
	s.exec("INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', 'http://chat.example.test'), ('home', 'http://chat.example.test')")
	s.env = append([]string{
		"HOLDLINE_LISTEN=" + s.listen, "HOLDLINE_ADMIN_LISTEN=" + s.admin,
		"HOLDLINE_DATABASE_ADDRESS=" + database.Socket(), "HOLDLINE_DATABASE_NAME=" + name,
		"HOLDLINE_DATABASE_USER=" + user, "HOLDLINE_DATABASE_PASSWORD=" + user,
		"HOLDLINE_AUTH_SECRET=0123456789abcdef0123456789abcdef",
		"HOLDLINE_AUTH_ALLOWED_ORIGINS=" + strings.Join(origins, ","),
		"HOLDLINE_TAIL_INTERVAL=10ms",
	}, env...)
	s.start()
	backstage.AwaitReady(t, s.admin)
	return s
}

// command is the built program with the site's configuration.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = s.env
	return cmd
}

func (s *site) start() {
	s.t.Helper()
	s.process = backstage.Start(s.t, s.command("serve"))
}

// kill ends the program without a good-bye to anybody.
func (s *site) kill() {
	s.t.Helper()
	s.process.Kill(s.t)
}

// held is the number of connections that the program says it holds.
func (s *site) held() int {
	s.t.Helper()
	held, ok := backstage.Metric(s.t, s.admin, "holdline_connections_held")
	if !ok {
		s.t.Fatal("no holdline_connections_held among the metrics")
	}
	return int(held)
}

// token has the program mint a token for a channel.
func (s *site) token(channel string) string {
	s.t.Helper()
	out, err := s.command("token", "--channels", channel, "--ttl", "1h", "--sub", "e2e").Output()
	if err != nil {
		s.t.Fatal("mint a token:", err)
	}
	return strings.TrimSpace(string(out))
}

// endpoint is the URL of a transport at an address: the program's own or that
// of something in front of it.
func endpoint(scheme, address, transport, channel, token string) string {
	q := url.Values{"channels": {channel}, "token": {token}}
	return scheme + "://" + address + "/holdline/v1/" + transport + "?" + q.Encode()
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
		id, err := s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
			VALUES (?, 'Admin', ?, '2026-03-19 10:30:00', 0, 1, '', '', 0, 0)`, chat, fmt.Sprintf("message %d", i)).LastInsertId()
		if err != nil {
			s.t.Fatal(err)
		}
		ids[i] = id
	}
	return ids
}
