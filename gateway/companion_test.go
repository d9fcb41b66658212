package gateway

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"holdline/internal/chat"
	"holdline/wordpress"
)

// Nothing is taken where it is known that nothing would be stored; a WordPress
// that has not answered is waited for with the message in the spool.
func TestWhetherTheCompanionStores(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		answer string
		err    error
		want   string
	}{
		"it stores":             {200, `{"ok":true,"version":2,"hello":{"sends":true}}`, nil, ""},
		"it is too old":         {200, `{"ok":true,"version":1,"hello":{}}`, nil, chat.ReasonUnsupported},
		"it is not there":       {400, "0", nil, chat.ReasonUnavailable},
		"it has another secret": {403, `{"error":"signature"}`, nil, chat.ReasonUnavailable},
		"it is down":            {0, "", errors.New("connection refused"), ""},
		"it has a bad day":      {500, "<html>", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				courier := wordpress.NewCourier(wordpress.CourierOptions{
					Do:     func(context.Context, []byte) (int, []byte, error) { return c.status, []byte(c.answer), c.err },
					Logger: slog.New(slog.DiscardHandler),
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- courier.Run(ctx) }()
				got := ""
				if refused := companionSends(courier)(t.Context()); refused != nil {
					got = refused.Reason
				}
				if got != c.want {
					t.Errorf("refused as %q, want %q", got, c.want)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
