package wpdb

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"holdline/internal/backoff"
	"holdline/internal/chat"
)

// states asks a Statuser for what has changed. It has a backoff of its own: that
// states cannot be read must not slow down the messages.
type states struct {
	statuser Statuser // nil when the source has no states
	query    Querier
	logger   *slog.Logger

	watched []string
	// dropped are channels that were not watched for a moment since the last
	// question. Who listens to them now must be told their state anew, so the
	// Statuser has to miss them once.
	dropped  map[string]bool
	failures int       // in a row
	notYet   time.Time // the backoff's end
}

func newStates(src Source, query Querier, logger *slog.Logger) states {
	s := states{query: query, logger: logger.With("source", src.Name()), dropped: make(map[string]bool)}
	s.statuser, _ = src.(Statuser)
	return s
}

// notice takes in who is watched now.
func (s *states) notice(watched []string) {
	if s.statuser == nil || slices.Equal(watched, s.watched) {
		return
	}
	now := make(map[string]bool, len(watched))
	for _, name := range watched {
		now[name] = true
	}
	for _, name := range s.watched {
		if !now[name] {
			s.dropped[name] = true
		}
	}
	s.watched = watched
}

// changed returns the states that are new, as events at the given position.
func (s *states) changed(ctx context.Context, at chat.Mark) []chat.Event {
	if s.statuser == nil || time.Now().Before(s.notYet) {
		return nil
	}
	watched := s.watched
	if len(s.dropped) > 0 {
		watched = slices.DeleteFunc(slices.Clone(watched), func(name string) bool { return s.dropped[name] })
	}
	events, err := s.statuser.Status(ctx, s.query, watched)
	if err != nil {
		if s.failures == 0 && ctx.Err() == nil {
			s.logger.Warn("states cannot be read; messages go on", "error", err)
		}
		s.failures++
		s.notYet = time.Now().Add(backoff.Full(s.failures, leastWait, mostWait))
		return nil
	}
	s.failures = 0
	clear(s.dropped)
	for i := range events {
		events[i].ID, events[i].Mark = 0, at
	}
	return events
}
