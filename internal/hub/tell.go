package hub

import "holdline/internal/chat"

// Telling is something that is said and not stored: it has no row and no cursor.
type Telling struct {
	Event chat.Event
	// To, if not nil, is the only party that hears it; Except, if not nil, does
	// not. Whoever did not say who it is hears what is not To somebody.
	To, Except *chat.Party
	// Keep, if not empty, has the event told to whoever goes live later as well,
	// in the order of keeping, until the same Keep on the channel replaces it, or
	// Forget.
	Keep string
}

// Tell hands something ephemeral to the subscribers of its channel. It never
// waits. What is not kept is dropped while the senders are far behind.
func (h *Hub) Tell(t Telling) {}

// Forget ends the keeping of what was told. Nobody is told.
func (h *Hub) Forget(channel, keep string) {}
