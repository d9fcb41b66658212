// Package live carries what people do on a channel and nobody stores: who is
// there, who writes, who has read how far, and signals that set up calls.
//
// All of it is said through the hub and forgotten soon. Everything that a
// browser can make grow has a limit, and a channel where one party waits alone,
// which is what most channels are, costs little more than its entry in a map.
package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// Teller is the hub, as this package needs it. Neither method may block.
type Teller interface {
	Tell(t hub.Telling)
	Forget(channel, keep string)
}

// Options of a Live.
type Options struct {
	Hub    Teller
	Logger *slog.Logger
	// Grace is how long a party still counts as present after its last
	// connection ended, so that neither a reconnect nor the pause between two
	// polls is told. 0 is 10 s.
	Grace time.Duration
	// Read is told how far a reader has got, seen and delivered alike, each step
	// once: it writes the source's read flags. It must not block. With nil
	// nothing is written back.
	Read func(channel string, reader chat.Party, upTo int64)
}

// Live is safe for concurrent use. New starts nothing; Run tells.
type Live struct {
	opt Options
}

// New makes a Live that tells nothing yet.
func New(opt Options) *Live { return &Live{opt: opt} }

// Run tells until ctx ends. It is called once.
func (l *Live) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Enter says that who listens on the channels, until leave is called. Calls of
// leave after the first do nothing.
func (l *Live) Enter(channels []string, who chat.Party) (leave func()) { return func() {} }

// Typing says that who writes on the channel, or has stopped.
func (l *Live) Typing(channel string, who chat.Party, on bool) {}

// Receipt says that who has all of the channel up to the row upTo: on its screen
// (chat.TypeSeen) or in its browser (chat.TypeDelivered).
func (l *Live) Receipt(channel string, who chat.Party, kind chat.Type, upTo int64) {}

// Signal hands data, any JSON value, to one party of the channel. The error is a
// *chat.Refusal: bad_request, rate or full.
func (l *Live) Signal(channel string, from, to chat.Party, id string, data json.RawMessage) error {
	return nil
}
