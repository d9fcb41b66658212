package wpdb_test

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
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"holdline/internal/mariadb/mariadbtest"
	"holdline/wpdb"
)

// server is the MariaDB of this package's tests. Tests that kill it or change
// its global variables for long start their own.
var server *mariadbtest.Instance

func TestMain(m *testing.M) {
	// What a crash would lose matters to no test on this server.
	os.Exit(mariadbtest.Main(m, &server, nil, "--innodb-flush-log-at-trx-commit=0"))
}

// keys are the salts of the test sites.
var keys = map[string]string{
	"AUTH_KEY": "1", "SECURE_AUTH_KEY": "2", "LOGGED_IN_KEY": "3", "NONCE_KEY": "4",
	"AUTH_SALT": "5", "SECURE_AUTH_SALT": "6", "LOGGED_IN_SALT": "7", "NONCE_SALT": "8",
}

const siteURL = "https://chat.example.test"

// schema is WordPress's core tables with the options every site has.
func schema(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../testdata/schema/wordpress.sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', '" + siteURL + "/'), ('home', '');\n"
}

// rootOptions connect as the superuser, who could write.
func rootOptions(srv *mariadbtest.Instance, database string) wpdb.Options {
	return wpdb.Options{
		Addresses: []wpdb.Address{{Network: "unix", Address: srv.Socket()}},
		Database:  database, User: "root",
	}
}

// userOptions connect as a user whose password is its name.
func userOptions(srv *mariadbtest.Instance, database, user string) wpdb.Options {
	opt := rootOptions(srv, database)
	opt.User, opt.Password = user, user
	return opt
}

func open(t testing.TB, opt wpdb.Options) *wpdb.DB {
	t.Helper()
	db, err := wpdb.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openSite(t testing.TB, db *wpdb.DB, opt wpdb.SiteOptions) *wpdb.Site {
	t.Helper()
	if opt.Prefix == "" {
		opt.Prefix = "wp_"
	}
	if opt.Constants == nil {
		opt.Constants = keys
	}
	site, err := wpdb.OpenSite(t.Context(), db, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	return site
}

// one returns the first column of a query's first row as text.
func one(t testing.TB, q wpdb.Querier, query string) (string, error) {
	t.Helper()
	rows, err := q.QueryContext(context.Background(), query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var value sql.NullString
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return "", err
		}
	}
	return value.String, rows.Err()
}

func mustExec(t testing.TB, root *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := root.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// person is a WordPress user with one login.
type person struct {
	id          int
	login, pass string
	token       string
	expires     time.Time
}

func newPerson(id int, login string) person {
	return person{
		id: id, login: login, pass: fmt.Sprintf("$P$Babcd%04defghijklmnop", id),
		token: fmt.Sprintf("%043d", id), expires: time.Now().Add(48 * time.Hour),
	}
}

// create writes the user and the session as WordPress does.
func (p person) create(t testing.TB, root *sql.DB) {
	t.Helper()
	create(t, root, p)
}

// create writes many users with two statements.
func create(t testing.TB, root *sql.DB, people ...person) {
	t.Helper()
	var users, sessions []any
	for _, p := range people {
		users = append(users, p.id, p.login, p.pass)
		sessions = append(sessions, p.id, p.sessions())
	}
	marks := func(one string) string { return strings.TrimSuffix(strings.Repeat(one+",", len(people)), ",") }
	mustExec(t, root, "INSERT INTO wp_users (ID, user_login, user_pass) VALUES "+marks("(?, ?, ?)"), users...)
	mustExec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES "+marks("(?, 'session_tokens', ?)"), sessions...)
}

// sessions is the serialized row of the person's only login.
func (p person) sessions() string {
	verifier := sha256.Sum256([]byte(p.token))
	return fmt.Sprintf(`a:1:{s:64:"%x";a:3:{s:10:"expiration";i:%d;s:2:"ua";s:3:"ü}";s:5:"login";i:1;}}`, verifier, p.expires.Unix())
}

// cookie signs the login as wp_generate_auth_cookie does, written here a second
// time so that an error of the package cannot confirm itself.
func (p person) cookie() string {
	mac := func(h func() hash.Hash, key, data string) string {
		m := hmac.New(h, []byte(key))
		m.Write([]byte(data))
		return hex.EncodeToString(m.Sum(nil))
	}
	text := fmt.Sprintf("%s|%d|%s", p.login, p.expires.Unix(), p.token)
	key := mac(md5.New, keys["LOGGED_IN_KEY"]+keys["LOGGED_IN_SALT"],
		strings.Replace(text, p.login+"|", p.login+"|"+p.pass[8:12]+"|", 1))
	return text + "|" + mac(sha256.New, key, text)
}

// header is the Cookie header of the person's browser.
func (p person) header() string {
	sum := md5.Sum([]byte(siteURL))
	return fmt.Sprintf("a=b; wordpress_logged_in_%x=%s; c=d", sum, strings.ReplaceAll(url.PathEscape(p.cookie()), "|", "%7C"))
}

// selects returns how many SELECT statements the server has run in all.
func selects(t testing.TB, root *sql.DB) int {
	t.Helper()
	var name string
	var n int
	if err := root.QueryRowContext(context.Background(), "SHOW GLOBAL STATUS LIKE 'Com_select'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
