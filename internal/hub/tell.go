package hub

import (
	"hash/fnv"
	"sync/atomic"

	"holdline/internal/chat"
)

// Telling is something that is said and not stored: it has no row and no cursor.
// It is heard by who is live; who catches up is told what is kept, once live.
type Telling struct {
	Event chat.Event // its Cursor is ignored
	// To, if not nil, is the only party that hears it; Except, if not nil, does
	// not. Whoever did not say who it is hears what is not To somebody.
	To, Except *chat.Party
	// Keep, if not empty, has the event told to whoever goes live later as well,
	// in the order of keeping, until the same Keep on the channel replaces it (in
	// its place), or Forget. Telling word for word what is kept changes nothing
	// and tells nobody.
	//
	// A pending message is kept as its PendingKey, and told before its row is
	// published: the row then takes its place. Who heard the pending one live is
	// told the row as chat.TypeStored, everybody else as the message it is. A row
	// that is never published, as it came while its source was paused, takes
	// nobody's place: its note stays until it is forgotten.
	Keep string
}

// maxTellings is how many tellings may wait for one sender before those that
// nobody keeps are dropped: more than a second's worth for a sender that works.
const maxTellings = 4096

// Tell hands something ephemeral to the subscribers of its channel. It never
// waits. What is not kept is dropped while a sender is far behind. What one
// goroutine tells and publishes on a channel is heard in that order.
//
// The hub keeps the newest 512 tellings of a channel, also while nobody is
// subscribed: who keeps something must Forget it.
func (h *Hub) Tell(t Telling) {
	n := newNote(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	var gone *note
	if t.Keep != "" {
		var news bool
		if gone, news = h.board.keep(n); !news {
			return
		}
	}
	if ch := h.channels[n.channel]; ch == nil || ch.refs == 0 {
		return // who comes from now on finds the board as it is
	}
	// The lock is held on: tellings must reach every sender in the order of their
	// numbers, and before the batches that are recorded later.
	missed := false
	for _, s := range h.senders {
		behind := s.tellings.Load() >= maxTellings
		switch {
		case behind && t.Keep == "":
			missed = true
			continue
		case behind && gone != nil:
			gone.d.Store(nil) // what waits in boxes weighs no more than the board
		}
		s.tellings.Add(1)
		s.post(command{tell: n})
	}
	if missed {
		h.dropped.Add(1)
	}
}

// Forget ends the keeping of what was told. Nobody is told, and who was told
// keeps it: to take something back, tell so.
func (h *Hub) Forget(channel, keep string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.board.forget(channel, keep)
}

// Dropped counts the tellings that not every subscriber heard because a sender
// was far behind. It only grows.
func (h *Hub) Dropped() uint64 { return h.dropped.Load() }

// note is a Telling made ready. It is immutable but for seq, which Hub.mu guards
// until the note is posted, and d.
type note struct {
	channel    string
	keep       string // "": not kept
	to, except *chat.Party
	seq        uint64 // see board; of what is kept
	sum        uint64 // of all that is said, to whom and under which name
	d          atomic.Pointer[Delivery]
}

func newNote(t Telling) *note {
	t.Event.Cursor = ""
	n := &note{channel: t.Event.Channel, keep: t.Keep, to: t.To, except: t.Except}
	n.d.Store(&Delivery{Events: []chat.Event{t.Event}, channel: n.channel})
	if n.keep != "" {
		n.sum = sumOf(&t)
	}
	return n
}

// sumOf is a hash of a whole telling.
func sumOf(t *Telling) uint64 {
	h := fnv.New64a()
	h.Write(AppendJSON([]byte(t.Keep+"\n"), &t.Event))
	for _, p := range []*chat.Party{t.To, t.Except} {
		b := []byte{'\n'}
		if p != nil {
			b = AppendJSON(b, &chat.Event{From: p})
		}
		h.Write(b)
	}
	return h.Sum64()
}

// tag is what the note adds to the digest of a poll that has heard it.
func (n *note) tag() uint32 { return max(uint32(n.sum>>32)^uint32(n.sum), 1) }

// reaches tells whether somebody may hear the note; who is nil if unknown.
func (n *note) reaches(who *chat.Party) bool {
	if n.to != nil && (who == nil || !who.Is(*n.to)) {
		return false
	}
	return n.except == nil || who == nil || !who.Is(*n.except)
}

// tell gives a note to every live subscriber that may hear it and was not told it
// when it went live. Those that are late find it on the board, if it is kept.
func (s *sender) tell(n *note) {
	s.tellings.Add(-1)
	d := n.d.Load()
	if d == nil {
		return // replaced meanwhile: the newer one is further back in the box
	}
	for _, sub := range s.on(n.channel) {
		switch {
		case sub.late != nil || sub.gone.Load() || !n.reaches(sub.who):
		case n.keep == "":
			sub.to.Deliver(d)
		case n.seq <= sub.heard: // from the board
		case sub.oneOff:
			// As with a state: all there is, and the digest of it.
			cursor, _ := sub.Cursor()
			if all := s.states(sub, cursor); all != nil {
				sub.to.Deliver(all)
			}
		default:
			sub.to.Deliver(d)
		}
	}
}
