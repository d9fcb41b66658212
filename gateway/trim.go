package gateway

import (
	"context"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// runTrim gives memory back after a wave of clients has come or gone, or both
// (a row that answers thousands of polls has all of them come again), and whenever
// much lies idle. Each arrival leaves behind net/http's buffers and a goroutine's
// stack, 10 KB that the next collection would free in its own time; a sidecar on a
// small host shows what it needs, not what it once needed.
func (g *Gateway) runTrim(ctx context.Context) error {
	const (
		wave  = 500
		pause = 20 // ticks: a collection costs milliseconds
	)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	// The latter two are since the last time; the start was a wave, too.
	before, least, most := 0, 0, wave
	for rested := 0; ; rested++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		held := g.lot.Held()
		calm := max(held, before)-min(held, before) < wave
		least, most = min(least, held), max(most, held)
		if calm && (most-least >= wave || rested >= pause && isSlack()) {
			debug.FreeOSMemory()
			least, most, rested = held, held, 0
		}
		before = held
	}
}

// isSlack tells whether the heap keeps much more than is in use: more than the
// quarter that comes and goes between two collections.
func isSlack() bool {
	const least = 2 << 20
	now := []runtimemetrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(now)
	return now[0].Value.Uint64() > least+now[1].Value.Uint64()/4
}
