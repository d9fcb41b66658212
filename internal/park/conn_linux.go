package park

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readRounds bounds how long one peer can keep the loop reading; the rest waits
// until the others have had their turn.
const readRounds = 8

// What epoll reports of a peer that has ended its half, and of a connection that
// is over in both directions. Both also wake a reader.
const (
	halfClosed = unix.EPOLLRDHUP
	broken     = unix.EPOLLERR | unix.EPOLLHUP
)

// epollConn is a connection without a goroutine: this struct, its descriptor and
// 8 bytes of the table are all there is in user space.
type epollConn struct {
	conn
	fd   int32
	gen  uint32 // tells its events from those of an earlier owner of fd; 0 until registered
	more *more  // mostly nil
}

// more is what few connections have.
type more struct {
	head    []byte // what had been read of the next request
	*socket        // under TLS; nil without
}

// parkEpoll holds nc by epoll, or reports that it cannot be held so.
func (l *Lot) parkEpoll(nc net.Conn, buffered []byte, h Holder) (Conn, bool) {
	wire := nc
	over, isTLS := nc.(*tls.Conn)
	var under *socket
	if isTLS {
		if under, _ = over.NetConn().(*socket); under == nil {
			return nil, false
		}
		wire = under.Conn
	}
	sc, ok := wire.(syscall.Conn)
	_, tcp := wire.(*net.TCPConn)
	if _, local := wire.(*net.UnixConn); !ok || !tcp && !local || l.poll.open() != nil {
		return nil, false
	}
	fd, err := takeDescriptor(sc)
	wire.Close() // Go's poller lets go of it; the duplicate keeps it open
	if err != nil {
		l.log.Warn("connection could not be held", "error", err)
		return l.refuse(h, ReasonGone, "epoll"), true
	}
	l.tune(fd, tcp)

	e := &epollConn{fd: int32(fd)}
	if isTLS {
		under.hold(over, fd)
		slim(over)
		e.more = &more{socket: under}
	}
	l.initConn(&e.conn, e, h)
	err = e.begin(buffered)
	e.register()
	if err != nil { // the end has been read already
		e.stop(ReasonGone)
	}
	return &e.conn, true
}

// begin takes over what had been read already, before the loop can read on.
func (e *epollConn) begin(buffered []byte) (err error) {
	if !e.wants {
		if len(buffered) > 0 {
			e.keep(buffered)
		}
		return nil
	}
	if s := e.socket(); s != nil {
		buffered, err = s.rest(slices.Clip(buffered))
	}
	if len(buffered) > 0 {
		e.received(buffered)
	}
	return err
}

// keep remembers what has been read of the next request.
func (e *epollConn) keep(head []byte) {
	if e.more == nil {
		e.more = new(more)
	}
	e.more.head = head
}

// socket is nil without TLS.
func (e *epollConn) socket() *socket {
	if e.more == nil {
		return nil
	}
	return e.more.socket
}

// takeDescriptor duplicates the descriptor of a connection, so that it outlives
// the net.Conn and is not in Go's poller.
func takeDescriptor(sc syscall.Conn) (int, error) {
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("reach a connection's descriptor: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, fmt.Errorf("reach a connection's descriptor: %w", err)
	}
	if dupErr != nil {
		return -1, fmt.Errorf("duplicate a connection's descriptor: %w", dupErr)
	}
	return fd, nil
}

// tune sets the socket up for being held. None of it is worth losing the
// connection for, so errors are left alone.
func (l *Lot) tune(fd int, tcp bool) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, l.opts.SendBuffer)
	if !tcp {
		return
	}
	// Heartbeats find a dead peer, if the kernel gives up on bytes that nobody
	// acknowledges (tcp(7), TCP_USER_TIMEOUT); probes on top cost CPU.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(l.opts.StallTimeout.Milliseconds()))
}

// freeSendBuffer lets a capped send buffer grow again: the next response may be
// a whole page. (SO_BUF_LOCK came with Linux 5.14; before, the cap stays.)
func freeSendBuffer(fd int) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0)
}

// register enters the connection into the table and the epoll set.
func (e *epollConn) register() {
	p := &e.lot.poll
	e.mu.Lock()
	if e.state != closed {
		for e.gen == 0 { // the counter wraps
			e.gen = p.gens.Add(1)
		}
		p.table.set(int(e.fd), e)
		if err := p.ctl(unix.EPOLL_CTL_ADD, int(e.fd), e.gen, e.events()); err != nil {
			e.close(ReasonGone)
		} else if e.lot.isDraining() { // and may not have seen it in the table
			e.close(ReasonDrain)
		}
	}
	e.mu.Unlock()
	e.settle()
}

// events is what the connection waits for in its present state. A Holder that
// does not read is not woken by bytes at all, only by the peer's end.
func (e *epollConn) events() uint32 {
	events := uint32(unix.EPOLLRDHUP | unix.EPOLLET)
	if e.state >= resting || e.state == held && e.wants {
		events |= unix.EPOLLIN
	}
	if s := e.socket(); e.q != nil || s != nil && len(s.sealed) > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// arm asks for the events of the present state. The kernel looks at once
// whether one of them has come already, so no edge is lost.
func (e *epollConn) arm() error {
	if e.gen == 0 {
		return nil // register will
	}
	return e.lot.poll.ctl(unix.EPOLL_CTL_MOD, int(e.fd), e.gen, e.events())
}

func (e *epollConn) kind() string   { return "epoll" }
func (e *epollConn) stalled() error { return e.arm() }

func (e *epollConn) rest() error {
	if s := e.socket(); s != nil {
		head, err := s.rest(e.more.head)
		if err != nil {
			return err
		}
		e.more.head = head
	}
	if e.more != nil && len(e.more.head) > 0 {
		e.handBack()
		return nil
	}
	return e.arm()
}

func (e *epollConn) linger() error {
	if s := e.socket(); s != nil {
		if err := s.tls.CloseWrite(); err != nil {
			return fmt.Errorf("end TLS: %w", err)
		}
		if len(s.sealed) > 0 {
			return e.arm() // flushTLS comes here again
		}
	}
	if err := unix.Shutdown(int(e.fd), unix.SHUT_WR); err != nil {
		return fmt.Errorf("end a connection: %w", err)
	}
	return e.arm()
}

// forget takes the connection out of the table, which must come before its
// descriptor is free to be somebody else's.
func (e *epollConn) forget() {
	if e.gen != 0 {
		e.lot.poll.table.set(int(e.fd), nil)
	}
}

func (e *epollConn) shut(reset bool) {
	e.forget()
	if reset {
		unix.SetsockoptLinger(int(e.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(int(e.fd)) // leaves the epoll set with it: there is no duplicate
}

// handBack lets the HTTP server have the connection.
func (e *epollConn) handBack() {
	fd := int(e.fd)
	e.forget()
	if e.gen != 0 {
		// Needed, as the server works on a duplicate of the descriptor.
		if err := e.lot.poll.ctl(unix.EPOLL_CTL_DEL, fd, e.gen, 0); err != nil {
			e.lot.log.Warn("descriptor stays in the epoll set", "error", err)
		}
	}
	freeSendBuffer(fd)
	h := handed{fd: fd}
	if e.more != nil {
		h.head = e.more.head
	}
	if s := e.socket(); s != nil {
		h.over = s.release
	}
	e.leave()
	e.lot.back.push(h)
}

// handle serves the events that epoll reports for the connection.
func (e *epollConn) handle(events uint32, buf []byte) {
	e.mu.Lock()
	if events&unix.EPOLLOUT != 0 {
		e.flush()
	}
	reads := false
	switch {
	case e.state == held && e.wants:
		// What came before the end is still to be read: on a Unix socket the
		// end is reported at once.
		reads = events&(unix.EPOLLIN|halfClosed|broken) != 0
	case events&broken != 0:
		e.close(ReasonGone)
	case e.state == held && events&halfClosed != 0:
		e.close(ReasonGone)
	case e.state == resting && events&(unix.EPOLLIN|halfClosed) != 0 && e.socket() != nil:
		e.wakeTLS(buf)
	case e.state == resting && events&(unix.EPOLLIN|halfClosed) != 0:
		e.wake(buf)
	case e.state == lingering:
		e.discard(buf)
	}
	e.mu.Unlock()
	if reads && e.socket() != nil {
		e.receiveTLS(buf)
	} else if reads {
		e.receive(buf, events&(halfClosed|broken) != 0)
	}
	e.settle()
}

// wake is for a resting connection with something to read: the next request, or
// the peer's end.
func (e *epollConn) wake(buf []byte) {
	n, err := recv(int(e.fd), buf[:1], unix.MSG_PEEK)
	switch {
	case n > 0:
		e.handBack()
	case !errors.Is(err, unix.EAGAIN):
		e.close(ReasonGone)
	}
}

// discard reads on until the peer's end, for a while.
func (e *epollConn) discard(buf []byte) {
	for range readRounds {
		_, err := recv(int(e.fd), buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			break
		}
	}
	e.close(ReasonFinished)
}

// receive reads until nothing is left and hands it to the Holder.
func (e *epollConn) receive(buf []byte, hangup bool) {
	for range readRounds {
		n, h, err := e.read(buf)
		if h == nil {
			return // not held any more
		}
		if n > 0 {
			h.Received(&e.conn, buf[:n])
		}
		e.exit()
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			e.stop(ReasonGone)
			return
		}
		if err != nil || n < len(buf) && !hangup {
			return
		}
	}
	e.rearm()
}

// rearm has epoll tell again of what there is to read, or to write.
func (e *epollConn) rearm() {
	e.mu.Lock()
	if e.state == held && e.arm() != nil {
		e.close(ReasonGone)
	}
	e.mu.Unlock()
	e.settle()
}

func (e *epollConn) read(buf []byte) (int, Holder, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.enter()
	if h == nil {
		return 0, nil, nil
	}
	n, err := recv(int(e.fd), buf, 0)
	return n, h, err
}

// flush writes what is queued until the socket takes no more.
func (e *epollConn) flush() {
	if s := e.socket(); s != nil {
		e.flushTLS(s)
		return
	}
	var frames [writeFrames][]byte
	for e.q != nil {
		n, err := unix.SendmsgBuffers(int(e.fd), e.q.buffers(frames[:0]), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			e.close(ReasonGone)
			return
		}
		if e.wrote(n) {
			return
		}
	}
}

func (e *epollConn) write(b []byte) (int, error) {
	if s := e.socket(); s != nil {
		return s.seal(b)
	}
	return trySend(int(e.fd), b)
}

// trySend writes what goes at once.
func trySend(fd int, b []byte) (int, error) {
	for {
		n, errno := send(fd, b)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}

// send is sendto(2) without telling Go's scheduler, about a tenth faster than
// syscall.Write (BenchmarkWrite): it never waits, so there is
// no blocked thread to make up for.
func send(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])),
		uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// recv reads without waiting; the peer's end is io.EOF.
func recv(fd int, b []byte, flags int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])),
			uintptr(len(b)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		}
		return int(n), nil
	}
}
