// Package chat is the ground floor of Holdline: the words every other package
// speaks. An Event is something a browser should hear of, a Channel is where it
// is said, a Cursor is how far a reader has got.
//
// The package does no I/O, starts no goroutine and imports nothing of Holdline.
package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Type says what an event tells. Types with a cursor come from a row and are
// delivered exactly once; the others are ephemeral and may be missed.
type Type string

// Types that stand for something stored, and the one that says that what a
// client knew no longer holds.
const (
	TypeMessage Type = "message" // a row: somebody wrote something
	TypeStored  Type = "stored"  // the row of a message that was told as pending: no second message
	TypeStatus  Type = "status"  // the state of a chat or list, sent whole; a later one replaces it
	TypeReset   Type = "reset"   // the cursor no longer makes sense: fetch the history again
)

// Types of the line itself. They carry no row.
const (
	TypeHello     Type = "hello"     // first frame of a WebSocket: cursor, limits, server time
	TypeReconnect Type = "reconnect" // the server is leaving: come back after data.after_ms
)

// Types that are said and not stored, beside messages that are Pending. They have
// no cursor: who was not there has missed them, but for what the hub keeps.
const (
	TypeWithdrawn Type = "withdrawn" // a pending message that will never be stored
	TypeDelayed   Type = "delayed"   // to its sender: still pending, and why
	TypeTyping    Type = "typing"    // somebody writes, or has stopped; expires by itself
	TypePresence  Type = "presence"  // who is on the channel, whole
	TypeDelivered Type = "delivered" // a reader's browser has all up to data.up_to
	TypeSeen      Type = "seen"      // a reader has looked at all up to data.up_to
	TypeSignal    Type = "signal"    // opaque, to one party: how calls are set up
)

// Kinds of participants.
const (
	KindVisitor = "visitor"
	KindAgent   = "agent"
	KindSystem  = "system"
)

// Party is who an event comes from.
type Party struct {
	Kind string `json:"kind"`         // visitor, agent or system
	ID   int64  `json:"id,omitempty"` // WordPress user id; 0 where there is none
	Name string `json:"name,omitempty"`
}

// Event is one thing said on one channel, in the public JSON form of the
// protocol. The zero value of every optional field is left out of the JSON.
type Event struct {
	Type    Type            `json:"type"`
	Channel string          `json:"channel,omitempty"`
	Cursor  string          `json:"cursor,omitempty"` // where a client stands that has this event; set by the hub
	ID      int64           `json:"id,omitempty"`     // row id within the event's source
	From    *Party          `json:"from,omitempty"`
	Body    string          `json:"body,omitempty"` // text as the plugin means it, not HTML-escaped
	SentAt  time.Time       `json:"sent_at,omitzero"`
	Data    json.RawMessage `json:"data,omitempty"` // plugin-specific, always a JSON object

	// ClientID is the id that the sender's client gave a message. Together with
	// From.Kind it ties the pending message, its row and its withdrawal together.
	ClientID string `json:"client_id,omitempty"`
	// Pending says that the message was accepted and is shown, but not stored
	// yet: it has neither an id nor a cursor.
	Pending bool `json:"pending,omitempty"`

	// Mark is the source's position once this event has been handed on. It is
	// what the hub makes Cursor of.
	Mark Mark `json:"-"`
}

// Batch is what a source hands to the hub in one go: the events of one read, in
// the order in which every client shall see them.
type Batch struct {
	Source string
	Events []Event
	// Mark is the source's position after the whole batch, which may be further
	// than the last event's when rows said nothing to anybody.
	Mark Mark
	// Reset says that the source's ids started again (TRUNCATE, a restored
	// dump): every cursor handed out so far is void.
	Reset bool
	// Fresh is the highest ticket of Wake that was given out before this read
	// began: who holds a lower one knows that Mark is news to it.
	Fresh uint64
}

// MaxChannelLength bounds a channel's name in bytes.
const MaxChannelLength = 128

// SplitChannel parts "wplc/42" into the source's name and what the source calls
// its channel. Both parts are non-empty and hold only a-z, 0-9, '_', '-', '.'
// and, in the second, further slashes and capitals; anything else is refused, so
// a channel can be put into logs, SSE fields and SQL decisions as it is.
func SplitChannel(channel string) (source, name string, err error) {
	if len(channel) > MaxChannelLength {
		return "", "", fmt.Errorf("channel name is longer than %d bytes", MaxChannelLength)
	}
	source, name, ok := strings.Cut(channel, "/")
	if !ok || source == "" || name == "" {
		return "", "", fmt.Errorf("channel %q is not of the form source/name", clip(channel))
	}
	for _, c := range []byte(source) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return "", "", fmt.Errorf("channel %q: a source's name holds only a-z, 0-9 and _", clip(channel))
		}
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./", c) >= 0) {
			return "", "", fmt.Errorf("channel %q: only letters, digits and _-./ are allowed", clip(channel))
		}
	}
	return source, name, nil
}

// clip keeps a stranger's text short enough for an error message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Viewer is who a browser has proved to be. The zero value is nobody.
type Viewer struct {
	// UserID is the WordPress user of a verified login cookie, 0 for none.
	UserID int64
	// Granted are channels that a token or a visitor binding names outright.
	// "source/*" grants a whole source.
	Granted []string
	// TokenUser is the WordPress user that a token names (claim sub "wp:2"), 0 for
	// none. It says in whose name the bearer speaks on Granted channels, and gives
	// no right to read.
	TokenUser int64
}

// IsNobody tells whether nothing at all was proved.
func (v Viewer) IsNobody() bool { return v.UserID == 0 && len(v.Granted) == 0 }

// HasGrant tells whether a token or binding names the channel.
func (v Viewer) HasGrant(channel string) bool {
	for _, g := range v.Granted {
		if g == channel {
			return true
		}
		if prefix, ok := strings.CutSuffix(g, "/*"); ok && strings.HasPrefix(channel, prefix+"/") {
			return true
		}
	}
	return false
}
