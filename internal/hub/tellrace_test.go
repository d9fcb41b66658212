package hub

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"holdline/internal/chat"
)

// Everything at once, for the race detector. Each stream must still hear every
// message once, or as pending and then as stored, and the newest note last.
func TestTellPublishAndSubscribeAtOnce(t *testing.T) {
	const messages = 300
	inBubble(t, Options{Senders: 3}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		var all sync.WaitGroup
		all.Go(func() {
			for i := range messages {
				id := fmt.Sprint("m", i)
				h.Tell(pendingMessage("a/1", id))
				rows := src.written("a/1", id)
				if err := h.Publish(t.Context(), chat.Batch{Source: "a", Events: rows, Mark: mark(rows[0].ID)}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for i := range messages {
				h.Tell(presence("a/1", fmt.Sprintf(`{"n":%d}`, i)))
				h.Tell(typing("a/1"))
				note := presence("a/1", `{}`)
				note.Keep = fmt.Sprint("s/", i)
				h.Tell(note)
				h.Forget("a/1", note.Keep)
			}
		})
		var mu sync.Mutex
		var clients []*client
		for range 3 {
			all.Go(func() {
				for i := range messages / 3 {
					c := &client{}
					want := Subscription{Channels: []string{"a/1"}, Who: agent, OneOff: i%3 == 2}
					if want.OneOff {
						from := chat.At(mark(int64(i)))
						want.From, c.onDeliver = &from, func(c *client) { c.sub.Close() }
					}
					if err := h.Subscribe(c, want, func(s *Sub) { c.sub = s }); err != nil {
						t.Error(err)
					}
					if i%3 == 1 {
						c.sub.Close()
					}
					if i%3 == 0 {
						mu.Lock()
						clients = append(clients, c)
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
		for _, c := range clients {
			checkStory(t, strings.Split(c.news(), ", "), messages)
		}
	})
}

// checkStory looks at all that a stream was told.
func checkStory(t *testing.T, story []string, messages int) {
	t.Helper()
	shown, presence := map[string]string{}, ""
	rows := 0
	for _, words := range story {
		what := strings.Fields(words)
		id := what[len(what)-1]
		switch what[0] {
		case "pending":
			if shown[id] != "" {
				t.Errorf("%s was pending after it was %s", id, shown[id])
			}
			shown[id] = "pending"
		case "stored", "message":
			if (shown[id] == "pending") != (what[0] == "stored") {
				t.Errorf("%s came as %s after %q", id, what[0], shown[id])
			}
			shown[id] = what[0]
			rows++
		case "presence":
			if id != "{}" {
				presence = id
			}
		}
	}
	if want := fmt.Sprintf(`{"n":%d}`, messages-1); presence != want {
		t.Errorf("the last presence heard was %q", presence)
	}
	for id, as := range shown {
		if as == "pending" {
			t.Errorf("%s is pending for ever", id)
		}
	}
	if got := shown[fmt.Sprint("m", messages-1)]; rows > 0 && got == "" {
		t.Error("the last message is missing")
	}
}
