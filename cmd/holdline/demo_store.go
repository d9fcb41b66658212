package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// demoStore makes rows of what the panes send, in the companion plugin's place.
type demoStore struct {
	desk *desk
	// stopped is the page's button: a WordPress that does not answer.
	stopped atomic.Bool
}

var _ outbox.Store = (*demoStore)(nil)

// errStopped is what the outbox is told while nothing is stored.
var errStopped = errors.New("the page has stopped WordPress")

// Store implements outbox.Store. There is one chat, so messages never come
// concurrently.
func (s *demoStore) Store(ctx context.Context, ms []outbox.Message) ([]outbox.Fate, error) {
	if s.stopped.Load() {
		return nil, errStopped
	}
	fates := make([]outbox.Fate, len(ms))
	for i := range ms {
		fate, err := s.store(ctx, &ms[i])
		if err != nil && i == 0 {
			return nil, err
		}
		if err != nil {
			break // what comes after waits for this one
		}
		fates[i] = fate
	}
	return fates, nil
}

// store looks for the row before it makes one: a message may come again after the
// answer to it was lost.
func (s *demoStore) store(ctx context.Context, m *outbox.Message) (outbox.Fate, error) {
	if m.Channel != "wplc/"+strconv.Itoa(demoChat) || m.From.Kind != chat.KindVisitor && m.From.Kind != chat.KindAgent {
		return outbox.Fate{Refused: &chat.Refusal{Reason: chat.ReasonForbidden, Text: "Nobody writes there."}}, nil
	}
	id, err := s.desk.find(ctx, m.From.Kind, m.ClientID, m.After)
	if err != nil {
		return outbox.Fate{}, fmt.Errorf("look for the message: %w", err)
	}
	if id > 0 {
		return outbox.Fate{ID: id}, nil
	}
	status, err := s.desk.chatStatus(ctx)
	if err != nil {
		return outbox.Fate{}, fmt.Errorf("look at the chat: %w", err)
	}
	if status == chatEnded {
		return outbox.Fate{Refused: &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."}}, nil
	}
	r, err := s.desk.say(ctx, saying{who: m.From.Kind, text: m.Body, clientID: m.ClientID})
	if err != nil {
		return outbox.Fate{}, err
	}
	return outbox.Fate{ID: r.ID}, nil
}
