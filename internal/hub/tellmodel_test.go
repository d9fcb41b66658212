package hub

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"holdline/internal/chat"
)

// This is the part of TestHubModel that is told and not stored. Every row has a
// client id, and may have been told as pending before it is read here. Whatever
// happens in between, a subscriber that is live hears a message either as pending
// and then as stored, or as a message; what is replayed are messages. Who goes live
// knows all notes that it may hear, whether it was told them now or, as a poll,
// before.

// modelTellings is what a client was told beside its rows.
type modelTellings struct {
	who   *chat.Party
	tag   uint32
	shown map[string]string // by client id: pending, or what its row came as
	notes map[string]string // by channel and client id: the newest, but for pending messages
	held  map[string]bool   // pending when it went live last
	typed map[string]bool
	known map[string]bool // of a poll: what its tag stands for
}

func newModelTellings(rt *rapid.T) modelTellings {
	m := modelTellings{who: anybody(rt, "who"), typed: map[string]bool{}, shown: map[string]string{}}
	m.anew()
	return m
}

// anew begins a page that has shown nothing but rows.
func (m *modelTellings) anew() {
	m.notes = map[string]string{}
	maps.DeleteFunc(m.shown, func(_, as string) bool { return as == "pending" })
}

func anybody(rt *rapid.T, name string) *chat.Party {
	return rapid.SampledFrom([]*chat.Party{nil, visitor, agent}).Draw(rt, name)
}

func (s *modelSource) clientID(id int64) string { return fmt.Sprintf("%s%d-%d", s.name, s.epoch, id) }

// sign gives rows their client ids.
func (s *modelSource) sign(rows []chat.Event) {
	for i := range rows {
		rows[i].From, rows[i].ClientID = visitor, s.clientID(rows[i].ID)
	}
}

func (s *modelSource) pending(id int64) Telling {
	t := pendingMessage(fmt.Sprintf("%s/%d", s.name, id%2), s.clientID(id))
	t.Event.Body = ""
	return t
}

// pend tells a message that has no row yet, or one that was not read here.
func (w *world) pend(rt *rapid.T) {
	s := w.anySource(rt)
	id := rapid.Int64Range(0, s.table.next-1).Draw(rt, "id")
	if id == 0 || s.here.mark.Has(id) {
		return
	}
	t := s.pending(id)
	if w.pended[t.Keep] {
		return
	}
	w.pended[t.Keep] = true
	w.address(rt, &t)
	w.hub.Tell(t)
}

// withdraw ends a message whose row was rolled back.
func (w *world) withdraw(rt *rapid.T) {
	s := w.anySource(rt)
	id := rapid.Int64Range(0, s.table.next-1).Draw(rt, "id")
	if !s.table.dead[id] {
		return
	}
	pending := s.pending(id)
	e := chat.Event{Type: chat.TypeWithdrawn, Channel: pending.Event.Channel, From: visitor, ClientID: pending.Event.ClientID}
	w.hub.Tell(Telling{Event: e, Keep: "w" + pending.Keep})
	w.hub.Forget(e.Channel, pending.Keep)
}

// forgetUnread forgets what was pending of rows that are never read here, as they
// came while the source was paused.
func (w *world) forgetUnread(s *modelSource) {
	for id := int64(1); id < s.table.next; id++ {
		if t := s.pending(id); s.here.mark.Has(id) {
			w.hub.Forget(t.Event.Channel, t.Keep)
		}
	}
}

// tell tells something else, kept or not.
func (w *world) tell(rt *rapid.T) {
	channel := rapid.SampledFrom([]string{"a/0", "a/1", "b/0", "b/1"}).Draw(rt, "channel")
	t := presence(channel, "")
	t.Keep = rapid.SampledFrom([]string{"", "k", "l"}).Draw(rt, "keep")
	if t.Event.ClientID = t.Keep; t.Keep == "" {
		w.typed++
		t.Event.Type, t.Event.ClientID = chat.TypeTyping, fmt.Sprint(w.typed)
	}
	t.Event.Data = fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 2).Draw(rt, "n"))
	w.address(rt, &t)
	w.hub.Tell(t)
}

// address says whom a telling is for, and writes it upon it.
func (w *world) address(rt *rapid.T, t *Telling) {
	if rapid.Bool().Draw(rt, "to all") {
		return
	}
	t.To, t.Except = anybody(rt, "to"), anybody(rt, "except")
	t.Event.Body = addressOf(t.To, t.Except)
}

func addressOf(to, except *chat.Party) string {
	name := func(p *chat.Party) string {
		if p == nil {
			return "-"
		}
		return p.Kind
	}
	return name(to) + " " + name(except)
}

// forget forgets anything but a pending message.
func (w *world) forget(rt *rapid.T) {
	for _, channel := range slices.Sorted(maps.Keys(w.hub.board.notes)) {
		for _, n := range slices.Clone(w.hub.board.notes[channel]) {
			if !strings.HasPrefix(n.keep, "p/") && rapid.Bool().Draw(rt, "this") {
				w.hub.Forget(channel, n.keep)
			}
		}
	}
}

// listen writes down what is told beside the rows, and how rows are told.
func (c *modelClient) listen(d *Delivery) {
	m := &c.tellings
	told := map[string]bool{}
	for i := range d.Events {
		e := &d.Events[i]
		if e.Cursor == "" {
			c.checkAddress(e)
			c.hear(e)
			told[wordsOf(e)] = true
			continue
		}
		if e.ID != 0 {
			c.settle(e)
		}
	}
	switch {
	case d.Tag != 0 && !c.oneOff:
		c.rt.Fatal("a stream was given a digest")
	case d.Tag != 0 && len(told) > 0 && maps.Equal(told, m.known):
		c.rt.Fatalf("a poll was told %v again", m.known)
	case d.Tag != 0 && len(told) > 0:
		m.known = told
	}
	if d.Tag != 0 {
		m.tag = d.Tag
	}
}

// wordsOf is all that a telling says.
func wordsOf(e *chat.Event) string { return e.Channel + " " + inWords(e) + " " + e.Body }

func (c *modelClient) checkAddress(e *chat.Event) {
	if e.Body == "" {
		return
	}
	for _, to := range []*chat.Party{nil, visitor, agent} {
		for _, except := range []*chat.Party{nil, visitor, agent} {
			n := note{to: to, except: except}
			if e.Body == addressOf(to, except) && !n.reaches(c.tellings.who) {
				c.rt.Fatalf("%v was told what is for %q", c.tellings.who, e.Body)
			}
		}
	}
}

// hear takes what is not stored.
func (c *modelClient) hear(e *chat.Event) {
	m := &c.tellings
	switch {
	case e.Pending:
		if as := m.shown[e.ClientID]; as != "" && (as != "pending" || !c.oneOff) {
			c.rt.Fatalf("%s was told as pending after it was told as %s", e.ClientID, as)
		}
		m.shown[e.ClientID] = "pending"
	case e.Type == chat.TypeTyping:
		if m.typed[e.ClientID] {
			c.rt.Fatalf("typing %s was told twice", e.ClientID)
		}
		m.typed[e.ClientID] = true
	default:
		m.notes[e.Channel+" "+e.ClientID] = wordsOf(e)
	}
}

// settle takes a row.
func (c *modelClient) settle(e *chat.Event) {
	m := &c.tellings
	pending, replay := m.shown[e.ClientID] == "pending", c.sub.late != nil
	stored := e.Type == chat.TypeStored
	if stored {
		delete(m.known, wordsOf(&chat.Event{Type: e.Type, Channel: e.Channel, ClientID: e.ClientID, Pending: true}))
	}
	switch {
	case stored && (replay || !pending):
		c.rt.Fatalf("%s was told as stored; it was pending: %v, this is a replay: %v", e.ClientID, pending, replay)
	case !stored && !replay && pending && (!c.oneOff || m.held[e.ClientID]):
		c.rt.Fatalf("%s was told as a message after it was told as pending", e.ClientID)
	}
	m.shown[e.ClientID] = string(e.Type)
}

// notesFor are the notes on the board that the client may hear.
func (c *modelClient) notesFor() (notes []*chat.Event) {
	for _, channel := range c.channels {
		for _, n := range c.world.hub.board.notes[channel] {
			if n.reaches(c.tellings.who) {
				notes = append(notes, &n.d.Load().Events[0])
			}
		}
	}
	return notes
}

func (c *modelClient) pendingOnBoard() map[string]bool {
	ids := map[string]bool{}
	for _, e := range c.notesFor() {
		if e.Pending {
			ids[e.ClientID] = true
		}
	}
	return ids
}

// checkBoard wants the client to know all that is kept for it.
func (c *modelClient) checkBoard(when string) {
	m := &c.tellings
	for _, e := range c.notesFor() {
		if e.Pending {
			if m.shown[e.ClientID] != "pending" {
				c.rt.Fatalf("%s %v was not told that %s is pending", when, m.who, e.ClientID)
			}
			continue
		}
		key := e.Channel + " " + e.ClientID
		if m.notes[key] != wordsOf(e) {
			c.rt.Fatalf("%s %v has %q, not %q", when, m.who, m.notes[key], wordsOf(e))
		}
	}
}
