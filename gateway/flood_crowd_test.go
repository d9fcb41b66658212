package gateway

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdline/config"
)

// queue is a listener whose connections wait already.
type queue chan net.Conn

func (q queue) Accept() (net.Conn, error) { return <-q, nil }
func (q queue) Close() error              { return nil }
func (q queue) Addr() net.Addr            { return lotOfNobody{} }

type lotOfNobody struct{}

func (lotOfNobody) Network() string { return "test" }
func (lotOfNobody) String() string  { return "test" }

// A crowd waits while others are answered; who comes to a gate that stays full is
// turned away at once.
func TestGateTellsACrowdFromAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Int32
		g := newGate(openLimitsOf(config.Limits{Open: 1, OpenPerAddr: 9, Connections: 9}, 0), func(string) bool { return true }, func(what string) {
			if what != tooManyOpen {
				t.Error("turned away for", what)
			}
			away.Add(1)
		}, func() int { return 0 })
		const crowd, flood = 5, 3
		q := make(queue, crowd+flood)
		var ends []net.Conn
		for range cap(q) {
			ours, theirs := net.Pipe()
			ends = append(ends, theirs)
			q <- ours
		}
		let := make(chan net.Conn)
		over := make(chan struct{})
		go func() {
			defer close(over)
			l := g.listener(q)
			for range crowd + 1 {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
				}
				let <- c
			}
		}()
		var last net.Conn
		for i := range crowd {
			last = <-let
			time.Sleep(fullPatience - time.Millisecond) // as long as each is answered
			synctest.Wait()
			if away.Load() > 0 {
				t.Fatalf("%d are turned away behind the %d. of a crowd", away.Load(), i+1)
			}
			if i < crowd-1 {
				g.state(last, http.StateClosed)
			}
		}
		began := time.Now()
		for away.Load() < flood {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(began); took > fullPatience {
			t.Errorf("a flood of %d is let go after %v", flood, took)
		}
		g.state(last, http.StateClosed)
		ours, theirs := net.Pipe()
		ends = append(ends, theirs)
		q <- ours
		<-let
		<-over
		for _, c := range ends {
			c.Close()
		}
	})
}
