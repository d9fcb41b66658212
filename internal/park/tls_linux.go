package park

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// receiveTLS is receive with TLS. A short read does not mean that nothing is
// left, and what is left may be inside the *tls.Conn, of which epoll does not
// tell: once the peer has had its turn, that is read, but nothing more from the
// wire.
func (e *epollConn) receiveTLS(buf []byte) {
	var err error
	round := 0
	for ; err == nil; round++ {
		var n int
		var h Holder
		if n, h, err = e.readTLS(buf, round >= readRounds); h == nil {
			return // not held any more
		}
		if n > 0 {
			h.Received(&e.conn, buf[:n])
		}
		e.exit()
	}
	if !errors.Is(err, unix.EAGAIN) {
		e.stop(ReasonGone)
		return
	}
	e.rearm()
}

func (e *epollConn) readTLS(buf []byte, dry bool) (int, Holder, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.enter()
	if h == nil {
		return 0, nil, nil
	}
	s := e.socket()
	s.dry = dry
	n, err := s.tls.Read(buf)
	s.dry = false
	return n, h, err
}

// wakeTLS is wake with TLS, where what comes need not be a request: it may be the
// peer's goodbye, half a record, or an affair of TLS itself.
func (e *epollConn) wakeTLS(buf []byte) {
	n, err := e.socket().tls.Read(buf)
	switch {
	case n > 0:
		e.keep(bytes.Clone(buf[:n]))
		e.handBack()
	case !errors.Is(err, unix.EAGAIN) || e.arm() != nil:
		e.close(ReasonGone)
	}
}

// flushTLS is flush with TLS. Each frame becomes records of its own: a queue is
// there for peers that do not keep up, who need no saving of system calls.
func (e *epollConn) flushTLS(s *socket) {
	var first [1][]byte
	for e.q != nil {
		b := e.q.buffers(first[:0])[0]
		n, err := s.seal(b)
		if err != nil {
			e.close(ReasonGone)
			return
		}
		if e.wrote(n) || n < len(b) {
			return
		}
	}
	all, err := s.push()
	if err == nil && all && e.state == lingering {
		err = e.linger() // the goodbye is out
	}
	if err != nil {
		e.close(ReasonGone)
	}
}
