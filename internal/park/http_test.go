package park_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdline/internal/park"
)

// pollServer answers every request after parking it: the holder that it made is
// sent to polls, with the Conn.
type pollServer struct {
	addr  net.Addr
	tls   bool
	polls chan poll
	fresh atomic.Int64 // connections accepted from the network
}

type poll struct {
	conn   park.Conn
	holder *holder
	path   string
	tls    bool
}

func (p poll) answer(body string, keepAlive bool) {
	p.conn.Finish(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body), keepAlive)
}

func (s *pollServer) serve(l *park.Lot, w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path // the request is gone once it is hijacked
	if path == "/plain" {
		io.WriteString(w, "plain")
		return
	}
	if path == "/body" {
		io.Copy(w, r.Body)
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	h := deafHolder()
	c := l.Park(nc, append([]byte(nil), buffered...), h)
	s.polls <- poll{c, h, path, r.TLS != nil}
}

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (c countingListener) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return nc, err
}

func startPollServer(t *testing.T, l *park.Lot, network string, useTLS bool) *pollServer {
	t.Helper()
	s := &pollServer{polls: make(chan poll, 16), tls: useTLS}
	hs := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(l, w, r) }))
	if network == "unix" {
		ln, err := net.Listen("unix", t.TempDir()+"/sock")
		if err != nil {
			t.Fatal(err)
		}
		hs.Listener.Close()
		hs.Listener = ln
	}
	hs.Listener = countingListener{hs.Listener, &s.fresh}
	s.addr = hs.Listener.Addr()
	if useTLS {
		hs.Listener = park.TLSListener(hs.Listener, serverTLS())
	}
	hs.Start()
	served := make(chan error, 1)
	go func() { served <- hs.Config.Serve(l.Listener()) }()
	t.Cleanup(func() {
		l.Listener().Close()
		if err := wait(t, served); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		hs.Close()
	})
	return s
}

func (s *pollServer) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := net.Dial(s.addr.Network(), s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	if s.tls {
		return tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	return nc
}

// servers runs a test against a real http.Server in every way to hold its
// connections.
func servers(t *testing.T, test func(t *testing.T, l *park.Lot, s *pollServer)) {
	for _, tt := range []struct {
		name, network string
		portable, tls bool
	}{
		{name: "epoll tls", network: "tcp", tls: true},
		{name: "epoll tcp", network: "tcp"},
		{name: "epoll unix", network: "unix"},
		{name: "goroutine tcp", network: "tcp", portable: true},
		{name: "goroutine tls", network: "tcp", tls: true, portable: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := kind{portable: tt.portable}.lot(t, park.Options{})
			test(t, l, startPollServer(t, l, tt.network, tt.tls))
		})
	}
}

func wantResponse(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("want the response %q: %v", want, err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
		t.Fatalf("response %q, %v; want %q", body, err, want)
	}
}

func TestKeepAlive(t *testing.T) {
	servers(t, func(t *testing.T, l *park.Lot, s *pollServer) {
		client := s.dial(t)
		r := bufio.NewReader(client)
		for round := range 5 {
			path := fmt.Sprintf("/poll/%d", round)
			write(t, client, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			p := wait(t, s.polls)
			if p.path != path || p.tls != s.tls {
				t.Fatalf("poll for %s, TLS %v", p.path, p.tls)
			}
			p.answer(path, true)
			p.holder.wantClosed(t, park.ReasonFinished)
			wantResponse(t, r, path)
			// A request that is not held comes through the same connection.
			write(t, client, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
			wantResponse(t, r, "plain")
		}
		if n := s.fresh.Load(); n != 1 {
			t.Errorf("%d connections for one client", n)
		}
	})
}

func TestKeepAliveWithPipelinedRequests(t *testing.T) {
	long := strings.Repeat("x", 20<<10) // more than any read buffer
	tests := map[string]struct {
		sends [3]string // with the first poll, while it is held, and after its answer
	}{
		"all at once":        {[3]string{"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		"while held":         {[3]string{"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		"torn in the middle": {[3]string{"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGE", "T /2 HTTP/1.1\r\nHo", "st: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		"long head":          {[3]string{"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n", "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			servers(t, func(t *testing.T, l *park.Lot, s *pollServer) {
				client := s.dial(t)
				r := bufio.NewReader(client)
				write(t, client, tt.sends[0])
				first := wait(t, s.polls)
				write(t, client, tt.sends[1])
				first.answer("one", true)
				wantResponse(t, r, "one")
				write(t, client, tt.sends[2])
				for i, body := range []string{"two", "three"} {
					p := wait(t, s.polls)
					if want := fmt.Sprintf("/%d", i+2); p.path != want {
						t.Fatalf("poll for %s, want %s", p.path, want)
					}
					p.answer(body, true)
					wantResponse(t, r, body)
				}
				if n := s.fresh.Load(); n != 1 {
					t.Errorf("%d connections for one client", n)
				}
			})
		})
	}
}

// TestKeepAliveWithALongPipeline has more requests waiting than the server's
// read buffer takes, so that bytes travel to and fro with the connection.
func TestKeepAliveWithALongPipeline(t *testing.T) {
	const requests = 40
	servers(t, func(t *testing.T, l *park.Lot, s *pollServer) {
		client := s.dial(t)
		r := bufio.NewReader(client)
		write(t, client, "GET /0 HTTP/1.1\r\nHost: x\r\n\r\n")
		p := wait(t, s.polls)
		var pipeline strings.Builder
		for i := range requests {
			fmt.Fprintf(&pipeline, "GET /%d HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", i+1, strings.Repeat("x", 200))
		}
		write(t, client, pipeline.String())
		for i := range requests {
			p.answer("answer", true)
			wantResponse(t, r, "answer")
			p = wait(t, s.polls)
			if want := fmt.Sprintf("/%d", i+1); p.path != want {
				t.Fatalf("poll for %s, want %s", p.path, want)
			}
		}
		p.answer("last", false)
		wantResponse(t, r, "last")
	})
}

func TestKeepAliveEnds(t *testing.T) {
	t.Run("peer closes", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			closes := make(chan park.Reason, 1)
			l, _ := k.lot(t, park.Options{OnClose: func(why park.Reason, _ string) { closes <- why }})
			c, client := k.park(t, l, "", deafHolder())
			c.Finish([]byte("answer"), true)
			wantRead(t, client, "answer")
			if l.Held() != 0 || l.Idle() != 1 {
				t.Errorf("held %d, idle %d; want 0, 1", l.Held(), l.Idle())
			}
			client.Close()
			// The goroutine that wrote the answer may hear of its success only
			// after the peer has left again, and then there was nothing to rest.
			why := wait(t, closes)
			if why != park.ReasonGone && (why != park.ReasonFinished || k.label == "epoll") || l.Idle() != 0 {
				t.Errorf("closed as %v, idle %d", why, l.Idle())
			}
		})
	})
	t.Run("peer stays silent", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			closes := make(chan park.Reason, 1)
			l, _ := k.lot(t, park.Options{
				KeepAliveIdle: 150 * time.Millisecond,
				OnClose:       func(why park.Reason, _ string) { closes <- why },
			})
			c, client := k.park(t, l, "", deafHolder())
			c.Finish([]byte("answer"), true)
			wantRead(t, client, "answer")
			wantEOFOrReset(t, client)
			if why := wait(t, closes); why != park.ReasonIdle {
				t.Errorf("closed as %v", why)
			}
		})
	})
	t.Run("listener closes", func(t *testing.T) {
		kinds(t, func(t *testing.T, k kind) {
			l, _ := k.lot(t, park.Options{})
			resting, restingClient := k.park(t, l, "", deafHolder())
			resting.Finish([]byte("answer"), true)
			waiting, waitingClient := k.park(t, l, "next request", deafHolder())
			waiting.Finish([]byte("answer"), true) // nobody accepts it
			stays, staysClient := k.park(t, l, "", deafHolder())
			l.Listener().Close()
			for _, client := range []net.Conn{restingClient, waitingClient} {
				wantRead(t, client, "answer")
				wantEOFOrReset(t, client)
			}
			stays.Finish([]byte("last answer"), true) // no server to go back to
			wantRead(t, staysClient, "last answer")
			wantEOF(t, staysClient)
		})
	})
}

// TestParkAfterTheEnd is for a server whose Lot has ended: the
// connection must not leak.
func TestParkAfterTheEnd(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		l, stop := k.lot(t, park.Options{})
		stop()
		h := newHolder()
		c, client := k.park(t, l, "early", h)
		h.wantClosed(t, park.ReasonDrain)
		wantEOFOrReset(t, client)
		if c.Send([]byte("x")) {
			t.Error("Send says that the connection is held")
		}
		c.Finish(nil, true)
		c.SetAlarm(time.Second)
		c.Close(park.ReasonGone)
	})
}
