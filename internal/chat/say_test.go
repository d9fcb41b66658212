package chat_test

import (
	"errors"
	"strings"
	"testing"

	"holdline/internal/chat"
)

func TestCheckClientID(t *testing.T) {
	for _, id := range []string{"12345678", "0f8fad5b-d9cb-469f-a165-70867728950e", "AZaz09-_"} {
		if err := chat.CheckClientID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", "1234567", strings.Repeat("x", 37), "with space", "ümläut-id", "a/b/c/d/e", "1234567\x00"} {
		var refused *chat.Refusal
		if err := chat.CheckClientID(id); !errors.As(err, &refused) || refused.Reason != chat.ReasonBadRequest {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestPendingKey(t *testing.T) {
	visitor, agent := &chat.Party{Kind: chat.KindVisitor}, &chat.Party{Kind: chat.KindAgent, ID: 2}
	for want, e := range map[string]chat.Event{
		"":                   {ClientID: "12345678"},
		"p/visitor/12345678": {ClientID: "12345678", From: visitor},
		"p/agent/12345678":   {ClientID: "12345678", From: agent},
	} {
		if got := e.PendingKey(); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
	if e := (chat.Event{From: visitor}); e.PendingKey() != "" {
		t.Error("a message without a client id has a key")
	}
	if visitor.Is(*agent) || !agent.Is(chat.Party{Kind: chat.KindAgent, ID: 2, Name: "Ann"}) {
		t.Error("parties are told apart wrongly")
	}
}
