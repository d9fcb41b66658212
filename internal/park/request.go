package park

import (
	"net/http"
	"time"
)

// requestConn is a request that cannot be hijacked (HTTP/2): its handler's
// goroutine writes and waits.
type requestConn struct {
	conn
	control *http.ResponseController
	wake    chan struct{}
}

// Stay holds a request whose connection cannot be hijacked, in the goroutine of
// its handler, until the Holder has finished, the connection is closed or the
// peer has gone. The head of the response must have been written; start is
// called with the Conn before the first wait. A Lot that is draining tells h
// so and does not call start. Nothing is read from the request's body, and
// whether the connection is kept alive is the HTTP server's affair.
//
// A response that is broken off with bytes unsent is reset, so that it cannot
// pass for a whole one.
func (l *Lot) Stay(w http.ResponseWriter, r *http.Request, h Holder, start func(Conn)) {
	if !l.enter() {
		l.refuse(h, ReasonDrain, "request")
		return
	}
	defer l.users.Done()
	q := &requestConn{control: http.NewResponseController(w), wake: make(chan struct{}, 1)}
	// Deadlines are for a whole response, not for one write, and on HTTP/2 strike
	// when nothing is being written too. The age of the queue decides instead,
	// and then breaks off the write by a deadline. Writers without deadlines
	// (tests, odd middleware) go without.
	q.control.SetWriteDeadline(time.Time{})
	l.initConn(&q.conn, q, h)
	if !l.adopt(&q.conn) {
		q.stop(ReasonDrain)
		return
	}
	start(&q.conn)
	for q.pump(w) {
		select {
		case <-q.wake:
		case <-r.Context().Done():
			q.stop(ReasonGone)
		}
	}
}

// pump writes the queue and reports whether the request is still held.
func (q *requestConn) pump(w http.ResponseWriter) bool {
	var frames [writeFrames][]byte
	for {
		q.mu.Lock()
		if q.state == closed || q.q == nil {
			open := q.state != closed
			q.mu.Unlock()
			return open
		}
		bufs := q.q.buffers(frames[:0])
		q.mu.Unlock()
		n, err := writeAll(w, q.control, bufs)
		q.mu.Lock()
		switch {
		case q.state == closed:
		case err != nil:
			q.close(ReasonGone)
		default:
			q.wrote(n)
		}
		q.mu.Unlock()
		q.settle()
	}
}

func writeAll(w http.ResponseWriter, control *http.ResponseController, bufs [][]byte) (int, error) {
	total := 0
	for _, b := range bufs {
		n, err := w.Write(b)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, control.Flush()
}

func (q *requestConn) kind() string { return "request" }

func (q *requestConn) write([]byte) (int, error) { return 0, nil }

func (q *requestConn) stalled() error {
	q.wakeHandler()
	return nil
}

// rest and linger both end the handler, which ends the response.
func (q *requestConn) rest() error {
	q.close(ReasonFinished)
	return nil
}

func (q *requestConn) linger() error { return q.rest() }

func (q *requestConn) shut(reset bool) {
	if reset {
		q.control.SetWriteDeadline(aLongTimeAgo)
	}
	q.lot.disown(&q.conn)
	q.wakeHandler()
}

func (q *requestConn) wakeHandler() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
