package park

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// told is a Holder that only says why it was closed.
type told chan Reason

func (told) Received(Conn, []byte)       {}
func (told) Alarm(Conn)                  {}
func (h told) Closed(_ Conn, why Reason) { h <- why }

// deaf is a Holder like told that does not read.
type deaf struct{ told }

func (deaf) WantsBytes() bool { return false }

func runLot(tb testing.TB, opts Options) *Lot {
	tb.Helper()
	l := New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return l
}

func dialPair(tb testing.TB, ln net.Listener) (client, server net.Conn) {
	tb.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		tb.Fatal(err)
	}
	return client, server
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}

func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(epollConn{}); size > 112 {
		t.Errorf("a held connection is %d bytes; the next size class of the allocator costs every one of them", size)
	}
}

// TestStaleEvent hands the loop an event of a connection whose descriptor has
// become another connection's.
func TestStaleEvent(t *testing.T) {
	l, ln := runLot(t, Options{}), listen(t)
	first, second := make(told, 1), make(told, 1)
	_, server := dialPair(t, ln)
	old := l.Park(server, nil, first).(*conn).line.(*epollConn)
	client, server := dialPair(t, ln)
	old.Close(ReasonRevoked)
	if why := <-first; why != ReasonRevoked {
		t.Fatalf("closed as %v", why)
	}
	defer occupyBelow(t, int(old.fd))()
	reused := l.Park(server, nil, deaf{second}).(*conn).line.(*epollConn)
	if reused.fd != old.fd {
		t.Fatalf("the kernel gave descriptor %d, not %d again", reused.fd, old.fd)
	}

	buf := make([]byte, 16)
	l.poll.dispatch(unix.EpollEvent{Events: unix.EPOLLHUP, Fd: old.fd, Pad: int32(old.gen)}, buf)
	l.poll.dispatch(unix.EpollEvent{Events: unix.EPOLLHUP, Fd: 1 << 30}, buf) // never seen
	l.poll.dispatch(unix.EpollEvent{Events: unix.EPOLLHUP, Fd: -1}, buf)
	if !reused.Send([]byte("alive")) {
		t.Fatalf("an event of the old connection closed the new one as %v", <-second)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "alive" {
		t.Errorf("read %q, %v", got, err)
	}
}

// occupyBelow takes every free descriptor below fd, so that the kernel, which
// gives the lowest one, gives fd next. It returns how to let go of them.
func occupyBelow(t *testing.T, fd int) (release func()) {
	t.Helper()
	var taken []int
	for {
		got, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got >= fd {
			unix.Close(got)
			break
		}
		taken = append(taken, got)
	}
	return func() {
		for _, got := range taken {
			unix.Close(got)
		}
	}
}

// TestOnePeerCannotKeepTheLoop has more to read than one turn takes. The Lot's
// loop is not running, so that every turn can be looked at.
func TestOnePeerCannotKeepTheLoop(t *testing.T) {
	l := New(Options{})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	f := os.NewFile(uintptr(pair[0]), "")
	server, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var got collector
	l.Park(server, nil, &got)
	sent := strings.Repeat("0123456789", 10)
	if _, err := unix.Write(pair[1], []byte(sent)); err != nil {
		t.Fatal(err)
	}

	buf := make([]byte, 4)
	for turn := 1; len(got) < len(sent); turn++ {
		events := make([]unix.EpollEvent, 1)
		if n, err := unix.EpollWait(l.poll.fd, events, 0); n != 1 || err != nil {
			t.Fatalf("after %d bytes the rest is forgotten: %d events, %v", len(got), n, err)
		}
		l.poll.dispatch(events[0], buf)
		if want := min(turn*readRounds*len(buf), len(sent)); len(got) != want {
			t.Fatalf("%d bytes after turn %d, want %d", len(got), turn, want)
		}
	}
	if string(got) != sent {
		t.Errorf("received %q", got)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(over); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// collector is a Holder that keeps what it receives.
type collector []byte

func (g *collector) Received(_ Conn, b []byte) { *g = append(*g, b...) }
func (g *collector) Alarm(Conn)                {}
func (g *collector) Closed(Conn, Reason)       {}

// TestNoDescriptorLeft runs into RLIMIT_NOFILE at the moment of parking.
func TestNoDescriptorLeft(t *testing.T) {
	l, ln := runLot(t, Options{}), listen(t)
	warm := make(told, 1)
	_, server := dialPair(t, ln)
	l.Park(server, nil, warm)
	client, server := dialPair(t, ln)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	h := make(told, 1)
	c := l.Park(server, nil, h)
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err != nil {
		t.Fatal(err)
	}
	if why := <-h; why != ReasonGone {
		t.Errorf("closed as %v, want gone", why)
	}
	if c.Send([]byte("x")) || l.Held() != 1 {
		t.Errorf("held: %d, want only the first", l.Held())
	}
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer sees %v, want the end", err)
	}
}

// TestSocketOptions checks what the kernel was told, and that a connection goes
// back without the cap on its send buffer.
func TestSocketOptions(t *testing.T) {
	l, ln := runLot(t, Options{SendBuffer: 20 << 10, StallTimeout: 7 * time.Second}), listen(t)
	client, server := dialPair(t, ln)
	h := make(told, 1)
	c := l.Park(server, nil, h)
	fd := int(c.(*conn).line.(*epollConn).fd)
	for _, opt := range []struct {
		name                string
		level, option, want int
	}{
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, 40 << 10}, // the kernel doubles it
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7000},
	} {
		if got, err := unix.GetsockoptInt(fd, opt.level, opt.option); err != nil || got != opt.want {
			t.Errorf("%s is %d, %v; want %d", opt.name, got, err, opt.want)
		}
	}
	c.Finish([]byte("x"), true)
	if _, err := client.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	back, err := l.Listener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	raw, err := back.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if locked, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK); err != nil || locked != 0 {
			t.Errorf("the send buffer is still capped: %d, %v", locked, err)
		}
	})
	if back.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("came back as from %v, want %v", back.RemoteAddr(), client.LocalAddr())
	}
}

// TestEpollDescriptorIsTheOnlyOne checks that the connection has left Go's hands
// and that nothing but the epoll set keeps it.
func TestEpollDescriptorIsTheOnlyOne(t *testing.T) {
	l, ln := runLot(t, Options{}), listen(t)
	_, server := dialPair(t, ln)
	h := make(told, 1)
	c := l.Park(server, nil, h)
	if _, err := server.Write([]byte("x")); err == nil {
		t.Error("the connection that was parked is still open for Go")
	}
	if c.(*conn).line.kind() != "epoll" || len(l.others) != 0 {
		t.Error("a plain TCP connection is not held by epoll")
	}
}
