package poll_test

import (
	"strings"
	"testing"
	"time"

	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/poll"
)

func TestLoopIsAnsweredAtOnce(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		b := h.browser()
		l := h.serve(channel, time.Minute)
		b.ask("/loop")
		l.asked(false, yes(`{"action":"x"}`))
		a := b.answer()
		wait(t, h.served)
		if a.status != 200 || a.body != `{"action":"x"}` || a.closes {
			t.Errorf("%+v", a)
		}
		wantHeader(t, a.header, wordPress(nil))
		wait(t, h.lastPass().over)
		l.wantTold(1)
		await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
		h.loops.Each(func(hub.Subscriber) { t.Error("it is still in the roll") })
	})
}

func TestLoopIsWokenByAnEvent(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		for id := int64(8); id < 20; id += 2 { // over one connection
			l := h.serve(channel, time.Minute)
			h.park(b, l)
			h.say(id, "wplc/2") // to somebody else
			h.say(id+1, channel)
			l.asked(false, yes("news"))
			a := b.answer()
			if a.status != 200 || a.body != "news" || a.closes {
				t.Errorf("%+v", a)
			}
			wantHeader(t, a.header, wordPress(nil))
			wait(t, h.lastPass().over)
			l.wantTold(1)
		}
		await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
	})
}

func TestEventsDuringALookAreOneMoreLook(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		l := h.serve(channel, time.Minute)
		h.park(b, l)
		h.say(8, channel)
		look := wait(t, l.questions)
		for id := range int64(20) {
			h.say(9+id, channel)
		}
		held := h.held() // who has heard of all of them
		look.reply <- nothing
		l.asked(false, nothing)
		// There is no third: the next one is for the next event.
		h.say(40, channel)
		h.held()
		look = wait(t, l.questions)
		held.End(park.ReasonDrain, 0)
		b.wantEmpty(true)
		look.reply <- nothing
		wait(t, h.lastPass().over)
		l.wantTold(0)
	})
}

// TestIdleHoldIsOneLook is what keeps a crowd of the idle away from the database.
func TestIdleHoldIsOneLook(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
		h.begin(7)
		for range 2 {
			l := h.serve(channel, 200*time.Millisecond)
			answered := ask()
			l.asked(false, nothing)
			h.say(8, "wplc/2") // to somebody else
			if a := answered(); a.status != 200 || a.body != "" || a.closes {
				t.Errorf("%+v", a)
			}
			wait(t, h.lastPass().over)
			l.wantTold(0)
			if n := l.looks.Load(); n != 1 {
				t.Errorf("%d looks", n)
			}
		}
	})
}

func TestHoldOfALoopEndsDuringALook(t *testing.T) {
	for name, c := range map[string]struct {
		last reply
		want string
		told int
	}{
		"with nothing":        {nothing, "", 0},
		"with something":      {yes("late"), "late", 1},
		"with an error":       {broken, "", 0},
		"with half an answer": {half, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			houses(t, func(t *testing.T, h *house) {
				h.begin(7)
				b := h.browser()
				l := h.serve(channel, time.Hour)
				l.hold = 200 * time.Millisecond
				b.ask("/loop")
				// Something comes during each look, so that one is under way at the end.
				q := wait(t, l.questions)
				for ; !q.final; q = wait(t, l.questions) {
					h.loops.Wake(channel)
					q.reply <- nothing
				}
				q.reply <- c.last
				if a := b.answer(); a.status != 200 || a.body != c.want || a.closes {
					t.Errorf("%+v", a)
				}
				wait(t, h.lastPass().over)
				l.wantTold(c.told)
			})
		})
	}
}

func TestLoopWithoutAHoldEnds(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		b := h.browser() // and the position is unknown
		l := h.serve(channel, 0)
		b.ask("/loop")
		l.asked(false, broken)
		b.wantEmpty(false)
		if n := l.looks.Load(); n != 1 {
			t.Errorf("%d looks", n)
		}
	})
}

// TestLoopOutlivesErrors has the database fail, and come back without a word.
func TestLoopOutlivesErrors(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		l := h.serve(channel, time.Minute)
		b.ask("/loop")
		l.asked(false, broken)
		h.loops.Wake(channel)
		l.asked(false, half)
		l.asked(false, broken) // a try of its own
		l.asked(false, yes("found"))
		if a := b.answer(); a.status != 200 || a.body != "found" {
			t.Errorf("%+v", a)
		}
		wait(t, h.lastPass().over)
		l.wantTold(1)
	})
}

func TestBrowserLeavesALoop(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		t.Run("while it is held", func(t *testing.T) {
			b := h.browser()
			l := h.serve(channel, time.Minute)
			h.park(b, l)
			b.conn.Close()
			wait(t, h.lastPass().over)
			l.wantTold(0)
		})
		t.Run("during a look", func(t *testing.T) {
			b := h.browser()
			l := h.serve(channel, time.Minute)
			h.park(b, l)
			h.say(8, channel)
			look := wait(t, l.questions)
			b.conn.Close()
			wait(t, h.lastPass().over)
			look.reply <- yes("for nobody")
			// The askers go on with others, and this one has not been told.
			await(t, "the look is over", func() bool { return !l.busy.Load() })
			other, m := h.browser(), h.serve(channel, time.Minute)
			h.park(other, m)
			h.say(9, channel)
			m.asked(false, yes("for you"))
			if a := other.answer(); a.body != "for you" {
				t.Errorf("%+v", a)
			}
			l.wantTold(0)
		})
		t.Run("during the first look", func(t *testing.T) {
			b := h.browser()
			l := h.serve(channel, time.Minute)
			b.ask("/loop")
			wait(t, l.questions) // ends with the request's context
			b.conn.Close()
			wait(t, h.served)
			wait(t, h.lastPass().over)
			l.wantTold(0)
		})
		await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
	})
}

// TestEndDuringALook is a message found by a look whose request is over: it must
// not count as told.
func TestEndDuringALook(t *testing.T) {
	for name, why := range map[string]park.Reason{"drain": park.ReasonDrain, "revoked": park.ReasonRevoked} {
		t.Run(name, func(t *testing.T) {
			houses(t, func(t *testing.T, h *house) {
				h.begin(7)
				b := h.browser()
				l := h.serve(channel, time.Minute)
				h.park(b, l)
				h.say(8, channel)
				look := wait(t, l.questions)
				h.held().End(why, time.Minute)
				b.wantEmpty(true)
				b.wantEnd()
				wait(t, h.lastPass().over)
				look.reply <- yes("found too late")
				await(t, "the look is over", func() bool { return !l.busy.Load() })
				l.wantTold(0)
			})
		})
	}
}

// TestEndDuringTheFirstLook ends a request that has no connection of its own yet.
func TestEndDuringTheFirstLook(t *testing.T) {
	for name, found := range map[string]reply{"nothing": nothing, "something": yes("not for you"), "an error": broken} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, h *house, ask func() func() answer) {
				h.begin(7)
				l := h.serve(channel, time.Minute)
				answered := ask()
				look := wait(t, l.questions)
				h.loops.Each(func(s hub.Subscriber) { s.(line).End(park.ReasonRevoked, 0) })
				look.reply <- found
				if a := answered(); a.status != 200 || a.body != "" || a.closes == a.http2 {
					t.Errorf("%+v", a)
				}
				wait(t, h.lastPass().over)
				l.wantTold(0)
				if n := l.looks.Load(); n != 1 {
					t.Errorf("%d looks", n)
				}
				await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
			})
		})
	}
}

func TestLotEndsWithLoops(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		l := h.serve(channel, time.Minute)
		h.park(b, l)
		h.leave()
		b.wantEnd()
		wait(t, h.lastPass().over)
		l.wantTold(0)
	})
}

func TestSlowLookDoesNotStopOthers(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		type pair struct {
			b *browser
			l *fakeLoop
		}
		hold := func(on string, n int) (pairs []pair) {
			for range n {
				p := pair{h.browser(), h.serve(on, time.Minute)}
				h.park(p.b, p.l)
				pairs = append(pairs, p)
			}
			return pairs
		}
		slow, others := hold(channel, poll.Askers-1), hold("wplc/2", 20)
		h.say(8, channel)
		var looks []question
		for _, p := range slow {
			looks = append(looks, wait(t, p.l.questions))
		}
		h.say(9, "wplc/2")
		for _, p := range others {
			go func() { (<-p.l.questions).reply <- yes("quick") }()
		}
		for _, p := range others {
			if a := p.b.answer(); a.body != "quick" {
				t.Errorf("%+v", a)
			}
		}
		for i, p := range slow {
			looks[i].reply <- yes("slow")
			if a := p.b.answer(); a.body != "slow" {
				t.Errorf("%+v", a)
			}
		}
	})
}

func TestLoopOfAnUnknownSource(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		b := h.browser()
		l := h.serve("other/1", time.Minute)
		b.ask("/loop")
		l.asked(false, nothing)
		if err := wait(t, h.served); err != nil {
			t.Error(err)
		}
		b.wantEmpty(false)
		wait(t, h.lastPass().over)
		l.wantTold(0)
	})
}

func TestLoopOfHTTP10Closes(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		l := h.serve(channel, time.Minute)
		b.send("GET /loop HTTP/1.0\r\n\r\n")
		l.asked(false, nothing)
		h.loops.Wake(channel)
		l.asked(false, yes("once"))
		if a := b.answer(); a.body != "once" || !a.closes {
			t.Errorf("%+v", a)
		}
		b.wantEnd()
	})
}

func TestLoopOverHTTP2(t *testing.T) {
	h := open(t, park.Options{}, true)
	h.begin(7)
	client := h.client()
	for name, c := range map[string]struct {
		replies []reply // to the looks until the answer
		channel string
		want    string
		told    int
	}{
		"at once":           {[]reply{yes("now")}, channel, "now", 1},
		"held":              {[]reply{nothing, yes("then")}, channel, "then", 1},
		"an unknown source": {[]reply{nothing}, "other/1", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := h.serve(c.channel, time.Minute)
			done := make(chan answer, 1)
			go func() {
				resp, err := client.Get(h.server.URL + "/loop")
				if err != nil {
					t.Error(err)
					close(done)
					return
				}
				done <- whole(t, resp)
			}()
			for _, r := range c.replies {
				l.asked(false, r)
				h.loops.Wake(c.channel)
			}
			a := wait(t, done)
			if a.status != 200 || a.body != c.want || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("%+v", a)
			}
			wait(t, h.lastPass().over)
			l.wantTold(c.told)
		})
	}
}
