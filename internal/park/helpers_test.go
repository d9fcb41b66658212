package park_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
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
		{name: "epoll tls 1.3", label: "epoll", pair: lightPair(tls.VersionTLS13)},
		{name: "epoll tls 1.2", label: "epoll", pair: lightPair(tls.VersionTLS12)},
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

// serverTLS has a certificate that nobody needs to trust.
var serverTLS = sync.OnceValue(func() *tls.Config {
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS()
	defer hs.Close()
	return &tls.Config{Certificates: hs.TLS.Certificates, NextProtos: []string{"http/1.1"}}
})

// tlsPair is TLS that the Lot knows nothing about.
func tlsPair(t testing.TB) (client, server net.Conn) {
	client, server = tcpPair(t)
	return shakeHands(t, client, tls.Server(server, serverTLS()), tls.VersionTLS13)
}

// lightPair is TLS of a park.TLSListener.
func lightPair(version uint16) func(testing.TB) (client, server net.Conn) {
	return func(t testing.TB) (client, server net.Conn) {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, server = listenPair(t, park.TLSListener(ln, serverTLS()))
		return shakeHands(t, client, server, version)
	}
}

func shakeHands(t testing.TB, client, server net.Conn, version uint16) (net.Conn, net.Conn) {
	t.Helper()
	tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- server.(*tls.Conn).Handshake() }()
	if err := errors.Join(tc.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return tc, server
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

func wantEOFOrReset(t testing.TB, r io.Reader) {
	t.Helper()
	_, err := io.Copy(io.Discard, r)
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		t.Fatal("the connection is still open")
	}
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
