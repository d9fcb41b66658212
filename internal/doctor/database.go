package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdline/config"
	"holdline/internal/wpconfig"
	"holdline/wpdb"
)

// server is what the database server says of itself.
type server struct {
	version string
	account string // user@host that MySQL took us for
	cipher  string // "" for a connection in the clear
	zone    string // session time zone
	now     time.Time
	asked   time.Time // our clock in the middle of that question
}

// checkDatabase connects. All later questions use the same single connection,
// because a shared host counts them and Holdline has its own.
func checkDatabase(ctx context.Context, e *exam) []Finding {
	d := e.Config.Database
	if d.Name == "" || d.User == "" {
		return skipped("the database's name or user is not known, see “wp-config”")
	}
	charset, _ := e.WordPress.String("DB_CHARSET")
	db, err := wpdb.Open(wpdb.Options{
		Addresses: wpdb.ParseAddresses(d.Address), Database: d.Name, User: d.User, Password: d.Password.Reveal(),
		TLS: d.TLS, Charset: wpdb.CharsetOf(charset), MaxConnections: 1,
	}, quiet())
	if err != nil {
		return []Finding{fault(err.Error(), "Correct that setting.")}
	}
	e.db = db
	if e.server, err = askServer(ctx, db.Shared()); err != nil {
		return []Finding{e.unreachable(err)}
	}
	s := e.server
	found := []Finding{}
	if s.cipher == "" && remote(d.Address) {
		found = append(found, warn("the connection to "+d.Address+" is not encrypted, so the password and all rows can be read on the way",
			"Set database.tls to on, or to the file of the authority that signed the server's certificate."))
	}
	kind := "MySQL"
	if strings.Contains(s.version, "MariaDB") {
		kind = "MariaDB"
	}
	version, _, _ := strings.Cut(s.version, "-")
	how := ""
	if s.cipher != "" {
		how = ", encrypted"
	}
	return orOK(found, fmt.Sprintf("%s %s at %s, as %s%s", kind, version, d.Address, s.account, how))
}

func askServer(ctx context.Context, q wpdb.Querier) (s server, err error) {
	// The first question also connects, and a clock is not compared meanwhile.
	if _, err := texts(ctx, q, "SELECT 1"); err != nil {
		return s, err
	}
	began := time.Now()
	row, err := texts(ctx, q, "SELECT VERSION(), CURRENT_USER(), @@time_zone, CAST(ROUND(1000*UNIX_TIMESTAMP(NOW(3))) AS CHAR)")
	if err != nil {
		return s, err
	}
	s.asked = began.Add(time.Since(began) / 2)
	var ms int64
	if _, err := fmt.Sscan(row[0][3], &ms); err != nil {
		return s, fmt.Errorf("read the server's clock: %w", err)
	}
	s.version, s.account, s.zone, s.now = row[0][0], row[0][1], row[0][2], time.UnixMilli(ms)
	if row, err = texts(ctx, q, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"); err == nil && len(row) > 0 {
		s.cipher = row[0][1]
	}
	return s, nil
}

// texts returns the rows of a query as text, NULL as "".
func texts(ctx context.Context, q wpdb.Querier, query string, args ...any) ([][]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list [][]string
	for rows.Next() {
		raw, dest := make([][]byte, len(columns)), make([]any, len(columns))
		for i := range raw {
			dest[i] = &raw[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		row := make([]string, len(raw))
		for i, b := range raw {
			row[i] = string(b)
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// unreachable says why there is no connection.
func (e *exam) unreachable(err error) Finding {
	d := e.Config.Database
	var refusal *mysql.MySQLError
	if errors.As(err, &refusal) {
		switch refusal.Number {
		case 1045, 1698: // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
			return e.refused(accountIn(refusal.Message, d.User))
		case 1130: // ER_HOST_NOT_PRIVILEGED
			return fault("the database lets no user in from this machine: "+refusal.Message,
				"Make a user for this machine's address, as the database's administrator.", e.newUser()...)
		case 1044: // ER_DBACCESS_DENIED_ERROR
			return fault(fmt.Sprintf("the user %s has no right on the database %s", accountIn(refusal.Message, d.User), d.Name),
				"Give it what Holdline reads and no more, as the database's administrator.", e.grants(accountIn(refusal.Message, d.User))...)
		case 1049: // ER_BAD_DB_ERROR
			return fault("the server has no database "+d.Name, "Correct database.name: DB_NAME in the site's wp-config.php says it.")
		}
	}
	switch wpdb.Classify(err) {
	case wpdb.Gone, wpdb.Slow:
		return fault(fmt.Sprintf("no database server answers at %s (%v)", where(d), rootCause(err)),
			"Start the server, or correct database.address; over a network, also let port 3306 through the firewall and check bind-address.")
	case wpdb.Untrusted:
		return fault(fmt.Sprintf("there is no trusted TLS connection to the database (%v)", rootCause(err)),
			"Set database.tls to the file of the authority that signed the server's certificate, or to off if the server has no TLS.")
	}
	return fault(fmt.Sprintf("the database cannot be used (%v)", rootCause(err)), capital(wpdb.Classify(err).Advice())+".")
}

// refused is a wrong password. That of WordPress's own user must not be changed
// for Holdline's sake: the site would be down.
func (e *exam) refused(account string) Finding {
	text := fmt.Sprintf("the database refuses %s: the password is wrong, or there is no such user", account)
	if e.Config.Origins()["database.user"] == "wp-config" {
		return fault(text, "Set wordpress.config to the wp-config.php that PHP itself reads: this one has not WordPress's user and password.")
	}
	return fault(text, "Correct "+passwordSetting(e.Config)+", or give the user a password that Holdline knows, as the database's administrator.",
		fmt.Sprintf("ALTER USER %s IDENTIFIED BY '…';", quoteAccount(account)))
}

var accountPattern = regexp.MustCompile(`for user '([^']*)'@'([^']*)'`)

// accountIn finds the account that the server's refusal is about.
func accountIn(message, user string) string {
	if m := accountPattern.FindStringSubmatch(message); m != nil {
		return m[1] + "@" + m[2]
	}
	return user + "@localhost"
}

func quoteAccount(account string) string {
	name, host, _ := strings.Cut(account, "@")
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'" }
	return quote(name) + "@" + quote(host)
}

// passwordSetting names the place where the password in use was written.
func passwordSetting(c config.Config) string {
	if c.Database.PasswordFile != "" {
		return "the password in " + c.Database.PasswordFile
	}
	return "database.password"
}

func where(d config.Database) string {
	var list []string
	for _, a := range wpdb.ParseAddresses(d.Address) {
		list = append(list, a.Address)
	}
	return strings.Join(list, " or ")
}

// errLate is what a context's end means here.
var errLate = errors.New("no answer in time")

// rootCause is the innermost error, in one line.
func rootCause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errLate
	}
	for {
		inner := errors.Unwrap(err)
		if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
			inner = joined.Unwrap()[0]
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}

// remote tells that an address leads over a network.
func remote(address string) bool {
	host, ok := wpconfig.ParseDBHost(address)
	if !ok || strings.HasPrefix(address, "/") || host.Host == "" || strings.EqualFold(host.Host, "localhost") {
		return false
	}
	ip := net.ParseIP(host.Host)
	return ip == nil || !ip.IsLoopback()
}

// clockTolerance is what two machines that keep time by NTP never differ by.
const clockTolerance = 5 * time.Second

// checkClocks compares the database's clock with this machine's.
func checkClocks(_ context.Context, e *exam) []Finding {
	off := e.server.now.Sub(e.server.asked)
	if off > clockTolerance || off < -clockTolerance {
		return []Finding{warn(fmt.Sprintf("the database's clock is %s this machine's", apart(off)),
			"Set both clocks by NTP: ages of chats and ends of logins are judged by them.")}
	}
	return ok("the database's is this machine's, in time zone " + e.server.zone)
}

// apart says how far a clock is from ours: of long times the seconds do not matter.
func apart(off time.Duration) string {
	unit := time.Second
	if off.Abs() > time.Minute {
		unit = 10 * time.Second
	}
	if off < 0 {
		return off.Abs().Round(unit).String() + " behind"
	}
	return off.Round(unit).String() + " ahead of"
}
