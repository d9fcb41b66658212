//go:build e2e && linux

package soak_test

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wires are the connections that a person has open.
type wires struct {
	mu   sync.Mutex
	open map[*wire]struct{}
}

type wire struct {
	*net.TCPConn
	of *wires
}

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	one := &wire{c.(*net.TCPConn), w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[*wire]struct{}{}
	}
	w.open[one] = struct{}{}
	return one, nil
}

func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.TCPConn.Close()
}

// crash ends all connections without a word to the other side: no FIN and no RST.
func (w *wires) crash() {
	w.mu.Lock()
	open := w.open
	w.open = nil
	w.mu.Unlock()
	for c := range open {
		c.mute()
		c.TCPConn.Close()
	}
}

// mute has the kernel forget the connection when it is closed: TCP_REPAIR, tcp(7) and
// https://lwn.net/Articles/495304/.
func (c *wire) mute() {
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed already
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	})
}
