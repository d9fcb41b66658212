package outbox

import (
	"context"

	"holdline/internal/chat"
)

// Outbox is safe for concurrent use.
type Outbox struct{ opt Options }

// New starts nothing; Run does.
func New(opt Options) *Outbox { return &Outbox{opt} }

// Run stores what is sent until the context ends.
func (o *Outbox) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Send takes a message and never blocks. The answer is called exactly once, from
// another goroutine.
func (o *Outbox) Send(m Message, answer func(Answer)) {
	go answer(Answer{State: StateFailed, Refusal: &chat.Refusal{Reason: chat.ReasonUnavailable, Text: "Sending is not ready."}})
}

// Stats is a snapshot for metrics.
type Stats struct {
	Queued   int    // messages on their way into the spool
	Delayed  int    // channels whose head could not be stored at the last try
	Accepted uint64 // answered as pending, without repetitions
	Stored   uint64
	Refused  uint64 // withdrawn
	Rejected uint64 // answered as full or unavailable
	Calls    uint64 // of Store
	Failures uint64 // of those, calls that stored nothing
}

// Stats may be called at any time.
func (o *Outbox) Stats() Stats { return Stats{} }
