package dropin_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSendToEndedChat ends chats while their messages wait for PHP, in the ways that the
// plugin knows. WordPress refuses the messages then: who was shown them sees them
// withdrawn, and who sent them is told why.
func TestSendToEndedChat(t *testing.T) {
	t.Parallel()
	s := newStage(t, native, nginx)
	desk := login(s, "admin").load("")
	type ending struct {
		status         int
		sender, reader *messenger
	}
	var endings []ending
	for i, status := range []int{1, 8} {
		ann := beginChat(s, 1552987800000+i, "Ann")
		desk.accept(ann.chat())
		ways := []string{"ws", "sse", "poll"}
		sides := []*messenger{
			join(s, ann.browser, ann.chat(), "visitor", ways[i]),
			join(s, desk.browser, ann.chat(), "agent", ways[i+1]),
		}
		endings = append(endings, ending{status, sides[i], sides[1-i]})
	}
	restart := s.takePHPAway()
	for _, e := range endings {
		e.sender.say("question-1", "Are you")
		e.sender.say("question-2", "still there?")
	}
	for _, e := range endings {
		e.reader.await("both messages are shown", time.Minute, func() bool {
			return e.reader.knows("message", "question-1") && e.reader.knows("message", "question-2")
		})
		s.exec("UPDATE wp_wplc_chat_sessions SET status = ? WHERE id = ?", e.status, strings.TrimPrefix(e.sender.channel, "wplc/"))
	}
	if err := restart(); err != nil {
		t.Fatal(err)
	}
	for _, e := range endings {
		e.sender.await("it is known what became of the messages", time.Minute, e.sender.settled)
		e.reader.await("both messages are withdrawn", time.Minute, func() bool {
			return e.reader.knows("withdrawn", "question-1") && e.reader.knows("withdrawn", "question-2")
		})
		e.sender.say("question-3", "Hello?") // it is refused at once, or slips in and is withdrawn
		e.sender.await("it is known what became of the last message", time.Minute, e.sender.settled)
		for _, said := range e.sender.said {
			if said.failed != "closed" {
				t.Errorf("%s, status %d: the end of %s is %q, row %d; want it to have failed because the chat is closed",
					e.sender, e.status, said.id, said.failed, said.row)
			}
		}
	}
	if n := s.storedSends(); n != 0 {
		t.Errorf("%d messages were stored in chats that had ended", n)
	}
}

// knows tells whether an event of a message was heard. The caller has the lock.
func (m *messenger) knows(kind, clientID string) bool {
	return slices.ContainsFunc(m.heard, func(h hearing) bool { return h.Type == kind && h.ClientID == clientID })
}

// TestStrangersSend has people write into a chat that is not theirs.
func TestStrangersSend(t *testing.T) {
	t.Parallel()
	s := newStage(t, native, nginx)
	desk := login(s, "admin").load("")
	var both []*visitor
	for i, name := range []string{"Ann", "Bob"} {
		both = append(both, beginChat(s, 1552987800000+i, name))
		desk.accept(both[i].chat())
	}
	ann, bob := both[0], both[1]
	reader := join(s, ann.browser, ann.chat(), "visitor", "sse")
	victim := reader.channel
	for i, who := range []struct {
		name, origin string
		browser      *browser
		as           string
		want         int
	}{
		{"nobody", s.url, stranger(s), "", http.StatusUnauthorized},
		{"nobody, as agent", s.url, stranger(s), "agent", http.StatusUnauthorized},
		{"another visitor", s.url, bob.browser, "", http.StatusForbidden},
		{"another visitor, as visitor", s.url, bob.browser, "visitor", http.StatusForbidden},
		{"another visitor, as agent", s.url, bob.browser, "agent", http.StatusForbidden},
		{"the visitor, as agent", s.url, ann.browser, "agent", http.StatusForbidden},
		{"an agent, as visitor", s.url, desk.browser, "visitor", http.StatusForbidden},
		{"a subscriber", s.url, login(s, "subscriber1").browser, "", http.StatusForbidden},
		{"the visitor on another site's page", "http://evil.example", ann.browser, "", http.StatusForbidden},
		{"an agent on another site's page", "http://evil.example", desk.browser, "", http.StatusForbidden},
		{"the visitor on no page", "", ann.browser, "", http.StatusForbidden},
	} {
		text := fmt.Sprintf(`{"channel":%q,"client_id":"stranger-%d","body":"spam","as":%q}`, victim, i, who.as)
		for _, as := range []string{"application/json", "text/plain"} { // a page may send the second anywhere
			if status, body := sendAs(s, who.browser, who.origin, as, text); status != who.want {
				t.Errorf("%s: %d %s, want %d", who.name, status, body, who.want)
			}
		}
	}
	own := join(s, bob.browser, bob.chat(), "visitor", "ws")
	own.tell(map[string]any{"type": "send", "channel": victim, "client_id": "stranger-ws", "body": "spam"})
	own.tell(map[string]any{"type": "typing", "channel": victim, "typing": true})
	own.tell(map[string]any{"type": "seen", "channel": victim, "up_to": 1})
	own.await("Holdline refuses what is said to another's chat", time.Minute, func() bool {
		refused := map[string]bool{}
		for i := range own.heard {
			if h := &own.heard[i]; h.Channel == victim && h.Reason == "forbidden" {
				refused[h.Type+h.Of] = true
			}
		}
		return refused["sent"] && refused["errortyping"] && refused["errorseen"]
	})
	// What they said would have come before this.
	own.say("bob-says-1", "in his own")
	own.await("his own chat takes it", time.Minute, own.settled)
	reader.say("ann-says-1", "alone")
	reader.await("the chat's visitor is heard", time.Minute, reader.settled)
	if n := s.storedSends(); n != 2 || own.said[0].row == 0 || reader.said[0].row == 0 {
		t.Errorf("%d messages were stored, want those of the chats' own visitors", n)
	}
	reader.mu.Lock()
	defer reader.mu.Unlock()
	for i := range reader.heard {
		if h := &reader.heard[i]; h.Type == "typing" || h.Type == "seen" || h.ClientID != "" && h.ClientID != "ann-says-1" {
			t.Errorf("the visitor was told %+v", h.words)
		}
	}
}

// sendAs posts a message from a page of an origin.
func sendAs(s *stage, b *browser, origin, contentType, text string) (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, b.front.String()+"/holdline/v1/send", strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}
