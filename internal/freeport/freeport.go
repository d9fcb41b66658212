// Package freeport finds loopback ports for programs that have to be told one, such
// as a web server in a test.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports below those that Linux gives to whoever listens on port 0 or dials
// (net.ipv4.ip_local_port_range begins at 32768): seconds may pass until the program
// listens, and it may be restarted, while other tests take such ports by the
// hundred.
const (
	lowest  = 20_000
	highest = 32_000
)

// tries is how many ports are looked at for each that is wanted.
const tries = 100

// Addresses returns n different addresses on 127.0.0.1 with ports that nobody
// listens on now.
func Addresses(n int) (addresses []string, err error) {
	for range n * tries {
		port := lowest + rand.N(highest-lowest)
		l, listenErr := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if listenErr != nil {
			err = listenErr
			continue
		}
		defer l.Close() // not before the others are found, or one may be found twice
		if addresses = append(addresses, l.Addr().String()); len(addresses) == n {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports: %w", n, err)
}
