package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func TestPollIsAnsweredOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		held := poll(t, h, "0", "a/1", "a/2")
		two := src.store("a/1", 2)
		two = append(two, src.store("a/2", 1)...)
		src.publish(t, chat.Batch{Events: two})
		if diff := cmp.Diff([]int64{1, 2}, held.told()); diff != "" || held.calls != 1 {
			t.Fatal(diff, held.calls)
		}
		again := poll(t, h, held.next(), "a/1", "a/2")
		if diff := cmp.Diff([]int64{3}, again.told()); diff != "" || again.calls != 1 {
			t.Fatal(diff, again.calls)
		}
		if h.Subscribers() != 0 {
			t.Error("an answered poll is still subscribed")
		}
	})
}

func TestPollHearsEachStateOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		first := poll(t, h, "0", "a/1", "a/2")
		src.status(t, "a/1", `{"s":1}`, "a/2", `{"s":2}`)
		if got := first.statesTold(); got != `{"s":1} {"s":2}` {
			t.Fatalf("told %s", got)
		}
		second := poll(t, h, first.next(), "a/1", "a/2")
		src.status(t, "a/1", `{"s":1}`) // the source says it again
		if second.calls != 0 {
			t.Fatalf("answered with what it knows: %s", second.statesTold())
		}
		// A message and a change at once: the message answers, and the next poll
		// must not take the change for known.
		src.publish(t, chat.Batch{Events: append(src.store("a/1", 1),
			chat.Event{Type: chat.TypeStatus, Channel: "a/1", Data: []byte(`{"s":3}`), Mark: mark(1)})})
		if second.statesTold() != "" || len(second.told()) != 1 {
			t.Fatalf("told %v and %s", second.told(), second.statesTold())
		}
		third := poll(t, h, second.next(), "a/1", "a/2")
		if got := third.statesTold(); got != `{"s":3} {"s":2}` {
			t.Fatalf("told %q", got)
		}
		if fourth := poll(t, h, third.next(), "a/1", "a/2"); fourth.calls != 0 {
			t.Fatal("answered for nothing")
		}
	})
}

// A channel's state is forgotten when nobody has asked for long. Its source
// then tells it again; a poll that knows it must not be answered in a circle.
func TestForgottenStateDoesNotMakePollsSpin(t *testing.T) {
	inBubble(t, Options{Linger: 2 * time.Second}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		first := poll(t, h, "0", "a/1", "a/2")
		src.status(t, "a/1", `{"s":1}`, "a/2", `{"s":2}`)
		time.Sleep(5 * time.Second)
		h.Watched("a") // the tail looks, and the channels are forgotten
		again := poll(t, h, first.next(), "a/1", "a/2")
		if again.calls != 0 {
			t.Fatal("answered because a state is not known any more")
		}
		src.status(t, "a/1", `{"s":1}`, "a/2", `{"s":2}`)
		if again.calls != 0 {
			t.Fatalf("answered with what it knows: %s", again.statesTold())
		}
		src.status(t, "a/2", `{"s":3}`)
		if again.calls != 1 {
			t.Fatal("a change was not told")
		}
	})
}

func TestStatesStayOverPauseBetweenPolls(t *testing.T) {
	inBubble(t, Options{Linger: 2 * time.Second}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		first := poll(t, h, "0", "a/1")
		src.status(t, "a/1", `{"s":1}`)
		time.Sleep(1900 * time.Millisecond)
		h.Watched("a")
		stream := joinHub(t, h, cursorAt(mark(0)), "a/1")
		if got := stream.statesTold(); got != `{"s":1}` {
			t.Fatalf("a stream was told %q", got)
		}
		if again := poll(t, h, first.next(), "a/1"); again.calls != 0 {
			t.Fatal("answered for nothing")
		}
	})
}

// Between the sweep and the source's next look somebody comes back: the source
// has not noticed, so the state must still be there.
func TestStateSurvivesSweepThatNobodySaw(t *testing.T) {
	inBubble(t, Options{Linger: 2 * time.Second}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := joinHub(t, h, nil, "a/1")
		src.status(t, "a/1", `{"s":1}`)
		c.sub.Close()
		time.Sleep(time.Minute)
		back := joinHub(t, h, nil, "a/1")
		if got := back.statesTold(); got != `{"s":1}` {
			t.Fatalf("told %q", got)
		}
		if diff := cmp.Diff([]string{"1"}, h.Watched("a")); diff != "" {
			t.Fatal(diff)
		}
		synctest.Wait()
	})
}
