package park_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"holdline/internal/park"
)

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
			drained := park.Drained(c)
			if drained() {
				t.Error("drained before the peer has read")
			}
			wantRead(t, client, string(want)) // 12.5 MB: no socket buffer takes that
			if k.label == "epoll" && !drained() {
				t.Error("not drained after the peer has read")
			}
		}
		c.Close(park.ReasonRevoked)
		h.wantClosed(t, park.ReasonRevoked)
		wantEOFOrReset(t, client)
		if c.Send([]byte("x")) {
			t.Error("Send on a closed connection says that it is held")
		}
	})
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

func TestPeerLeaves(t *testing.T) {
	leave := map[string]func(t *testing.T, nc net.Conn){
		"closes": func(t *testing.T, nc net.Conn) { nc.Close() },
		"half-closes": func(t *testing.T, nc net.Conn) {
			if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if tc, ok := nc.(*tls.Conn); ok { // whose goodbye alone would not be read by a deaf holder
				tc.NetConn().(*net.TCPConn).CloseWrite()
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
