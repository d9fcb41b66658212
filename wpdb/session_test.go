package wpdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/internal/mariadb/mariadbtest"
	"holdline/internal/wpauth"
	"holdline/wpdb"
)

func TestSessionsEnd(t *testing.T) {
	for _, tc := range []struct {
		name, reason string
		change       func(t *testing.T, root *sql.DB, p person)
		later        time.Duration
	}{
		{"logout of the last session", "no_session", func(t *testing.T, root *sql.DB, p person) {
			mustExec(t, root, "DELETE FROM wp_usermeta WHERE user_id = ?", p.id)
		}, 0},
		{"logout of one session", "no_session", func(t *testing.T, root *sql.DB, p person) {
			other := p
			other.token = strings.Repeat("o", 43)
			mustExec(t, root, "UPDATE wp_usermeta SET meta_value = ? WHERE user_id = ?", other.sessions(), p.id)
		}, 0},
		{"another password", "signature", func(t *testing.T, root *sql.DB, p person) {
			mustExec(t, root, "UPDATE wp_users SET user_pass = '$wp$2y$10$otherotherotherother' WHERE ID = ?", p.id)
		}, 0},
		{"user deleted", "unknown_user", func(t *testing.T, root *sql.DB, p person) {
			mustExec(t, root, "DELETE FROM wp_users WHERE ID = ?", p.id)
		}, 0},
		{"session cut short", "expired", func(t *testing.T, root *sql.DB, p person) {
			p.expires = time.Now().Add(-time.Minute)
			mustExec(t, root, "UPDATE wp_usermeta SET meta_value = ? WHERE user_id = ?", p.sessions(), p.id)
		}, 0},
		{"damaged row", "no_session", func(t *testing.T, root *sql.DB, p person) {
			mustExec(t, root, "UPDATE wp_usermeta SET meta_value = 'a:1:{' WHERE user_id = ?", p.id)
		}, 0},
		{"expiry", "expired", func(*testing.T, *sql.DB, person) {}, 49 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var revoked []*wpdb.Session
			a, root := authSite(t, wpdb.AuthOptions{OnRevoked: func(s *wpdb.Session) { revoked = append(revoked, s) }})
			victim, bystander := newPerson(1, "victim"), newPerson(2, "bystander")
			bystander.expires = bystander.expires.Add(24 * time.Hour)
			victim.create(t, root)
			bystander.create(t, root)
			s, other := login(t, a, victim), login(t, a, bystander)
			defer s.Release()
			defer other.Release()
			if err := a.Recheck(t.Context(), time.Now()); err != nil || len(revoked) != 0 {
				t.Fatalf("before: %v, revoked %v", err, revoked)
			}
			tc.change(t, root, victim)
			before := selects(t, root)
			if err := a.Recheck(t.Context(), time.Now().Add(tc.later)); err != nil {
				t.Fatal(err)
			}
			if n := selects(t, root) - before; n != 1 {
				t.Errorf("%d queries for a recheck, want 1", n)
			}
			if len(revoked) != 1 || revoked[0] != s || !s.Revoked() || wpauth.Reason(s.Err()) != tc.reason {
				t.Errorf("revoked %v, reason %v; want %s", revoked, s.Err(), tc.reason)
			}
			if other.Revoked() {
				t.Errorf("the bystander too: %v", other.Err())
			}
			if _, err := a.Login(t.Context(), wpdb.Cookies{Header: victim.header()}, time.Now().Add(tc.later)); err == nil {
				t.Error("the ended login is still good")
			}
			if err := a.Recheck(t.Context(), time.Now().Add(tc.later)); err != nil || len(revoked) != 1 {
				t.Errorf("revoked again: %v, %v", revoked, err)
			}
		})
	}
}

func TestExpiryNeedsNoDatabase(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	s := login(t, a, p)
	defer s.Release()
	mustExec(t, root, "DROP TABLE wp_users")
	if err := a.Recheck(t.Context(), p.expires); wpdb.Classify(err) != wpdb.NoTable || s.Revoked() {
		t.Errorf("in the last second: %v, revoked %v", err, s.Err())
	}
	if err := a.Recheck(t.Context(), p.expires.Add(time.Second)); err != nil || !errors.Is(s.Err(), wpauth.ErrExpired) {
		t.Errorf("a second later: %v, revoked %v", err, s.Err())
	}
}

// Bookkeeping that is not a logout must not end anybody's connection.
func TestSessionsLast(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{OnRevoked: func(s *wpdb.Session) { t.Errorf("%s revoked: %v", s.Login, s.Err()) }})
	p := newPerson(1, "admin")
	p.create(t, root)
	s := login(t, a, p)
	defer s.Release()
	for _, change := range []string{
		"UPDATE wp_users SET user_pass = CONCAT(LEFT(user_pass, 14), 'REST') WHERE ID = 1", // the signed part stays
		"INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (1, 'session_tokens', 'a:0:{}')",
		"UPDATE wp_users SET display_name = 'x'",
	} {
		mustExec(t, root, change)
		if err := a.Recheck(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecheckAsksInBulk(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	const users = 1001
	people := make([]person, users)
	for i := range people {
		people[i] = newPerson(i+1, fmt.Sprint("user", i+1))
	}
	create(t, root, people...)
	sessions := make([]*wpdb.Session, users)
	for i, p := range people {
		sessions[i] = login(t, a, p)
	}
	before := selects(t, root)
	if err := a.Recheck(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := selects(t, root) - before; n != 2 {
		t.Errorf("%d queries for %d users, want 2", n, users)
	}
	for _, s := range sessions {
		s.Release()
	}
	before = selects(t, root)
	if err := a.Recheck(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := selects(t, root) - before; n != 0 {
		t.Errorf("%d queries for nobody", n)
	}
}

// With a hundred thousand users a login and a recheck read a row per user and
// index, and sort nothing.
func TestAccountsQueryUsesIndexes(t *testing.T) {
	name, root := server.Database(t, schema(t))
	mustExec(t, root, "INSERT INTO wp_users (ID, user_login) SELECT seq, CONCAT('user', seq) FROM seq_1_to_100000")
	mustExec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) SELECT seq, k, 'a:0:{}' FROM seq_1_to_100000, (SELECT 'session_tokens' k UNION SELECT 'wp_capabilities') ks")
	mustExec(t, root, "ANALYZE TABLE wp_users, wp_usermeta")
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{})
	for where, key := range map[string]string{"u.user_login = 'user5'": "user_login_key", "u.ID IN (5,6,70000)": "PRIMARY"} {
		rows, err := root.Query("EXPLAIN " + site.AccountsQuery(where))
		if err != nil {
			t.Fatal(err)
		}
		plan := make(map[string]string) // table to key
		for rows.Next() {
			var id, kind, table, how, possible, used, length, ref, count, extra sql.NullString
			if err := rows.Scan(&id, &kind, &table, &how, &possible, &used, &length, &ref, &count, &extra); err != nil {
				t.Fatal(err)
			}
			plan[table.String] = used.String
			if strings.Contains(extra.String, "temporary") || strings.Contains(extra.String, "filesort") || how.String == "ALL" || how.String == "index" {
				t.Errorf("%s: table %s is read by %s with key %s: %s", where, table.String, how.String, used.String, extra.String)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if plan["u"] != key || plan["m"] != "user_id" {
			t.Errorf("%s: keys %v", where, plan)
		}
	}
}

// A browser that polls must not cost a query per poll, and one that has gone no
// memory.
func TestReleasedSessionIsRemembered(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	now := time.Now()
	cookies := wpdb.Cookies{Header: p.header()}
	for _, tc := range []struct {
		after   time.Duration
		queries int
	}{{0, 1}, {9 * time.Second, 0}, {11 * time.Second, 1}, {20 * time.Second, 0}} {
		before := selects(t, root)
		s, err := a.Login(t.Context(), cookies, now.Add(tc.after))
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
		if n := selects(t, root) - before; n != tc.queries {
			t.Errorf("after %v: %d queries, want %d", tc.after, n, tc.queries)
		}
	}
	if err := a.Recheck(t.Context(), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n := a.Remembered(); n != 0 {
		t.Errorf("%d sessions remembered for nobody", n)
	}
}

func TestDatabaseTroubleRevokesNobody(t *testing.T) {
	srv, err := mariadbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	name, root := srv.Database(t, schema(t))
	site := openSite(t, open(t, rootOptions(srv, name)), wpdb.SiteOptions{})
	revoked := make(chan *wpdb.Session, 1)
	a := wpdb.NewAuthenticator(site, wpdb.AuthOptions{
		Recheck:   10 * time.Millisecond,
		OnRevoked: func(s *wpdb.Session) { revoked <- s },
	})
	p := newPerson(1, "admin")
	p.create(t, root)
	s := login(t, a, p)
	defer s.Release()
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	eventually(t, func() error {
		if a.Stats().Unknown < 3 {
			return errors.New("the rechecks that fail are not counted")
		}
		return nil
	})
	if s.Revoked() {
		t.Errorf("revoked by a crash: %v", s.Err())
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := srv.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	mustExec(t, again, "DELETE FROM wp_usermeta WHERE user_id = 1")
	select {
	case got := <-revoked:
		if got != s || !s.Revoked() {
			t.Errorf("after the crash: %v", got)
		}
	case <-time.After(time.Minute):
		t.Error("the logout after the crash is not noticed")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if stats := a.Stats(); stats.Revoked != 1 || stats.Accepted != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestBarredOnMultisite(t *testing.T) {
	name, root := server.Database(t, schema(t)+multisite)
	mustExec(t, root, "UPDATE wp_sitemeta SET meta_value = ? WHERE meta_key = 'siteurl'", siteURL)
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: multisiteConstants(), Blog: 2})
	var revoked []*wpdb.Session
	a := wpdb.NewAuthenticator(site, wpdb.AuthOptions{OnRevoked: func(s *wpdb.Session) { revoked = append(revoked, s) }})
	held, spammer := newPerson(1, "held"), newPerson(2, "spammer")
	held.create(t, root)
	spammer.create(t, root)
	s := login(t, a, held)
	defer s.Release()
	mustExec(t, root, "UPDATE wp_users SET spam = (ID = 2), deleted = (ID = 1)")
	if _, err := a.Login(t.Context(), wpdb.Cookies{Header: spammer.header()}, time.Now()); !errors.Is(err, wpdb.ErrBarred) {
		t.Errorf("spammer: %v", err)
	}
	if err := a.Recheck(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(revoked, s) || !errors.Is(s.Err(), wpdb.ErrBarred) {
		t.Errorf("deleted user: %v", s.Err())
	}
}
