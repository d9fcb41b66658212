package park_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/internal/park"
)

// clientWire is what a client's TLS is written to and read from.
type clientWire struct {
	net.Conn
	mu     sync.Mutex
	piece  int          // bytes of a write to the network; 0: all of them
	corked bool         // keep what is written until flush
	kept   bytes.Buffer // of a corked wire
	seen   bytes.Buffer // all that was read
}

func (w *clientWire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.corked {
		return w.kept.Write(b)
	}
	for rest := b; len(rest) > 0; {
		n := len(rest)
		if w.piece > 0 {
			n = min(n, w.piece)
		}
		if _, err := w.Conn.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

func (w *clientWire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.seen.Write(b[:n])
	return n, err
}

// cork has all records go out in one write, at flush.
func (w *clientWire) cork() { w.corked = true }

func (w *clientWire) flush(t *testing.T) {
	t.Helper()
	w.corked = false
	if _, err := w.Conn.Write(w.kept.Next(w.kept.Len())); err != nil {
		t.Fatal(err)
	}
}

// tlsStage is a TLS connection of both versions with the client's wire in hand.
func tlsStage(t *testing.T, test func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			l, _ := kind{}.lot(t, park.Options{})
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			client, server := listenPair(t, park.TLSListener(ln, serverTLS()))
			client.SetDeadline(time.Now().Add(patience))
			wire := &clientWire{Conn: client}
			tc, server := shakeHands(t, wire, server, version)
			test(t, l, tc.(*tls.Conn), wire, server)
		})
	}
}

// comesBack is the next connection that the HTTP server gets.
func comesBack(t *testing.T, l *park.Lot) net.Conn {
	t.Helper()
	back := make(chan net.Conn, 1)
	go func() {
		if nc, err := l.Listener().Accept(); err == nil {
			back <- nc
		}
	}()
	nc := wait(t, back)
	t.Cleanup(func() { nc.Close() })
	return nc
}

func TestRecordsInPieces(t *testing.T) {
	tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
		wire.piece = 3
		h := newHolder()
		c := l.Park(server, nil, h)
		write(t, client, "first")
		write(t, client, "second")
		h.wantReceived(t, "firstsecond")
		c.Send([]byte("answer"))
		wantRead(t, client, "answer")

		c.Finish(nil, true)
		write(t, client, "request") // whose first piece is no request yet
		back := comesBack(t, l)
		wantRead(t, back, "request")
		write(t, back, "page")
		wantRead(t, client, "page")
	})
}

// TestManyRecordsAtOnce sends more records in one segment than the loop reads at
// a time: most of them wait inside the *tls.Conn, of which epoll knows nothing.
func TestManyRecordsAtOnce(t *testing.T) {
	tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
		h := newHolder()
		l.Park(server, nil, h)
		var want strings.Builder
		wire.cork()
		for i := range 1000 {
			fmt.Fprintf(&want, "%d,", i)
			write(t, client, fmt.Sprintf("%d,", i))
		}
		wire.flush(t)
		h.wantReceived(t, want.String())
	})
}

// TestReadAheadInsideTLS has the HTTP server read one record of two that came
// together, or a part of it: the rest must not be forgotten.
func TestReadAheadInsideTLS(t *testing.T) {
	for _, read := range []string{"first", "fi"} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s is read, deaf holder: %v", read, deaf), func(t *testing.T) {
				tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
					wire.cork()
					write(t, client, "first")
					write(t, client, "second")
					wire.flush(t)
					wantRead(t, server, read)
					rest := strings.TrimPrefix("firstsecond", read)
					if !deaf {
						h := newHolder()
						l.Park(server, nil, h)
						h.wantReceived(t, rest)
						return
					}
					l.Park(server, nil, deafHolder()).Finish([]byte("answer"), true)
					wantRead(t, client, "answer")
					back := comesBack(t, l)
					wantRead(t, back, rest)
					if state := back.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState(); !state.HandshakeComplete {
						t.Error("the server would take it for plain HTTP")
					}
				})
			})
		}
	}
}

// TestGoodbye looks for the peer's and our own close_notify, without which a
// response could be cut short unseen (RFC 8446 section 6.1).
func TestGoodbye(t *testing.T) {
	tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
		c := l.Park(server, nil, deafHolder())
		body := strings.Repeat("z", 1<<20)
		c.Finish([]byte(body), false)
		wantRead(t, client, body)
		wantEOF(t, client)
		if client.ConnectionState().Version == tls.VersionTLS13 {
			return // its alerts look like data
		}
		const header, alert = 5, 21 // RFC 5246 section 6.2.1
		last := byte(0)
		for left := wire.seen.Bytes(); len(left) >= header; {
			last = left[0]
			left = left[min(len(left), header+int(left[3])<<8+int(left[4])):]
		}
		if last != alert {
			t.Errorf("the last record is of type %d, no alert", last)
		}
	})
	t.Run("of a resting peer", func(t *testing.T) {
		tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
			c := l.Park(server, nil, deafHolder())
			c.Finish([]byte("answer"), true)
			wantRead(t, client, "answer")
			if err := client.CloseWrite(); err != nil { // the socket stays open
				t.Fatal(err)
			}
			wantEOFOrReset(t, client)
		})
	})
}

func TestGarbageAfterTheHandshake(t *testing.T) {
	for name, garbage := range map[string]string{
		"no record":       "GET / HTTP/1.1\r\n\r\n",
		"unsealed record": "\x17\x03\x03\x00\x20" + strings.Repeat("x", 32),
		"endless record":  "\x17\x03\x03\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
				h := newHolder()
				l.Park(server, nil, h)
				write(t, wire.Conn, garbage)
				h.wantClosed(t, park.ReasonGone)
				wantEOFOrReset(t, wire.Conn)
			})
		})
		t.Run(name+" while it rests", func(t *testing.T) {
			tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, wire *clientWire, server net.Conn) {
				c := l.Park(server, nil, deafHolder())
				c.Finish([]byte("answer"), true)
				wantRead(t, client, "answer")
				write(t, wire.Conn, garbage)
				wantEOFOrReset(t, wire.Conn)
			})
		})
	}
}

// TestKeyUpdate has openssl change its keys and ask for ours to be changed,
// which crypto/tls cannot do as a client.
func TestKeyUpdate(t *testing.T) {
	l, _ := kind{}.lot(t, park.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", ln.Addr().String(), "-tls1_3")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal("openssl:", err)
	}
	server, err := park.TLSListener(ln, serverTLS()).Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	h := newHolder()
	h.onBytes = func(c park.Conn, b []byte) { c.Send(fmt.Appendf(nil, "heard %s", b)) }
	c := l.Park(server, nil, h)
	said := make(chan string)
	go func() {
		defer close(said)
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := out.Read(buf)
			all = append(all, buf[:n]...)
			for i := bytes.IndexByte(all, '\n'); i >= 0; i = bytes.IndexByte(all, '\n') {
				if line := string(all[:i]); strings.HasPrefix(line, "heard ") {
					said <- line
				}
				all = all[i+1:]
			}
			if err != nil {
				return
			}
		}
	}()
	// s_client takes a line of K or k for a command, if it comes alone.
	for i, command := range []string{"", "K", "K", "k", "K"} {
		if command != "" {
			write(t, in, command+"\n")
			select { // until it is read, and nothing else with it
			case <-h.received:
				t.Fatal("openssl sent its command")
			case <-time.After(200 * time.Millisecond):
			}
		}
		text := fmt.Sprintf("text %d", i)
		write(t, in, text+"\n")
		if got := wait(t, said); got != "heard "+text {
			t.Fatalf("after %q: %q", command, got)
		}
		h.wantReceived(t, text+"\n")
	}
	c.Finish([]byte("heard enough\n"), false)
	if got := wait(t, said); got != "heard enough" {
		t.Errorf("at the end: %q", got)
	}
	in.Close()
	for range said {
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
}

// TestKeepAliveBackAndForth takes one TLS connection through the Lot and the
// HTTP server again and again.
func TestKeepAliveBackAndForth(t *testing.T) {
	tlsStage(t, func(t *testing.T, l *park.Lot, client *tls.Conn, _ *clientWire, server net.Conn) {
		for i := range 50 {
			answer := fmt.Sprintf("answer %d", i)
			c := l.Park(server, nil, deafHolder())
			c.Finish([]byte(answer), true)
			wantRead(t, client, answer)
			request := strings.Repeat("r", 1+i*1000)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(client, request)
				sent <- err
			}()
			server = comesBack(t, l)
			wantRead(t, server, request)
			if err := wait(t, sent); err != nil {
				t.Fatal(err)
			}
		}
		server.Close()
		wantEOF(t, client)
	})
}
