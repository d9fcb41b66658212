package poll_test

import (
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

func telling(kind chat.Type, keep string) hub.Telling {
	return hub.Telling{Event: chat.Event{Type: kind, Channel: channel, Data: []byte(`{}`)}, Keep: keep}
}

// A telling ends the poll and leaves the client where it stood, with the states
// that it knew.
func TestPollIsToldWhatIsNotStored(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		ask := func(cursor string) {
			b.ask("/poll?channels=" + channel + "&cursor=" + cursor)
			wait(t, h.served)
			h.held()
		}
		ask("7")
		h.state(7, channel, `{"s":1}`)
		knows := b.answer()
		ask(knows.Cursor)
		h.say(8, "wplc/2") // to somebody else
		h.held()
		h.hub.Tell(telling(chat.TypeTyping, ""))
		a := b.answer()
		if want := `{"cursor":"8` + knows.Cursor[1:] + `","events":[{"type":"typing","channel":"wplc/1","data":{}}]}`; a.body != want {
			t.Errorf("answered %s, want %s", a.body, want)
		}
		ask(a.Cursor)
		h.hub.Tell(telling(chat.TypePresence, "presence"))
		kept := b.answer()
		if len(kept.Events) != 2 || kept.Events[1].Type != chat.TypePresence || kept.Events[1].Cursor != "" || kept.Cursor == a.Cursor {
			t.Errorf("answered %s", kept.body)
		}
		b.ask("/poll?channels="+channel+"&wait=0", `If-None-Match: "`+kept.Cursor+`"`)
		if again := b.answer(); again.status != 304 {
			t.Errorf("told again: %s", again.body)
		}
	})
}

// What is not stored is no reason to look: no loop has words for it.
func TestLoopIsNotWokenByTellings(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		l := h.serve(channel, 300*time.Millisecond)
		b := h.browser()
		h.park(b, l)
		h.hub.Tell(telling(chat.TypeTyping, ""))
		h.hub.Tell(telling(chat.TypePresence, "presence"))
		h.held() // they have been told
		b.wantEmpty(false)
		if n := l.looks.Load(); n != 1 {
			t.Errorf("%d looks", n)
		}
	})
}
