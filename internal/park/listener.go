package park

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
)

// handed is a kept-alive connection on its way back to the HTTP server: either
// still a bare descriptor or a net.Conn, and what was read of its next request.
type handed struct {
	fd   int // if nc is nil
	nc   net.Conn
	head []byte
	over func(net.Conn) net.Conn // puts the TLS back that was there; nil for none
}

// conn makes a net.Conn of it.
func (h handed) conn() (net.Conn, error) {
	nc := h.nc
	if nc == nil {
		f := os.NewFile(uintptr(h.fd), "held connection")
		defer f.Close() // FileConn works on a duplicate
		var err error
		if nc, err = net.FileConn(f); err != nil {
			return nil, fmt.Errorf("give a kept-alive connection back to the HTTP server: %w", err)
		}
	}
	if h.over != nil {
		nc = h.over(nc)
	}
	if len(h.head) == 0 {
		return nc, nil
	}
	if tc, ok := nc.(*tls.Conn); ok {
		return &tlsHeadConn{headConn{Conn: nc, head: h.head}, tc}, nil
	}
	return &headConn{Conn: nc, head: h.head}, nil
}

func (h handed) close() {
	if h.nc != nil {
		hardClose(h.nc, false)
		return
	}
	os.NewFile(uintptr(h.fd), "held connection").Close()
}

// headConn is a connection whose first bytes have been read already.
type headConn struct {
	net.Conn
	head []byte
}

func (c *headConn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	c.head = c.head[n:]
	return n, nil
}

func (c *headConn) unwrap() (net.Conn, []byte) { return c.Conn, c.head }

// tlsHeadConn keeps Request.TLS alive: net/http asks a connection that is not a
// *tls.Conn for its ConnectionState.
type tlsHeadConn struct {
	headConn
	tls *tls.Conn
}

func (c *tlsHeadConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// unwrap undoes what Listener put around a connection that comes a second time.
func unwrap(nc net.Conn, buffered []byte) (net.Conn, []byte) {
	if w, ok := nc.(interface{ unwrap() (net.Conn, []byte) }); ok {
		inner, head := w.unwrap()
		return inner, slices.Concat(buffered, head)
	}
	return nc, buffered
}

// Listener is where answered connections come back whose peer speaks again:
// pass it to Serve of the http.Server that they came from. There is one for the
// Lot, and its address is a placeholder. Its backlog never holds up the Lot and
// needs no bound of its own, since each entry is a connection that there was
// before. Once it is closed (http.Server.Shutdown does that) no connection is
// kept alive any more.
func (l *Lot) Listener() net.Listener { return &l.back }

type listener struct {
	lot *Lot

	mu      sync.Mutex
	more    sync.Cond
	closed  bool
	backlog []handed
}

func (b *listener) init(l *Lot) {
	b.lot = l
	b.more.L = &b.mu
}

// push hands a connection back, or closes it when nobody takes it any more.
func (b *listener) push(h handed) {
	b.mu.Lock()
	open := !b.closed
	if open {
		b.backlog = append(b.backlog, h)
		b.more.Signal()
	}
	b.mu.Unlock()
	if !open {
		h.close()
	}
}

func (b *listener) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed
}

// Accept implements net.Listener.
func (b *listener) Accept() (net.Conn, error) {
	for {
		h, err := b.pop()
		if err != nil {
			return nil, err
		}
		nc, err := h.conn()
		if err == nil {
			return nc, nil
		}
		// Out of descriptors, most likely. An error from Accept would slow down
		// or end the server for all; this peer alone finds its connection closed.
		b.lot.log.Warn("kept-alive connection lost", "error", err)
	}
}

func (b *listener) pop() (handed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.backlog) == 0 && !b.closed {
		b.more.Wait()
	}
	if b.closed {
		return handed{}, net.ErrClosed
	}
	h := b.backlog[0]
	b.backlog[0] = handed{}
	b.backlog = b.backlog[1:]
	return h, nil
}

// Close implements net.Listener. It closes what waits to be accepted and every
// connection that rests.
func (b *listener) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	left := b.backlog
	b.backlog = nil
	b.more.Broadcast()
	b.mu.Unlock()
	if again {
		return nil
	}
	for _, h := range left {
		h.close()
	}
	for _, c := range b.lot.conns() {
		c.stopResting()
	}
	return nil
}

// Addr implements net.Listener.
func (b *listener) Addr() net.Addr { return lotAddr{} }

type lotAddr struct{}

func (lotAddr) Network() string { return "park" }
func (lotAddr) String() string  { return "park" }
