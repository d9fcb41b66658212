package wpdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// fakeConn is a server of another make: it refuses statements by number.
type fakeConn struct {
	driver.Conn
	refuse map[string]uint16 // by the beginning of the statement
	log    []string
	value  any // of every SELECT
}

func (c *fakeConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.log = append(c.log, query)
	for beginning, number := range c.refuse {
		if strings.HasPrefix(query, beginning) {
			return nil, &mysql.MySQLError{Number: number, Message: "refused"}
		}
	}
	return driver.ResultNoRows, nil
}

func (c *fakeConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &fakeRows{c.value}, nil
}

type fakeRows struct{ value any }

func (*fakeRows) Columns() []string { return []string{"v"} }
func (*fakeRows) Close() error      { return nil }

func (r *fakeRows) Next(dest []driver.Value) error {
	if r.value == nil {
		return io.EOF
	}
	dest[0] = r.value
	return nil
}

func TestPrepareOnOtherServers(t *testing.T) {
	for _, tc := range []struct {
		name     string
		refuse   map[string]uint16
		value    any
		ran      []string // statements that must be among those sent
		lifetime time.Duration
		fails    string // a word of the error
	}{
		{name: "MariaDB", ran: []string{"SET NAMES utf8mb4", "SET SESSION TRANSACTION READ ONLY", "SET SESSION autocommit=1, sql_mode=''", "SET SESSION max_statement_time=10", "SET SESSION wait_timeout=600"}},
		{name: "MySQL", refuse: map[string]uint16{"SET SESSION max_statement_time": 1193}, ran: []string{"SET SESSION max_execution_time=10000"}},
		{name: "old MySQL", refuse: map[string]uint16{"SET SESSION max_": 1193, "SET NAMES utf8mb4": 1115}, ran: []string{"SET NAMES utf8", "SET SESSION TRANSACTION READ ONLY"}},
		{name: "proxy that keeps its wait_timeout", refuse: map[string]uint16{"SET SESSION wait_timeout": 1227}, value: []byte("60"), lifetime: 30 * time.Second},
		{name: "proxy with a wait_timeout of nothing", refuse: map[string]uint16{"SET SESSION wait_timeout": 1227}, value: int64(0), lifetime: time.Second / 2},
		{name: "proxy that hides its wait_timeout", refuse: map[string]uint16{"SET SESSION wait_timeout": 1227}, fails: "wait_timeout"},
		{name: "too old for read only", refuse: map[string]uint16{"SET SESSION TRANSACTION": 1064}, fails: "read-only"},
		{name: "shutting down", refuse: map[string]uint16{"SET SESSION max_": 1053}, fails: "1053"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var lifetime time.Duration
			conn := &fakeConn{refuse: tc.refuse, value: tc.value}
			c := &connector{setLifetime: func(d time.Duration) { lifetime = d }}
			err := c.prepare(t.Context(), conn)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Fatalf("error %v, want a word of %q", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range tc.ran {
				if !slices.Contains(conn.log, statement) {
					t.Errorf("%q was not sent: %q", statement, conn.log)
				}
			}
			if lifetime != tc.lifetime {
				t.Errorf("lifetime of connections set to %v, want %v", lifetime, tc.lifetime)
			}
		})
	}
}

// fakeConnector makes connections without a server.
type fakeConnector struct {
	conn driver.Conn
	err  error
}

func (c fakeConnector) Connect(context.Context) (driver.Conn, error) { return c.conn, c.err }
func (fakeConnector) Driver() driver.Driver                          { return nil }

func TestConnectGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused := errors.New("no route")
	c := &connector{candidates: []driver.Connector{fakeConnector{err: refused}, fakeConnector{conn: &fakeConn{}}}}
	if conn, err := c.Connect(ctx); conn != nil || !errors.Is(err, refused) {
		t.Fatalf("%v, %v", conn, err)
	}
}

func TestDriverConfig(t *testing.T) {
	o := Options{Database: "d", User: "u", Password: "p"}
	encrypted, err := tlsOption("on")
	if err != nil {
		t.Fatal(err)
	}
	cfg := o.driverConfig(Address{"tcp", "db.example.com:3307"}, encrypted, nil)
	if cfg.TLS == nil || cfg.TLS == encrypted || !cfg.InterpolateParams || cfg.ParseTime || cfg.Loc != time.UTC || cfg.MultiStatements {
		t.Errorf("TCP: %+v", cfg)
	}
	if cfg := o.driverConfig(Address{"unix", "/s"}, encrypted, nil); cfg.TLS != nil {
		t.Error("TLS on a unix socket")
	}
	// In these a quote may hide behind half a character.
	for _, charset := range []string{"gbk", "sjis", "big5"} {
		o.Charset = charset
		if o.driverConfig(Address{"unix", "/s"}, nil, nil).InterpolateParams {
			t.Errorf("%s escapes in the client", charset)
		}
	}
}

// dyingConn is a connection that the server closed while the query was on its way.
type dyingConn struct{ fakeConn }

func (*dyingConn) Close() error { return nil }
func (*dyingConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, mysql.ErrInvalidConn
}

// sequence hands out one connection after the other.
type sequence struct{ conns []driver.Conn }

func (s *sequence) Driver() driver.Driver { return nil }
func (s *sequence) Connect(context.Context) (driver.Conn, error) {
	if len(s.conns) == 0 {
		return nil, io.EOF
	}
	conn := s.conns[0]
	s.conns = s.conns[1:]
	return conn, nil
}

func TestQueryIsRepeatedOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		conns []driver.Conn
		want  Trouble
	}{
		{"one connection dies", []driver.Conn{&dyingConn{}, &healthyConn{}}, None},
		{"two die", []driver.Conn{&dyingConn{}, &dyingConn{}, &healthyConn{}}, Gone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &pool{sql: sql.OpenDB(&sequence{tc.conns}), health: newHealth(slog.New(slog.DiscardHandler))}
			p.sql.SetMaxIdleConns(0) // a broken connection must not be met again
			defer p.sql.Close()
			rows, err := p.QueryContext(t.Context(), "SELECT 1")
			if Classify(err) != tc.want {
				t.Fatalf("%v, want trouble %v", err, tc.want)
			}
			if err == nil {
				if err := rows.Close(); err != nil {
					t.Error(err)
				}
			}
			if h := p.health.get(); h.OK != (tc.want == None) {
				t.Errorf("health %+v", h)
			}
		})
	}
}

type healthyConn struct{ fakeConn }

func (*healthyConn) Close() error { return nil }
