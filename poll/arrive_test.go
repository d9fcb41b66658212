package poll

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/hub"
	"holdline/internal/park"
)

// TestArrival counts the looks at a loop to which something happens while it comes.
func TestArrival(t *testing.T) {
	const (
		s    = time.Second
		ms   = time.Millisecond
		room = "wplc/1"
	)
	type scene struct {
		t     *testing.T
		loops *Loops
	}
	at := func(d time.Duration, do func(scene)) func(scene) {
		return func(s scene) { time.AfterFunc(d, func() { do(s) }) }
	}
	live := func(s scene) { s.loops.publish(s.t, 7, "") }
	event := func(s scene) {
		s.loops.publish(s.t, 8, room)
		synctest.Wait() // it has been handed over
	}
	wake := func(s scene) { s.loops.Wake(room) }
	both := func(s scene) { event(s); wake(s) }
	for name, c := range map[string]struct {
		first  []func(scene) // before the request
		during func(scene)   // the first look
		before func(scene)   // its connection
		want   []time.Duration
	}{
		"nothing comes":                      {first: []func(scene){live}, want: []time.Duration{0}},
		"the hub is late":                    {first: []func(scene){at(200*ms, live)}, want: []time.Duration{200 * ms}},
		"the hub is later":                   {first: []func(scene){at(5*s, live)}, want: []time.Duration{livePatience, 5 * s}},
		"the hub is never live":              {want: []time.Duration{livePatience}},
		"the hub is live during the look":    {during: live, want: []time.Duration{livePatience, livePatience}},
		"a wake while it waits for the hub":  {first: []func(scene){at(100*ms, wake), at(200*ms, live)}, want: []time.Duration{200 * ms}},
		"a wake that the first look follows": {first: []func(scene){at(100*ms, wake)}, want: []time.Duration{livePatience}},
		"an event during the look":           {first: []func(scene){live}, during: event, want: []time.Duration{0, 0}},
		"a wake during the look":             {first: []func(scene){live}, during: wake, want: []time.Duration{0, 0}},
		"an event before its connection":     {first: []func(scene){live}, before: event, want: []time.Duration{0, 0}},
		"a wake before its connection":       {first: []func(scene){live}, before: wake, want: []time.Duration{0, 0}},
		"much at a time":                     {first: []func(scene){live}, during: wake, before: both, want: []time.Duration{0, 0}},
		"an event in time and one at last": {
			first: []func(scene){live, at(20*s, event)}, before: wake, want: []time.Duration{0, 0, 20 * s},
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, loops *Loops) {
				here := scene{t, loops}
				play := func(f func(scene)) func() {
					return func() {
						if f != nil {
							f(here)
						}
					}
				}
				for _, f := range c.first {
					f(here)
				}
				synctest.Wait()
				l := &clockedLoop{channels: []string{room}, began: time.Now(), hold: 30 * s, during: []func(){play(c.during)}}
				conn := parked(t, loops, l, play(c.before))
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(c.want, l.looks); diff != "" {
					t.Error("looks:", diff)
				}
				if end := conn.at.Sub(l.began); end != l.hold || l.final != 0 {
					t.Errorf("its end at %v, asked for its last words at %v", end, l.final)
				}
				wantNobody(t, loops, conn.h)
			})
		})
	}
}

// TestLiveIsNoReasonToLookTwice has the first look begin as soon as the hub lets it.
func TestLiveIsNoReasonToLookTwice(t *testing.T) {
	for range 1500 {
		h, live := new(held), make(chan struct{})
		h.live.Store(&live)
		ready, began := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(began)
			close(ready)
			for h.live.Load() != nil { // whoever sleeps is late
			}
			h.state.Store(looking)
		}()
		<-ready
		h.Live("", nil)
		<-began
		if s := h.state.Load(); s != looking {
			t.Fatalf("state %d", s)
		}
	}
}

// wantNobody wants a loop that is over to have given everything back.
func wantNobody(t *testing.T, loops *Loops, h *held) {
	t.Helper()
	synctest.Wait()
	if p := h.pass.(*countingPass); p.released != 1 {
		t.Errorf("the pass was given back %d times", p.released)
	}
	if n, m := loops.Hub.Subscribers(), len(loops.roll.list()); n != 0 || m != 0 {
		t.Errorf("%d are subscribed, %d in the roll", n, m)
	}
	if h.live.Load() != nil {
		t.Error("it still waits for its channels")
	}
}

// TestEndBeforeTheConnection has the server leave before there is a connection
// over which to say so.
func TestEndBeforeTheConnection(t *testing.T) {
	const room = "wplc/1"
	end := func(loops *Loops) {
		loops.Each(func(s hub.Subscriber) { s.(*held).End(park.ReasonDrain, time.Second) })
	}
	for name, c := range map[string]struct {
		unheard             bool
		first, look, before func(*Loops)
	}{
		"while it waits for the hub": {unheard: true, first: func(loops *Loops) { time.AfterFunc(100*time.Millisecond, func() { end(loops) }) }},
		"during its first look":      {look: end},
		"after its first look":       {before: end},
		"again and again":            {look: end, before: end},
		"while something comes": {before: func(loops *Loops) {
			loops.Wake(room)
			end(loops)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, loops *Loops) {
				play := func(f func(*Loops)) func() {
					return func() {
						if f != nil {
							f(loops)
						}
					}
				}
				if !c.unheard {
					loops.publish(t, 7, "")
				}
				play(c.first)()
				began := time.Now()
				l := &clockedLoop{channels: []string{room}, began: began, hold: time.Minute, during: []func(){play(c.look)}}
				conn := parked(t, loops, l, play(c.before))
				synctest.Wait()
				if !strings.HasSuffix(conn.last, "\r\n\r\n") || !strings.Contains(conn.last, "\r\nConnection: close\r\n") {
					t.Errorf("it was answered %q", conn.last)
				}
				if late := conn.at.Sub(began); late > livePatience || len(l.looks) != 1 || l.told != 0 {
					t.Errorf("answered after %v, %d looks, told %d times", late, len(l.looks), l.told)
				}
				wantNobody(t, loops, conn.h)
			})
		})
	}
}

// TestAnswerAndConnectionMeet has them come at the same moment.
func TestAnswerAndConnectionMeet(t *testing.T) {
	for range 500 {
		loops := new(Loops)
		loops.init()
		h := &held{loops: loops, loop: new(clockedLoop), pass: new(countingPass), until: time.Now().Add(time.Hour), raw: true, keepAlive: true}
		h.state.Store(looking)
		loops.roll.enter(h, nil)
		conn := &fakeConn{h: h}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.End(park.ReasonDrain, 0)
		}()
		h.conn = conn
		loops.begin(h, 0)
		<-ended
		if p := h.pass.(*countingPass); p.released != 1 || !strings.Contains(conn.last, "\r\nConnection: close\r\n") {
			t.Fatalf("%d passes back, answered %q", p.released, conn.last)
		}
	}
}
