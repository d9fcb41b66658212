package park

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sealAtOnce is how much is encrypted before the kernel has taken what was
	// encrypted before.
	sealAtOnce = 16 << 10

	// mostSealed bounds the encrypted bytes that wait: sealAtOnce in records of
	// the least size, and answers to key updates on top. A peer that asks for
	// more of these and reads none is cut.
	mostSealed = 32 << 10
)

var errFlooded = errors.New("the peer asks for key updates and reads nothing")

// socket is what a *tls.Conn reads and writes. In the HTTP server's hands it is
// the connection that was accepted. While the Lot holds it, it is a bare
// descriptor, and neither Read nor Write waits: crypto/tls takes EAGAIN for a
// timeout, after which it goes on where it was, with half a record too
// (Conn.readRecordOrCCS), and never hears of a write that did not fit. The lock
// is that of the conn it belongs to.
type socket struct {
	net.Conn // nil while held

	tls    *tls.Conn // over this one; set once held
	fd     int32
	dry    bool   // Read gives nothing, so that only what *tls.Conn has is read
	sealed []byte // encrypted, and not taken by the kernel yet
	// standsFor is how many of the bytes that were sealed last are counted as
	// written once sealed is out.
	standsFor int
}

func underTLS(nc net.Conn) net.Conn { return &socket{Conn: nc} }

// NetConn is the connection that was accepted, nil while it is held.
func (s *socket) NetConn() net.Conn { return s.Conn }

// hold takes the connection out of Go's hands.
func (s *socket) hold(over *tls.Conn, fd int) {
	s.Conn, s.tls, s.fd = nil, over, int32(fd)
}

// release gives it back, with what it is now.
func (s *socket) release(nc net.Conn) net.Conn {
	s.Conn = nc
	return s.tls
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	switch {
	case s.Conn != nil:
		return s.Conn.Read(b)
	case s.dry:
		return 0, unix.EAGAIN
	}
	return recv(int(s.fd), b, 0)
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	if s.Conn != nil {
		return s.writeBehind(b)
	}
	n := 0
	if len(s.sealed) == 0 {
		var err error
		if n, err = trySend(int(s.fd), b); err != nil {
			return 0, err
		}
	}
	if len(s.sealed)+len(b)-n > mostSealed {
		return n, errFlooded
	}
	s.sealed = append(s.sealed, b[n:]...)
	return len(b), nil
}

// writeBehind keeps the order if the answer to a key update has not got out
// before the connection went back to the HTTP server.
func (s *socket) writeBehind(b []byte) (int, error) {
	if len(s.sealed) > 0 {
		if _, err := s.Conn.Write(s.sealed); err != nil {
			return 0, err
		}
		s.sealed = nil
	}
	return s.Conn.Write(b)
}

// SetWriteDeadline implements net.Conn. crypto/tls sets one for its goodbye,
// which a held connection does not wait for.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.Conn == nil {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// push hands the kernel what is sealed and reports whether it has taken all.
func (s *socket) push() (bool, error) {
	if len(s.sealed) == 0 {
		return true, nil
	}
	n, err := trySend(int(s.fd), s.sealed)
	if s.sealed = s.sealed[n:]; len(s.sealed) > 0 {
		return false, err
	}
	s.sealed = nil
	return true, nil
}

// seal writes as much of b as goes at once and reports how much that was. Of
// bytes whose record is out only in part it says nothing yet: the caller comes
// again with the same bytes, and those that are sealed already are not sealed
// twice.
func (s *socket) seal(b []byte) (n int, err error) {
	for {
		if all, err := s.push(); err != nil || !all {
			return n, err
		}
		n, s.standsFor = n+s.standsFor, 0
		if n == len(b) {
			return n, nil
		}
		next := b[n:min(n+sealAtOnce, len(b))]
		if _, err := s.tls.Write(next); err != nil {
			return n, err
		}
		s.standsFor = len(next)
	}
}

// rest reads what is left inside the *tls.Conn: epoll tells only of what comes
// over the wire.
func (s *socket) rest(b []byte) ([]byte, error) {
	s.dry = true
	defer func() { s.dry = false }()
	var buf [1024]byte
	for {
		n, err := s.tls.Read(buf[:])
		b = append(b, buf[:n]...)
		if errors.Is(err, unix.EAGAIN) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
