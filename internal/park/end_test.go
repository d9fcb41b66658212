package park_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"holdline/internal/park"
)

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
		t.Parallel() // each takes the two seconds of lingering
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
