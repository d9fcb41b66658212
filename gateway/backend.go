package gateway

import (
	"context"
	"time"

	"holdline/internal/chat"
	"holdline/internal/outbox"
	"holdline/wpdb"
)

// Backend is the site behind the gateway: where rows come from and who is who.
// It is made by a Connect function once its database answers.
type Backend struct {
	Feeds []Feed
	// Login verifies a WordPress login cookie; nil where there are no logins.
	Login func(ctx context.Context, c wpdb.Cookies, now time.Time) (*wpdb.Session, error)
	// Revoked tells that at least one login has ended; nil where there are none.
	Revoked <-chan struct{}
	// Origins are the site's own, scheme://host[:port], which need not be listed
	// in the configuration.
	Origins func() []string
	// Loops answers the polling loops of the plugin's own JavaScript; nil where PHP
	// answers all of them.
	Loops *Loops
	// Store makes rows of what browsers send to feeds with Speech; nil: they cannot
	// send.
	Store outbox.Store
	// Sends tells why nothing would be stored if it were sent now; nil, or a nil
	// answer: it would. It may wait a moment, and ends with ctx.
	Sends func(ctx context.Context) *chat.Refusal
	// Health asks whether the database answers, for /readyz.
	Health func(ctx context.Context) wpdb.Health
	// Run does the backend's own work until ctx ends; nil for none.
	Run func(ctx context.Context) error
	// Close lets go of what Connect opened, after everything has stopped.
	Close func()
}

// Feed is one chat plugin: its rows and who may read them.
type Feed struct {
	Tail Tail
	// MayRead tells whether a viewer may read a channel, named without its
	// source. An error means that it cannot be known now.
	MayRead func(ctx context.Context, v chat.Viewer, name string) (bool, error)
	// Speech is for what clients say; nil: the source cannot be written to, and
	// who listens to it is not told to others.
	Speech Speech

	source mounted // of a plugin that was found
}

// Tail is a *wpdb.Tail.
type Tail interface {
	Name() string
	Wake() (ticket uint64)
	Rows(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) ([]chat.Event, int64, error)
	Run(ctx context.Context) error
	Stats() wpdb.TailStats
}

// Connect opens the backend, whose tails shall publish to sink. An error that
// is worth another attempt is any error: a sidecar outlives its database.
type Connect func(ctx context.Context, sink wpdb.Sink) (*Backend, error)
