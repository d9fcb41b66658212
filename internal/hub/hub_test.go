package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func TestLiveDelivery(t *testing.T) {
	inBubble(t, Options{Senders: 3}, func(t *testing.T, h *Hub, src *fakeSource) {
		var clients []*client
		for i := range 7 {
			clients = append(clients, joinHub(t, h, nil, fmt.Sprintf("a/%d", i%2)))
		}
		src.begin(t)
		src.say(t, "a/0", 2)
		src.say(t, "a/1", 1)
		src.say(t, "a/9", 1)
		for i, c := range clients {
			want := [][]int64{{1, 2}, {3}}[i%2]
			if diff := cmp.Diff(want, c.told()); diff != "" {
				t.Errorf("client %d: %s", i, diff)
			}
			if at, ok := c.sub.Cursor(); at != "4" || !ok {
				t.Errorf("client %d stands at %q, %v", i, at, ok)
			}
		}
		if h.Subscribers() != 7 {
			t.Errorf("%d subscribers", h.Subscribers())
		}
	})
}

func TestBytesAreEncodedOnce(t *testing.T) {
	d := newDelivery([]chat.Event{message(1, "a/1", mark(1))})
	n := 0
	encode := func(*Delivery) []byte { n++; return []byte("x") }
	first := d.Bytes(FormatSSE, encode)
	if second := d.Bytes(FormatSSE, encode); &first[0] != &second[0] || n != 1 {
		t.Fatalf("encoded %d times", n)
	}
	if d.Bytes(FormatWS, encode); n != 2 {
		t.Fatal("formats share their bytes")
	}
}

func TestSubscribeRefuses(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, _ *fakeSource) {
		for _, channels := range [][]string{{"b/1"}, {"a/1", "b/1"}, {"a"}, {"a/ 1"}} {
			err := h.Subscribe(&client{}, Subscription{Channels: channels}, func(*Sub) { t.Error("subscribed") })
			if err == nil {
				t.Errorf("%v: no error", channels)
			}
		}
		if err := h.Subscribe(&client{}, Subscription{Channels: []string{"b/1"}}, nil); !errors.Is(err, ErrUnknownSource) {
			t.Error(err)
		}
		if w := h.Watched("a"); len(w) != 0 {
			t.Errorf("a refused subscription watches %v", w)
		}
	})
}

func TestChannelNamedTwiceIsToldOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := joinHub(t, h, nil, "a/1", "a/2", "a/1")
		src.say(t, "a/1", 1)
		if diff := cmp.Diff([]int64{1}, c.told()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCloseAtAnyMoment(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close func(t *testing.T, h *Hub) *client
	}{
		{"before it is added", func(t *testing.T, h *Hub) *client {
			c := &client{}
			if err := h.Subscribe(c, Subscription{Channels: []string{"a/1"}}, func(s *Sub) { c.sub = s; s.Close() }); err != nil {
				t.Fatal(err)
			}
			return c
		}},
		{"before its turn comes", func(t *testing.T, h *Hub) *client {
			c := &client{}
			if err := h.Subscribe(c, Subscription{Channels: []string{"a/1"}}, func(s *Sub) { c.sub = s }); err != nil {
				t.Fatal(err)
			}
			c.sub.Close()
			return c
		}},
		{"when it is live", func(t *testing.T, h *Hub) *client {
			c := joinHub(t, h, nil, "a/1")
			c.sub.Close()
			return c
		}},
		{"twice", func(t *testing.T, h *Hub) *client {
			c := joinHub(t, h, nil, "a/1")
			c.sub.Close()
			c.sub.Close()
			return c
		}},
		{"by leaving its seat", func(t *testing.T, h *Hub) *client {
			var seat Seat
			if seat.Sub() != nil || seat.Left() {
				t.Error("a new seat is not free")
			}
			c := &client{}
			if err := h.Subscribe(c, Subscription{Channels: []string{"a/1"}}, seat.Take); err != nil {
				t.Fatal(err)
			}
			if seat.Sub() == nil || seat.Left() {
				t.Error("the seat is not taken")
			}
			seat.Leave()
			return c
		}},
		{"by a seat that was left before", func(t *testing.T, h *Hub) *client {
			var seat Seat
			seat.Leave()
			c := &client{}
			if err := h.Subscribe(c, Subscription{Channels: []string{"a/1"}}, seat.Take); err != nil {
				t.Fatal(err)
			}
			return c
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
				src.begin(t)
				c := tt.close(t, h)
				other := joinHub(t, h, nil, "a/1")
				src.say(t, "a/1", 1)
				if len(c.told()) != 0 || len(other.told()) != 1 {
					t.Fatalf("the closed one was told %v, the other %v", c.told(), other.told())
				}
				other.sub.Close()
				synctest.Wait()
				if n := h.Subscribers(); n != 0 {
					t.Fatalf("%d subscribers are left", n)
				}
				time.Sleep(4 * time.Second)
				if w := h.Watched("a"); len(w) != 0 {
					t.Fatalf("still watched: %v", w)
				}
			})
		})
	}
}

// Lists change places when somebody leaves; with many channels each, everybody
// must still be found in all of theirs.
func TestListsSurviveComingAndGoing(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		clients := map[int]*client{}
		channels := func(i int) []string {
			return []string{fmt.Sprintf("a/%d", i%3), fmt.Sprintf("a/%d", 3+i%5), fmt.Sprintf("a/%d", 8+i%2), "a/all"}
		}
		for i := range 60 {
			clients[i] = joinHub(t, h, nil, channels(i)...)
		}
		for i := 0; i < 60; i += 1 + i%3 {
			clients[i].sub.Close()
			delete(clients, i)
		}
		synctest.Wait()
		want := map[int][]int64{}
		for id := range int64(11) {
			channel := fmt.Sprintf("a/%d", id)
			if id == 10 {
				channel = "a/all"
			}
			src.say(t, channel, 1)
			for i := range clients {
				if slices.Contains(channels(i), channel) {
					want[i] = append(want[i], id+1)
				}
			}
		}
		for i, c := range clients {
			if diff := cmp.Diff(want[i], c.told()); diff != "" {
				t.Errorf("client %d: %s", i, diff)
			}
		}
	})
}

func TestWatchedLingersAndIsCached(t *testing.T) {
	inBubble(t, Options{Linger: 2 * time.Second}, func(t *testing.T, h *Hub, _ *fakeSource) {
		b := joinHub(t, h, nil, "a/2")
		joinHub(t, h, nil, "a/1")
		first := h.Watched("a")
		if diff := cmp.Diff([]string{"1", "2"}, first); diff != "" {
			t.Fatal(diff)
		}
		joinHub(t, h, nil, "a/1")
		if again := h.Watched("a"); &again[0] != &first[0] {
			t.Error("made anew though nothing has changed")
		}
		b.sub.Close()
		time.Sleep(1900 * time.Millisecond)
		if diff := cmp.Diff([]string{"1", "2"}, h.Watched("a")); diff != "" {
			t.Error("forgotten during a poll's pause:", diff)
		}
		time.Sleep(1200 * time.Millisecond)
		if diff := cmp.Diff([]string{"1"}, h.Watched("a")); diff != "" {
			t.Error(diff)
		}
		if h.Watched("b") != nil {
			t.Error("an unknown source is watched")
		}
	})
}

func TestPublishWaitsForStuckSender(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		stuck := make(chan struct{})
		c := joinHub(t, h, nil, "a/1")
		c.onDeliver = func(*client) { <-stuck }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		published := 0
		var err error
		for err == nil {
			err = h.Publish(ctx, chat.Batch{Source: "a", Events: src.store("a/1", 1), Mark: mark(src.last)})
			published++
		}
		if !errors.Is(err, context.DeadlineExceeded) || published < pending || published > pending+2 {
			t.Errorf("%d batches were taken, then: %v", published, err)
		}
		close(stuck)
		synctest.Wait()
		if n := len(c.told()); n != published-1 {
			t.Errorf("told %d rows of %d", n, published-1)
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		if err := h.Publish(t.Context(), chat.Batch{Source: "x"}); err == nil {
			t.Error("an unknown source was published")
		}
		if err := h.Publish(t.Context(), chat.Batch{Source: "a", Events: src.store("a/1", 1), Mark: mark(1)}); err == nil {
			t.Error("rows were published before a position")
		}
	})
}

func TestEachReachesEverybodyOnce(t *testing.T) {
	inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		for i := range 5 {
			joinHub(t, h, nil, "a/1", fmt.Sprintf("a/%d", i))
		}
		joinHub(t, h, nil, "a/1").sub.Close()
		calls := make(chan Subscriber, 20)
		h.Each(func(s Subscriber) { calls <- s })
		synctest.Wait()
		if len(calls) != 5 {
			t.Fatalf("%d calls", len(calls))
		}
	})
}
