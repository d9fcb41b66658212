package main

import (
	"context"
	"fmt"
	"time"
)

// The bodies of the slow scenario are big enough to fill what the kernel and
// the server's bounded queue take for a client that has stopped reading.
const (
	slowMessages = 300
	slowSize     = 4096
	slowEvery    = 50 * time.Millisecond
)

// slow measures what clients that stop reading do to the others: the same burst
// to the others alone, and beside the stopped ones. Comparing with a burst that
// all of them read would flatter the server, which is soon rid of some.
func (b *bench) slow(ctx context.Context, s server, at place) error {
	readers, err := b.open(ctx, s, at.transport, b.slowClients, 1)
	if err != nil {
		return err
	}
	defer readers.Close()
	play := func(messages int) (result, error) {
		return readers.play(ctx, s.Publisher(), &b.seq, burst{messages: messages, size: slowSize, pause: every(slowEvery)})
	}
	if _, err := play(slowMessages / 10); err != nil { // a fresh process's first turns are slower
		return err
	}
	alone, err := play(slowMessages)
	if err != nil {
		return err
	}
	b.recordLatency(at, "slow", "alone: ", alone)
	stopped, err := b.open(ctx, s, at.transport, b.slowStalled, 1)
	if err != nil {
		return err
	}
	defer stopped.Close()
	if err := stopped.stall(); err != nil {
		return err
	}
	beside, err := play(slowMessages)
	if err != nil {
		return err
	}
	b.recordLatency(at, "slow", "beside stopped: ", beside)
	if p99 := percentile(alone.latencies, 0.99); p99 > 0 {
		b.report.add(at, "slow", "p99 beside stopped / alone", "x", float64(percentile(beside.latencies, 0.99))/float64(p99))
	}
	return b.countCutOff(ctx, at, stopped)
}

// countCutOff reads again from clients that had stopped, to learn what became of
// them.
func (b *bench) countCutOff(ctx context.Context, at place, stopped *fleet) error {
	if err := stopped.resume(); err != nil {
		return fmt.Errorf("look after the clients that had stopped: %w", err)
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	b.report.add(at, "slow", "stopped clients cut off", "", float64(stopped.lost.Load()))
	return nil
}
