package park

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// readBuffer is lent to Received; the one loop needs only one.
const readBuffer = 32 << 10

// poller is an epoll set and the connections in it. The set is itself a
// descriptor that becomes readable, so that Go's own poller waits for it: no
// thread of ours blocks in epoll_wait, which costs a sixth less CPU when
// messages are sparse.
type poller struct {
	once  sync.Once
	err   error
	file  *os.File // owns fd
	fd    int
	table table
	gens  atomic.Uint32
}

// open creates the epoll set when it is first needed.
func (p *poller) open() error {
	p.once.Do(func() {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			p.err = fmt.Errorf("create an epoll set: %w", err)
			return
		}
		if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile would not poll it
			unix.Close(fd)
			p.err = fmt.Errorf("make the epoll set non-blocking: %w", err)
			return
		}
		p.fd, p.file = fd, os.NewFile(uintptr(fd), "epoll")
	})
	return p.err
}

// close comes last of all, when no connection can use the set any more.
func (p *poller) close() {
	p.once.Do(func() { p.err = os.ErrClosed })
	if p.file != nil {
		p.file.Close()
	}
}

func (p *poller) conns() []*conn {
	var all []*conn
	p.table.each(func(e *epollConn) { all = append(all, &e.conn) })
	return all
}

func (p *poller) ctl(op, fd int, gen, events uint32) error {
	err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(gen)})
	if err != nil {
		return fmt.Errorf("change an epoll set: %w", err)
	}
	return nil
}

// runPoller serves events until ctx ends.
func (l *Lot) runPoller(ctx context.Context) error {
	if l.opts.Portable {
		<-ctx.Done()
		return nil
	}
	if err := l.poll.open(); err != nil {
		l.log.Warn("no epoll, holding every connection by a goroutine", "error", err)
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { l.poll.file.SetReadDeadline(aLongTimeAgo) })
	defer stop()
	err := l.poll.loop()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (p *poller) loop() error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, readBuffer)
	var failed error
	err = raw.Read(func(fd uintptr) (done bool) {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				failed = fmt.Errorf("wait for events: %w", err)
				return true
			}
			for _, ev := range events[:max(n, 0)] {
				p.dispatch(ev, buf)
			}
			if err == nil && n < len(events) {
				return false // whatever comes now makes the set readable anew
			}
		}
	})
	return errors.Join(failed, err)
}

// dispatch finds the connection that an event is for. The descriptor may belong
// to another one by now: the generation tells.
func (p *poller) dispatch(ev unix.EpollEvent, buf []byte) {
	if e := p.table.get(int(ev.Fd)); e != nil && e.gen == uint32(ev.Pad) {
		e.handle(ev.Events, buf)
	}
}

// chunkSize is the number of descriptors by which the table grows: 8 KiB.
const chunkSize = 1024

type chunk [chunkSize]atomic.Pointer[epollConn]

// table finds connections by descriptor, at 8 bytes for each descriptor. It
// grows in chunks that stay where they are, so that readers need no lock.
type table struct {
	grow   sync.Mutex
	chunks atomic.Pointer[[]*chunk]
}

func (t *table) slot(fd int) *atomic.Pointer[epollConn] {
	chunks := t.chunks.Load()
	if chunks == nil || fd < 0 || fd/chunkSize >= len(*chunks) {
		return nil
	}
	return &(*chunks)[fd/chunkSize][fd%chunkSize]
}

func (t *table) get(fd int) *epollConn {
	if slot := t.slot(fd); slot != nil {
		return slot.Load()
	}
	return nil
}

// set enters e, or clears the place of fd with nil.
func (t *table) set(fd int, e *epollConn) {
	if t.slot(fd) == nil {
		t.extend(fd)
	}
	t.slot(fd).Store(e)
}

func (t *table) extend(fd int) {
	t.grow.Lock()
	defer t.grow.Unlock()
	var chunks []*chunk
	if old := t.chunks.Load(); old != nil {
		chunks = append(chunks, *old...) // a copy: readers hold on to the old one
	}
	for fd/chunkSize >= len(chunks) {
		chunks = append(chunks, new(chunk))
	}
	t.chunks.Store(&chunks)
}

func (t *table) each(f func(*epollConn)) {
	chunks := t.chunks.Load()
	if chunks == nil {
		return
	}
	for _, c := range *chunks {
		for i := range c {
			if e := c[i].Load(); e != nil {
				f(e)
			}
		}
	}
}
