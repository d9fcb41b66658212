package wpconfig

import (
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// DBHost is a DB_HOST taken apart as wpdb::parse_db_host() does.
type DBHost struct {
	Host   string
	Port   int    // 0: none given
	Socket string // path of a unix socket; "": none given
	IPv6   bool
}

// Endpoint is a place to dial: Network is "unix" or "tcp", Address a path or host:port.
type Endpoint struct {
	Network string
	Address string
}

var (
	hostIPv6 = regexp.MustCompile(`^\[?([0-9a-fA-F:]+)(?:\]:([0-9]+))?`)
	hostIPv4 = regexp.MustCompile(`^([^:/]*)(?::([0-9]+))?`)
)

// ParseDBHost takes DB_HOST apart exactly as WordPress does, oddities included
// (wp-includes/class-wpdb.php, parse_db_host). ok is false where WordPress gives
// up and hands the raw text to mysqli.
func ParseDBHost(s string) (host DBHost, ok bool) {
	if i := strings.Index(s, ":/"); i >= 0 {
		host.Socket = s[i+1:]
		s = s[:i]
	}
	pattern := hostIPv4
	if strings.Count(s, ":") > 1 {
		pattern, host.IPv6 = hostIPv6, true
	}
	m := pattern.FindStringSubmatch(s)
	if m == nil {
		return DBHost{}, false
	}
	if m[1] != "0" { // PHP's empty()
		host.Host = m[1]
	}
	if m[2] != "" {
		port, err := strconv.Atoi(m[2])
		if err != nil {
			port = math.MaxInt // absint() saturates too
		}
		host.Port = port
	}
	return host, true
}

// defaultSockets are where distributions put the server's socket.
var defaultSockets = []string{"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// Candidates lists where the server may be, in the order to try. For "localhost"
// in any case, and for no host, PHP uses a unix socket and ignores the port: the
// given one, then configured (mysqli.default_socket of php.ini, if known), then
// the usual places; TCP on the loopback comes last. For any other host it is TCP
// and a socket is ignored.
func (h DBHost) Candidates(configured ...string) []Endpoint {
	port := h.Port
	if port == 0 {
		port = 3306
	}
	tcp := func(host string) Endpoint {
		return Endpoint{Network: "tcp", Address: net.JoinHostPort(host, strconv.Itoa(port))}
	}
	if h.Host != "" && !strings.EqualFold(h.Host, "localhost") {
		return []Endpoint{tcp(h.Host)}
	}
	sockets := append([]string{h.Socket}, configured...)
	sockets = append(sockets, defaultSockets...)
	var list []Endpoint
	seen := map[string]bool{"": true}
	for _, socket := range sockets {
		if !seen[socket] {
			seen[socket] = true
			list = append(list, Endpoint{Network: "unix", Address: socket})
		}
	}
	return append(list, tcp("127.0.0.1"))
}
