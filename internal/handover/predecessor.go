package handover

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Predecessor is the process that has started this one to take its place.
type Predecessor struct{ line *line }

// letGoTime is longer than a predecessor takes to let go, whatever is under way.
const letGoTime = time.Minute

// Ready says that this process could serve, and waits until the predecessor has let
// go of all that only one can have. One that dies has let go as well: nil. An error is
// ctx's, or says that the predecessor does neither in a minute.
func (p *Predecessor) Ready(ctx context.Context) error {
	if err := p.line.say(wordReady); err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, letGoTime)
	defer cancel()
	if err := p.line.hear(ctx, wordYours); err != nil && !errors.Is(err, errHungUp) {
		return fmt.Errorf("the process before this one: %w", err)
	}
	return nil
}

// Serving says that this process accepts connections, and ends the conversation.
func (p *Predecessor) Serving() {
	_ = p.line.say(wordServing) // it may have died
	_ = p.line.Close()
}
