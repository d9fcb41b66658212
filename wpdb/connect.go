package wpdb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Limits of a connection. A statement is cut off by the server before the
// driver gives up reading, so that a slow query never costs the connection.
const (
	dialTimeout   = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 5 * time.Second
	statementCap  = 10 * time.Second
	idleTimeout   = 10 * time.Minute // the wait_timeout we ask for
	maxLifetime   = 3 * time.Minute
	defaultMaxCon = 2
)

// Address is one place where the database may listen.
type Address struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of a socket
}

// Options say how to reach the database of a WordPress site.
type Options struct {
	// Addresses are tried in this order on every new connection until a server
	// answers; "localhost" in a wp-config.php stands for several.
	Addresses []Address
	Database  string
	User      string
	Password  string
	// TLS is "off" (also ""), "on" (the system's authorities), "skip-verify"
	// (encrypted, but anybody may answer) or the path of a PEM file with the
	// authorities to trust. It does not concern unix sockets.
	TLS string
	// Charset is the connection's character set. Empty means utf8mb4, and utf8
	// where the server does not know that. A site whose DB_CHARSET is latin1
	// keeps UTF-8 bytes in latin1 columns: give the same here, or texts come
	// back encoded twice.
	Charset string
	// MaxConnections bounds all connections together; 0 means 2. With 1 the
	// tail and everybody else take turns.
	MaxConnections int
}

// DB is the site's database, read only. It connects when it is first asked and
// again whenever the connection is lost; a failed query says why and may simply
// be repeated later. All methods may be called concurrently.
//
// A DB itself is for the tail alone: one connection is set apart for it, so that
// it never waits for others. Everybody else queries [DB.Shared].
type DB struct {
	*pool
	shared *pool
}

// pool is one of the two sets of connections of a DB.
type pool struct {
	sql    *sql.DB
	health *health
}

// Open checks opt and returns a DB. It does not connect and starts nothing.
func Open(opt Options, logger *slog.Logger) (*DB, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	tlsConfig, err := opt.validate()
	if err != nil {
		return nil, err
	}
	h := newHealth(logger)
	db := &DB{pool: &pool{health: h}}
	if db.sql, err = opt.open(1, tlsConfig, logger); err != nil {
		return nil, err
	}
	db.shared = db.pool
	if opt.MaxConnections != 1 {
		others, err := opt.open(max(opt.MaxConnections, defaultMaxCon)-1, tlsConfig, logger)
		if err != nil {
			_ = db.Close()
			return nil, err
		}
		db.shared = &pool{sql: others, health: h}
	}
	return db, nil
}

// Shared is the database for everybody but the tail: cookies, replays, facts
// of the site. It uses all connections but one, and callers wait for their turn
// until their context ends.
func (db *DB) Shared() Querier { return db.shared }

// Check asks the database for a sign of life and tells how it is. With nobody
// listening no query is made for minutes, so the last one says little.
func (db *DB) Check(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rows, err := db.shared.QueryContext(ctx, "SELECT 1")
	if err == nil {
		rows.Close()
	}
	health := db.Health()
	if ctx.Err() != nil && health.OK {
		return Health{Since: time.Now(), Trouble: "the database does not answer: look at its load and its log"}
	}
	return health
}

// checkTimeout is how long a sign of life may take.
const checkTimeout = 2 * time.Second

// Health tells whether the database answered the last query.
func (db *DB) Health() Health { return db.health.get() }

// Close closes all connections and lets running queries fail. It returns nil:
// a connection that only read and cannot be closed is dead already.
func (db *DB) Close() error {
	_ = db.sql.Close()
	_ = db.shared.sql.Close() // the same again does no harm
	return nil
}

// QueryContext runs one SELECT. The caller must close the rows before its next
// query: another one may be waiting for the connection.
//
// A query that met a dead connection is repeated once on a new one, which only
// reads may be. See [Classify] for the errors.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := p.sql.QueryContext(ctx, query, args...)
	if lostConnection(err) && ctx.Err() == nil {
		rows, err = p.sql.QueryContext(ctx, query, args...)
	}
	p.health.note(err)
	if err != nil {
		return nil, fmt.Errorf("query the database: %w", err)
	}
	return rows, nil
}

// charsetName is what may stand in SET NAMES, where no placeholder can.
var charsetName = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)

func (o Options) validate() (*tls.Config, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("no database address: set database.address to host:port or to the path of the server's socket")
	}
	for _, a := range o.Addresses {
		if a.Network != "tcp" && a.Network != "unix" || a.Address == "" {
			return nil, fmt.Errorf("database address %q of network %q: the network must be tcp or unix and the address not empty", a.Address, a.Network)
		}
	}
	if o.Database == "" {
		return nil, errors.New("no database name: set database.name")
	}
	if o.User == "" {
		return nil, errors.New("no database user: set database.user to a user that may only SELECT")
	}
	if o.Charset != "" && !charsetName.MatchString(o.Charset) {
		return nil, fmt.Errorf("database charset %q is not the name of a character set", o.Charset)
	}
	if o.MaxConnections < 0 {
		return nil, fmt.Errorf("database.max_connections is %d: it must be at least 1", o.MaxConnections)
	}
	return tlsOption(o.TLS)
}

// tlsOption makes the TLS configuration of Options.TLS, nil for none.
func tlsOption(option string) (*tls.Config, error) {
	switch option {
	case "", "off":
		return nil, nil
	case "on":
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	case "skip-verify":
		return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, nil
	}
	pem, err := os.ReadFile(option)
	if err != nil {
		return nil, fmt.Errorf("database.tls must be off, on, skip-verify or a file of certificate authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("database.tls: %s holds no PEM certificate", option)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// open makes a pool of at most n connections.
func (o Options) open(n int, tlsConfig *tls.Config, logger *slog.Logger) (*sql.DB, error) {
	c := &connector{charset: o.Charset}
	for _, a := range o.Addresses {
		m, err := mysql.NewConnector(o.driverConfig(a, tlsConfig, logger))
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", a.Address, err)
		}
		c.candidates = append(c.candidates, m)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxLifetime(maxLifetime)
	c.setLifetime = db.SetConnMaxLifetime
	return db, nil
}

func (o Options) driverConfig(a Address, tlsConfig *tls.Config, logger *slog.Logger) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = a.Network, a.Address
	cfg.DBName, cfg.User, cfg.Passwd = o.Database, o.User, o.Password
	cfg.Loc = time.UTC
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = dialTimeout, readTimeout, writeTimeout
	// One round trip per query instead of three. Escaping in the client is safe
	// only where no multi-byte character can end in a backslash.
	cfg.InterpolateParams = !unsafeCharsets[o.Charset]
	cfg.Logger = driverLog{logger}
	if a.Network != "unix" && tlsConfig != nil {
		cfg.TLS = tlsConfig.Clone()
	}
	return cfg
}

// unsafeCharsets have characters whose second byte may be a backslash.
var unsafeCharsets = map[string]bool{
	"big5": true, "cp932": true, "gb18030": true, "gb2312": true, "gbk": true, "sjis": true,
}

// driverLog takes what the driver has to say about broken connections. The
// same trouble comes back as an error, so it is for debugging only.
type driverLog struct{ *slog.Logger }

func (l driverLog) Print(v ...any) { l.Debug("mysql driver", "message", fmt.Sprint(v...)) }

// connector makes connections that cannot write.
type connector struct {
	candidates  []driver.Connector
	charset     string
	setLifetime func(time.Duration) // of the pool
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// Connect implements driver.Connector: the first candidate that answers is
// taken, also if it answers with a refusal, because it is the right server then.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var failures []error
	for _, candidate := range c.candidates {
		conn, err := candidate.Connect(ctx)
		if err == nil {
			if err := c.prepare(ctx, conn); err != nil {
				return nil, &connectError{errors.Join(err, conn.Close())}
			}
			return conn, nil
		}
		failures = append(failures, err)
		var refusal *mysql.MySQLError
		if errors.As(err, &refusal) || ctx.Err() != nil {
			break
		}
	}
	return nil, &connectError{errors.Join(failures...)}
}

// connectError marks the errors of a connection that never came to be, whose
// numbers mean more than those of a statement.
type connectError struct{ err error }

func (e *connectError) Error() string { return "connect: " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// prepare makes a new connection read-only, mode-neutral and bounded in time.
func (c *connector) prepare(ctx context.Context, conn driver.Conn) error {
	if err := c.setNames(ctx, conn); err != nil {
		return err
	}
	// Even a user who may write cannot do so by way of this program: error 1792.
	if err := exec(ctx, conn, "SET SESSION TRANSACTION READ ONLY"); err != nil {
		return fmt.Errorf("make the connection read-only (MySQL 5.6.5 or MariaDB 10.0 is needed): %w", err)
	}
	// Without autocommit the first SELECT would freeze what later ones see
	// (REPEATABLE READ). A site's sql_mode could change what quotes mean.
	if err := exec(ctx, conn, "SET SESSION autocommit=1, sql_mode=''"); err != nil {
		return fmt.Errorf("set up the connection: %w", err)
	}
	if err := limitStatements(ctx, conn); err != nil {
		return fmt.Errorf("limit the time of statements: %w", err)
	}
	if err := freshStatistics(ctx, conn); err != nil {
		return fmt.Errorf("ask for fresh statistics: %w", err)
	}
	return c.raiseTimeout(ctx, conn)
}

func (c *connector) setNames(ctx context.Context, conn driver.Conn) error {
	if c.charset != "" {
		if err := exec(ctx, conn, "SET NAMES "+c.charset); err != nil {
			return fmt.Errorf("set the database charset: %w", err)
		}
		return nil
	}
	err := exec(ctx, conn, "SET NAMES utf8mb4")
	if serverError(err, 1115) { // unknown character set: older than MySQL 5.5.3
		err = exec(ctx, conn, "SET NAMES utf8")
	}
	if err != nil {
		return fmt.Errorf("set the database charset: %w", err)
	}
	return nil
}

// limitStatements sets the cap under its name in MariaDB (seconds), then in
// MySQL (milliseconds). Servers older than both go without.
func limitStatements(ctx context.Context, conn driver.Conn) error {
	err := exec(ctx, conn, fmt.Sprintf("SET SESSION max_statement_time=%d", statementCap/time.Second))
	if serverError(err, 1193) { // unknown system variable
		err = exec(ctx, conn, fmt.Sprintf("SET SESSION max_execution_time=%d", statementCap/time.Millisecond))
	}
	if serverError(err, 1193) {
		return nil
	}
	return err
}

// freshStatistics has MySQL 8 say what AUTO_INCREMENT is now, not what it was
// when somebody last asked (information_schema_stats_expiry, a day): the tail
// tells a truncated table by it. Other servers have no such variable.
func freshStatistics(ctx context.Context, conn driver.Conn) error {
	err := exec(ctx, conn, "SET SESSION information_schema_stats_expiry=0")
	if serverError(err, 1193) {
		return nil
	}
	return err
}

// raiseTimeout asks the server not to close our idle connections: shared hosts
// do so after 20 to 60 s. Any session may ask; where a proxy refuses, our own
// connections retire before the server's limit.
func (c *connector) raiseTimeout(ctx context.Context, conn driver.Conn) error {
	err := exec(ctx, conn, fmt.Sprintf("SET SESSION wait_timeout=%d", idleTimeout/time.Second))
	if err == nil {
		return nil
	}
	var refusal *mysql.MySQLError
	if !errors.As(err, &refusal) {
		return fmt.Errorf("raise wait_timeout: %w", err)
	}
	seconds, err := selectInt(ctx, conn, "SELECT @@wait_timeout")
	if err != nil {
		return fmt.Errorf("read wait_timeout: %w", err)
	}
	limit := time.Duration(seconds) * time.Second / 2
	c.setLifetime(min(maxLifetime, max(limit, time.Second/2)))
	return nil
}

func exec(ctx context.Context, conn driver.Conn, statement string) error {
	_, err := conn.(driver.ExecerContext).ExecContext(ctx, statement, nil)
	return err
}

// selectInt returns the only value of a query as a number.
func selectInt(ctx context.Context, conn driver.Conn, query string) (int64, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	value := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(value); err != nil {
		return 0, err
	}
	var n sql.Null[int64]
	if err := n.Scan(value[0]); err != nil {
		return 0, err
	}
	return n.V, nil
}
