package dropin_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// TestBrowserGoesAwayInMidHold has many browsers break off a held poll; a message is
// written then, and the browser polls again. PHP's loop does not notice that nobody
// listens: it marks the message as told. nginx tells Holdline that a browser has
// gone; behind Apache, whose mod_proxy does not, it is the time of the next poll
// that tells.
func TestBrowserGoesAwayInMidHold(t *testing.T) {
	t.Parallel()
	for _, f := range []front{nginx, apache} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			for _, w := range []way{php, native, relay} {
				t.Run(w.name, func(t *testing.T) {
					s := newStage(t, w, f)
					// Longer than it takes to have all of them held at once, also where
					// everything takes long. PHP works a hold off to the end.
					rounds := 200
					if w == php {
						rounds = 100
					}
					s.holdFor(rounds, 250*time.Millisecond)
					lost, browsers := goneInMidHold(s)
					t.Logf("lost %d of %d messages", lost, browsers)
					if w != php && lost > 0 {
						t.Errorf("%d of %d messages were lost", lost, browsers)
					}
				})
			}
		})
	}
}

func goneInMidHold(s *stage) (lost, browsers int) {
	desk := login(s, "admin").load("")
	visitors := make([]*visitor, 25)
	for i := range visitors {
		visitors[i] = visit(s, fmt.Sprint(1552987800000+i))
		visitors[i].start("Ann", "ann@example.com")
		desk.accept(visitors[i].chat())
	}
	for _, v := range visitors {
		v.seen.await(s.t, "state 3")
	}
	backstage.Eventually(s.t, "all are held", 2*time.Minute, func() bool { return s.heldLoops() >= len(visitors) })
	for _, v := range visitors {
		v.close()
	}
	pass(s.ctx, 300*time.Millisecond)
	var back sync.WaitGroup
	for _, v := range visitors {
		desk.writeTo(v.chat(), "Are you there?")
		back.Go(func() {
			pass(s.ctx, 700*time.Millisecond) // PHP looks twice a second or more
			v.comeBack(s)
		})
	}
	back.Wait()
	patience := time.Minute // for all of them
	if s.holdline == nil {
		patience = 4 * time.Second // what PHP has lost never comes
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for _, v := range visitors {
		if !v.seen.comes(late.C, "Are you there?", 1) {
			lost++
			late.Reset(0)
		}
	}
	return lost, len(visitors)
}
