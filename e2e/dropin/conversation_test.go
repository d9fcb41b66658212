package dropin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/e2e/backstage"
)

// told is what the people of one conversation saw.
type told struct {
	visitor, agent, list []string
	repeats              int // lines that the agent saw twice
}

// TestConversation compares what visitor and agent see through Holdline with what
// they see through PHP alone.
func TestConversation(t *testing.T) {
	t.Parallel()
	for _, f := range []front{nginx, apache} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			compareConversations(t, f)
		})
	}
}

func compareConversations(t *testing.T, f front) {
	var want told
	ok := t.Run(php.name, func(t *testing.T) {
		want = converse(newStage(t, php, f))
		t.Logf("the visitor saw\n%s\nthe agent saw, with %d lines twice,\n%s",
			strings.Join(want.visitor, "\n"), want.repeats, strings.Join(want.agent, "\n"))
	})
	for _, w := range []way{native, relay} {
		if !ok {
			break
		}
		t.Run(w.name, func(t *testing.T) {
			got := converse(newStage(t, w, f))
			for _, side := range []struct {
				name      string
				got, want []string
			}{{"visitor", got.visitor, want.visitor}, {"agent", got.agent, want.agent}, {"agents' list", got.list, want.list}} {
				if diff := cmp.Diff(side.want, side.got); diff != "" {
					t.Errorf("the %s saw something else than with PHP (-PHP +Holdline):\n%s", side.name, diff)
				}
			}
			if got.repeats > want.repeats {
				t.Errorf("the agent saw %d lines twice, with PHP %d", got.repeats, want.repeats)
			}
		})
	}
}

// converse goes through a whole conversation. Each step waits for the one before
// to be seen, so the order of what is seen is always the same.
func converse(s *stage) told {
	t := s.t
	list := login(s, "admin").dashboard()
	ann := visit(s, "1552987800001")
	list.seen.await(t, `"status":"5"`)
	ann.start("Ann O'Neil", "ann@example.com")
	list.seen.await(t, "pending true")
	ann.send("Hi, it's me \\ \"Ann\"")

	chat := login(s, "admin").open(ann.chat())
	chat.seen.await(t, "Hi, it")
	ann.seen.await(t, "state 3")
	ann.seen.await(t, "has joined the chat")
	list.seen.await(t, "Open Chat")
	chat.write("Hello <a href='https://shop.example/?a=1&b=2'>here</a>")
	ann.seen.await(t, "Hello")
	ann.send("Grüße 漢\nline 2")
	chat.seen.await(t, "line 2")

	ann = reloadAndTalk(s, ann, chat)
	list.seen.await(t, `"browsing_nice_url":"/"`)
	minimiseAndTalk(s, ann, chat, list)
	for i := range 10 {
		chat.write(fmt.Sprintf("question %d.", i))
		ann.send(fmt.Sprintf("answer %d.", i))
	}
	ann.seen.await(t, "question 9.")
	chat.seen.await(t, "answer 9.")

	chat.end()
	ann.seen.await(t, "state 8")
	ann.seen.await(t, "ended the chat")
	chat.seen.await(t, "state 8")
	ann.loops.Wait() // it stops by itself
	beginsAnew(s, ann)
	return tell(ann, chat, list)
}

// reloadAndTalk loads another page in the middle of the chat.
func reloadAndTalk(s *stage, ann *visitor, chat *window) *visitor {
	ann = ann.reload(s, "1552987800002", "/")
	ann.seen.await(s.t, "state 3", 2)
	// The chat is this page's from its second poll on.
	s.awaitColumn("1552987800002", "SELECT session FROM wp_wplc_chat_sessions WHERE id = ?", ann.chat())
	if s.holdline == nil {
		pass(s.ctx, 600*time.Millisecond) // PHP's loop for the page that has gone ends at its next round
	}
	chat.write("Still there?")
	ann.seen.await(s.t, "Still there?")
	return ann
}

func minimiseAndTalk(s *stage, ann *visitor, chat, list *window) {
	ann.minimise()
	ann.seen.await(s.t, "state 10")
	chat.seen.await(s.t, "state 10")
	list.seen.await(s.t, `"status":"10"`)
	chat.write("Look here")
	ann.seen.await(s.t, "Look here")
	ann.seen.await(s.t, "state 10", 2)
	ann.maximise()
	ann.seen.await(s.t, "state 3", 4)
	chat.seen.await(s.t, "state 3")
	list.seen.await(s.t, `"status":"3"`, 3)
}

// beginsAnew opens a page after the end: it is a new chat.
func beginsAnew(s *stage, ann *visitor) {
	again := open(s, ann.browser, "1552987800003", "/shop/", s.newRecord())
	if count := s.column("SELECT COUNT(*) FROM wp_wplc_chat_sessions"); count != "2" || again.chat() != "2" {
		s.t.Errorf("%s chats after the end, the page has chat %q; want 2 and 2", count, again.chat())
	}
}

// awaitColumn waits for a value in the database.
func (s *stage) awaitColumn(want, query string, args ...any) {
	s.t.Helper()
	last, began := "", time.Now()
	defer func() {
		if took := time.Since(began); took > 5*time.Second {
			s.t.Logf("%s: %q, want %q, after %v", query, last, want, took.Round(100*time.Millisecond))
		}
	}()
	backstage.Eventually(s.t, "the database has "+want, time.Minute, func() bool {
		last = s.column(query, args...)
		return last == want
	})
}

// tell closes all windows and returns what was seen. The agent's chat goes from 1
// to 8 when the visitor's page has heard of its end, which an agent's loop between
// two polls does not see.
func tell(ann *visitor, chat, list *window) told {
	ann.close()
	chat.close()
	list.close()
	var x told
	x.visitor = ann.seen.all()
	x.agent, x.repeats = withoutRepeats(chat.seen.all())
	x.agent = slices.DeleteFunc(x.agent, func(line string) bool { return line == "state 1" })
	for _, line := range list.seen.all() {
		if !strings.Contains(line, `"status":"8"`) && !strings.Contains(line, "Guest") {
			x.list = append(x.list, line)
		}
	}
	return x
}
