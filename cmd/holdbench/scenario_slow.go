package main

import (
	"context"
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
// before and after they stop.
func (b *bench) slow(ctx context.Context, s server, at place) error {
	f, err := b.open(ctx, s, at.transport, b.slowClients+b.slowStalled, 1)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	others := func(client int) bool { return client >= b.slowStalled }
	run := func(prefix string) (time.Duration, error) {
		r, err := f.play(ctx, s.Publisher(), &b.seq, burst{
			messages: slowMessages, size: slowSize, pause: every(slowEvery), counts: others,
		})
		if err == nil {
			b.recordLatency(at, "slow", prefix, r)
		}
		return percentile(r.latencies, 0.99), err
	}
	reading, err := run("all read: ")
	if err != nil {
		return err
	}
	for _, l := range f.loops {
		if err := l.stall(uint32(b.slowStalled)); err != nil {
			return err
		}
	}
	stalled, err := run("some stopped: ")
	if err != nil {
		return err
	}
	b.report.add(at, "slow", "p99 stopped / all read", "x", float64(stalled)/float64(reading))
	lost := f.lost.Load()
	for _, l := range f.loops {
		if err := l.wake(uint32(b.slowStalled)); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	b.report.add(at, "slow", "stopped clients cut off", "", float64(f.lost.Load()-lost))
	return nil
}
