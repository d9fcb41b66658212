package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdline/config"
	"holdline/internal/token"
)

// quickRecheck is the shortest that the configuration allows.
var quickRecheck = with(func(c *config.Config) { c.Auth.Recheck = 100 * time.Millisecond })

func TestLogoutClosesWhatIsHeld(t *testing.T) {
	s := newSite(t, quickRecheck)
	// A chat each: on one of both, a poll would be answered with who is there.
	channel, other := fmt.Sprintf("wplc/%d", s.chat(3)), fmt.Sprintf("wplc/%d", s.chat(3))
	s.say(1, "one")
	leaver, stayer := s.login("leaver", true), s.login("stayer", true)
	var leaving, staying []*held
	for _, transport := range transportNames {
		leaving = append(leaving, s.hold(t, transport, channel, home, cookie(leaver)))
		staying = append(staying, s.hold(t, transport, other, home, cookie(stayer)))
	}
	s.exec("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens' AND user_id = (SELECT ID FROM wp_users WHERE user_login = 'leaver')")
	for i, transport := range transportNames {
		text := leaving[i].wait(t)
		if transport == "ws" && !strings.Contains(text, "\x0f\xa9login or token is no longer valid") { // 4009
			t.Errorf("ws: no close frame with the reason in %q", text)
		}
		if a := s.knock(t, transport, channel, home, cookie(leaver)); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: comes back with %s", transport, a.Status)
		}
	}
	for i, transport := range transportNames {
		if staying[i].isOver() {
			t.Errorf("%s: another user's connection was closed: %v", transport, staying[i].err)
		}
	}
	s.await(t, "three are held", func() bool { return s.gw.Held() == 3 })
	t.Logf("closed as revoked: %d; still held: %d", s.metric(t, `holdline_connections_closed_total{kind="epoll",reason="revoked"}`), s.gw.Held())
}

func TestEndOfTokenOrBindingClosesWhatIsHeld(t *testing.T) {
	s := newSite(t, quickRecheck)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	// Time enough to come in, also on a busy machine. Both count whole seconds. A
	// token is good for five seconds more, for the sake of clocks that differ.
	end := time.Now().Truncate(time.Second).Add(10 * time.Second)
	text, err := token.Keys{Secret: []byte(secret)}.Mint(token.Claims{Channels: []string{channel}, Expires: end.Add(-5 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]ask{"token": bearer(text), "binding": cookie(binding(t, secret, end, channel))}
	lines := make(map[string]*held)
	for kind, credential := range kinds {
		for _, transport := range transportNames {
			lines[kind+" on "+transport] = s.hold(t, transport, channel, home, credential)
		}
	}
	for name, h := range lines {
		h.wait(t)
		if time.Now().Before(end) {
			t.Errorf("%s: closed before its end", name)
		}
	}
	s.await(t, "all are counted as revoked", func() bool {
		return s.metric(t, `holdline_connections_closed_total{kind="epoll",reason="revoked"}`) == len(lines)
	})
	t.Logf("%d connections closed at the end of their token or binding", len(lines))
}

// TestRecheckIsOneQuery counts in the database server's own log of queries.
func TestRecheckIsOneQuery(t *testing.T) {
	s := newSite(t, quickRecheck)
	const users = 12
	var lines []*held
	for i := range users {
		// A chat each: on one of all, polls would be answered with who is there.
		channel := fmt.Sprintf("wplc/%d", s.chat(3))
		c := s.login(fmt.Sprint("agent", i), true)
		for _, transport := range transportNames {
			lines = append(lines, s.hold(t, transport, channel, home, cookie(c)))
		}
	}
	began := time.Now()
	s.root(t, "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
	defer s.root(t, "SET GLOBAL general_log = OFF")
	var queries []string
	s.await(t, "five rechecks are seen", func() bool {
		queries = s.logged(t, "%session_tokens%u.ID IN%")
		return len(queries) >= 5
	})
	// A ticker keeps one tick for who comes late, so that two may be close.
	most := int(time.Since(began)/(100*time.Millisecond)) + 2
	if len(queries) > most {
		t.Errorf("%d queries where %d rechecks are due", len(queries), most)
	}
	in := regexp.MustCompile(`u\.ID IN \(([0-9,]+)\)`)
	for _, q := range queries {
		if m := in.FindStringSubmatch(q); m == nil || strings.Count(m[1], ",")+1 != users {
			t.Errorf("not one query for all users: %s", q)
		}
	}
	t.Logf("%d connections of %d users: %d rechecks, one query each", len(lines), users, len(queries))
}

// root runs statements as the database's superuser.
func (s *site) root(tb testing.TB, statements string) {
	tb.Helper()
	if err := server.Exec(context.Background(), "", statements); err != nil {
		tb.Fatal(err)
	}
}

// logged returns queries of this site's gateway that the server has logged.
func (s *site) logged(tb testing.TB, like string) (queries []string) {
	tb.Helper()
	rows, err := s.db.QueryContext(context.Background(), "SELECT argument FROM mysql.general_log WHERE user_host LIKE ? AND argument LIKE ?", "ro_"+s.name+"[%", like)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var q string
		if err := rows.Scan(&q); err != nil {
			tb.Fatal(err)
		}
		queries = append(queries, q)
	}
	return queries
}
