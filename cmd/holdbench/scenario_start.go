package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// start measures how long a fresh process takes until it serves, what it
// occupies when nobody is there, and the program's size.
func (b *bench) start(ctx context.Context) (err error) {
	begin := time.Now()
	b.say("start: %d times …", b.starts)
	defer func() { b.say(" %.0f s\n", time.Since(begin).Seconds()) }()
	var took []time.Duration
	for i := range b.starts {
		if i > 0 {
			if err := b.holdline.Stop(); err != nil {
				return err
			}
		}
		started := time.Now()
		if err := b.holdline.Start(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(started))
	}
	defer func() { err = errors.Join(err, b.holdline.Stop()) }()
	slices.Sort(took)
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	m, err := look(b.holdline)
	if err != nil {
		return err
	}
	program, err := os.Stat(b.holdline.program)
	if err != nil {
		return fmt.Errorf("measure the program: %w", err)
	}
	at := place{transport: overAll, server: b.holdline.Name(), round: 1}
	b.report.add(at, "start", "exec to ready, p50", "ms", milliseconds(percentile(took, 0.5)))
	b.report.add(at, "start", "exec to ready, most", "ms", milliseconds(percentile(took, 1)))
	b.report.add(at, "start", "rss without clients", "MB", float64(m.rss)/1e6)
	b.report.add(at, "start", "anonymous of it", "MB", float64(m.anon)/1e6)
	b.report.add(at, "start", "size of the program", "MB", float64(program.Size())/1e6)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
