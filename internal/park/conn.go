package park

import (
	"sync"
	"time"
)

// lingerTime is how long a finished connection waits, after its FIN, for the
// peer's: closing at once would answer bytes that are still under way (a
// WebSocket's close frame, a pipelined request) with a reset, which may destroy
// the last bytes before the peer has read them (RFC 9112 section 9.6).
const lingerTime = 2 * time.Second

// state is how far a connection is. It only ever moves down this list.
type state uint8

const (
	held      state = iota // has a Holder
	finishing              // the Holder is gone, its last bytes are queued
	resting                // kept alive: waits for the peer's next request
	lingering              // our FIN is out: waits for the peer's
	closed                 // the Lot has let go of it
)

// conn is what all kinds of held connections have in common, and the Conn that
// Holders see. The order of locks is conn.mu, then the wheel's or listener's.
type conn struct {
	lot   *Lot
	line  line
	timer timer // the Holder's alarm, then the end of resting or lingering

	mu        sync.Mutex
	h         Holder // nil once it has been told that this is over
	q         *queue // nil while everything is out
	state     state
	why       Reason // what the Holder is told
	end       Reason // what the metric is told
	calls     uint8  // calls of the Holder that have not returned
	keepAlive bool
	wants     bool // the Holder reads
	reported  bool // end has been told, or need not be
}

// line is the part of a connection that differs by kind. Its methods are called
// with conn.mu held and never wait.
type line interface {
	// write takes as much of b as goes at once.
	write(b []byte) (int, error)
	// stalled sees to it that the queue, empty until now, gets written.
	stalled() error
	// rest waits for the next request and gives the connection back then.
	rest() error
	// linger ends our half of the connection and waits for the peer's end.
	linger() error
	// shut lets go of the connection, with a reset if bytes were left unsent.
	shut(reset bool)
	// kind labels the connection in metrics.
	kind() string
}

func (l *Lot) initConn(c *conn, ln line, h Holder) {
	c.lot, c.line, c.h, c.wants = l, ln, h, true
	c.timer.owner = c
	if r, ok := h.(Reader); ok {
		c.wants = r.WantsBytes()
	}
	l.held.Add(1)
}

// Send implements Conn.
func (c *conn) Send(b []byte) bool {
	c.mu.Lock()
	if c.state != held {
		c.mu.Unlock()
		return false
	}
	why, ok := c.put(b, true)
	if !ok {
		c.close(why)
	}
	c.mu.Unlock()
	if !ok {
		c.settle()
	}
	return ok
}

// Finish implements Conn.
func (c *conn) Finish(b []byte, keepAlive bool) {
	c.mu.Lock()
	if c.state != held {
		c.mu.Unlock()
		return
	}
	if why, ok := c.put(b, false); !ok {
		c.close(why)
	} else {
		c.state, c.why, c.keepAlive = finishing, ReasonFinished, keepAlive
		c.lot.held.Add(-1)
		c.lot.idle.Add(1)
		c.lot.wheel.set(&c.timer, 0)
		if c.q == nil {
			c.depart()
		}
	}
	c.mu.Unlock()
	c.settle()
}

// Close implements Conn.
func (c *conn) Close(why Reason) {
	c.mu.Lock()
	if c.state == held {
		c.close(why)
	}
	c.mu.Unlock()
	c.settle()
}

// SetAlarm implements Conn.
func (c *conn) SetAlarm(d time.Duration) {
	c.mu.Lock()
	if c.state == held {
		c.lot.wheel.set(&c.timer, d)
	}
	c.mu.Unlock()
}

// Queued is the number of bytes that wait for the socket. See Drained.
func (c *conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.q == nil {
		return 0
	}
	return c.q.bytes
}

// put writes what goes at once and queues the rest. An empty queue takes one
// frame of any size, or a large first answer could never be sent at all.
func (c *conn) put(b []byte, bounded bool) (why Reason, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	opts := &c.lot.opts
	if c.q != nil {
		if bounded && (c.q.len() >= opts.QueueFrames || c.q.bytes+len(b) > opts.QueueBytes) {
			return ReasonSlow, false
		}
		c.q.push(b, c.lot.wheel.clock())
		return 0, true
	}
	n, err := c.line.write(b)
	if err != nil {
		return ReasonGone, false
	}
	if n == len(b) {
		return 0, true
	}
	c.q = &queue{timer: timer{owner: c}}
	c.q.push(b[n:], c.lot.wheel.clock())
	c.lot.wheel.set(&c.q.timer, opts.StallTimeout)
	if err := c.line.stalled(); err != nil {
		return ReasonGone, false
	}
	return 0, true
}

// wrote takes n bytes off the queue and reports whether that emptied it.
func (c *conn) wrote(n int) bool {
	c.q.advance(n)
	if c.q.len() > 0 {
		return false
	}
	c.dropQueue()
	if c.state == finishing {
		c.depart()
	}
	return true
}

func (c *conn) dropQueue() {
	if c.q != nil {
		c.lot.wheel.set(&c.q.timer, 0)
		c.q = nil
	}
}

// depart decides what becomes of a finished connection once everything is out.
func (c *conn) depart() {
	var err error
	if c.keepAlive && c.lot.back.open() {
		c.state = resting
		c.lot.wheel.set(&c.timer, c.lot.opts.KeepAliveIdle)
		err = c.line.rest()
	} else {
		c.state = lingering
		c.lot.wheel.set(&c.timer, lingerTime)
		err = c.line.linger()
	}
	if err != nil {
		c.close(ReasonGone)
	}
}

// leave takes the connection out of the Lot without closing it: it goes back to
// the HTTP server.
func (c *conn) leave() {
	c.lot.wheel.set(&c.timer, 0)
	c.lot.idle.Add(-1)
	c.state, c.reported = closed, true
}

// close ends the connection, whatever its state. settle has to follow once
// conn.mu is released.
func (c *conn) close(why Reason) {
	switch c.state {
	case closed:
		return
	case held:
		c.why = why
		c.lot.held.Add(-1)
	case lingering:
		why = ReasonFinished // everything was out; only the peer's FIN was missing
		c.lot.idle.Add(-1)
	default:
		c.lot.idle.Add(-1)
	}
	c.state, c.end = closed, why
	reset := why == ReasonSlow || c.q != nil
	c.lot.wheel.set(&c.timer, 0)
	c.dropQueue()
	c.line.shut(reset)
}

// stop is close and settle for callers without the lock.
func (c *conn) stop(why Reason) {
	c.mu.Lock()
	c.close(why)
	c.mu.Unlock()
	c.settle()
}

// stopResting closes a connection that waits for its next request.
func (c *conn) stopResting() {
	c.mu.Lock()
	if c.state == resting {
		c.close(ReasonDrain)
	}
	c.mu.Unlock()
	c.settle()
}

// settle tells the Holder that it is over as soon as none of its calls is under
// way, and the metrics once the connection itself is closed.
func (c *conn) settle() {
	c.mu.Lock()
	var h Holder
	if c.state != held && c.calls == 0 {
		h, c.h = c.h, nil
	}
	why, end := c.why, c.end
	report := c.state == closed && !c.reported
	c.reported = c.reported || report
	c.mu.Unlock()

	if h != nil {
		h.Closed(c, why)
	}
	if report && c.lot.opts.OnClose != nil {
		c.lot.opts.OnClose(end, c.line.kind())
	}
}

// received hands b to the Holder if it still is there.
func (c *conn) received(b []byte) {
	c.mu.Lock()
	h := c.enter()
	c.mu.Unlock()
	if h != nil {
		h.Received(c, b)
		c.exit()
	}
}

// enter begins a call of the Holder: Closed will wait until exit. It is nil when
// there is nobody to call. conn.mu is held.
func (c *conn) enter() Holder {
	if c.state != held {
		return nil
	}
	c.calls++
	return c.h
}

func (c *conn) exit() {
	c.mu.Lock()
	c.calls--
	over := c.state != held
	c.mu.Unlock()
	if over {
		c.settle()
	}
}

// expire is called by the wheel when t may be due. Claiming it under conn.mu
// orders it with SetAlarm: an alarm replaced before this point does not ring.
func (c *conn) expire(t *timer) {
	c.mu.Lock()
	if !c.lot.wheel.claim(t) {
		c.mu.Unlock()
		return
	}
	var h Holder
	switch {
	case t != &c.timer:
		c.checkAge()
	case c.state == held:
		h = c.enter()
	case c.state == resting:
		c.close(ReasonIdle)
	default:
		c.close(ReasonFinished)
	}
	c.mu.Unlock()
	if h != nil {
		h.Alarm(c)
		c.exit()
		return
	}
	c.settle()
}

// checkAge closes the connection if its oldest byte has waited too long, or
// looks again when that may be so.
func (c *conn) checkAge() {
	age := time.Duration(c.lot.wheel.clock()-c.q.oldest()) * slotWidth
	if left := c.lot.opts.StallTimeout - age; left > 0 {
		c.lot.wheel.set(&c.q.timer, left)
		return
	}
	c.close(ReasonSlow)
}
