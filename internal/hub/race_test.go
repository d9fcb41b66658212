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
