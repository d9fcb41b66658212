package hub

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func upTo(first, last int64) (ids []int64) {
	for id := first; id <= last; id++ {
		ids = append(ids, id)
	}
	return ids
}

func TestCatchUpFromRingAndDatabase(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int // rows stored before the hub began
		since  int // rows published since
		from   int64
		asked  bool
	}{
		{"at the present", 10, 10, 20, false},
		{"from the ring", 10, 10, 12, false},
		{"from the ring's floor", 10, 10, 10, false},
		{"one before the floor", 10, 10, 9, true},
		{"from the beginning", 10, 10, 0, true},
		{"the ring has overflown", 10, ringEvents + 100, 0, true},
		{"further than the ring is long", 2*ringEvents + 7, 3, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
				src.store("a/1", tt.before)
				src.begin(t)
				for left := tt.since; left > 0; left -= 500 {
					src.say(t, "a/1", min(left, 500))
				}
				c := joinHub(t, h, cursorAt(mark(tt.from)), "a/1")
				src.say(t, "a/1", 1)
				if diff := cmp.Diff(upTo(tt.from+1, src.last), c.told()); diff != "" {
					t.Fatal(diff)
				}
				if _, asked := src.count(); (asked > 0) != tt.asked {
					t.Errorf("the database was asked %d times", asked)
				}
				if len(c.lives) != 1 {
					t.Errorf("went live %d times", len(c.lives))
				}
			})
		})
	}
}

// After a restart a crowd comes back with cursors close to each other: the first
// question fills the ring, and nobody else asks.
func TestCrowdSharesOneQuestion(t *testing.T) {
	inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", 1000)
		src.begin(t)
		var crowd []*client
		for i := range 50 {
			crowd = append(crowd, joinHub(t, h, cursorAt(mark(int64(900+i))), "a/1"))
		}
		for i, c := range crowd {
			if diff := cmp.Diff(upTo(int64(901+i), 1000), c.told()); diff != "" {
				t.Error(diff)
			}
		}
		if _, asked := src.count(); asked != 1 {
			t.Errorf("the database was asked %d times", asked)
		}
	})
}

func TestSlicesWaitForTheClient(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		for range 4 {
			src.say(t, "a/1", sliceEvents)
		}
		var drained atomic.Bool
		c := &client{}
		want := Subscription{Channels: []string{"a/1"}, From: cursorAt(mark(0)), Drained: drained.Load}
		if err := h.Subscribe(c, want, func(s *Sub) { c.sub = s }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(c.told()); n != sliceEvents {
			t.Fatalf("a client that takes nothing was given %d rows", n)
		}
		if _, live := c.sub.Cursor(); live {
			t.Fatal("live with rows missing")
		}
		drained.Store(true)
		time.Sleep(2 * drainPoll)
		synctest.Wait()
		if diff := cmp.Diff(upTo(1, src.last), c.told()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestFailingDatabaseIsAskedOncePerBackoff(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", 3)
		src.begin(t)
		src.setFail(errors.New("gone away"))
		var crowd []*client
		for range 100 {
			crowd = append(crowd, joinHub(t, h, cursorAt(mark(0)), "a/1"))
		}
		if _, asked := src.count(); asked != 1 {
			t.Errorf("100 clients asked a failing database %d times", asked)
		}
		time.Sleep(time.Minute)
		if _, asked := src.count(); asked > 60 {
			t.Errorf("a failing database was asked %d times in a minute", asked)
		}
		src.say(t, "a/1", 1) // the present goes on
		src.setFail(nil)
		time.Sleep(20 * time.Second)
		for _, c := range crowd {
			if diff := cmp.Diff(upTo(1, 4), c.told()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestCursorAheadOfUs(t *testing.T) {
	t.Run("another node has read further", func(t *testing.T) {
		inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
			src.begin(t)
			src.say(t, "a/1", 5)
			more := src.store("a/1", 3)
			c := joinHub(t, h, cursorAt(mark(7)), "a/1")
			src.publish(t, chat.Batch{Mark: mark(5)}) // nothing new, but begun before the client came
			if len(c.lives) != 0 || c.resets != 0 {
				t.Fatal("judged by an old read")
			}
			src.publish(t, chat.Batch{Events: more, Fresh: 1})
			if diff := cmp.Diff([]int64{8}, c.told()); diff != "" || c.resets != 0 {
				t.Fatal(diff, c.resets)
			}
		})
	})
	t.Run("of a table that is no more", func(t *testing.T) {
		inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
			src.begin(t)
			src.say(t, "a/1", 5)
			c := joinHub(t, h, cursorAt(mark(7)), "a/1", "a/2")
			src.publish(t, chat.Batch{Fresh: 1})
			if c.resets != 2 || c.cursor != "5" {
				t.Fatalf("%d resets, cursor %s", c.resets, c.cursor)
			}
			src.say(t, "a/1", 1)
			if diff := cmp.Diff([]int64{6}, c.told()); diff != "" {
				t.Fatal(diff)
			}
		})
	})
	t.Run("a poll is told once", func(t *testing.T) {
		inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
			src.begin(t)
			c := poll(t, h, "7", "a/1", "a/2")
			src.publish(t, chat.Batch{Fresh: 1})
			if c.resets != 1 || c.calls != 1 || c.cursor != "0" {
				t.Fatalf("%d resets in %d calls, cursor %s", c.resets, c.calls, c.cursor)
			}
		})
	})
}

func TestReset(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", 9000)
		src.begin(t)
		src.setFail(errors.New("gone away"))
		live := joinHub(t, h, nil, "a/1")
		late := joinHub(t, h, cursorAt(mark(3)), "a/1") // waits for old rows
		held := poll(t, h, "9000", "a/1", "a/2")
		src.last, src.rows = 0, nil
		src.publish(t, chat.Batch{Reset: true})
		src.setFail(nil)
		src.say(t, "a/1", 2)
		time.Sleep(time.Minute)
		for name, c := range map[string]*client{"live": live, "late": late} {
			if diff := cmp.Diff([]int64{1, 2}, c.told()); diff != "" || c.resets != 1 {
				t.Errorf("%s: %d resets, rows %s", name, c.resets, diff)
			}
		}
		if held.resets != 1 || held.calls != 1 || held.cursor != "0" {
			t.Errorf("a poll was told %d resets in %d calls, cursor %s", held.resets, held.calls, held.cursor)
		}
	})
}

// A source falls asleep in the moment in which somebody comes: it later goes on
// from wherever the table then ends, and the client must not lose what is between.
func TestPauseRace(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		src.say(t, "a/1", 3)
		c := joinHub(t, h, cursorAt(mark(1)), "a/1")
		if err := h.Pause(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tickets, _ := src.count(); tickets == 0 {
			t.Fatal("the bell was not rung")
		}
		if _, ok := c.sub.Cursor(); ok {
			t.Fatal("live without a position")
		}
		src.store("a/1", 4) // nobody reads these live
		src.begin(t)
		src.say(t, "a/1", 1)
		if diff := cmp.Diff(upTo(2, 8), c.told()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]string{"3", "7"}, c.lives); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Each source has tickets of its own: that of one must not pass for the other's.
func TestEverySourceIsWoken(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, a *fakeSource) {
		b := &fakeSource{name: "b", hub: h}
		h.Add(b)
		c := joinHub(t, h, nil, "a/1", "b/1")
		a.begin(t)
		if tickets, _ := b.count(); tickets != 1 {
			t.Fatalf("the second source was woken %d times", tickets)
		}
		b.begin(t)
		if len(c.lives) != 1 {
			t.Fatal("not live")
		}
	})
}

// A client of two sources that is behind in one must not be given a cursor that
// speaks of the other's present.
func TestCursorsOfTwoSources(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, a *fakeSource) {
		b := &fakeSource{name: "b", hub: h}
		h.Add(b)
		a.begin(t)
		b.begin(t)
		a.say(t, "a/1", 3)
		b.say(t, "b/1", 3)
		var cursors []string
		c := &client{onDeliver: func(c *client) { cursors = append(cursors, c.cursor) }}
		from := chat.At(mark(1)).With("b", mark(1))
		if err := h.Subscribe(c, Subscription{Channels: []string{"a/1", "b/1"}, From: &from}, func(s *Sub) { c.sub = s }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"3,b=1", "3,b=3"}, cursors); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]int64{2, 3, 2, 3}, c.told()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Another node has told the client row 2, which is still open here. It comes
// here later, and the client must neither hear it nor be told to stand before it.
func TestSkipsWhatAnotherNodeTold(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.publish(t, chat.Batch{Mark: mark(3, 2)})
		knows := joinHub(t, h, cursorAt(mark(3)), "a/1")
		lacks := joinHub(t, h, cursorAt(mark(3, 2)), "a/1")
		src.publish(t, chat.Batch{Events: []chat.Event{message(4, "a/1", mark(4, 2))}, Mark: mark(4, 2)})
		if at, _ := knows.sub.Cursor(); at != "4" || knows.cursor != "4" {
			t.Errorf("stands at %s, told %s", at, knows.cursor)
		}
		src.publish(t, chat.Batch{Events: []chat.Event{message(2, "a/1", mark(4)), message(5, "a/1", mark(5))}, Mark: mark(5)})
		src.publish(t, chat.Batch{Events: []chat.Event{message(6, "a/1", mark(6))}, Mark: mark(6)})
		if diff := cmp.Diff([]int64{4, 5, 6}, knows.told()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int64{4, 2, 5, 6}, lacks.told()); diff != "" {
			t.Error(diff)
		}
		if knows.sub.skip.Load() != nil {
			t.Error("the list of what to skip is kept for ever")
		}
	})
}

// Clients come and go at every moment of a stream of rows, each with every
// cursor it could have.
func TestSubscribeAtEveryMoment(t *testing.T) {
	for from := range int64(9) {
		t.Run(fmt.Sprintf("from %d", from), func(t *testing.T) {
			inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
				src.store("a/1", 4)
				src.begin(t)
				clients := []*client{}
				for n := int64(4); n <= 8; n++ {
					if n >= from {
						c := &client{}
						// No waiting: it is added while the next row is published.
						if err := h.Subscribe(c, Subscription{Channels: []string{"a/1"}, From: cursorAt(mark(from))}, func(s *Sub) { c.sub = s }); err != nil {
							t.Fatal(err)
						}
						clients = append(clients, c)
					}
					src.say(t, "a/1", 1)
				}
				for _, c := range clients {
					if got := c.told(); !slices.Equal(got, upTo(from+1, 9)) {
						t.Errorf("told %v", got)
					}
				}
			})
		})
	}
}
