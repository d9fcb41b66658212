package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	queriesWindow = 10 * time.Second
	queriesGap    = 500 * time.Millisecond // between rows
)

// queries counts what the database is asked while one client waits, and while
// many do: all in one chat, and each in a chat of its own.
func (b *bench) queries(ctx context.Context, s server, at place) error {
	one, err := b.queriesAt(ctx, s, at.transport, 1, 1)
	if err != nil {
		return fmt.Errorf("with one client: %w", err)
	}
	sizes := slices.Compact([]int{min(100, b.clients), b.clients})
	for _, layout := range []string{"one chat", "a chat each"} {
		b.recordQueries(at, layout, 1, one)
		var most asked
		for _, n := range sizes {
			chats := 1
			if layout != "one chat" {
				chats = n
			}
			if most, err = b.queriesAt(ctx, s, at.transport, n, chats); err != nil {
				return fmt.Errorf("with %d clients, %s: %w", n, layout, err)
			}
			b.recordQueries(at, layout, n, most)
		}
		if one.flowing > 0 && one.quiet > 0 {
			b.report.add(at, "queries", layout+", rows flowing, most / one client", "x", most.flowing/one.flowing)
			b.report.add(at, "queries", layout+", quiet, most / one client", "x", most.quiet/one.quiet)
		}
	}
	return nil
}

// asked is how many statements a second the database got from others than the
// bench.
type asked struct {
	flowing float64 // while rows came
	quiet   float64 // beginning ten seconds after the last
}

func (b *bench) recordQueries(at place, layout string, clients int, a asked) {
	b.report.add(at, "queries", fmt.Sprintf("%s, rows flowing, %d held", layout, clients), "1/s", a.flowing)
	b.report.add(at, "queries", fmt.Sprintf("%s, quiet, %d held", layout, clients), "1/s", a.quiet)
}

func (b *bench) queriesAt(ctx context.Context, s server, transport string, n, chats int) (a asked, err error) {
	f, err := b.open(ctx, s, transport, n, chats)
	if err != nil {
		return a, err
	}
	defer f.Close()
	if err := sleep(ctx, 2*time.Second); err != nil {
		return a, err
	}
	a.flowing, err = b.during(ctx, func() error {
		for i := range int(queriesWindow / queriesGap) {
			b.seq.last++
			body := string(appendBody(nil, b.seq.last, b.size))
			if _, err := b.db.Publish(ctx, i%chats+1, body); err != nil {
				return err
			}
			if err := sleep(ctx, queriesGap); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	// The tail's timer may ease; it has when the quiet window begins.
	if err := sleep(ctx, queriesWindow); err != nil {
		return a, err
	}
	a.quiet, err = b.during(ctx, func() error { return sleep(ctx, queriesWindow) })
	return a, err
}

// during is the rate of statements while do ran.
func (b *bench) during(ctx context.Context, do func() error) (float64, error) {
	before, err := b.db.counters(ctx)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := b.db.counters(ctx)
	if err != nil {
		return 0, err
	}
	return float64(after.questions-before.questions) / after.at.Sub(before.at).Seconds(), nil
}
