//go:build e2e

package client

import (
	"io"
	"net"
	"sync"
	"testing"
)

// cable is a TCP relay that can be pulled out: what is connected then stays
// connected and hears nothing more, ever, as behind a router that was restarted,
// and nobody else gets through until the cable is plugged in again.
type cable struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	out   bool
	alive chan struct{} // closed when the cable is pulled
	conns []net.Conn    // nil after the end
	ended bool
	wait  sync.WaitGroup
}

func newCable(t *testing.T, target string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, target: target, alive: make(chan struct{})}
	c.wait.Go(c.accept)
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		c.ended = true
		for _, conn := range c.conns {
			conn.Close()
		}
		c.mu.Unlock()
		c.wait.Wait()
	})
	return c
}

func (c *cable) origin() string { return "http://" + c.listener.Addr().String() }

// pull takes the cable out, or plugs it in again.
func (c *cable) pull(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if out && !c.out {
		close(c.alive)
		c.alive = make(chan struct{})
	}
	c.out = out
}

// replace plugs the cable in again, and what has heard nothing is at an end: a browser
// would load a page over it, and wait.
func (c *cable) replace() {
	c.pull(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) accept() {
	for {
		down, err := c.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", c.target)
		if err != nil {
			down.Close()
			continue
		}
		c.mu.Lock()
		if c.out || c.ended {
			down.Close()
			up.Close()
		} else {
			c.conns = append(c.conns, down, up)
			alive := c.alive
			c.wait.Go(func() { copyWhile(alive, up, down) })
			c.wait.Go(func() { copyWhile(alive, down, up) })
		}
		c.mu.Unlock()
	}
}

// copyWhile copies until either side ends, and forgets everything once the cable
// has been pulled.
func copyWhile(alive <-chan struct{}, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-alive:
			io.Copy(io.Discard, from)
			return
		default:
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			to.Close()
			from.Close()
			return
		}
	}
}
