package hub

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoLeavesDuringAnOutageIsForgotten: browsers come again and again while the
// database is away, and nothing may be left of those who went.
func TestWhoLeavesDuringAnOutageIsForgotten(t *testing.T) {
	const visits = 20 * leastSweep
	t.Run("waiting for the present", func(t *testing.T) {
		inBubble(t, Options{Senders: 1}, func(t *testing.T, h *Hub, src *fakeSource) {
			for range visits { // nothing was ever read
				joinHub(t, h, nil, "a/1").sub.Close()
			}
			stays := joinHub(t, h, nil, "a/1")
			synctest.Wait()
			if n := len(h.senders[0].waiting); n > 2*leastSweep {
				t.Errorf("%d are waited for", n)
			}
			src.begin(t)
			src.say(t, "a/1", 1)
			if len(stays.told()) != 1 {
				t.Errorf("who stayed was told %v", stays.told())
			}
		})
	})
	t.Run("waiting for old rows", func(t *testing.T) {
		inBubble(t, Options{Senders: 1}, func(t *testing.T, h *Hub, src *fakeSource) {
			src.store("a/1", 3*ringEvents)
			src.begin(t)
			src.setFail(errors.New("away"))
			for i := range visits {
				joinHub(t, h, cursorAt(mark(int64(i)%ringEvents)), "a/1").sub.Close()
			}
			stays := joinHub(t, h, cursorAt(mark(1)), "a/1")
			synctest.Wait()
			h.catchUp.mu.Lock()
			subs := 0
			for _, j := range h.catchUp.order {
				subs += len(j.subs)
			}
			if jobs := len(h.catchUp.order); jobs != len(h.catchUp.jobs) || subs > 2*leastSweep {
				t.Errorf("%d questions (%d by key) of %d", jobs, len(h.catchUp.jobs), subs)
			}
			h.catchUp.mu.Unlock()
			src.setFail(nil)
			time.Sleep(mostRetry) // of the bubble
			synctest.Wait()
			if n := len(stays.told()); n != 3*ringEvents-1 {
				t.Errorf("who stayed was told %d rows", n)
			}
		})
	})
}
