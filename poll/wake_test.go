package poll_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/poll"
)

func TestWake(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
		h.begin(7)
		for range 3 {
			l := h.serve(channel, time.Minute)
			answered := ask()
			l.asked(false, nothing)
			h.loops.Wake("wplc/2")
			h.loops.Wake(channel)
			l.asked(false, yes("done"))
			if a := answered(); a.body != "done" {
				t.Errorf("%+v", a)
			}
			h.loops.Wake(channel) // nobody is there
		}
	})
}

func TestLoopAsksAgain(t *testing.T) {
	for name, on := range map[string]string{"on a channel": channel, "without channels": ""} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
				l := h.serve(on, time.Minute) // and the position is unknown
				l.again = time.Millisecond
				answered := ask()
				for range 3 {
					l.asked(false, nothing)
				}
				l.asked(false, yes("at last"))
				if a := answered(); a.body != "at last" {
					t.Errorf("%+v", a)
				}
				wait(t, h.lastPass().over)
				l.wantTold(1)
			})
		})
	}
}

func TestLoopWithoutChannelsIsOnlyHeld(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
		h.begin(7)
		l := h.serve("", 300*time.Millisecond)
		answered := ask()
		l.asked(false, nothing)
		await(t, "it is held", func() bool { return h.lot.Held() == 1 })
		h.say(8, channel)
		h.loops.Wake("")
		if n := h.hub.Subscribers(); n != 0 {
			t.Errorf("%d subscribers", n)
		}
		if a := answered(); a.status != 200 || a.body != "" {
			t.Errorf("%+v", a)
		}
		wait(t, h.lastPass().over)
		l.wantTold(0)
		if n := l.looks.Load(); n != 1 {
			t.Errorf("%d looks", n)
		}
	})
}

func TestEachReachesEveryLoop(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		h.header = http.Header{"Vary": {"Origin"}}
		var browsers []*browser
		for _, on := range []string{"", channel, "", channel, "wplc/2"} {
			b := h.browser()
			h.park(b, h.serve(on, time.Minute))
			browsers = append(browsers, b)
		}
		var all []line
		count := func() bool {
			all = nil
			h.loops.Each(func(s hub.Subscriber) { all = append(all, s.(line)) })
			return len(all) == len(browsers)
		}
		await(t, "all are held", count)
		h.loops.Each(func(s hub.Subscriber) {
			if _, ok := s.(line).Pass().(*pass); !ok {
				t.Errorf("the pass is %v", s.(line).Pass())
			}
			s.(line).End(park.ReasonDrain, time.Second)
		})
		for _, b := range browsers {
			if a := b.answer(); a.body != "" || !a.closes || a.header.Get("Vary") != "Origin" {
				t.Errorf("%+v", a)
			}
			b.wantEnd()
		}
		if count(); len(all) != 0 {
			t.Errorf("%d loops are left", len(all))
		}
		h.loops.Wake(channel) // nobody
	})
}

// TestBugInALoop has each method panic, in looks more often than there are askers.
func TestBugInALoop(t *testing.T) {
	type bug struct {
		method string
		looks  int // the look after which, or in which, it shows; 0 is before the first
	}
	for name, bugs := range map[string][]bug{
		"at first sight": {{"Channels", 0}, {"Answer", 1}, {"Hold", 1}, {"Again", 1}},
		"in a look":      slices.Repeat([]bug{{"Answer", 2}, {"Again", 2}, {"Answer", 2}, {"Again", 3}}, poll.Askers/4+1),
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
				h.begin(7)
				h.header = http.Header{"Set-Cookie": {"a=1", "b=2"}}
				for i, bug := range bugs {
					l := h.serve(channel, time.Minute)
					if bug.looks == 0 {
						l.bug = bug.method
					}
					answered := ask()
					for n := range bug.looks {
						look := wait(t, l.questions)
						if n == bug.looks-1 {
							l.bug = bug.method
						}
						h.loops.Wake(channel)
						look.reply <- nothing
					}
					a := answered()
					if a.status != 200 || a.body != "" || a.closes {
						t.Errorf("%v: %+v", bug, a)
					}
					wantHeader(t, a.header, wordPress(h.header))
					wait(t, h.lastPass().over)
					l.wantTold(0)
					if n := int(l.looks.Load()); n != bug.looks {
						t.Errorf("%v: %d looks", bug, n)
					}
					if n := int(h.logged.Load()); n != i+1 {
						t.Errorf("%v: %d times in the log", bug, n)
					}
				}
			})
		})
	}
	t.Run("in Told", func(t *testing.T) {
		everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
			h.begin(7)
			for i := range 4 {
				l := h.serve(channel, time.Minute)
				answered := ask()
				if i%2 == 1 {
					l.asked(false, nothing)
					h.loops.Wake(channel)
				}
				look := wait(t, l.questions)
				l.bug = "Told"
				look.reply <- yes("told")
				if a := answered(); a.body != "told" {
					t.Errorf("%+v", a)
				}
				wait(t, h.lastPass().over)
				if n := int(h.logged.Load()); n != i+1 {
					t.Errorf("%d bugs, %d times in the log", i+1, n)
				}
			}
		})
	})
}
