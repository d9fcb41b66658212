//go:build e2e

package e2e

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes TCP connections on and, if told so, cuts some of them at a
// random byte of what the server says.
type relay struct {
	listener net.Listener
	target   string
	cuts     atomic.Int64 // still to be made
	accepted atomic.Int64

	mu    sync.Mutex
	dice  *rand.Rand
	conns map[net.Conn]struct{} // nil after the end
	wait  sync.WaitGroup
}

// longestRun is how many bytes a connection that will be cut may carry at most:
// some ten events.
const longestRun = 3000

// newRelay relays to target until the test ends and cuts the first
// connections, as many as cuts.
func newRelay(t *testing.T, target string, cuts int) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("relay %s: seed %#x", l.Addr(), seed)
	r := &relay{listener: l, target: target, dice: rand.New(rand.NewPCG(seed, 0)), conns: make(map[net.Conn]struct{})}
	r.cuts.Store(int64(cuts))
	r.wait.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for c := range r.conns {
			c.Close()
		}
		r.conns = nil
		r.mu.Unlock()
		r.wait.Wait()
	})
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		down, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		up, err := net.Dial("tcp", r.target)
		if err != nil || !r.keep(down, up) {
			down.Close()
			continue
		}
		r.wait.Go(func() {
			pass(up, down)
			up.Close()
			down.Close()
		})
		r.wait.Go(func() {
			r.answer(down, up)
			up.Close()
			down.Close()
			r.mu.Lock()
			delete(r.conns, up)
			delete(r.conns, down)
			r.mu.Unlock()
		})
	}
}

// keep remembers connections for the end of the test.
func (r *relay) keep(down, up net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		up.Close()
		return false
	}
	r.conns[down], r.conns[up] = struct{}{}, struct{}{}
	return true
}

// pass copies until either side ends.
func pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// answer copies what the server says, up to the cut. The head is never cut:
// over plain HTTP Chromium takes a truncated head for a whole one, and an answer
// without its Content-Type ends an EventSource for good. Nor is the line with an
// id parted from the empty line after it, which ends the event: fetch-event-source
// then takes the event for heard without having handed it on.
func (r *relay) answer(down, up net.Conn) {
	var head []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		if _, err := down.Write(buf[:n]); err != nil {
			return
		}
		head = append(head, buf[:n]...)
		if bytes.Contains(head, []byte("\r\n\r\n")) {
			break
		}
	}
	if r.cuts.Add(-1) < 0 {
		pass(down, up)
		return
	}
	r.mu.Lock()
	left, reset := 1+r.dice.IntN(longestRun), r.dice.IntN(2) == 0
	r.mu.Unlock()
	var said []byte
	for left > 0 {
		n, err := up.Read(buf[:min(left, len(buf))])
		if err != nil {
			r.cuts.Add(1) // the client was first
			return
		}
		if _, err := down.Write(buf[:n]); err != nil {
			r.cuts.Add(1)
			return
		}
		left -= n
		if said = append(said, buf[:n]...); left == 0 && endsWithID(said) {
			left = 1
		}
	}
	if tcp, ok := down.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0) // a reset instead of an end
	}
}

// endsWithID tells whether the last line of an event stream is whole and an id.
func endsWithID(said []byte) bool {
	line, whole := bytes.CutSuffix(said, []byte("\n"))
	return whole && bytes.HasPrefix(line[bytes.LastIndexByte(line, '\n')+1:], []byte("id: "))
}
