package wplc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/internal/chat"
)

// Behind Apache nobody knows whether an answer arrived but by the time of the page's
// next poll.
func TestAnswersInDoubt(t *testing.T) {
	for _, tc := range []struct {
		after time.Duration
		again string // pages that are told again
	}{
		{0, "visitor of 8.x"},
		{300 * time.Millisecond, "visitor of 8.x"},
		{soonest - time.Millisecond, "visitor of 8.x"},
		{1500 * time.Millisecond, ""},
		{latest, ""},
		{4 * time.Second, "visitor of 8.x"},
		{time.Minute, "visitor of 8.x"},
	} {
		for _, p := range pages {
			t.Run(fmt.Sprint(p.name, " after ", tc.after), func(t *testing.T) {
				talks(t, p.version, func(t *testing.T, start func(Keep) *desk) {
					d := start(nil)
					defer d.close()
					id := d.tell(p.cid, p.agent, "one")
					loop := d.page(p.cid, p.agent, true)
					if got := look(t, loop, false); !strings.Contains(got, "one") {
						t.Fatalf("got %s", got)
					}
					loop.Told()
					doubtful := p.name == "visitor of 8.x" // whose page leaves out what it has
					if (len(d.wrote.marks()) == 0) != doubtful {
						t.Errorf("at once flags of %v", d.wrote.marks())
					}
					time.Sleep(tc.after)
					got := look(t, d.page(p.cid, p.agent, true), false)
					again := strings.Contains(tc.again, p.name)
					if again != strings.Contains(got, "one") {
						t.Errorf("told again: %v, want %v", !again, again)
					}
					if flags := slices.Contains(d.wrote.marks(), id); flags != (!again || tc.after > doubtLife+doubtLook) {
						t.Errorf("flag: %v", flags)
					}
				})
			})
		}
	}
}

// The flags of what is in doubt do not wait for a page in a hidden tab, which polls a
// minute later. Nor do they when Holdline stops.
func TestDoubtsEnd(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		for _, stops := range []bool{false, true} {
			d := start(nil)
			id := d.tell(41, false, "one")
			loop := d.page(41, false, true)
			look(t, loop, false)
			loop.Told()
			if len(d.wrote.marks()) > 0 {
				t.Error("no doubt at all")
			}
			if stops {
				d.close()
			} else {
				time.Sleep(doubtLife + doubtLook)
				defer d.close()
			}
			if !slices.Contains(d.wrote.marks(), id) || stops && d.doubts.len() != 0 {
				t.Errorf("stops %v: flags of %v, %d doubts", stops, d.wrote.marks(), d.doubts.len())
			}
		}
	})
}

// A visitor's page may come back at any time and is told again, but only for as long
// as clients are remembered; the flags are written once.
func TestPatientDoubts(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		d := start(nil)
		defer d.close()
		id := d.tell(41, false, "one")
		loop := d.page(41, false, true)
		look(t, loop, false)
		loop.Told()
		time.Sleep(clientLife - time.Minute)
		if !slices.Equal(d.wrote.marks(), []int64{id}) || d.doubts.len() != 1 {
			t.Errorf("flags of %v, %d doubts", d.wrote.marks(), d.doubts.len())
		}
		time.Sleep(2 * time.Minute)
		if d.doubts.len() != 0 {
			t.Error("there is no end to a doubt")
		}
	})
}

// Pages whose pauses are others are told again a few times and no more.
func TestDoubtsAreFew(t *testing.T) {
	for _, p := range pages[:1] {
		talks(t, p.version, func(t *testing.T, start func(Keep) *desk) {
			d := start(nil)
			defer d.close()
			d.tell(p.cid, p.agent, "one")
			told := 0
			for range 10 {
				loop := d.page(p.cid, p.agent, true)
				if look(t, loop, false) == "" {
					break
				}
				told++
				loop.Told()
				time.Sleep(150 * time.Millisecond)
			}
			if want := 1 + maxRepeats; told != want || len(d.wrote.marks()) == 0 {
				t.Errorf("%s: told %d times, want %d", p.name, told, want)
			}
		})
	}
}

// A request that was held beside says nothing about the answer to the other one; it
// has the message as well.
func TestDoubtsOfTwoRequests(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		d := start(n)
		defer d.close()
		dead, live := d.page(41, false, true), d.page(41, false, true)
		look(t, dead, false)
		look(t, live, false)
		d.tell(41, false, "one")
		for _, loop := range []*NativeLoop{dead, live} {
			if !strings.Contains(look(t, loop, false), "one") {
				t.Error("lost")
			}
			loop.Told()
		}
		time.Sleep(1500 * time.Millisecond)
		if got := look(t, d.page(41, false, true), false); got != "" || len(d.wrote.marks()) == 0 {
			t.Errorf("told again: %s", got)
		}
	})
}

// Should Holdline be killed while an answer is in doubt, it counts as received, but
// not once it is known that it was not.
func TestDoubtsAndAKill(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		d := start(n)
		defer d.close()
		d.tell(41, false, "one")
		loop := d.page(41, false, true)
		look(t, loop, false)
		loop.Told()
		next := start(n)
		defer next.close()
		if got := look(t, next.page(41, false, true), false); got != "" {
			t.Errorf("told again: %s", got)
		}
		time.Sleep(300 * time.Millisecond)
		look(t, d.page(41, false, true), false) // it has left again before Told
		last := start(n)
		defer last.close()
		if got := look(t, last.page(41, false, true), false); !strings.Contains(got, "one") {
			t.Errorf("lost: %s", got)
		}
	})
}

// 25 browsers leave in mid-hold and Apache does not tell: the message goes into the
// proxy, and the browser is back soon.
func TestRelayInDoubt(t *testing.T) {
	for _, tc := range []struct {
		after   time.Duration
		visitor bool // is told again
	}{{700 * time.Millisecond, true}, {1500 * time.Millisecond, false}, {5 * time.Second, true}, {time.Minute, true}} {
		for _, kind := range []string{"visitor", "agent"} {
			t.Run(fmt.Sprint(kind, " after ", tc.after), func(t *testing.T) {
				relay(t, false, func(t *testing.T, d relayed) {
					n := newNotes()
					d.kept.set(n)
					form, from := visitorForm(1, "3", "S"), fromAgent
					if kind == "agent" {
						form, from = agentForm(1, "3"), fromVisitor
					}
					poll := func() *RelayLoop {
						l := d.recognise(form)
						l.Careful = true
						return d.Relay(l, "c", Visit{}, d.php.forward(form))
					}
					d.say(1, from, "hello")
					if got, _ := d.serve(context.Background(), poll()); len(messages(fields(t, got))) != 1 {
						t.Fatalf("got %v", got)
					}
					if len(n.keys(keptSlot)) != 0 {
						t.Error("kept while it counts as told")
					}
					time.Sleep(tc.after)
					again := tc.visitor && kind == "visitor"
					loop := poll()
					got := look(t, loop, false)
					if again != strings.Contains(got, "hello") {
						t.Errorf("got %q", got)
					}
					if len(n.keys(keptSlot)) == 1 != again {
						t.Errorf("kept: %v", n.keys(keptSlot))
					}
					loop.Told()
					time.Sleep(1500 * time.Millisecond)
					if got := look(t, poll(), false); got != "" {
						t.Errorf("at last: %s", got)
					}
				})
			})
		}
	}
}

// A browser can ask again before the Desk has heard that its answer is on its way.
func TestPollBetweenAnswerAndTold(t *testing.T) {
	for _, p := range pages {
		talks(t, p.version, func(t *testing.T, start func(Keep) *desk) {
			d := start(nil)
			defer d.close()
			d.tell(p.cid, p.agent, "one")
			loop := d.page(p.cid, p.agent, false)
			look(t, loop, false)
			second := make(chan string)
			go func() {
				ctx, leave := context.WithTimeout(context.Background(), time.Second)
				defer leave()
				reply, _ := d.serve(ctx, d.page(p.cid, p.agent, false))
				if reply == nil {
					reply = &chat.Reply{}
				}
				second <- string(reply.Body)
			}()
			time.Sleep(tellingTime / 2)
			loop.Told()
			if got := <-second; got != "" {
				t.Errorf("%s: told twice: %s", p.name, got)
			}
			// And one whose line is lost is not kept from its messages.
			d.tell(p.cid, p.agent, "two")
			look(t, d.page(p.cid, p.agent, false), false)
			began := time.Now()
			reply, _ := d.serve(context.Background(), d.page(p.cid, p.agent, false))
			if reply == nil || !strings.Contains(string(reply.Body), "two") || time.Since(began) > time.Second {
				t.Errorf("%s: after %v %v", p.name, time.Since(began), reply)
			}
		})
	}
}

// The same for what PHP has answered.
func TestRelayPollBetweenAnswerAndTold(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		d.say(1, fromAgent, "hello")
		form := visitorForm(1, "3", "S")
		loop := d.poll(form, "v1")
		look(t, loop, false)
		time.Sleep(time.Second)
		if got := look(t, loop, false); !strings.Contains(got, "hello") {
			t.Fatalf("got %s", got)
		}
		second := d.poll(form, "v1")
		if got := look(t, second, false); got != "" || second.Again() != tellingTime || second.Hold() == 0 {
			t.Errorf("got %s, again %v, hold %v", got, second.Again(), second.Hold())
		}
		loop.Told()
		if got := look(t, second, false); got != "" {
			t.Errorf("told twice: %s", got)
		}
	})
}
