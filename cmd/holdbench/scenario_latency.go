package main

import (
	"context"
	"time"
)

// latency measures COMMIT to client with few clients, by the timer alone and
// with the wake doorbell.
func (b *bench) latency(ctx context.Context, s server, at place) error {
	f, err := b.open(ctx, s, at.transport, b.latencyClients, 1)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	for _, bell := range []struct {
		prefix    string
		publisher publisher
	}{{"timer ", b.db}, {"wake ", s.Publisher()}} {
		r, err := f.play(ctx, bell.publisher, &b.seq, burst{
			messages: b.latencyMessages, size: b.size, pause: about(100 * time.Millisecond),
		})
		if err != nil {
			return err
		}
		b.recordLatency(at, "latency", bell.prefix, r)
	}
	return nil
}
