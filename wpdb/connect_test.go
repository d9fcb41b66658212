package wpdb_test

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdline/internal/backoff"
	"holdline/internal/mariadb/mariadbtest"
	"holdline/wpdb"
)

func TestConnectionCannotWrite(t *testing.T) {
	name, _ := server.Database(t, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE m (id INT) ENGINE=MyISAM")
	for _, q := range []wpdb.Querier{open(t, rootOptions(server, name)), open(t, rootOptions(server, name)).Shared()} {
		for _, statement := range []string{
			"INSERT INTO t VALUES (2)", "UPDATE t SET id = 3", "DELETE FROM t", "INSERT INTO m VALUES (1)", "CREATE TABLE u (id INT)", "TRUNCATE t",
		} {
			_, err := one(t, q, statement)
			var refusal *mysql.MySQLError
			if !errors.As(err, &refusal) || refusal.Number != 1792 {
				t.Errorf("root's %s: %v, want error 1792", statement, err)
			}
		}
		if n, err := one(t, q, "SELECT COUNT(*) FROM t"); n != "1" || err != nil {
			t.Errorf("rows afterwards: %s, %v", n, err)
		}
	}
}

func TestConnectionIsSetUp(t *testing.T) {
	name, _ := server.Database(t, "")
	latin := rootOptions(server, name)
	latin.Charset = "latin1"
	for _, tc := range []struct {
		variable, want string
		opt            wpdb.Options
	}{
		{"autocommit", "1", rootOptions(server, name)},
		{"sql_mode", "", rootOptions(server, name)},
		{"max_statement_time", "10", rootOptions(server, name)},
		{"wait_timeout", "600", rootOptions(server, name)},
		{"character_set_client", "utf8mb4", rootOptions(server, name)},
		{"character_set_results", "utf8mb4", rootOptions(server, name)},
		{"character_set_results", "latin1", latin},
	} {
		if got, err := one(t, open(t, tc.opt), "SELECT @@"+tc.variable); got != tc.want || err != nil {
			t.Errorf("%s = %q, %v; want %q", tc.variable, got, err, tc.want)
		}
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	good := wpdb.Options{Addresses: []wpdb.Address{{"unix", "/nowhere"}}, Database: "d", User: "u"}
	for _, tc := range []struct {
		name, want string
		change     func(*wpdb.Options)
	}{
		{"no address", "database.address", func(o *wpdb.Options) { o.Addresses = nil }},
		{"foreign network", "tcp or unix", func(o *wpdb.Options) { o.Addresses = []wpdb.Address{{"udp", "x"}} }},
		{"no database", "database.name", func(o *wpdb.Options) { o.Database = "" }},
		{"no user", "database.user", func(o *wpdb.Options) { o.User = "" }},
		{"charset with a statement", "not the name", func(o *wpdb.Options) { o.Charset = "utf8; DROP" }},
		{"no connections", "at least 1", func(o *wpdb.Options) { o.MaxConnections = -1 }},
		{"no such authority", "database.tls", func(o *wpdb.Options) { o.TLS = "/nowhere/ca.pem" }},
	} {
		opt := good
		tc.change(&opt)
		if _, err := wpdb.Open(opt, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want a word of %q", tc.name, err, tc.want)
		}
	}
}

func TestTLSOption(t *testing.T) {
	// httptest has a certificate at hand.
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"", "off"} {
		if cfg, err := wpdb.TLSOption(option); cfg != nil || err != nil {
			t.Errorf("%q: %v, %v", option, cfg, err)
		}
	}
	cfg, err := wpdb.TLSOption("on")
	if err != nil || cfg.InsecureSkipVerify || cfg.RootCAs != nil || cfg.MinVersion != tls.VersionTLS12 {
		t.Errorf("on: %+v, %v", cfg, err)
	}
	if cfg, err = wpdb.TLSOption("skip-verify"); err != nil || !cfg.InsecureSkipVerify {
		t.Errorf("skip-verify: %+v, %v", cfg, err)
	}
	if cfg, err = wpdb.TLSOption(ca); err != nil || cfg.InsecureSkipVerify || cfg.RootCAs == nil {
		t.Errorf("file: %+v, %v", cfg, err)
	}
	if _, err = wpdb.TLSOption(empty); err == nil {
		t.Error("a file without certificates was taken")
	}
}

func TestAddressesAreTriedInOrder(t *testing.T) {
	name, _ := server.Database(t, "")
	opt := userOptions(server, name, server.ReadOnlyUser(t, name))
	opt.Addresses = append([]wpdb.Address{{"unix", "/nowhere/mysqld.sock"}, {"tcp", "127.0.0.1:1"}}, opt.Addresses...)
	if got, err := one(t, open(t, opt), "SELECT 7"); got != "7" || err != nil {
		t.Fatalf("third address: %q, %v", got, err)
	}
	opt.Addresses = opt.Addresses[:2]
	_, err := one(t, open(t, opt), "SELECT 7")
	if wpdb.Classify(err) != wpdb.Gone || !strings.Contains(err.Error(), "/nowhere/mysqld.sock") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Fatalf("no address answers: %v", err)
	}
	// A server that refuses is the right server: its answer is what counts.
	opt.Addresses = []wpdb.Address{{"unix", server.Socket()}, {"unix", "/nowhere/mysqld.sock"}}
	opt.Password = "wrong"
	if _, err = one(t, open(t, opt), "SELECT 7"); wpdb.Classify(err) != wpdb.Denied || strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("wrong password: %v", err)
	}
}

func TestTailNeverWaitsForOthers(t *testing.T) {
	name, _ := server.Database(t, "")
	db := open(t, rootOptions(server, name))
	rows, err := db.Shared().QueryContext(t.Context(), "SELECT 1 UNION SELECT 2")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := db.Shared().QueryContext(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second shared query beyond the limit: %v", err)
	}
	if got, err := one(t, db, "SELECT 3"); got != "3" || err != nil {
		t.Fatalf("the tail's query: %q, %v", got, err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	for _, limit := range []int{1, 2, 3} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			name, root := server.Database(t, "")
			opt := userOptions(server, name, server.ReadOnlyUser(t, name))
			opt.MaxConnections = limit
			db := open(t, opt)
			connections := func() (n int) {
				t.Helper()
				if err := root.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = ?", opt.User).Scan(&n); err != nil {
					t.Error(err)
				}
				return n
			}
			var enough atomic.Bool
			var asking sync.WaitGroup
			for i := range 8 {
				q := wpdb.Querier(db)
				if i%2 == 0 {
					q = db.Shared()
				}
				asking.Go(func() {
					for !enough.Load() {
						if _, err := one(t, q, "SELECT SLEEP(0.02)"); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			for end := time.Now().Add(time.Minute); connections() < limit && time.Now().Before(end); {
			}
			enough.Store(true)
			asking.Wait()
			if n := connections(); n != limit {
				t.Errorf("%d connections, want %d", n, limit)
			}
		})
	}
}

func TestLostConnectionIsReplaced(t *testing.T) {
	name, root := server.Database(t, "")
	db := open(t, rootOptions(server, name))
	for range 3 {
		id, err := one(t, db, "SELECT CONNECTION_ID()")
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, root, "KILL "+id)
		again, err := one(t, db, "SELECT CONNECTION_ID()")
		if err != nil || again == id {
			t.Fatalf("after KILL: connection %s, %v", again, err)
		}
	}
}

// Shared hosts close idle connections after a few seconds; a session may ask
// for more.
func TestShortWaitTimeout(t *testing.T) {
	name, root := server.Database(t, "")
	mustExec(t, root, "SET GLOBAL wait_timeout = 1")
	t.Cleanup(func() { mustExec(t, root, "SET GLOBAL wait_timeout = DEFAULT") })
	db := open(t, rootOptions(server, name))
	id, err := one(t, db, "SELECT CONNECTION_ID()")
	if err != nil {
		t.Fatal(err)
	}
	// A connection that did not ask is the clock: it dies of its idleness.
	idle, err := server.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	var other int
	if err := idle.QueryRow("SELECT CONNECTION_ID()").Scan(&other); err != nil {
		t.Fatal(err)
	}
	for alive := 1; alive > 0; {
		if err := root.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST, (SELECT SLEEP(0.05)) s WHERE ID = ?", other).Scan(&alive); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := one(t, db, "SELECT CONNECTION_ID()"); err != nil || again != id {
		t.Fatalf("after the server's wait_timeout: connection %s instead of %s, %v", again, id, err)
	}
}

func TestTooManyConnections(t *testing.T) {
	name, root := server.Database(t, "")
	user := server.ReadOnlyUser(t, name)
	mustExec(t, root, "SET GLOBAL max_connections = 10")
	t.Cleanup(func() { mustExec(t, root, "SET GLOBAL max_connections = DEFAULT") })
	var held []*wpdb.DB
	var err error
	for range 11 {
		db, openErr := wpdb.Open(userOptions(server, name, user), slog.New(slog.DiscardHandler))
		if openErr != nil {
			t.Fatal(openErr)
		}
		held = append(held, db)
		if _, err = one(t, db, "SELECT 1"); err != nil {
			break
		}
	}
	last := held[len(held)-1]
	if wpdb.Classify(err) != wpdb.Busy || !strings.Contains(err.Error(), "1040") {
		t.Errorf("a full server: %v", err)
	}
	if h := last.Health(); h.OK || !strings.Contains(h.Trouble, "max_connections") {
		t.Errorf("health at a full server: %+v", h)
	}
	for _, db := range held[:len(held)-1] {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, func() error { _, err := one(t, last, "SELECT 1"); return err })
	if h := last.Health(); !h.OK || h.Trouble != "" {
		t.Errorf("health afterwards: %+v", h)
	}
	if err := last.Close(); err != nil {
		t.Error(err)
	}
}

func TestUserLimits(t *testing.T) {
	name, root := server.Database(t, "")
	user := server.ReadOnlyUser(t, name)
	opt := userOptions(server, name+"_not_there", user)
	if _, err := one(t, open(t, opt), "SELECT 1"); wpdb.Classify(err) != wpdb.Denied || !strings.Contains(err.Error(), "1044") {
		t.Errorf("another database: %v", err)
	}
	mustExec(t, root, "ALTER USER '"+user+"'@'localhost' WITH MAX_USER_CONNECTIONS 1")
	db := open(t, userOptions(server, name, user))
	if _, err := one(t, db, "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	_, err := one(t, db.Shared(), "SELECT 1")
	if wpdb.Classify(err) != wpdb.Busy || !strings.Contains(err.Error(), "1226") {
		t.Errorf("beyond MAX_USER_CONNECTIONS: %v", err)
	}
	if got, err := one(t, db, "SELECT 2"); got != "2" || err != nil {
		t.Errorf("the tail meanwhile: %q, %v", got, err)
	}
	if _, err := one(t, db, "SELECT * FROM not_there"); wpdb.Classify(err) != wpdb.NoTable || !db.Health().OK {
		t.Errorf("a missing table: %v, health %+v", err, db.Health())
	}
	missing := open(t, rootOptions(server, "not_there"))
	if _, err := one(t, missing, "SELECT 1"); wpdb.Classify(err) != wpdb.NoTable || missing.Health().OK {
		t.Errorf("a missing database: %v, health %+v", err, missing.Health())
	}
}

func TestServerDiesAndComesBack(t *testing.T) {
	srv, err := mariadbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	name, _ := srv.Database(t, "")
	db := open(t, rootOptions(srv, name))
	if h := db.Health(); h.OK || h.Trouble == "" {
		t.Errorf("health before the first query: %+v", h)
	}
	if _, err := one(t, db, "SELECT 1"); err != nil || !db.Health().OK {
		t.Fatalf("before the crash: %v, %+v", err, db.Health())
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := one(t, db, "SELECT 1"); wpdb.Classify(err) != wpdb.Gone {
			t.Fatalf("during the crash: %v", err)
		}
	}
	if h := db.Health(); h.OK || !strings.Contains(h.Trouble, "no database server answers") || h.Since.IsZero() {
		t.Errorf("health during the crash: %+v", h)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := one(t, db, "SELECT 2"); got != "2" || err != nil || !db.Health().OK {
		t.Fatalf("after the crash: %q, %v, %+v", got, err, db.Health())
	}
}

func TestClassify(t *testing.T) {
	number := func(n uint16) error {
		return fmt.Errorf("query: %w", &mysql.MySQLError{Number: n, Message: "m"})
	}
	for _, tc := range []struct {
		err  error
		want wpdb.Trouble
	}{
		{nil, wpdb.None},
		{context.Canceled, wpdb.None},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), wpdb.Slow},
		{mysql.ErrInvalidConn, wpdb.Gone},
		{driver.ErrBadConn, wpdb.Gone},
		{io.ErrUnexpectedEOF, wpdb.Gone},
		{number(2006), wpdb.Gone},
		{number(2013), wpdb.Gone},
		{number(1053), wpdb.Gone},
		{number(1040), wpdb.Busy},
		{number(1203), wpdb.Busy},
		{number(1226), wpdb.Busy},
		{number(1044), wpdb.Denied},
		{number(1045), wpdb.Denied},
		{number(1142), wpdb.Denied},
		{number(1143), wpdb.Denied},
		{number(1146), wpdb.NoTable},
		{number(1153), wpdb.TooBig},
		{mysql.ErrPktTooLarge, wpdb.TooBig},
		{number(1969), wpdb.Slow},
		{mysql.ErrNoTLS, wpdb.Untrusted},
		{&tls.CertificateVerificationError{Err: errors.New("x")}, wpdb.Untrusted},
		{number(1064), wpdb.Other},
		{errors.New("x"), wpdb.Other},
	} {
		got := wpdb.Classify(tc.err)
		if got != tc.want {
			t.Errorf("%v is %v, want %v", tc.err, got, tc.want)
		}
		if got.String() == "" || got.Advice() == "" {
			t.Errorf("%v has no name or advice", tc.err)
		}
	}
}

// eventually repeats f, which waits for a server, until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.Done():
			t.Fatal(err)
		case <-time.After(backoff.Full(failures, 100*time.Millisecond, 10*time.Second)):
		}
	}
}
