package wpdb_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/internal/wpauth"
	"holdline/wpdb"
)

// authSite is a site with an Authenticator and a pool to change it with.
func authSite(t testing.TB, opt wpdb.AuthOptions) (*wpdb.Authenticator, *sql.DB) {
	t.Helper()
	name, root := server.Database(t, schema(t))
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{})
	return wpdb.NewAuthenticator(site, opt), root
}

func login(t testing.TB, a *wpdb.Authenticator, p person) *wpdb.Session {
	t.Helper()
	s, err := a.Login(t.Context(), wpdb.Cookies{Header: p.header()}, time.Now())
	if err != nil {
		t.Fatalf("log in %s: %v", p.login, err)
	}
	return s
}

// What WordPress itself answered, for real rows in real tables.
func TestLoginVectors(t *testing.T) {
	var vectors struct {
		Keys       map[string]string
		CookieName string `json:"LOGGED_IN_COOKIE"`
		SiteURL    string
		Validate   []struct {
			State struct {
				ID       int
				Login    string  `json:"user_login"`
				Pass     string  `json:"user_pass"`
				Sessions *string `json:"session_tokens"`
			} `json:"db_state"`
			Now            int64
			Scheme, Cookie string
			Method, Note   string
			Ajax           bool `json:"doing_ajax"`
			Result         any  `json:"result_uid"`
		}
	}
	readVectors(t, &vectors)
	name, root := server.Database(t, schema(t))
	mustExec(t, root, "UPDATE wp_options SET option_value = ? WHERE option_name = 'siteurl'", vectors.SiteURL)
	db := open(t, rootOptions(server, name))
	ran := 0
	for _, v := range vectors.Validate {
		if v.Scheme != "logged_in" {
			continue // browsers send the other two below wp-admin only
		}
		ran++
		mustExec(t, root, "DELETE FROM wp_users")
		mustExec(t, root, "DELETE FROM wp_usermeta")
		mustExec(t, root, "INSERT INTO wp_users (ID, user_login, user_pass) VALUES (?, ?, ?)", v.State.ID, v.State.Login, v.State.Pass)
		if v.State.Sessions != nil {
			mustExec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (?, 'session_tokens', ?)", v.State.ID, *v.State.Sessions)
		}
		a := wpdb.NewAuthenticator(openSite(t, db, wpdb.SiteOptions{Constants: vectors.Keys}), wpdb.AuthOptions{})
		var want int64
		if id, ok := v.Result.(float64); ok {
			want = int64(id)
		}
		if strings.HasPrefix(v.Note, "cookie made by 6.7.2 rules") {
			want = 2 // from outside 6.7 and 6.8 look alike: either rule is good (wpauth.FragmentEither)
		}
		var got int64
		s, err := a.Login(t.Context(), wpdb.Cookies{
			Header:     vectors.CookieName + "=" + strings.ReplaceAll(url.PathEscape(v.Cookie), "|", "%7C"),
			POSTorAJAX: v.Method == "POST" || v.Ajax,
		}, time.Unix(v.Now, 0))
		if err == nil {
			got = s.UserID
		} else if wpauth.Reason(err) == "error" {
			t.Errorf("%s: %v", v.Note, err)
		}
		if got != want {
			t.Errorf("%s: user %d (%v), WordPress says %d", v.Note, got, err, want)
		}
	}
	if ran < 30 {
		t.Errorf("only %d vectors", ran)
	}
}

func TestLoginIsSharedAndCounted(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "Agent Smith")
	p.create(t, root)
	before := selects(t, root)
	var wg sync.WaitGroup
	sessions := make([]*wpdb.Session, 20)
	for i := range sessions {
		wg.Go(func() { sessions[i] = login(t, a, p) })
	}
	wg.Wait()
	// Look-ups of one cookie that overlap are one; later ones find its result.
	if n := selects(t, root) - before; n != 1 {
		t.Errorf("%d queries for 20 logins with one cookie", n)
	}
	s := sessions[0]
	if s.UserID != 1 || s.Login != "Agent Smith" || s.Expires.Unix() != p.expires.Unix() || s.Revoked() || s.Err() != nil {
		t.Errorf("session %+v", s)
	}
	for _, other := range sessions {
		if other != s {
			t.Error("connections with one cookie have different sessions")
		}
		other.Release()
	}
	if live := a.Stats().Live; live != 0 {
		t.Errorf("%d live sessions after all were released", live)
	}
	held := login(t, a, p)
	held.Retain().Release()
	if live := a.Stats().Live; live != 1 {
		t.Errorf("%d live sessions, want 1", live)
	}
	held.Release()
}

func TestLoginRefuses(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	stranger := newPerson(2, "nobody")
	old := newPerson(3, "old")
	old.expires = time.Now().Add(-2 * time.Hour)
	old.create(t, root)
	spelled := p
	spelled.login = "ADMIN" // the collation finds it
	forged := strings.Replace(p.header(), p.token, strings.Repeat("x", 43), 1)
	for _, tc := range []struct {
		name, header, reason string
		queries              int
	}{
		{"no cookie", "a=b", "no_cookie", 0},
		{"emptied cookie", "wordpress_logged_in_d41d8cd98f00b204e9800998ecf8427e=%20", "no_cookie", 0},
		{"junk", p.header()[:60] + "zzz", "malformed", 0},
		{"expired", old.header(), "expired", 0},
		{"unknown user", stranger.header(), "unknown_user", 1},
		{"other spelling", spelled.header(), "unknown_user", 1},
		{"login that is no text", strings.Replace(p.header(), "=admin", "=%ff%fe", 1), "unknown_user", 0},
		{"login that no table holds", strings.Replace(p.header(), "=admin", "=%f0%9f%98%80", 1), "unknown_user", 0},
		{"injection", strings.Replace(p.header(), "=admin", "=x'%20OR%20'1'='1", 1), "unknown_user", 1},
		{"forged", forged, "signature", 1},
		{"forged again at once", forged, "signature", 0},
	} {
		before := selects(t, root)
		s, err := a.Login(t.Context(), wpdb.Cookies{Header: tc.header}, time.Now())
		if s != nil || wpauth.Reason(err) != tc.reason {
			t.Errorf("%s: %v, %v; want %s", tc.name, s, err, tc.reason)
		}
		if n := selects(t, root) - before; n != tc.queries {
			t.Errorf("%s: %d queries, want %d", tc.name, n, tc.queries)
		}
		if err != nil && (strings.Contains(err.Error(), p.token) || strings.Contains(err.Error(), "|")) {
			t.Errorf("%s: the error tells the cookie: %v", tc.name, err)
		}
	}
	if _, err := a.Login(t.Context(), wpdb.Cookies{Header: forged}, time.Now().Add(6*time.Second)); wpauth.Reason(err) != "signature" {
		t.Errorf("forged, later: %v", err)
	}
}

// PHP before 8 wrote the space of a login as a plus sign, and read it so.
func TestLoginOfOldPHP(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "Agent Smith")
	p.create(t, root)
	old := strings.Replace(p.header(), "Agent%20Smith", "Agent+Smith", 1)
	s, err := a.Login(t.Context(), wpdb.Cookies{Header: old}, time.Now())
	if err != nil || s.Login != "Agent Smith" {
		t.Fatalf("%+v, %v", s, err)
	}
	defer s.Release()
	if err := a.Recheck(t.Context(), time.Now()); err != nil || s.Revoked() {
		t.Errorf("recheck: %v, %v", err, s.Err())
	}
}

// A siteurl made from the request leaves no COOKIEHASH to know.
func TestLoginUnderAnyName(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	mustExec(t, root, "DELETE FROM wp_options WHERE option_name = 'siteurl'")
	name, _, _ := strings.Cut(strings.TrimPrefix(p.header(), "a=b; "), "=")
	site := openSite(t, open(t, rootOptions(server, databaseOf(t, root))), wpdb.SiteOptions{})
	header := "wordpress_logged_in_other=junk; " + p.header()
	if s, err := a.Login(t.Context(), wpdb.Cookies{Header: strings.Replace(header, name, "wordpress_logged_in_x", 1)}, time.Now()); !errors.Is(err, wpauth.ErrNoCookie) {
		t.Errorf("another name where it is known: %v, %v", s, err)
	}
	s, err := wpdb.NewAuthenticator(site, wpdb.AuthOptions{}).Login(t.Context(), wpdb.Cookies{Header: header}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
}

func databaseOf(t testing.TB, root *sql.DB) (name string) {
	t.Helper()
	if err := root.QueryRow("SELECT DATABASE()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFloodOfForgedCookies(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	now := time.Now()
	before := selects(t, root)
	var wg sync.WaitGroup
	for i := range 200 {
		forger := p
		forger.token = fmt.Sprintf("%043d", 1000+i)
		header := forger.header()
		wg.Go(func() {
			_, err := a.Login(t.Context(), wpdb.Cookies{Header: header, Address: "192.0.2.1"}, now)
			if err == nil || wpauth.Reason(err) == "error" && !errors.Is(err, wpdb.ErrTooManyFailures) {
				t.Errorf("forged cookie: %v", err)
			}
		})
	}
	wg.Wait()
	if n := selects(t, root) - before; n < 20 || n > 25 {
		t.Errorf("%d queries for 200 forged cookies, want about 20", n)
	}
	good := wpdb.Cookies{Header: p.header(), Address: "192.0.2.1"}
	if _, err := a.Login(t.Context(), good, now); !errors.Is(err, wpdb.ErrTooManyFailures) {
		t.Errorf("from the forger's address: %v", err)
	}
	elsewhere := good
	elsewhere.Address = "192.0.2.2"
	s, err := a.Login(t.Context(), elsewhere, now)
	if err != nil {
		t.Fatalf("from another address: %v", err)
	}
	defer s.Release()
	if again, err := a.Login(t.Context(), good, now); err != nil || again != s {
		t.Errorf("a known session from the forger's address: %v", err)
	} else {
		again.Release()
	}
	s2, err := a.Login(t.Context(), wpdb.Cookies{Header: p.header(), Address: "192.0.2.1"}, now.Add(time.Minute))
	if err != nil {
		t.Fatalf("a minute later: %v", err)
	}
	s2.Release()
}

func TestSaltsFromTheDatabase(t *testing.T) {
	name, root := server.Database(t, schema(t))
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: map[string]string{}})
	a := wpdb.NewAuthenticator(site, wpdb.AuthOptions{})
	p := newPerson(1, "admin")
	p.create(t, root)
	cookies := wpdb.Cookies{Header: p.header()}
	if _, err := a.Login(t.Context(), cookies, time.Now()); !errors.Is(err, wpauth.ErrSecretMissing) {
		t.Fatalf("before WordPress has made its salts: %v", err)
	}
	mustExec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES ('logged_in_key', ?), ('logged_in_salt', ?)", keys["LOGGED_IN_KEY"], keys["LOGGED_IN_SALT"])
	unlock := lockOptions(t, root)
	site.Age()
	if _, err := a.Login(t.Context(), cookies, time.Now()); !errors.Is(err, wpauth.ErrSecretMissing) {
		t.Errorf("a login waited for the salts: %v", err)
	}
	unlock()
	site.AwaitRefresh()
	s := login(t, a, p)
	defer s.Release()
	// New salts log everybody out.
	mustExec(t, root, "UPDATE wp_options SET option_value = 'new' WHERE option_name = 'logged_in_salt'")
	if err := site.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Recheck(t.Context(), time.Now()); err != nil || !errors.Is(s.Err(), wpauth.ErrSignature) {
		t.Errorf("after new salts: %v, %v", err, s.Err())
	}
}

func TestVerifyNonce(t *testing.T) {
	a, root := authSite(t, wpdb.AuthOptions{})
	p, other := newPerson(1, "admin"), newPerson(2, "other")
	p.create(t, root)
	other.create(t, root)
	s, s2 := login(t, a, p), login(t, a, other)
	defer s.Release()
	defer s2.Release()
	salts, _ := wpauth.ResolveSalts(keys, nil)
	nonces, err := wpauth.NewNonces(salts, 0)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	mine := nonces.Create("wplc", wpauth.Holder{UID: "1", Token: p.token}, now)
	public := nonces.Create("wplc", wpauth.VisitorHolder(""), now)
	for _, tc := range []struct {
		name          string
		session       *wpdb.Session
		action, nonce string
		now           time.Time
		want          bool
	}{
		{"own", s, "wplc", mine, now, true},
		{"old", s, "wplc", mine, now.Add(25 * time.Hour), false},
		{"another action", s, "wp_rest", mine, now, false},
		{"another user's", s2, "wplc", mine, now, false},
		{"visitor's", nil, "wplc", public, now, true},
		{"visitor's from a user", s, "wplc", public, now, false},
		{"empty", s, "wplc", "", now, false},
	} {
		if got := a.VerifyNonce(tc.session, tc.action, tc.nonce, tc.now); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// A user with the printed rights and no others can do everything here.
func TestMinimalGrantsSuffice(t *testing.T) {
	name, root := server.Database(t, schema(t)+"CREATE TABLE wp_chat (id INT PRIMARY KEY); CREATE TABLE wp_secret (id INT)")
	const user = "min'imal"
	mustExec(t, root, `CREATE USER 'min\'imal'@'localhost' IDENTIFIED BY 'min\'imal'`)
	t.Cleanup(func() { mustExec(t, root, `DROP USER 'min\'imal'@'localhost'`) })
	for _, grant := range wpdb.MinimalGrants("wp_", name, user, []string{"wp_chat"}) {
		mustExec(t, root, grant)
	}
	p := newPerson(1, "admin")
	p.create(t, root)
	db := open(t, userOptions(server, name, user))
	site := openSite(t, db, wpdb.SiteOptions{})
	a := wpdb.NewAuthenticator(site, wpdb.AuthOptions{})
	s := login(t, a, p)
	defer s.Release()
	ctx := t.Context()
	if err := a.Recheck(ctx, time.Now()); err != nil || s.Revoked() {
		t.Errorf("recheck: %v, %v", err, s.Err())
	}
	if _, _, err := site.Option(ctx, "x"); err != nil {
		t.Error(err)
	}
	if _, _, err := site.UserMeta(ctx, 1, "x"); err != nil {
		t.Error(err)
	}
	if _, err := site.UserCan(ctx, 1, "x"); err != nil {
		t.Error(err)
	}
	if _, err := one(t, db, "SELECT * FROM wp_chat"); err != nil {
		t.Error(err)
	}
	for _, query := range []string{"SELECT * FROM wp_users", "SELECT user_email FROM wp_users", "SELECT id FROM wp_secret"} {
		if _, err := one(t, db, query); wpdb.Classify(err) != wpdb.Denied {
			t.Errorf("%s: %v", query, err)
		}
		if h := db.Health(); !h.OK {
			t.Errorf("a missing grant makes the database unhealthy: %+v", h)
		}
	}
}
