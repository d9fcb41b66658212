package main

import (
	"context"
	"fmt"
	"time"
)

// idleWindow holds two heartbeats of every client.
const idleWindow = 30 * time.Second

// idle measures the CPU that held clients with a heartbeat each 15 s cost.
func (b *bench) idle(ctx context.Context, s server, at place) error {
	f, err := b.open(ctx, s, at.transport, b.idleClients, b.idleChannels)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	pids, err := s.PIDs()
	if err != nil {
		return err
	}
	before, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	if err := sleep(ctx, idleWindow); err != nil {
		return err
	}
	after, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	if lost := f.lost.Load(); lost > 0 {
		return fmt.Errorf("%d idle clients were dropped, the first: %w", lost, *f.reason.Load())
	}
	b.report.add(at, "idle", "server CPU in 30 s", "s", after-before)
	b.report.add(at, "idle", "of one core", "%", (after-before)/idleWindow.Seconds()*100)
	return nil
}
