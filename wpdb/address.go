package wpdb

import (
	"strings"

	"holdline/internal/wpconfig"
)

// ParseAddresses are the ways to a database that is named as in DB_HOST (wpdb's
// parse_db_host) or by the path of a socket, in the order in which they are tried.
func ParseAddresses(text string) []Address {
	if strings.HasPrefix(text, "/") {
		return []Address{{Network: "unix", Address: text}}
	}
	host, ok := wpconfig.ParseDBHost(text)
	if !ok {
		return []Address{{Network: "tcp", Address: text}}
	}
	var list []Address
	for _, e := range host.Candidates() {
		list = append(list, Address{Network: e.Network, Address: e.Address})
	}
	return list
}

// CharsetOf is what a connection must speak to read the site's text as PHP does,
// by the constant DB_CHARSET; empty for UTF-8. A site that was never converted
// keeps UTF-8 bytes in latin1 columns.
func CharsetOf(constant string) string {
	if c := strings.ToLower(constant); c == "latin1" {
		return c
	}
	return ""
}
