package wplc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"holdline/internal/mariadb/mariadbtest"
	"holdline/wpdb"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(stopServer(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The MariaDB of this package's tests. It is started by the first test that
// wants it: fuzzing, which runs TestMain in every worker, does not.
var (
	server   *mariadbtest.Instance
	serverUp = sync.OnceValue(func() (err error) {
		server, err = mariadbtest.Start("--innodb-flush-log-at-trx-commit=0")
		return err
	})
)

func stopServer() error {
	if server == nil {
		return nil
	}
	return server.Close()
}

var _ Site = (*wpdb.Site)(nil)

// testSite is a site over a real database, read as a read-only user. It counts
// its queries.
type testSite struct {
	*sql.DB
	prefix  string
	loc     *time.Location
	caps    map[string]bool // "7 manage_options"
	queries atomic.Int64
	mu      sync.Mutex
	last    string // the text of the last query
}

func (s *testSite) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s.queries.Add(1)
	s.mu.Lock()
	s.last = query
	s.mu.Unlock()
	return s.DB.QueryContext(ctx, query, args...)
}

func (s *testSite) Prefix() string           { return s.prefix }
func (s *testSite) Location() *time.Location { return s.loc }

func (s *testSite) Option(ctx context.Context, name string) (string, bool, error) {
	return s.lookup(ctx, "SELECT option_value FROM wp_options WHERE option_name = ?", name)
}

func (s *testSite) UserMeta(ctx context.Context, userID int64, key string) (string, bool, error) {
	return s.lookup(ctx, "SELECT meta_value FROM wp_usermeta WHERE user_id = ? AND meta_key = ? ORDER BY umeta_id LIMIT 1", userID, key)
}

func (s *testSite) UserCan(_ context.Context, userID int64, capability string) (bool, error) {
	return s.caps[fmt.Sprint(userID, " ", capability)], nil
}

func (s *testSite) lookup(ctx context.Context, query string, args ...any) (value string, ok bool, err error) {
	rows, err := s.QueryContext(ctx, query, args...)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() {
		ok = true
		if err := rows.Scan(&value); err != nil {
			return "", false, err
		}
	}
	return value, ok, rows.Err()
}

// open connects as a user whose password is its name, as wpdb does.
func open(tb testing.TB, user, database string) *sql.DB {
	tb.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = user, user, database
	cfg.Net, cfg.Addr = "unix", server.Socket()
	cfg.InterpolateParams = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	db := sql.OpenDB(connector)
	tb.Cleanup(func() { db.Close() })
	return db
}

// repoFile reads a file of the repository's testdata folder.
func repoFile(tb testing.TB, name ...string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "testdata"}, name...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// newSite makes a site with WordPress' tables and the plugin's of that schema
// ("wplc-8.sql"); root may write.
func newSite(tb testing.TB, schema string) (site *testSite, root *sql.DB) {
	tb.Helper()
	if err := serverUp(); err != nil {
		tb.Fatal(err)
	}
	name, root := server.Database(tb, repoFile(tb, "schema", "wordpress.sql")+repoFile(tb, "schema", schema))
	loc, err := time.LoadLocation("Europe/Helsinki")
	if err != nil {
		tb.Fatal(err)
	}
	user := server.ReadOnlyUser(tb, name)
	return &testSite{DB: open(tb, user, name), prefix: "wp_", loc: loc}, root
}

// newSite8 is a site with the fixture's chats.
func newSite8(tb testing.TB) (site *testSite, root *sql.DB) {
	tb.Helper()
	site, root = newSite(tb, "wplc-8.sql")
	exec(tb, root, repoFile(tb, "wplc", "fixture-8.sql"))
	return site, root
}

func exec(tb testing.TB, db *sql.DB, statements string, args ...any) {
	tb.Helper()
	if _, err := db.ExecContext(context.Background(), statements, args...); err != nil {
		tb.Fatalf("%v: %s", err, strings.Join(strings.Fields(statements[:min(200, len(statements))]), " "))
	}
}

func detect(tb testing.TB, site Site) *Source {
	tb.Helper()
	s, err := Detect(context.Background(), site)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
