package chat

import "fmt"

// Refusal is why something that a client said is not taken.
type Refusal struct {
	// Reason is one of a closed set, for programs: forbidden, closed, empty,
	// too_long, text, unsupported, rate, full, unavailable, bad_request.
	Reason string
	// Text is a sentence for people.
	Text string
}

// Error is the sentence.
func (r *Refusal) Error() string { return r.Text }

// The reasons of a Refusal.
const (
	ReasonForbidden   = "forbidden"   // may not write here
	ReasonClosed      = "closed"      // the chat has ended
	ReasonEmpty       = "empty"       // no text
	ReasonTooLong     = "too_long"    // more than the plugin or the limits take
	ReasonText        = "text"        // the plugin cannot store this text
	ReasonUnsupported = "unsupported" // this source cannot be written to
	ReasonRate        = "rate"        // too many in a short time: again later
	ReasonFull        = "full"        // no room to keep it: again later
	ReasonUnavailable = "unavailable" // cannot be known or kept now: again later
	ReasonBadRequest  = "bad_request" // makes no sense
)

// Bounds of a client id. The plugin's own column for it holds 40 characters
// (wplc_chat_msgs.rel).
const (
	MinClientID = 8
	MaxClientID = 36
)

// CheckClientID refuses what is no client id: MinClientID to MaxClientID of
// A-Z, a-z, 0-9, '-' and '_'. The error is a *Refusal.
func CheckClientID(id string) error {
	ok := len(id) >= MinClientID && len(id) <= MaxClientID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if ok {
		return nil
	}
	return &Refusal{ReasonBadRequest, fmt.Sprintf(
		"client_id must be %d to %d letters, digits, '-' or '_', new for each message", MinClientID, MaxClientID)}
}

// PendingKey is what a pending message, its row and its withdrawal have in
// common, within their channel; empty for what has no client id.
func (e *Event) PendingKey() string {
	if e.ClientID == "" || e.From == nil {
		return ""
	}
	return "p/" + e.From.Kind + "/" + e.ClientID
}

// Is tells whether both are the same participant; names do not count.
func (p Party) Is(other Party) bool { return p.Kind == other.Kind && p.ID == other.ID }
