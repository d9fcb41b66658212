// Package outbox takes messages from browsers, shows them to the other side at
// once, keeps them in the spool and has them stored through WordPress's own code.
//
// What it promises: a message that was answered as pending is stored exactly once
// or withdrawn, over restarts and crashes too, given a Store that is idempotent;
// and messages of one channel are stored in the order in which Send was called.
package outbox

import (
	"context"
	"log/slog"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/spool"
)

// Message is what somebody wrote, checked by who calls Send: From may speak on
// Channel, Body keeps the source's rules, ClientID passes chat.CheckClientID.
type Message struct {
	Channel  string
	ClientID string // unique for its channel and From.Kind
	From     chat.Party
	Body     string
	SentAt   time.Time
	// After is the id of the last row that the source had when the message was
	// accepted. The message's own row can only have a higher one.
	After int64
}

// Store makes rows of messages with WordPress's own code.
type Store interface {
	// Store returns a fate for each message, in their order. Messages of one
	// channel stand in the order in which they are to be stored. An error means
	// that nothing is known of any of them; all come again, so Store must be
	// idempotent by Channel, From.Kind and ClientID. It is called from several
	// goroutines, never for one channel at a time.
	Store(ctx context.Context, ms []Message) ([]Fate, error)
}

// Fate is what became of a message. The zero value says that it was not tried,
// because an earlier one of its channel failed: it comes again.
type Fate struct {
	ID      int64         // of its row; above 0: stored
	Refused *chat.Refusal // it never will be
}

// Teller is the hub.
type Teller interface {
	Tell(t hub.Telling)
	Forget(channel, keep string)
}

// Options of an Outbox; zero values mean the defaults.
type Options struct {
	Spool  *spool.Spool // the caller runs and closes it, after the outbox
	Store  Store
	Hub    Teller
	Logger *slog.Logger
	// Batch is how many messages Store is given at a time. Default 50.
	Batch int
	// Workers is how many batches are under way at a time, so that a slow chat
	// does not hold up the others. Default 2.
	Workers int
	// Queue bounds the messages that wait to be written to the spool, in all and
	// for one channel. Default 4096 and 256.
	Queue, LaneQueue int
	// Timeout of one call of Store. Default 30 s.
	Timeout time.Duration
}

// States of an Answer.
const (
	StatePending = "pending" // kept, and shown to the other side; not stored yet
	StateStored  = "stored"  // a repetition of one that has a row
	StateFailed  = "failed"  // not taken, or a repetition of one that was withdrawn
)

// Answer is what a sender is told.
type Answer struct {
	State   string
	ID      int64         // of the row; StateStored only
	Refusal *chat.Refusal // StateFailed only
}
