package park

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// alarmed is a Holder that notes when its alarm rings.
type alarmed struct {
	mu     sync.Mutex
	rings  []time.Time
	closed []Reason
}

func (a *alarmed) Received(Conn, []byte) {}

func (a *alarmed) Alarm(Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rings = append(a.rings, time.Now())
}

func (a *alarmed) Closed(_ Conn, why Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = append(a.closed, why)
}

func (a *alarmed) count() (rings, closed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.rings), len(a.closed)
}

// inBubble runs a Lot on a fake clock. Only connections without a descriptor
// can be held there.
func inBubble(t *testing.T, opts Options, test func(t *testing.T, l *Lot)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Portable = true
		l := New(opts)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		test(t, l)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func parkPipe(t *testing.T, l *Lot, h Holder) (Conn, net.Conn) {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	return l.Park(server, nil, h), client
}

func TestAlarmRingsOnTimeAndNeverEarly(t *testing.T) {
	waits := []time.Duration{
		1, time.Millisecond, 99 * time.Millisecond, slotWidth, slotWidth + 1, time.Second, 15 * time.Second,
		slotCount*slotWidth - 1, slotCount * slotWidth, slotCount*slotWidth + 1, 5 * time.Minute, 3 * time.Hour, 26 * time.Hour,
	}
	for range 200 {
		waits = append(waits, time.Duration(rand.Int64N(int64(10*time.Minute)))+1)
	}
	inBubble(t, Options{}, func(t *testing.T, l *Lot) {
		time.Sleep(12_345_678 * time.Nanosecond) // not on a slot's edge
		set := time.Now()
		holders := make([]alarmed, len(waits))
		for i, d := range waits {
			c, _ := parkPipe(t, l, &holders[i])
			c.SetAlarm(d)
		}
		time.Sleep(27 * time.Hour)
		synctest.Wait()
		for i, d := range waits {
			if len(holders[i].rings) != 1 {
				t.Errorf("alarm after %v rang %d times", d, len(holders[i].rings))
				continue
			}
			if late := holders[i].rings[0].Sub(set) - d; late < 0 || late > slotWidth {
				t.Errorf("alarm after %v rang %v late", d, late)
			}
		}
	})
}

func TestAlarmIsReplacedAndCancelled(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, l *Lot) {
		var later, sooner, never, ended alarmed
		c1, _ := parkPipe(t, l, &later)
		c1.SetAlarm(time.Second)
		c1.SetAlarm(10 * time.Second)
		c2, _ := parkPipe(t, l, &sooner)
		c2.SetAlarm(10 * time.Second)
		c2.SetAlarm(time.Second)
		c3, _ := parkPipe(t, l, &never)
		c3.SetAlarm(time.Second)
		c3.SetAlarm(0)
		c4, _ := parkPipe(t, l, &ended)
		c4.SetAlarm(time.Second)
		c4.Close(ReasonRevoked)
		c4.SetAlarm(time.Second) // a no-op

		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, tt := range []struct {
			name string
			h    *alarmed
			want int
		}{{"later", &later, 0}, {"sooner", &sooner, 1}, {"never", &never, 0}, {"ended", &ended, 0}} {
			if rings, _ := tt.h.count(); rings != tt.want {
				t.Errorf("%s: rang %d times after 2 s, want %d", tt.name, rings, tt.want)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if rings, _ := later.count(); rings != 1 {
			t.Errorf("the replaced alarm rang %d times, want once", rings)
		}
	})
}

// TestReplacedAtTheLastMoment covers an alarm that is due already, but whose
// call has not begun.
func TestReplacedAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		var replaced, cancelled, kept timer
		for _, tm := range []*timer{&replaced, &cancelled, &kept} {
			w.set(tm, time.Second)
		}
		time.Sleep(2 * time.Second)
		w.advance()
		w.set(&replaced, time.Second)
		w.set(&cancelled, 0)
		if w.claim(&replaced) || w.claim(&cancelled) {
			t.Error("an alarm that was replaced still rings")
		}
		if w.first() != &kept || !w.claim(&kept) || w.claim(&kept) {
			t.Error("the alarm that was kept does not ring exactly once")
		}
		if w.first() != nil {
			t.Error("something else rings")
		}
		time.Sleep(2 * time.Second)
		w.advance()
		if w.first() != &replaced {
			t.Error("the new alarm does not ring")
		}
	})
}

func TestWheelAfterALongPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		timers := make([]timer, 3*slotCount)
		for i := range timers {
			w.set(&timers[i], time.Duration(i+1)*slotWidth)
		}
		time.Sleep(10 * slotCount * slotWidth) // the machine was suspended
		w.advance()
		for i := range timers {
			if !w.claim(&timers[i]) {
				t.Fatalf("timer %d was missed", i)
			}
		}
		var next timer
		w.set(&next, slotWidth)
		time.Sleep(slotWidth)
		w.advance()
		if !w.claim(&next) {
			t.Error("the wheel has stopped")
		}
	})
}

func TestAlarmMaySetTheNextOne(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, l *Lot) {
		h := &heartbeat{every: 15 * time.Second}
		parkPipe(t, l, h)
		client, server := net.Pipe()
		defer client.Close()
		c := l.Park(server, nil, h)
		c.SetAlarm(h.every)
		time.Sleep(time.Hour)
		synctest.Wait()
		// Each beat may be up to a slot late.
		if rings, _ := h.count(); rings < 238 || rings > 240 {
			t.Errorf("%d heartbeats in an hour, want about 240", rings)
		}
	})
}

type heartbeat struct {
	alarmed
	every time.Duration
}

func (h *heartbeat) Alarm(c Conn) {
	h.alarmed.Alarm(c)
	c.SetAlarm(h.every)
}

// TestStalledAge has the oldest byte wait too long while younger ones come and
// older ones go, on a clock that can be checked.
func TestStalledAge(t *testing.T) {
	inBubble(t, Options{StallTimeout: 10 * time.Second}, func(t *testing.T, l *Lot) {
		h := new(alarmed)
		c, client := parkPipe(t, l, h)
		one := make([]byte, 100)
		c.Send(one)
		time.Sleep(8 * time.Second)
		c.Send(one)
		if n, err := client.Read(make([]byte, 100)); n != 100 || err != nil {
			t.Fatal(n, err)
		}
		synctest.Wait()
		if q := c.(*conn).Queued(); q != 100 {
			t.Errorf("%d bytes queued, want the second 100", q)
		}
		time.Sleep(9 * time.Second) // 17 s after the first, 9 s after the second
		synctest.Wait()
		if _, closed := h.count(); closed != 0 {
			t.Fatal("closed although its oldest byte is 9 s old")
		}
		time.Sleep(1300 * time.Millisecond)
		synctest.Wait()
		if _, closed := h.count(); closed != 1 || h.closed[0] != ReasonSlow {
			t.Fatalf("closed as %v, want slow", h.closed)
		}
	})
}

func TestIdleOnTheClock(t *testing.T) {
	closes := make(chan Reason, 1)
	opts := Options{KeepAliveIdle: time.Minute, OnClose: func(why Reason, _ string) { closes <- why }}
	inBubble(t, opts, func(t *testing.T, l *Lot) {
		c, client := parkPipe(t, l, new(alarmed))
		go client.Read(make([]byte, 16))
		c.Finish([]byte("answer"), true)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if l.Idle() != 1 || len(closes) != 0 {
			t.Fatal("closed too early")
		}
		time.Sleep(2 * slotWidth)
		synctest.Wait()
		if l.Idle() != 0 || len(closes) != 1 || <-closes != ReasonIdle {
			t.Fatal("not closed after a minute of silence")
		}
	})
}

// TestReadAheadIsBounded has the peer of a Holder that does not read send and
// send: the goroutine that watches for its end must not take all of it in.
func TestReadAheadIsBounded(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, l *Lot) {
		c, client := parkPipe(t, l, new(quiet))
		written := make(chan int, 1)
		go func() {
			n := 0
			for err := error(nil); err == nil; {
				client.SetWriteDeadline(time.Now().Add(time.Second))
				var m int
				m, err = client.Write(make([]byte, 1000))
				n += m
			}
			written <- n
		}()
		if n := <-written; n > 2*portableBuffer {
			t.Errorf("%d bytes taken in", n)
		}
		c.Close(ReasonRevoked)
	})
}

type quiet struct{ alarmed }

func (*quiet) WantsBytes() bool { return false }

func TestQueueKeepsOrderAndSize(t *testing.T) {
	var q queue
	next, expect := byte(0), byte(0)
	for range 10_000 {
		for range rand.IntN(4) {
			q.push([]byte{next, next + 1, next + 2}, 0)
			next += 3
		}
		n := rand.IntN(q.bytes + 1)
		for left := n; left > 0; {
			for _, b := range q.buffers(make([][]byte, 0, 4)) {
				take := min(left, len(b))
				for _, got := range b[:take] {
					if got != expect {
						t.Fatalf("byte %d came, want %d", got, expect)
					}
					expect++
				}
				q.advance(take)
				left -= take
				if take < len(b) || left == 0 {
					break
				}
			}
		}
		if want := int(next - expect); q.bytes%256 != want {
			t.Fatalf("%d bytes counted, want %d", q.bytes, want)
		}
	}
}
