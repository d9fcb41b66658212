package dropin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// talk begins a chat: both sides are in it and poll.
func talk(s *stage) (ann *visitor, chat *window) {
	s.t.Helper()
	ann = visit(s, "1552987800001")
	ann.start("Ann", "ann@example.com")
	chat = login(s, "admin").open(ann.chat())
	ann.seen.await(s.t, "has joined the chat")
	return ann, chat
}

// TestKillAndStart kills Holdline twice in mid-conversation, as kill -9 does.
// Nobody may notice: PHP answers meanwhile, and no message is lost or told twice.
func TestKillAndStart(t *testing.T) {
	for _, f := range []front{nginx, apache} {
		for _, w := range []way{native, relay} {
			t.Run(fmt.Sprint(w.name, " behind ", f), func(t *testing.T) {
				s := newStage(t, w, f)
				s.holdFor(20, 250*time.Millisecond)
				ann, chat := talk(s)
				said := 0
				exchange := func() {
					for range 4 {
						chat.write(fmt.Sprintf("question %d.", said))
						ann.send(fmt.Sprintf("answer %d.", said))
						said++
					}
				}
				for round := range 2 {
					exchange()
					if round == 1 { // both are held, in the other round messages are under way
						eventually(t, "both sides are held", 10*time.Second, func() bool { return s.heldLoops() >= 2 })
					}
					s.holdline.kill(t)
					exchange()
					s.startHoldline()
					exchange()
				}
				ann.seen.await(t, fmt.Sprintf("question %d.", said-1))
				chat.seen.await(t, fmt.Sprintf("answer %d.", said-1))
				pass(s.ctx, time.Second) // what comes twice comes late
				toldOnce(t, "the visitor", ann.seen, "question", said)
				toldOnce(t, "the agent", chat.seen, "answer", said)
				if n := ann.seen.count("error"); n > 0 {
					t.Errorf("the visitor's page showed %d errors:\n%s", n, strings.Join(ann.seen.all(), "\n"))
				}
			})
		}
	}
}

// toldOnce looks for texts that are missing, come twice, or are out of order.
func toldOnce(t *testing.T, who string, seen *record, word string, n int) {
	t.Helper()
	lines := seen.all()
	last := -1
	for i := range n {
		text, at := fmt.Sprintf("%s %d.", word, i), -1
		for j, line := range lines {
			switch {
			case !strings.Contains(line, text):
			case at < 0:
				at = j
			default:
				t.Errorf("%s was told %q twice", who, text)
			}
		}
		switch {
		case at < 0:
			t.Errorf("%s was never told %q", who, text)
		case at < last:
			t.Errorf("%s was told %q too late", who, text)
		default:
			last = at
		}
	}
}
