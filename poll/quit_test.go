package poll_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestQuit has another process go on: nobody is told anything any more.
func TestQuit(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		held, looking, arriving := h.browser(), h.browser(), h.browser()
		loops := []*fakeLoop{h.serve(channel, time.Minute)}
		h.park(held, loops[0])
		loops = append(loops, h.serve("wplc/2", time.Minute))
		h.park(looking, loops[1])
		h.say(8, "wplc/2")
		look := wait(t, loops[1].questions)
		loops = append(loops, h.serve("", time.Minute))
		arriving.ask("/loop")
		first := wait(t, loops[2].questions)

		if err := h.loops.Quit(t.Context()); err != nil {
			t.Fatal(err)
		}
		look.reply <- yes("news") // too late
		first.reply <- yes("news")
		for _, b := range []*browser{held, looking, arriving} {
			b.wantEmpty(true)
		}
		late := h.browser()
		l := h.serve(channel, time.Minute)
		late.ask("/loop")
		late.wantEmpty(false)
		for _, l := range append(loops, l) {
			l.wantTold(0)
		}
		if l.looks.Load() > 0 {
			t.Error("who comes later is looked at")
		}

		h.loops.Resume()
		again := h.browser()
		l = h.serve(channel, time.Minute)
		again.ask("/loop")
		l.asked(false, yes("news"))
		if a := again.answer(); a.body != "news" {
			t.Errorf("%+v", a)
		}
	})
}

// TestQuitWaitsForWhoIsBeingTold has an answer on its way when the order comes.
func TestQuitWaitsForWhoIsBeingTold(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		l := h.serve(channel, time.Minute)
		l.told = make(chan struct{}) // Told does not return
		h.park(b, l)
		h.say(8, channel)
		l.asked(false, yes("news"))
		if a := b.answer(); a.body != "news" {
			t.Fatalf("%+v", a)
		}
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := h.loops.Quit(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody is waited for: %v", err)
		}
		wait(t, l.told)
		if err := h.loops.Quit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
