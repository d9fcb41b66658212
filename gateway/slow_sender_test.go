package gateway

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdline/config"
)

// pipeListener accepts one end of a pipe, in whose bubble time is fake.
type pipeListener struct{ conns chan net.Conn }

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestSlowSenderIsCutOff sends a byte a second and expects to be cut off in the
// time that the gateway grants, whatever it was that came so slowly.
func TestSlowSenderIsCutOff(t *testing.T) {
	head := "POST /holdline/v1/wake HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
	for name, c := range map[string]struct {
		first, answer string
		limit         time.Duration
	}{
		"head":             {"GET /holdline/v1/sse?channels=wplc/1 HTTP/1.1\r\nX: ", "", headerTimeout},
		"body":             {head, "HTTP/1.1 408 ", bodyTimeout},
		"body of a poll":   {strings.Replace(head, "wake", "poll", 1), "HTTP/1.1 408 ", bodyTimeout},
		"nothing but line": {"GET", "", headerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, err := config.Load(nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				g, err := New(Options{Config: cfg})
				if err != nil {
					t.Fatal(err)
				}
				server, l := g.server(), &pipeListener{make(chan net.Conn, 1)}
				go server.Serve(l)
				ours, theirs := net.Pipe()
				l.conns <- theirs
				began := time.Now()
				var sender sync.WaitGroup
				sender.Go(func() {
					if _, err := io.WriteString(ours, c.first); err != nil {
						return
					}
					for {
						time.Sleep(time.Second)
						if _, err := ours.Write([]byte("x")); err != nil {
							return
						}
					}
				})
				b, err := io.ReadAll(ours)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < c.limit || took > c.limit+time.Second {
					t.Errorf("cut off after %v, want %v", took, c.limit)
				}
				if !bytes.HasPrefix(b, []byte(c.answer)) {
					t.Errorf("answer: %s", b)
				}
				ours.Close()
				close(l.conns)
				server.Close()
				sender.Wait()
			})
		})
	}
}
