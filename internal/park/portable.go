package park

import (
	"errors"
	"net"
	"os"
	"time"
)

// portableBuffer is what the reader of one connection reads at a time, and how
// much of a next request it takes in before it leaves the rest to the network.
const portableBuffer = 4 << 10

// aLongTimeAgo as a deadline ends a blocked call at once.
var aLongTimeAgo = time.Unix(1, 0)

// goConn is a connection with a goroutine that reads (or nobody would notice
// the peer leaving) and, while bytes are queued, one that writes.
type goConn struct {
	conn
	nc   net.Conn
	head []byte        // read of the next request while a Holder that does not read is there
	room chan struct{} // wakes a reader that has stopped because head is full
	eof  bool          // nobody reads any more
}

func (l *Lot) parkPortable(nc net.Conn, buffered []byte, h Holder) Conn {
	nc.SetDeadline(time.Time{}) // Hijack leaves the server's deadlines behind
	if tc, ok := bare(nc).(*net.TCPConn); ok {
		tc.SetWriteBuffer(l.opts.SendBuffer)
	}
	g := &goConn{nc: nc, room: make(chan struct{}, 1)}
	l.initConn(&g.conn, g, h)
	if !g.wants {
		g.head = buffered
	}
	if !l.adopt(&g.conn) {
		g.stop(ReasonDrain)
		return &g.conn
	}
	if g.wants && len(buffered) > 0 {
		g.received(buffered)
	}
	l.users.Go(g.read)
	return &g.conn
}

// adopt enters a connection with a goroutine, unless the Lot is draining.
func (l *Lot) adopt(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return false
	}
	l.others[c] = struct{}{}
	return true
}

func (l *Lot) disown(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.others, c)
}

// read runs until the connection is closed or handed back.
func (g *goConn) read() {
	buf := make([]byte, portableBuffer)
	for {
		n, err := g.nc.Read(buf)
		h, more := g.took(buf[:n], err)
		if h != nil {
			h.Received(&g.conn, buf[:n])
			g.exit()
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			g.hungUp()
			return
		}
		g.settle()
		if !more {
			return
		}
	}
}

// took decides what becomes of bytes that were read: the Holder that is to get
// them, if any, and whether to read on. It waits while there is no room.
func (g *goConn) took(b []byte, err error) (h Holder, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == held && g.wants {
		if len(b) == 0 {
			return nil, true
		}
		return g.enter(), true
	}
	if g.state < lingering {
		g.head = append(g.head, b...)
	}
	for g.state < resting && len(g.head) >= portableBuffer && err == nil {
		g.mu.Unlock()
		<-g.room
		g.mu.Lock()
	}
	if g.state == resting && len(g.head) > 0 {
		g.handBack()
	}
	return nil, g.state != closed
}

// hungUp is for a connection that brings nothing more. Bytes of a finished
// Holder may still get through to a peer that has only ended its own half.
func (g *goConn) hungUp() {
	g.mu.Lock()
	if g.state == finishing {
		g.keepAlive, g.eof = false, true
	} else {
		g.close(ReasonGone)
	}
	g.mu.Unlock()
	g.settle()
}

// handBack lets the HTTP server have the connection.
func (g *goConn) handBack() {
	g.nc.SetReadDeadline(time.Time{})
	if tc, ok := bare(g.nc).(*net.TCPConn); ok {
		if raw, err := tc.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { freeSendBuffer(int(fd)) })
		}
	}
	g.leave()
	g.lot.disown(&g.conn)
	g.lot.back.push(handed{nc: g.nc, head: g.head})
}

// pump writes the queue until it is empty.
func (g *goConn) pump() {
	var frames [writeFrames][]byte
	for {
		g.mu.Lock()
		if g.q == nil { // closed meanwhile
			g.mu.Unlock()
			return
		}
		bufs := net.Buffers(g.q.buffers(frames[:0]))
		g.mu.Unlock()
		n, err := bufs.WriteTo(g.nc)
		g.mu.Lock()
		more := g.state != closed
		if more && err != nil {
			g.close(ReasonGone)
		} else if more {
			more = !g.wrote(int(n))
		}
		g.mu.Unlock()
		g.settle()
		if err != nil || !more {
			return
		}
	}
}

func (g *goConn) kind() string { return "goroutine" }

// write leaves everything to the queue: a net.Conn has no write that does not
// wait.
func (g *goConn) write([]byte) (int, error) { return 0, nil }

func (g *goConn) stalled() error {
	g.lot.users.Go(g.pump)
	return nil
}

func (g *goConn) rest() error {
	if len(g.head) > 0 {
		g.wakeReader()
		return g.nc.SetReadDeadline(aLongTimeAgo) // the reader hands it back
	}
	return nil
}

func (g *goConn) linger() error {
	g.head = nil
	g.wakeReader()
	half, ok := g.nc.(interface{ CloseWrite() error })
	if !ok {
		g.close(ReasonFinished)
		return nil
	}
	over := g.eof // the peer's end has come already
	g.lot.users.Go(func() {
		if err := half.CloseWrite(); err != nil || over { // TLS writes its goodbye, which may wait
			g.stop(ReasonFinished)
		}
	})
	return nil
}

func (g *goConn) shut(reset bool) {
	g.lot.disown(&g.conn)
	g.wakeReader()
	hardClose(g.nc, reset)
}

func (g *goConn) wakeReader() {
	select {
	case g.room <- struct{}{}:
	default:
	}
}

// hardClose closes nc without waiting. A TLS connection would first try to say
// goodbye for up to five seconds.
func hardClose(nc net.Conn, reset bool) {
	nc = bare(nc)
	if tc, ok := nc.(*net.TCPConn); ok && reset {
		tc.SetLinger(0)
	}
	nc.Close()
}
