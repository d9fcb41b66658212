package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const queriesWindow = 10 * time.Second

// queries counts what the database is asked while one client waits, and while
// many do: with rows flowing to a chat of their own for each client, and quiet.
func (b *bench) queries(ctx context.Context, s server, at place) error {
	var flowing, quiet []float64
	sizes := slices.Compact([]int{1, min(100, b.clients), b.clients})
	for _, n := range sizes {
		busy, calm, err := b.queriesAt(ctx, s, at.transport, n)
		if err != nil {
			return fmt.Errorf("with %d clients: %w", n, err)
		}
		b.report.add(at, "queries", fmt.Sprintf("rows flowing, %d clients", n), "1/s", busy)
		b.report.add(at, "queries", fmt.Sprintf("quiet, %d clients", n), "1/s", calm)
		flowing, quiet = append(flowing, busy), append(quiet, calm)
	}
	last := len(sizes) - 1
	if flowing[0] > 0 && quiet[0] > 0 {
		b.report.add(at, "queries", "rows flowing, most / one client", "x", flowing[last]/flowing[0])
		b.report.add(at, "queries", "quiet, most / one client", "x", quiet[last]/quiet[0])
	}
	return nil
}

func (b *bench) queriesAt(ctx context.Context, s server, transport string, n int) (busy, calm float64, err error) {
	f, err := b.open(ctx, s, transport, n, n)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if err := sleep(ctx, 2*time.Second); err != nil {
		return 0, 0, err
	}
	busy, err = b.asked(ctx, func() error {
		const gap = 100 * time.Millisecond
		for end := time.Now().Add(queriesWindow); time.Now().Before(end); {
			b.seq.last++
			body := string(appendBody(nil, b.seq.last, b.size))
			if _, err := b.db.Publish(ctx, int(b.seq.last)%n+1, body); err != nil {
				return err
			}
			if err := sleep(ctx, gap); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	// The timer has eased when the quiet window begins.
	if err := sleep(ctx, queriesWindow); err != nil {
		return 0, 0, err
	}
	calm, err = b.asked(ctx, func() error { return sleep(ctx, queriesWindow) })
	return busy, calm, err
}

// asked is the number of statements a second that others than the bench sent
// while do ran.
func (b *bench) asked(ctx context.Context, do func() error) (float64, error) {
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
