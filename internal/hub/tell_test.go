package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

var (
	visitor = &chat.Party{Kind: chat.KindVisitor, Name: "Vera"}
	agent   = &chat.Party{Kind: chat.KindAgent, ID: 2, Name: "Ann"}
)

// typing is something that nobody keeps.
func typing(channel string) Telling {
	return Telling{Event: chat.Event{Type: chat.TypeTyping, Channel: channel, From: visitor, Data: []byte(`{}`)}}
}

// presence is something that is kept and replaced.
func presence(channel, data string) Telling {
	return Telling{
		Event: chat.Event{Type: chat.TypePresence, Channel: channel, Data: []byte(data)},
		Keep:  "presence",
	}
}

// pendingMessage is a visitor's message that is not stored yet.
func pendingMessage(channel, clientID string) Telling {
	e := chat.Event{Type: chat.TypeMessage, Channel: channel, From: visitor, ClientID: clientID, Pending: true, Body: "Hello"}
	return Telling{Event: e, Keep: e.PendingKey()}
}

// rows stores rows of a visitor's messages with the given client ids.
func (s *fakeSource) written(channel string, clientIDs ...string) []chat.Event {
	events := s.store(channel, len(clientIDs))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range clientIDs {
		events[i].From, events[i].ClientID = visitor, id
		s.rows[len(s.rows)-len(clientIDs)+i] = events[i]
	}
	return events
}

func (h *Hub) tellAndWait(t Telling) {
	h.Tell(t)
	synctest.Wait()
}

func wantNews(t *testing.T, c *client, want string) {
	t.Helper()
	if got := c.news(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestTellReachesWhoIsLive(t *testing.T) {
	inBubble(t, Options{Senders: 3}, func(t *testing.T, h *Hub, src *fakeSource) {
		late := joinHub(t, h, cursorAt(mark(0)), "a/1") // the position is not known yet
		h.tellAndWait(typing("a/1"))
		src.begin(t)
		var crowd []*client
		for range 5 {
			crowd = append(crowd, joinHub(t, h, nil, "a/1", "a/2"))
		}
		other := joinHub(t, h, nil, "a/3")
		gone := joinHub(t, h, nil, "a/1")
		gone.sub.Close()
		h.tellAndWait(typing("a/1"))
		h.tellAndWait(typing("b/1")) // no such source, and nobody there
		for _, c := range append(crowd, late) {
			wantNews(t, c, "typing {}")
		}
		wantNews(t, other, "")
		wantNews(t, gone, "")
		if c := joinHub(t, h, nil, "a/1"); c.calls != 0 {
			t.Error("who came later was told what nobody keeps")
		}
		if at, ok := crowd[0].sub.Cursor(); !ok || at != "0" || h.Dropped() != 0 {
			t.Errorf("at %q, %v; %d dropped", at, ok, h.Dropped())
		}
	})
}

func TestTellToAndExcept(t *testing.T) {
	to := func(p *chat.Party) Telling { n := typing("a/1"); n.To = p; return n }
	except := func(p *chat.Party) Telling { n := typing("a/1"); n.Except = p; return n }
	renamed := &chat.Party{Kind: chat.KindAgent, ID: 2, Name: "Annie"}
	for _, tt := range []struct {
		name                   string
		telling                Telling
		visitor, agent, nobody bool
	}{
		{"to all", typing("a/1"), true, true, true},
		{"to the agent", to(renamed), false, true, false},
		{"to another agent", to(&chat.Party{Kind: chat.KindAgent, ID: 3}), false, false, false},
		{"except the agent", except(renamed), true, false, true},
		{"to and except the visitor", Telling{Event: typing("a/1").Event, To: visitor, Except: visitor}, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for who, want := range map[*chat.Party]bool{visitor: tt.visitor, agent: tt.agent, nil: tt.nobody} {
				inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
					hears := func(when string, c *client, want bool) {
						t.Helper()
						if got := c.news() == "typing {}"; got != want {
							t.Errorf("%s: %v heard: %v", when, who, got)
						}
					}
					src.begin(t)
					live, held := joinAs(t, h, who, nil, "a/1"), pollAs(t, h, who, "0", "a/1")
					h.tellAndWait(tt.telling)
					hears("live", live, want)
					hears("held", held, want)

					kept := tt.telling
					kept.Keep = "k"
					h.tellAndWait(kept)
					hears("live and kept", live, want)
					hears("later", joinAs(t, h, who, nil, "a/1"), want)
					held = pollAs(t, h, who, "0", "a/1")
					hears("a poll later", held, want)
					hears("the poll again", pollAs(t, h, who, held.next(), "a/1"), false)
				})
			}
		})
	}
}

func TestNotesAreToldInTheOrderOfKeeping(t *testing.T) {
	inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		live := joinHub(t, h, nil, "a/1")
		src.status(t, "a/1", `{"s":1}`)
		h.tellAndWait(presence("a/1", `{"n":1}`))
		h.tellAndWait(pendingMessage("a/1", "anna"))
		h.tellAndWait(pendingMessage("a/1", "bert"))
		h.tellAndWait(presence("a/1", `{"n":2}`))
		h.tellAndWait(presence("a/1", `{"n":2}`)) // word for word
		h.Forget("a/1", pendingMessage("a/1", "anna").Keep)
		h.Forget("a/1", "nothing")
		h.Forget("a/9", "nothing")
		synctest.Wait()
		wantNews(t, live, `status {"s":1}, presence {"n":1}, pending anna, pending bert, presence {"n":2}`)
		wantNews(t, joinHub(t, h, nil, "a/1"), `status {"s":1}, presence {"n":2}, pending bert`)
		wantNews(t, joinHub(t, h, nil, "a/2", "a/1"), `status {"s":1}, presence {"n":2}, pending bert`)
		h.Forget("a/1", "presence")
		wantNews(t, joinHub(t, h, nil, "a/1"), `status {"s":1}, pending bert`)
	})
}

// A channel is forgotten when nobody has been there for long; what is pending on
// it is not.
func TestNotesOutliveTheChannel(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		h.Tell(pendingMessage("a/1", "anna")) // nobody was ever here
		c := joinHub(t, h, nil, "a/1")
		wantNews(t, c, "pending anna")
		c.sub.Close()
		synctest.Wait()
		h.sweep(time.Now().Add(time.Hour))
		h.Watched("a")
		wantNews(t, joinHub(t, h, nil, "a/1"), "pending anna")
		h.Forget("a/1", pendingMessage("a/1", "anna").Keep)
		if len(h.board.notes) != 0 {
			t.Error("the board keeps an empty channel")
		}
	})
}

func TestRowOfAPendingMessageIsStored(t *testing.T) {
	inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		before := joinHub(t, h, nil, "a/1")
		h.tellAndWait(pendingMessage("a/1", "anna"))
		h.tellAndWait(pendingMessage("a/1", "bert"))
		h.tellAndWait(pendingMessage("a/2", "carl")) // on another channel
		meanwhile := joinHub(t, h, nil, "a/1")
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna", "dora", "bert", "carl")})
		after := joinHub(t, h, nil, "a/1")
		wantNews(t, before, "pending anna, pending bert, stored 1 anna, message 2 dora, stored 3 bert, message 4 carl")
		wantNews(t, meanwhile, "pending anna, pending bert, stored 1 anna, message 2 dora, stored 3 bert, message 4 carl")
		wantNews(t, after, "")
		wantNews(t, joinHub(t, h, cursorAt(mark(0)), "a/1"), "message 1 anna, message 2 dora, message 3 bert, message 4 carl")
		if diff := cmp.Diff([]string{before.cursor, meanwhile.cursor}, []string{"4", "4"}); diff != "" {
			t.Error(diff)
		}
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna")}) // a client id once more
		wantNews(t, before, "message 5 anna")
	})
}

// An agent's row is no visitor's pending message, and neither is a row whose
// pending message was forgotten.
func TestRowThatWasNotPendingIsAMessage(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := joinHub(t, h, nil, "a/1")
		h.tellAndWait(pendingMessage("a/1", "anna"))
		rows := src.written("a/1", "anna")
		rows[0].From = agent
		src.publish(t, chat.Batch{Events: rows})
		h.Forget("a/1", pendingMessage("a/1", "anna").Keep)
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna")})
		wantNews(t, c, "pending anna, message 1 anna, message 2 anna")
	})
}

// Only some have heard a pending message: the others get a message.
func TestRowsArePartlyStored(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		v, a := joinAs(t, h, visitor, nil, "a/1"), joinAs(t, h, agent, nil, "a/1")
		held := pollAs(t, h, agent, "0", "a/1")
		secret := pendingMessage("a/1", "anna")
		secret.To = visitor
		h.tellAndWait(secret)
		h.tellAndWait(pendingMessage("a/1", "bert"))
		wantNews(t, held, "pending bert")
		held = pollAs(t, h, agent, held.next(), "a/1")
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna", "bert")})
		wantNews(t, v, "pending anna, pending bert, stored 1 anna, stored 2 bert")
		wantNews(t, a, "pending bert, message 1 anna, stored 2 bert")
		wantNews(t, held, "message 1 anna, stored 2 bert")
	})
}

// The client has one of the rows from another node.
func TestStoredForAClientThatSkips(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.publish(t, chat.Batch{Mark: mark(3, 2)})
		src.last = 1
		rows := src.written("a/1", "anna", "bert", "carl")
		rows = []chat.Event{rows[0], rows[2]}
		rows[0].Mark, rows[1].Mark = mark(3), mark(4)
		knows, lacks := joinHub(t, h, cursorAt(mark(3)), "a/1"), joinHub(t, h, cursorAt(mark(3, 2)), "a/1")
		h.tellAndWait(pendingMessage("a/1", "anna"))
		h.tellAndWait(pendingMessage("a/1", "carl"))
		src.publish(t, chat.Batch{Events: rows, Mark: mark(4)})
		wantNews(t, knows, "pending anna, pending carl, stored 4 carl")
		wantNews(t, lacks, "pending anna, pending carl, stored 2 anna, stored 4 carl")
	})
}

func TestTellingIsEncodedOnce(t *testing.T) {
	inBubble(t, Options{Senders: 2}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		n := 0
		encode := func(d *Delivery) []byte { n++; return []byte(inWords(&d.Events[0])) }
		listen := func(want Subscription) {
			e := &encoder{encode: encode}
			if err := h.Subscribe(e, want, func(s *Sub) { e.sub = s }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 4 {
			listen(Subscription{Channels: []string{"a/1"}})
		}
		h.tellAndWait(typing("a/1"))
		if n != 1 {
			t.Errorf("a telling was encoded %d times", n)
		}
		h.tellAndWait(pendingMessage("a/1", "anna"))
		from := chat.At(mark(0))
		tagged := poll(t, h, "0", "a/1").next()
		from, _ = chat.ParseCursor(tagged)
		for range 4 {
			listen(Subscription{Channels: []string{"a/1"}, From: &from, OneOff: true})
		}
		n = 0
		src.publish(t, chat.Batch{Events: src.written("a/1", "anna")})
		if n != 1 {
			t.Errorf("a stored row was encoded %d times", n)
		}
	})
}

// encoder encodes what it is told, as transports do.
type encoder struct {
	sub    *Sub
	encode func(*Delivery) []byte
}

func (e *encoder) Live(string, *Delivery) {}

func (e *encoder) Deliver(d *Delivery) { d.Bytes(FormatPoll, e.encode) }

func TestBoardIsBounded(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		for i := range maxNotes + 2 {
			h.Tell(pendingMessage("a/1", fmt.Sprint(i)))
		}
		c := joinHub(t, h, nil, "a/1")
		got := strings.Split(c.news(), ", ")
		if len(got) != maxNotes || got[0] != "pending 2" || got[maxNotes-1] != fmt.Sprint("pending ", maxNotes+1) {
			t.Errorf("%d notes from %q to %q", len(got), got[0], got[len(got)-1])
		}
	})
}

// A sender that stands still is told what is kept and not what is not, and what
// waits for it does not weigh more the longer it stands.
func TestTellWhileASenderIsFarBehind(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *Hub, src *fakeSource) {
		src.begin(t)
		c := joinHub(t, h, nil, "a/1")
		stuck := make(chan struct{})
		c.onDeliver = func(*client) { <-stuck }
		h.tellAndWait(presence("a/1", `{"n":0}`))
		for range maxTellings + 10 {
			h.Tell(typing("a/1"))
		}
		for i := range 1000 {
			h.Tell(presence("a/1", fmt.Sprintf(`{"n":%d}`, i+1)))
			h.Tell(pendingMessage("a/1", fmt.Sprint("p", i%3)))
		}
		if n := h.Dropped(); n != 10 {
			t.Errorf("%d were dropped", n)
		}
		close(stuck)
		synctest.Wait()
		got := c.news()
		if n := strings.Count(got, "typing"); n != maxTellings {
			t.Errorf("%d tellings that nobody keeps were heard", n)
		}
		if rest := got[strings.LastIndex(got, "typing"):]; rest != `typing {}, pending p0, pending p1, pending p2, presence {"n":1000}` {
			t.Errorf("what is kept came as %q", rest)
		}
		h.tellAndWait(typing("a/1"))
		wantNews(t, c, "typing {}")
	})
}
