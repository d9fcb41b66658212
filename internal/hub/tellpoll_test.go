package hub

import (
	"testing"
	"testing/synctest"

	"holdline/internal/chat"
)

func TestPollIsEndedByATelling(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		first := poll(t, h, "0", "a/1")
		src.status(t, "a/1", `{"s":1}`)
		second := poll(t, h, first.next(), "a/1")
		h.tellAndWait(typing("a/1"))
		wantNews(t, second, "typing {}")
		if second.next() != first.next() || !second.sub.gone.Load() {
			t.Errorf("it comes back with %s, and came with %s", second.next(), first.next())
		}
		if third := poll(t, h, second.next(), "a/1"); third.calls != 0 {
			t.Errorf("answered with %q", third.news())
		}
	})
}

func TestPollHearsEachNoteOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := poll(t, h, "0", "a/1", "a/2")
		again := func() { t.Helper(); c = poll(t, h, c.next(), "a/1", "a/2") }
		h.tellAndWait(presence("a/1", `{"n":1}`))
		wantNews(t, c, `presence {"n":1}`)
		again()
		wantNews(t, c, "")
		src.status(t, "a/2", `{"s":1}`)
		wantNews(t, c, `status {"s":1}, presence {"n":1}`)
		again()
		h.tellAndWait(presence("a/1", `{"n":1}`))
		src.status(t, "a/2", `{"s":1}`)
		wantNews(t, c, "")
		h.tellAndWait(presence("a/1", `{"n":2}`))
		wantNews(t, c, `status {"s":1}, presence {"n":2}`)
		h.tellAndWait(pendingMessage("a/1", "anna")) // between two polls
		again()
		wantNews(t, c, `status {"s":1}, presence {"n":2}, pending anna`)
		again()
		wantNews(t, c, "")
	})
}

// A poll that brings the digest of a pending message has heard it. Its row
// answers the poll, and takes the message out of the digest.
func TestPollIsToldWhatIsStored(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := poll(t, h, "0", "a/1")
		again := func() { t.Helper(); c = poll(t, h, c.next(), "a/1") }
		src.status(t, "a/1", `{"s":1}`)
		again()
		h.tellAndWait(pendingMessage("a/1", "anna"))
		wantNews(t, c, `status {"s":1}, pending anna`)
		again()
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna", "bert")})
		wantNews(t, c, "stored 1 anna, message 2 bert")
		again()
		wantNews(t, c, "") // for nothing has changed but what it was told
	})
}

// The row comes while the poll is away: a replay, in which messages are messages.
func TestPollIsAwayWhenTheRowComes(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := poll(t, h, "0", "a/1")
		h.tellAndWait(pendingMessage("a/1", "anna"))
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna")})
		c2 := poll(t, h, c.next(), "a/1")
		wantNews(t, c, "pending anna")
		wantNews(t, c2, "message 1 anna")
		if c3 := poll(t, h, c2.next(), "a/1"); c3.calls != 0 {
			t.Errorf("told %q", c3.news())
		}
	})
}

// A pending message and its row are on their way to a sender that is behind. The
// poll would be told all notes, of which there are none any more, so that it has
// not heard of the message when the row comes.
func TestPollThatPendingAndRowReachAtOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		held, live := poll(t, h, "0", "a/1"), joinHub(t, h, nil, "a/1")
		behind, block := joinHub(t, h, nil, "a/2"), make(chan struct{})
		behind.onDeliver = func(*client) { <-block }
		h.tellAndWait(typing("a/2"))
		h.Tell(pendingMessage("a/1", "anna"))
		if err := h.Publish(t.Context(), chat.Batch{Source: "a", Events: src.written("a/1", "anna"), Mark: mark(1)}); err != nil {
			t.Fatal(err)
		}
		close(block)
		synctest.Wait()
		wantNews(t, held, "message 1 anna")
		wantNews(t, live, "pending anna, stored 1 anna")
	})
}

// What is not for the poll is nothing to it, also when it comes back.
func TestPollDoesNotMindNotesForOthers(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := pollAs(t, h, visitor, "0", "a/1")
		h.tellAndWait(presence("a/1", `{"n":1}`))
		wantNews(t, c, `presence {"n":1}`)
		c = pollAs(t, h, visitor, c.next(), "a/1")
		for i, secret := range []Telling{typing("a/1"), typing("a/1")} {
			secret.Keep = "secret"
			secret.To, secret.Except = []*chat.Party{agent, nil}[i], []*chat.Party{nil, visitor}[i]
			h.tellAndWait(secret)
			wantNews(t, pollAs(t, h, visitor, c.next(), "a/1"), "")
		}
		wantNews(t, c, "")
		wantNews(t, pollAs(t, h, agent, c.next(), "a/1"), `presence {"n":1}, typing {}`)
	})
}

// A poll that has one of the rows from another node is told the other, and comes
// back with a digest of neither.
func TestPollSkipsAndIsToldWhatIsStored(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.publish(t, chat.Batch{Mark: mark(3, 2)})
		h.Tell(presence("a/1", `{"n":1}`))
		h.Tell(pendingMessage("a/1", "carl"))
		c := poll(t, h, "3", "a/1")
		wantNews(t, c, `presence {"n":1}, pending carl`)
		c = poll(t, h, c.next(), "a/1")
		src.last = 1
		rows := src.written("a/1", "anna", "bert", "carl")
		rows = []chat.Event{rows[0], rows[2]}
		rows[0].Mark, rows[1].Mark = mark(3), mark(4)
		src.publish(t, chat.Batch{Events: rows, Mark: mark(4)})
		wantNews(t, c, "stored 4 carl")
		wantNews(t, poll(t, h, c.next(), "a/1"), "")
	})
}
