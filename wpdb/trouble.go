package wpdb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Trouble is what is wrong with the database, as far as it matters for what to
// do next. Every trouble may pass: none is a reason to end the program.
type Trouble uint8

// The kinds of trouble.
const (
	None      Trouble = iota
	Gone              // no server answers, or it hung up
	Busy              // too many connections, or a lock in the way
	Denied            // wrong user or password, or a missing right
	Untrusted         // no TLS, or a certificate that is not trusted
	NoTable           // no such table or database
	TooBig            // a row or statement beyond max_allowed_packet
	Slow              // no answer in time
	Other
)

var troubles = [...]struct{ name, advice string }{
	None:      {"none", "the database answers"},
	Gone:      {"gone", "no database server answers: check that it runs and that database.address is right; Holdline keeps trying"},
	Busy:      {"busy", "the database server has no connection to spare: lower database.max_connections, or raise MAX_USER_CONNECTIONS of the user or max_connections of the server; Holdline keeps trying"},
	Denied:    {"denied", "the database refuses its user: check database.user, database.password_file and the rights that `holdline doctor` prints"},
	Untrusted: {"untrusted", "no trusted TLS connection to the database: check database.tls, or name the file of the authority that signed the server's certificate there"},
	NoTable:   {"no table", "a table or the database itself does not exist: check database.name, database.table_prefix and that the plugin is active"},
	TooBig:    {"too big", "a row is larger than the server lets through: raise its max_allowed_packet"},
	Slow:      {"slow", "the database did not answer in time: look for long-running statements and missing indexes"},
	Other:     {"other", "the database reports an error that Holdline does not know"},
}

// String is the trouble in a word, fit for a metric's label.
func (t Trouble) String() string { return troubles[t].name }

// Advice is a sentence that tells the operator what to do.
func (t Trouble) Advice() string { return troubles[t].advice }

// serverErrors are the numbers of the MySQL and MariaDB server error
// references that we can say something about.
var serverErrors = map[uint16]Trouble{
	1040: Busy, // ER_CON_COUNT_ERROR
	1203: Busy, // ER_TOO_MANY_USER_CONNECTIONS
	1205: Busy, // ER_LOCK_WAIT_TIMEOUT
	1213: Busy, // ER_LOCK_DEADLOCK
	1226: Busy, // ER_USER_LIMIT_REACHED

	1044: Denied, // ER_DBACCESS_DENIED_ERROR
	1045: Denied, // ER_ACCESS_DENIED_ERROR
	1129: Denied, // ER_HOST_IS_BLOCKED
	1130: Denied, // ER_HOST_NOT_PRIVILEGED
	1142: Denied, // ER_TABLEACCESS_DENIED_ERROR
	1143: Denied, // ER_COLUMNACCESS_DENIED_ERROR
	1227: Denied, // ER_SPECIFIC_ACCESS_DENIED_ERROR
	1698: Denied, // ER_ACCESS_DENIED_NO_PASSWORD_ERROR

	1049: NoTable, // ER_BAD_DB_ERROR
	1146: NoTable, // ER_NO_SUCH_TABLE

	1153: TooBig, // ER_NET_PACKET_TOO_LARGE

	1969: Slow, // MariaDB ER_STATEMENT_TIMEOUT
	3024: Slow, // MySQL ER_QUERY_TIMEOUT

	1053: Gone, // ER_SERVER_SHUTDOWN
	1080: Gone, // ER_FORCING_CLOSE
	1152: Gone, // ER_ABORTING_CONNECTION
	1927: Gone, // MariaDB ER_CONNECTION_KILLED
	2006: Gone, // CR_SERVER_GONE_ERROR, passed on by proxies
	2013: Gone, // CR_SERVER_LOST
	4031: Gone, // MySQL ER_CLIENT_INTERACTION_TIMEOUT
}

// Classify tells what kind of trouble err is. A nil error, and one that only
// says that the caller gave up (context.Canceled) or closed the DB, is none.
func Classify(err error) Trouble {
	var server *mysql.MySQLError
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, sql.ErrConnDone):
		return None
	case errors.As(err, &server):
		if t, ok := serverErrors[server.Number]; ok {
			return t
		}
		return Other
	case errors.As(err, &certificate), errors.Is(err, mysql.ErrNoTLS):
		return Untrusted
	case errors.Is(err, mysql.ErrPktTooLarge):
		return TooBig
	case errors.Is(err, context.DeadlineExceeded):
		return Slow
	case lostConnection(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return Gone
	}
	return Other
}

// lostConnection tells that the connection, not the statement, was at fault.
func lostConnection(err error) bool {
	if errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) {
		return true
	}
	var server *mysql.MySQLError
	return errors.As(err, &server) && serverErrors[server.Number] == Gone
}

func serverError(err error, number uint16) bool {
	var server *mysql.MySQLError
	return errors.As(err, &server) && server.Number == number
}

// Between two attempts lies a random time from the least, which is what a server
// that is full can bear from every program that wants in, up to a ceiling that
// doubles with every failure.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = 10 * time.Second
)

// Health is the state of the database for a readiness check.
type Health struct {
	OK bool
	// Since is when OK became what it is.
	Since time.Time
	// Trouble tells the operator what is wrong and what to do; empty when OK.
	Trouble string
}

// health follows the outcome of queries.
type health struct {
	logger *slog.Logger
	mu     sync.Mutex
	now    Health
	last   Trouble
	asked  bool
}

func newHealth(logger *slog.Logger) *health {
	return &health{logger: logger, now: Health{Since: time.Now(), Trouble: "the database has not been asked anything yet"}}
}

func (h *health) get() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// note takes the outcome of a query.
func (h *health) note(err error) {
	trouble := Classify(err)
	if err != nil && trouble == None {
		return // the caller gave up, which says nothing
	}
	if complaint(err, trouble) {
		trouble = None
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked || trouble != h.last {
		if trouble == None {
			h.logger.Info("the database answers")
		} else {
			h.logger.Warn("the database is in trouble", "trouble", trouble.String(), "advice", trouble.Advice(), "error", err)
		}
	}
	if ok := trouble == None; !h.asked || ok != h.now.OK {
		h.now.OK, h.now.Since = ok, time.Now()
	}
	h.asked, h.last, h.now.Trouble = true, trouble, ""
	if trouble != None {
		h.now.Trouble = fmt.Sprintf("%s (%v)", trouble.Advice(), err)
	}
}

// complaint tells that a server we are connected to only complains about the
// statement, a missing table or grant say. Its caller reports that; for the
// database as a whole it is a sign of life.
func complaint(err error, trouble Trouble) bool {
	var connecting *connectError
	if errors.As(err, &connecting) {
		return false
	}
	switch trouble {
	case Denied, NoTable, TooBig, Other:
		return true
	}
	return false
}
