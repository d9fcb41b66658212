package park_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/internal/park"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds how long a test waits for something that has to come.
const patience = 20 * time.Second

// kinds runs a test for every way to hold a connection.
func kinds(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range []kind{
		{name: "epoll tcp", label: "epoll", pair: tcpPair},
		{name: "epoll unix", label: "epoll", pair: unixPair},
		{name: "goroutine tcp", label: "goroutine", portable: true, pair: tcpPair},
		{name: "goroutine tls", label: "goroutine", pair: tlsPair},
	} {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

type kind struct {
	name     string
	label    string // in metrics
	portable bool
	pair     func(testing.TB) (client, server net.Conn)
}

// lot runs a Lot for the length of a test and returns how to stop it early.
func (k kind) lot(t testing.TB, opts park.Options) (*park.Lot, context.CancelFunc) {
	t.Helper()
	opts.Portable = k.portable
	l := park.New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	return l, stop
}

// park holds one end of a new connection and returns the other.
func (k kind) park(t testing.TB, l *park.Lot, buffered string, h park.Holder) (park.Conn, net.Conn) {
	t.Helper()
	client, server := k.pair(t)
	client.SetDeadline(time.Now().Add(patience))
	return l.Park(server, []byte(buffered), h), client
}

func listenPair(t testing.TB, ln net.Listener) (client, server net.Conn) {
	t.Helper()
	defer ln.Close()
	client, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func tcpPair(t testing.TB) (client, server net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listenPair(t, ln)
}

func unixPair(t testing.TB) (client, server net.Conn) {
	ln, err := net.Listen("unix", t.TempDir()+"/sock")
	if err != nil {
		t.Fatal(err)
	}
	return listenPair(t, ln)
}

func tlsPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS()
	certificates := hs.TLS.Certificates
	hs.Close()

	client, server = tcpPair(t)
	ts := tls.Server(server, &tls.Config{Certificates: certificates})
	tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- ts.Handshake() }()
	if err := errors.Join(tc.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return tc, ts
}

// holder records what it is told.
type holder struct {
	deaf     bool
	onBytes  func(c park.Conn, b []byte)
	onAlarm  func(c park.Conn)
	closed   chan park.Reason // has room for more calls than there may be
	received chan []byte
	alarms   chan time.Time
}

func newHolder() *holder {
	return &holder{
		closed:   make(chan park.Reason, 8),
		received: make(chan []byte, 1024),
		alarms:   make(chan time.Time, 1024),
	}
}

func deafHolder() *holder {
	h := newHolder()
	h.deaf = true
	return h
}

func (h *holder) WantsBytes() bool { return !h.deaf }

func (h *holder) Received(c park.Conn, b []byte) {
	if h.onBytes != nil {
		h.onBytes(c, b)
	}
	h.received <- bytes.Clone(b)
}

func (h *holder) Alarm(c park.Conn) {
	if h.onAlarm != nil {
		h.onAlarm(c)
	}
	h.alarms <- time.Now()
}

func (h *holder) Closed(_ park.Conn, why park.Reason) { h.closed <- why }

func (h *holder) wantClosed(t testing.TB, want park.Reason) {
	t.Helper()
	if got := wait(t, h.closed); got != want {
		t.Fatalf("closed as %v, want %v", got, want)
	}
	select {
	case again := <-h.closed:
		t.Fatalf("closed a second time, as %v", again)
	default:
	}
}

// wantReceived waits for exactly these bytes, in however many pieces.
func (h *holder) wantReceived(t testing.TB, want string) {
	t.Helper()
	var got []byte
	for len(got) < len(want) {
		got = append(got, wait(t, h.received)...)
	}
	if string(got) != want {
		t.Fatalf("received %d bytes (%.40q…), want %d (%.40q…)", len(got), got, len(want), want)
	}
}

func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %d bytes (%.40q…), %v; want %d (%.40q…)", n, got, err, len(want), want)
	}
}

func wantEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestBothDirections(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		l, _ := k.lot(t, park.Options{})
		h := newHolder()
		c, client := k.park(t, l, "early ", h)
		h.wantReceived(t, "early ")
		for i := range 100 {
			up, down := fmt.Sprintf("up %d", i), fmt.Sprintf("down %d", i)
			write(t, client, up)
			h.wantReceived(t, up)
			if !c.Send([]byte(down)) {
				t.Fatal("Send says that the connection is gone")
			}
			wantRead(t, client, down)
		}
		if l.Held() != 1 || l.Idle() != 0 {
			t.Errorf("held %d, idle %d; want 1, 0", l.Held(), l.Idle())
		}
		big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // more than one round of reading
		go client.Write(big)
		h.wantReceived(t, string(big))
	})
}

func TestTinyFramesKeepTheirOrder(t *testing.T) {
	const frames = 10_000
	kinds(t, func(t *testing.T, k kind) {
		l, _ := k.lot(t, park.Options{QueueFrames: frames, QueueBytes: 1 << 20, SendBuffer: 4 << 10})
		c, client := k.park(t, l, "", newHolder())
		var want []byte
		for i := range frames {
			frame := fmt.Appendf(nil, "%d\n", i)
			want = append(want, frame...)
			if !c.Send(frame) {
				t.Fatalf("gone at frame %d", i)
			}
		}
		wantRead(t, client, string(want))
	})
}

func TestQueueDrainsToLatePeer(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		l, _ := k.lot(t, park.Options{QueueBytes: 64 << 20})
		h := newHolder()
		c, client := k.park(t, l, "", h)
		var want []byte
		for round := range 3 { // stalls more than once
			want = want[:0]
			for i := range 200 {
				frame := bytes.Repeat([]byte{byte('a' + (i+round)%26)}, 64<<10)
				want = append(want, frame...)
				if !c.Send(frame) {
					t.Fatalf("gone at frame %d", i)
				}
			}
			wantRead(t, client, string(want)) // 12.5 MB: no socket buffer takes that
		}
		c.Close(park.ReasonRevoked)
		h.wantClosed(t, park.ReasonRevoked)
		wantEOFOrReset(t, client)
		if c.Send([]byte("x")) {
			t.Error("Send on a closed connection says that it is held")
		}
	})
}

func wantEOFOrReset(t testing.TB, r io.Reader) {
	t.Helper()
	_, err := io.Copy(io.Discard, r)
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		t.Fatal("the connection is still open")
	}
}

func TestSlowPeer(t *testing.T) {
	frame := func(n int) []byte { return make([]byte, n) }
	tests := []struct {
		name string
		opts park.Options
		size int
	}{
		{"too many frames", park.Options{QueueFrames: 20, QueueBytes: 1 << 30}, 64 << 10},
		{"too many bytes", park.Options{QueueFrames: 1 << 20, QueueBytes: 1 << 20}, 64 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kinds(t, func(t *testing.T, k kind) {
				closes := make(chan string, 8)
				tt.opts.OnClose = func(why park.Reason, kind string) { closes <- why.String() + " " + kind }
				l, _ := k.lot(t, tt.opts)
				h := newHolder()
				c, client := k.park(t, l, "", h)
				sent := 0
				for c.Send(frame(tt.size)) {
					if sent++; sent > 1000 {
						t.Fatal("a peer that reads nothing is never slow")
					}
				}
				h.wantClosed(t, park.ReasonSlow)
				wantReset(t, client)
				if got := wait(t, closes); got != "slow "+k.label {
					t.Errorf("counted as %q", got)
				}
			})
		})
	}

	t.Run("oldest byte too old", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			l, _ := k.lot(t, park.Options{StallTimeout: 200 * time.Millisecond})
			h := newHolder()
			c, client := k.park(t, l, "", h)
			if !c.Send(frame(32 << 20)) { // one frame of any size fits into an empty queue
				t.Fatal("a large first frame is refused")
			}
			h.wantClosed(t, park.ReasonSlow)
			wantReset(t, client)
		})
	})

	t.Run("last bytes too old", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			closes := make(chan park.Reason, 8)
			l, _ := k.lot(t, park.Options{
				StallTimeout: 200 * time.Millisecond,
				OnClose:      func(why park.Reason, _ string) { closes <- why },
			})
			h := newHolder()
			c, client := k.park(t, l, "", h)
			c.Finish(frame(32<<20), true)
			h.wantClosed(t, park.ReasonFinished)
			if why := wait(t, closes); why != park.ReasonSlow {
				t.Errorf("counted as %v, want slow", why)
			}
			wantReset(t, client)
		})
	})
}

// wantReset reads up to the end, which must not be an orderly one. On a Unix
// socket there are no resets.
func wantReset(t testing.TB, client net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, client)
	if _, ok := client.(*net.UnixConn); ok {
		return
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the peer saw %v, want a reset", err)
	}
}

func TestPeerLeaves(t *testing.T) {
	leave := map[string]func(t *testing.T, nc net.Conn){
		"closes": func(t *testing.T, nc net.Conn) { nc.Close() },
		"half-closes": func(t *testing.T, nc net.Conn) {
			if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		},
		"resets": func(t *testing.T, nc net.Conn) {
			if tc, ok := nc.(*net.TCPConn); ok {
				tc.SetLinger(0)
			}
			nc.Close()
		},
	}
	for name, leave := range leave {
		for _, h := range []*holder{newHolder(), deafHolder()} {
			t.Run(fmt.Sprintf("%s on a holder that reads: %v", name, h.WantsBytes()), func(t *testing.T) {
				kinds(t, func(t *testing.T, k kind) {
					l, _ := k.lot(t, park.Options{})
					c, client := k.park(t, l, "", h)
					leave(t, client)
					h.wantClosed(t, park.ReasonGone)
					if c.Send([]byte("x")) || l.Held() != 0 {
						t.Errorf("still held: %d", l.Held())
					}
				})
			})
		}
	}

	t.Run("says something first", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			l, _ := k.lot(t, park.Options{})
			h := newHolder()
			_, client := k.park(t, l, "", h)
			write(t, client, "farewell")
			client.Close()
			h.wantReceived(t, "farewell")
			h.wantClosed(t, park.ReasonGone)
		})
	})
}

func TestFinishClosesBehindTheLastBytes(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		closes := make(chan park.Reason, 8)
		l, _ := k.lot(t, park.Options{OnClose: func(why park.Reason, _ string) { closes <- why }})
		h := deafHolder()
		c, client := k.park(t, l, "", h)
		// Unread bytes would make an immediate close a reset, which could
		// overtake the last bytes.
		write(t, client, "unread")
		last := bytes.Repeat([]byte("z"), 4<<20)
		c.Finish(last, false)
		h.wantClosed(t, park.ReasonFinished)
		wantRead(t, client, string(last))
		wantEOF(t, client)
		client.Close()
		if why := wait(t, closes); why != park.ReasonFinished {
			t.Errorf("counted as %v", why)
		}
	})
}

func TestFinishDoesNotWaitForeverForThePeersEnd(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		closes := make(chan park.Reason, 8)
		l, _ := k.lot(t, park.Options{OnClose: func(why park.Reason, _ string) { closes <- why }})
		c, client := k.park(t, l, "", deafHolder())
		c.Finish([]byte("bye"), false)
		wantRead(t, client, "bye")
		if why := wait(t, closes); why != park.ReasonFinished { // the client stays
			t.Errorf("counted as %v", why)
		}
	})
}

func TestClosedComesAfterOtherCalls(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		l, _ := k.lot(t, park.Options{})
		for name, end := range map[string]func(park.Conn){
			"Close":  func(c park.Conn) { c.Close(park.ReasonProtocol) },
			"Finish": func(c park.Conn) { c.Finish([]byte("x"), true) },
		} {
			h := newHolder()
			h.onBytes = func(c park.Conn, _ []byte) {
				end(c)
				if len(h.closed) > 0 {
					t.Errorf("%s within Received: Closed came while it was running", name)
				}
			}
			_, client := k.park(t, l, "", h)
			write(t, client, "go")
			if why := wait(t, h.closed); why != park.ReasonProtocol && why != park.ReasonFinished {
				t.Errorf("closed as %v", why)
			}
		}
	})
}

func TestDrain(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		l, stop := k.lot(t, park.Options{})
		var holders []*holder
		var clients []net.Conn
		add := func() park.Conn {
			h := newHolder()
			c, client := k.park(t, l, "", h)
			holders, clients = append(holders, h), append(clients, client)
			return c
		}
		add()
		add().Send(make([]byte, 8<<20)) // stalled
		stop()
		add() // too late
		for _, h := range holders {
			h.wantClosed(t, park.ReasonDrain)
		}
		for _, client := range clients {
			wantEOFOrReset(t, client)
		}
		if l.Held() != 0 || l.Idle() != 0 {
			t.Errorf("held %d, idle %d after the end", l.Held(), l.Idle())
		}
		if _, err := l.Listener().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after the end: %v", err)
		}
		if err := l.Listener().Close(); err != nil {
			t.Errorf("second Close of the listener: %v", err)
		}
	})
}

// TestStorm has everything happen to the same connections at once, for the race
// detector and for the promise that Closed comes exactly once.
func TestStorm(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		closes := make(chan struct{}, 4096)
		l, _ := k.lot(t, park.Options{
			QueueFrames: 8, SendBuffer: 4 << 10, KeepAliveIdle: 200 * time.Millisecond,
			OnClose: func(park.Reason, string) { closes <- struct{}{} },
		})
		const conns = 30
		for i := range conns {
			h := newHolder()
			h.onAlarm = func(c park.Conn) { c.Send([]byte("alarm")) }
			c, client := k.park(t, l, "", h)
			start := make(chan struct{})
			var all sync.WaitGroup
			for _, act := range []func(){
				func() { c.Send(make([]byte, 20<<10)) },
				func() { c.Send(make([]byte, 20<<10)) },
				func() { c.SetAlarm(time.Millisecond) },
				func() { c.SetAlarm(0) },
				func() { client.Write([]byte("hello")) },
				func() { io.Copy(io.Discard, io.LimitReader(client, 30<<10)) },
				func() {
					if i%3 == 0 {
						c.Finish([]byte("end"), i%2 == 0)
					} else {
						c.Close(park.ReasonSlow)
					}
				},
				func() {
					if i%5 == 0 {
						client.Close()
					}
				},
			} {
				all.Go(func() { <-start; act() })
			}
			close(start)
			wait(t, h.closed)
			client.Close()
			all.Wait()
			if len(h.closed) > 0 {
				t.Fatal("Closed came twice")
			}
		}
		for l.Idle() > 0 {
			wait(t, closes)
		}
		if l.Held() != 0 {
			t.Errorf("held: %d", l.Held())
		}
	})
}
