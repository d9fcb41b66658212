package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loop owns some of a fleet's sockets: one goroutine reads them all through an
// epoll set. The set itself waits in Go's poller, which spares the scheduler a
// blocking system call for each turn.
type loop struct {
	fleet  *fleet
	epoll  int      // the same descriptor as file, whose Fd would make it block
	file   *os.File // in Go's poller
	opened chan<- error
	done   chan struct{}

	mu      sync.Mutex              // over all below: connect and Close come from outside
	clients map[int32]*client       // nil once the loop is closed
	away    map[*client]*time.Timer // those that will come back
	record  []sample
	log     tripLog
	buf     [64 << 10]byte
	scratch []byte
	request []byte
	turn    turn
	current *client
	events  [256]unix.EpollEvent
	now     time.Duration
}

func newLoop(f *fleet, opened chan<- error) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	// os.NewFile gives only non-blocking descriptors to Go's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	l := &loop{
		fleet: f, epoll: fd, file: os.NewFile(uintptr(fd), "epoll"), opened: opened,
		done: make(chan struct{}), clients: map[int32]*client{}, away: map[*client]*time.Timer{},
	}
	l.turn.payload = func(p []byte) { eachMark(p, l.read) }
	raw, err := l.file.SyscallConn()
	if err != nil {
		l.file.Close()
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	go l.run(raw)
	return l, nil
}

// run turns until Close.
func (l *loop) run(raw syscall.RawConn) {
	defer close(l.done)
	// The error is that of a closed file: the loop's regular end.
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), l.events[:], 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return true
			}
			if n == 0 {
				return false
			}
			l.handle(l.events[:max(n, 0)])
		}
	})
}

// connect starts a client; its outcome goes to opened.
func (l *loop) connect(c *client) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dial(c)
}

// dial begins a client's connection. The caller has the lock.
func (l *loop) dial(c *client) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := dial(fd, sourceAddress(int(c.index)), c.server); err != nil {
		unix.Close(fd)
		return err
	}
	c.state = connecting
	l.clients[int32(fd)] = c
	event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// dial begins to connect from source. The port is chosen at connect, not at
// bind, so that one port serves several destinations (ip(7),
// IP_BIND_ADDRESS_NO_PORT).
func dial(fd int, source netip.Addr, server netip.AddrPort) error {
	err := errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}),
	)
	if err != nil {
		return fmt.Errorf("prepare a socket from %s: %w", source, err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: server.Addr().As4(), Port: int(server.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect from %s to %s: %w", source, server, err)
	}
	return nil
}

func (l *loop) handle(events []unix.EpollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		c := l.clients[e.Fd]
		if c == nil {
			continue // closed earlier in this batch
		}
		var err error
		if c.state == connecting {
			err = l.ask(int(e.Fd), c)
		} else {
			err = l.receive(int(e.Fd), c)
		}
		if err != nil {
			l.end(e.Fd, c, err)
		}
	}
}

// ask sends the request of a client whose connection stands.
func (l *loop) ask(fd int, c *client) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	request, isHeld := c.wire.open(l.request[:0])
	l.request = request
	if err := send(fd, request); err != nil {
		return err
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &event); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	c.state = asking
	if isHeld {
		l.hold(c)
	}
	return nil
}

func (l *loop) hold(c *client) {
	if c.state == held {
		return
	}
	c.state = held
	l.fleet.held.Add(1)
	if c.trip == nil || c.trip.begin(&l.log, time.Since(l.fleet.start)) {
		l.opened <- nil // has room for every client's one outcome
	}
}

func (l *loop) receive(fd int, c *client) error {
	n, err := unix.Read(fd, l.buf[:])
	l.now = time.Since(l.fleet.start)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errors.New("the server closed the connection")
	}
	l.current = c
	l.turn.held, l.turn.reply = false, l.turn.reply[:0]
	if err := c.wire.feed(l.buf[:n], &l.turn); err != nil {
		return err
	}
	if len(l.turn.reply) > 0 {
		if err := send(fd, l.turn.reply); err != nil {
			return err
		}
	}
	if l.turn.held {
		l.hold(c)
	}
	return nil
}

// read notes one message of the current client.
func (l *loop) read(seq uint32) {
	l.record = append(l.record, sample{seq: seq, client: l.current.index, at: l.now})
	l.fleet.delivered.Add(1)
}

// send writes a request; a few hundred bytes fit an empty send buffer.
func send(fd int, request []byte) error {
	n, err := unix.Write(fd, request)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n < len(request) {
		return fmt.Errorf("write: %d of %d bytes: the server does not read", n, len(request))
	}
	return nil
}

func (l *loop) end(fd int32, c *client, err error) {
	unix.Close(int(fd))
	delete(l.clients, fd)
	if c.state == held {
		l.fleet.held.Add(-1)
	}
	switch {
	case c.trip != nil && c.trip.begun:
		l.sendAway(c, err)
	case c.state == held:
		l.fleet.dropped(err)
	default:
		l.opened <- err
	}
}

// sendAway has a client come back when its journey says so.
func (l *loop) sendAway(c *client, err error) {
	wait := c.trip.end(&l.log, c.state == held, time.Since(l.fleet.start), err)
	c.state = connecting
	l.away[c] = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.clients == nil || l.away[c] == nil {
			return
		}
		delete(l.away, c)
		c.wire = c.again()
		c.trip.connect(time.Since(l.fleet.start))
		if err := l.dial(c); err != nil {
			l.sendAway(c, err)
		}
	})
}

// takeLog returns what the journeys have noted and forgets it.
func (l *loop) takeLog() tripLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.log
	l.log = tripLog{}
	return log
}

// watch begins or stops to read from all sockets. A socket outside the set does
// not even tell of its end.
func (l *loop) watch(reading bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	op := unix.EPOLL_CTL_DEL
	if reading {
		op = unix.EPOLL_CTL_ADD
	}
	for fd := range l.clients {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd}
		if err := unix.EpollCtl(l.epoll, op, int(fd), &event); err != nil {
			return fmt.Errorf("watch a socket: %w", err)
		}
	}
	return nil
}

// take returns the samples and forgets them.
func (l *loop) take() []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	record := l.record
	l.record = nil
	return record
}

// Close closes the sockets and waits for the goroutine.
func (l *loop) Close() {
	l.file.Close()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, timer := range l.away {
		timer.Stop()
	}
	for fd := range l.clients {
		unix.Close(int(fd))
	}
	l.clients, l.away = nil, nil
}
