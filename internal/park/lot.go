package park

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Defaults of Options.
const (
	DefaultQueueFrames = 256
	DefaultQueueBytes  = 256 << 10

	// DefaultStallTimeout is how long a byte may wait in the queue.
	DefaultStallTimeout = 30 * time.Second

	// DefaultSendBuffer caps what the kernel keeps for a peer that does not
	// read. Left alone, Linux grows a send buffer to 4 MB (tcp_wmem), which no
	// heap profile shows. Less than 64 KiB holds no full segment of the loopback
	// interface, and each then waits for a delayed acknowledgement: 2 MB/s to a
	// proxy on the same host instead of 800.
	DefaultSendBuffer = 64 << 10

	// DefaultKeepAliveIdle is longer than the minute for which nginx keeps an
	// idle upstream connection (keepalive_timeout), so that the proxy is the
	// one to close and never writes into a connection that is just closing.
	DefaultKeepAliveIdle = 65 * time.Second
)

// Options tune a Lot; the zero value is all defaults.
type Options struct {
	Logger        *slog.Logger  // nil: silent
	QueueFrames   int           // slices queued for one connection before it is slow
	QueueBytes    int           // bytes queued for one connection before it is slow
	StallTimeout  time.Duration // age of the oldest queued byte at which it is slow
	SendBuffer    int           // SO_SNDBUF in bytes; the kernel doubles it for its own needs
	KeepAliveIdle time.Duration // how long an answered poll's connection may be silent

	// Portable holds every connection by goroutines, also where epoll would do.
	Portable bool

	// OnClose is told of every connection that the Lot closes, by its reason
	// and kind ("epoll", "goroutine" or "request"). Going back to the HTTP server
	// is no close. It is called without locks held, by any goroutine, and must not block.
	OnClose func(why Reason, kind string)
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.QueueFrames <= 0 {
		o.QueueFrames = DefaultQueueFrames
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.SendBuffer <= 0 {
		o.SendBuffer = DefaultSendBuffer
	}
	if o.KeepAliveIdle <= 0 {
		o.KeepAliveIdle = DefaultKeepAliveIdle
	}
}

// Lot holds connections. Its methods may be called from any goroutine.
type Lot struct {
	opts  Options
	log   *slog.Logger
	wheel *wheel
	poll  poller // connections held by epoll
	back  listener

	held, idle atomic.Int64

	mu       sync.Mutex
	draining bool
	others   map[*conn]struct{} // connections that have a goroutine
	users    sync.WaitGroup     // whoever uses a connection, the poller or the wheel
}

// New makes a Lot. It holds connections from the first Park on, but hears,
// drains and times them only while Run runs.
func New(opts Options) *Lot {
	opts.setDefaults()
	l := &Lot{
		opts:   opts,
		log:    opts.Logger,
		wheel:  newWheel(),
		others: make(map[*conn]struct{}),
	}
	l.back.init(l)
	return l
}

// Run serves the connections until ctx ends, then closes all of them
// (ReasonDrain) and waits for every goroutine. It may be called once.
func (l *Lot) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		l.wheel.run(ctx)
		return nil
	})
	group.Go(func() error {
		if err := l.runPoller(ctx); err != nil {
			return fmt.Errorf("wait for held connections: %w", err)
		}
		return nil
	})
	err := group.Wait()
	l.drain()
	return err
}

// drain closes everything. A connection that arrives meanwhile either is seen
// here or sees that the Lot is draining.
func (l *Lot) drain() {
	l.mu.Lock()
	l.draining = true
	l.mu.Unlock()
	l.back.Close()
	for _, c := range l.conns() {
		c.stop(ReasonDrain)
	}
	l.users.Wait()
	l.poll.close()
}

// conns lists every connection there is.
func (l *Lot) conns() []*conn {
	all := l.poll.conns()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.others {
		all = append(all, c)
	}
	return all
}

// enter counts a user of the Lot, unless it is draining. Whoever was let in
// calls l.users.Done.
func (l *Lot) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return false
	}
	l.users.Add(1)
	return true
}

func (l *Lot) isDraining() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.draining
}

// Park holds a hijacked connection and takes ownership of it, whatever happens:
// a connection that cannot be held is closed and h hears so. On Linux TCP and
// Unix connections are held by epoll, also under the TLS of a TLSListener, all
// others by a goroutine.
//
// buffered is what the HTTP server had read beyond the request
// (bufio.Reader.Buffered after Hijack); it must not be changed afterwards. A
// Holder that reads gets it as its first Received, within this call; otherwise
// it is the beginning of the next request.
func (l *Lot) Park(nc net.Conn, buffered []byte, h Holder) Conn {
	nc, buffered = unwrap(nc, buffered)
	if !l.enter() {
		hardClose(nc, false)
		return l.refuse(h, ReasonDrain, "goroutine")
	}
	defer l.users.Done()
	if !l.opts.Portable {
		if c, ok := l.parkEpoll(nc, buffered, h); ok {
			return c
		}
	}
	return l.parkPortable(nc, buffered, h)
}

// refuse tells h that its connection could not be held.
func (l *Lot) refuse(h Holder, why Reason, kind string) Conn {
	c := new(conn)
	l.initConn(c, noLine(kind), h)
	c.stop(why)
	return c
}

// Held is the number of connections with a Holder.
func (l *Lot) Held() int { return int(l.held.Load()) }

// Late is how far the clock that alarms ring by is behind, while Run runs.
func (l *Lot) Late() time.Duration { return l.wheel.late() }

// Idle is the number of connections whose Holder has finished: their last bytes
// are on their way out, or they wait for the peer's next request or its end.
func (l *Lot) Idle() int { return int(l.idle.Load()) }

// noLine is the line of a connection that was never held, by its kind.
type noLine string

func (noLine) write([]byte) (int, error) { return 0, net.ErrClosed }
func (noLine) stalled() error            { return nil }
func (noLine) rest() error               { return nil }
func (noLine) linger() error             { return nil }
func (noLine) shut(bool)                 {}
func (n noLine) kind() string            { return string(n) }
