package poll

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdline/internal/chat"
	"holdline/internal/park"
)

// stuckLoop is looked at for as long as the test likes, whatever its context
// says, as a query is that the driver cannot cancel.
type stuckLoop struct {
	free  chan struct{}
	looks int
	final bool // the last look was
	told  int
}

func (l *stuckLoop) Channels() []string   { return nil }
func (l *stuckLoop) Hold() time.Duration  { return 0 }
func (l *stuckLoop) Again() time.Duration { return 0 }
func (l *stuckLoop) Told()                { l.told++ }

func (l *stuckLoop) Answer(_ context.Context, final bool) (*chat.Reply, error) {
	l.looks++
	l.final = final
	<-l.free
	return &chat.Reply{Body: []byte("at last")}, nil
}

// fakeConn keeps what was said last, and its clock is the bubble's.
type fakeConn struct {
	h *held

	mu    sync.Mutex
	alarm *time.Timer
	last  string
	at    time.Time
}

func (c *fakeConn) Send([]byte) bool { return true }

func (c *fakeConn) Close(why park.Reason) { c.h.Closed(c, why) }

func (c *fakeConn) Finish(b []byte, _ bool) {
	c.last, c.at = string(b), time.Now()
	c.SetAlarm(0)
	c.h.Closed(c, park.ReasonFinished)
}

func (c *fakeConn) SetAlarm(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alarm != nil {
		c.alarm.Stop()
	}
	if d > 0 {
		c.alarm = time.AfterFunc(d, func() { c.h.Alarm(c) })
	}
}

type countingPass struct{ released int }

func (p *countingPass) Release() { p.released++ }

func (p *countingPass) Delivered(int) {}

// stuck has a loop held that was looked at without a word, and then wakes it.
func stuck(loops *Loops, free chan struct{}, until time.Time) *held {
	h := &held{loops: loops, loop: &stuckLoop{free: free}, pass: &countingPass{}, until: until, raw: true, keepAlive: true}
	h.state.Store(looking)
	h.conn = &fakeConn{h: h}
	loops.begin(h, 0)
	h.wake()
	synctest.Wait()
	return h
}

// TestStuckLooksDoNotKeepOthers has every asker hang: who waits behind them is
// sent away with nothing, not much later than PHP would have.
func TestStuckLooksDoNotKeepOthers(t *testing.T) {
	run(t, func(t *testing.T, loops *Loops) {
		const hold = 30 * time.Second
		free := make(chan struct{})
		until := time.Now().Add(hold)
		var waiting []*held
		for range askers + 3 {
			waiting = append(waiting, stuck(loops, free, until)) // the first of them keep the askers
		}
		time.Sleep(hold + answerTimeout)
		synctest.Wait()
		close(free)
		synctest.Wait()
		for i, h := range waiting {
			c, l, p := h.conn.(*fakeConn), h.loop.(*stuckLoop), h.pass.(*countingPass)
			if !strings.HasSuffix(c.last, "\r\n\r\n") || !strings.HasPrefix(c.last, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("loop %d was answered %q", i, c.last)
			}
			if late := c.at.Sub(until); late != answerTimeout {
				t.Errorf("loop %d was answered %v after its hold", i, late)
			}
			if l.told != 0 || p.released != 1 || l.looks > 1 || i >= askers && l.looks > 0 {
				t.Errorf("loop %d: told %d times, %d passes back, %d looks", i, l.told, p.released, l.looks)
			}
		}
	})
}

// TestLookThatIsDueAtTheEnd has the askers come free when the holds are over: who
// was woken in time still gets what came.
func TestLookThatIsDueAtTheEnd(t *testing.T) {
	run(t, func(t *testing.T, loops *Loops) {
		const hold = 30 * time.Second
		free := make(chan struct{})
		until := time.Now().Add(hold)
		var waiting []*held
		for range askers + 3 {
			waiting = append(waiting, stuck(loops, free, until))
		}
		time.Sleep(hold + answerTimeout/2)
		close(free)
		synctest.Wait()
		for i, h := range waiting {
			c, l, p := h.conn.(*fakeConn), h.loop.(*stuckLoop), h.pass.(*countingPass)
			if !strings.HasSuffix(c.last, "\r\n\r\nat last") || c.at.Sub(until) != answerTimeout/2 {
				t.Errorf("loop %d was answered %q, %v after its hold", i, c.last, c.at.Sub(until))
			}
			if l.told != 1 || p.released != 1 || l.looks != 1 || l.final != (i >= askers) {
				t.Errorf("loop %d: told %d times, %d passes back, %d looks, the last of them final: %v",
					i, l.told, p.released, l.looks, l.final)
			}
		}
	})
}
