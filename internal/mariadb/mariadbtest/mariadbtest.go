// Package mariadbtest gives a test package one real MariaDB of its own.
package mariadbtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"holdline/internal/mariadb"
)

// Instance is the server of one test package, started in its TestMain.
type Instance struct {
	*mariadb.Server
	dir string
	n   atomic.Int64
}

// Start starts a server in a new folder. A machine without MariaDB is a
// failure, never a skip: these tests are the proof.
func Start(args ...string) (*Instance, error) {
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		return nil, fmt.Errorf("make a folder for MariaDB: %w", err)
	}
	server, err := mariadb.Start(context.Background(), dir, args...)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &Instance{Server: server, dir: dir}, nil
}

// Main is the TestMain of a package whose tests share one server: it starts it, runs
// them, and calls end (nil for nothing) for what else they left open. The code, for
// os.Exit, is also 1 when goroutines are left.
func Main(m *testing.M, server **Instance, end func() error, args ...string) (code int) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	started, err := Start(args...)
	if fail(err); code != 0 {
		return code
	}
	*server = started
	code = m.Run()
	if end != nil {
		fail(end())
	}
	if fail(started.Close()); code == 0 {
		fail(goleak.Find())
	}
	return code
}

// Close stops the server and removes its folder.
func (i *Instance) Close() error {
	err := i.Stop()
	os.RemoveAll(i.dir)
	return err
}

// Database makes an empty database for one test, runs the schema in it and
// returns its name and a pool of root's connections, both gone after the test.
func (i *Instance) Database(tb testing.TB, schema string) (name string, root *sql.DB) {
	tb.Helper()
	name = fmt.Sprintf("t%d", i.n.Add(1))
	ctx := context.Background()
	if err := i.Exec(ctx, "", "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		tb.Fatal(err)
	}
	root, err := i.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		root.ExecContext(ctx, "DROP DATABASE "+name)
		root.Close()
	})
	if schema != "" {
		if _, err := root.ExecContext(ctx, schema); err != nil {
			tb.Fatal(err)
		}
	}
	return name, root
}

// ReadOnlyUser makes a user that may SELECT in one database and nothing else.
// Password is the user's name.
func (i *Instance) ReadOnlyUser(tb testing.TB, database string) (user string) {
	tb.Helper()
	user = "ro_" + database
	err := i.Exec(context.Background(), "", fmt.Sprintf(
		"CREATE USER '%[1]s'@'localhost' IDENTIFIED BY '%[1]s'; GRANT SELECT ON `%[2]s`.* TO '%[1]s'@'localhost'", user, database))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { i.Exec(context.Background(), "", "DROP USER '"+user+"'@'localhost'") })
	return user
}
