package hub

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

// What happens while the database is asked: far is too far behind for the ring,
// so that the answer goes to the client itself.
const far = 2 * ringEvents

func TestPauseWhileTheDatabaseIsAsked(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", far)
		src.during = func() {
			if err := h.Pause(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			src.store("a/1", 2)
			if err := h.Publish(t.Context(), chat.Batch{Source: "a", Mark: mark(far + 2)}); err != nil {
				t.Error(err)
			}
		}
		src.begin(t)
		c := joinHub(t, h, cursorAt(mark(1)), "a/1")
		if diff := cmp.Diff(upTo(2, far+2), c.told()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestBellAfterPauseWhileTheDatabaseIsAsked(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", far)
		src.during = func() {
			if err := h.Pause(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		}
		c := joinHub(t, h, cursorAt(mark(1)), "a/1") // rings
		src.begin(t)
		synctest.Wait()
		if tickets, _ := src.count(); tickets != 2 {
			t.Fatalf("the bell was rung %d times: nobody would read for this client", tickets)
		}
		src.begin(t)
		if diff := cmp.Diff(upTo(2, far), c.told()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestResetWhileTheDatabaseIsAsked(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.store("a/1", far)
		src.during = func() {
			src.last, src.rows = 0, nil
			if err := h.Publish(t.Context(), chat.Batch{Source: "a", Reset: true}); err != nil {
				t.Error(err)
			}
			if err := h.Publish(t.Context(), chat.Batch{Source: "a", Events: src.store("a/1", 5), Mark: mark(5)}); err != nil {
				t.Error(err)
			}
		}
		src.begin(t)
		c := joinHub(t, h, cursorAt(mark(1)), "a/1")
		if diff := cmp.Diff(upTo(1, 5), c.told()); diff != "" || c.resets != 1 {
			t.Fatalf("%d resets, rows %s", c.resets, diff)
		}
	})
}

// A heartbeat in the midst of a batch must not tell a client that has its first row
// the cursor of before: the client would resume there and be told the row again.
func TestCursorInTheMidstOfABatch(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := joinHub(t, h, nil, "a/1", "a/2")
		if at, ok := c.sub.Exact(); at != "0" || !ok {
			t.Fatalf("a live client stands at %q, %t", at, ok)
		}
		var exact []string
		c.onDeliver = func(c *client) {
			if at, ok := c.sub.Exact(); ok {
				exact = append(exact, at)
			}
			if at, ok := c.sub.Cursor(); at != "0" || !ok {
				t.Errorf("the least it has is %q, %t", at, ok)
			}
		}
		src.publish(t, chat.Batch{Events: append(src.store("a/1", 1), src.store("a/2", 1)...)})
		if len(exact) > 0 {
			t.Errorf("in the midst of a batch it stands at exactly %q", exact)
		}
		if at, ok := c.sub.Exact(); at != "2" || !ok {
			t.Errorf("after a batch it stands at %q, %t", at, ok)
		}
	})
}
