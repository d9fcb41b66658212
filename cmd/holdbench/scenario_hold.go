package main

import (
	"context"
	"fmt"
	"time"
)

// hold measures memory while clients come, the fan-out to them, and memory
// after they have left: one server process goes through all three.
func (b *bench) hold(ctx context.Context, s server, at place) error {
	if err := b.warmUp(ctx, s, at); err != nil {
		return err
	}
	before, err := look(s)
	if err != nil {
		return err
	}
	f, err := b.open(ctx, s, at.transport, b.clients, b.channels)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	during, err := look(s)
	if err != nil {
		return err
	}
	if b.wants("memory") {
		b.recordMemory(at, before, during)
	}
	if b.wants("fanout") {
		if err := b.fanout(ctx, s, at, f); err != nil {
			return err
		}
	}
	if lost := f.lost.Load(); lost > 0 {
		return fmt.Errorf("%d clients were dropped, the first: %w", lost, *f.reason.Load())
	}
	if !b.wants("leave") {
		return nil
	}
	f.Close()
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	after, err := look(s)
	if err != nil {
		return err
	}
	b.report.add(at, "leave", "rss left 2 s after all closed", "MB", float64(after.rss-before.rss)/1e6)
	b.report.add(at, "leave", "pss left 2 s after all closed", "MB", float64(after.pss-before.pss)/1e6)
	return nil
}

// warmUp brings a fresh process to where only clients add to its memory. A first
// few clients bring the code in that serves them, which is not what each
// connection costs.
func (b *bench) warmUp(ctx context.Context, s server, at place) error {
	if err := sleep(ctx, b.settle/2); err != nil { // 4 s, unless told otherwise
		return err
	}
	few, err := b.open(ctx, s, at.transport, min(b.clients, 100), b.channels)
	if err != nil {
		return err
	}
	few.Close()
	return sleep(ctx, b.settle/2)
}

// sight is all memory at one moment.
type sight struct {
	memory
	kernel
}

func look(s server) (sight, error) {
	pids, err := s.PIDs()
	if err != nil {
		return sight{}, err
	}
	m, err := readMemory(pids)
	if err != nil {
		return sight{}, err
	}
	k, err := readKernel()
	return sight{m, k}, err
}

func (b *bench) recordMemory(at place, before, during sight) {
	each := func(grown int64) float64 { return float64(grown) / float64(b.clients) }
	add := func(metric string, grown int64) { b.report.add(at, "memory", metric, "B", each(grown)) }
	add("rss per connection", during.rss-before.rss)
	add("pss per connection", during.pss-before.pss)
	add("anonymous per connection", during.anon-before.anon)
	add("kernel slab per socket", (during.slab-before.slab)/2)
	add("kernel buffers per socket", (during.buffers-before.buffers)/2)
	b.report.add(at, "memory", "rss before the first", "MB", float64(before.rss)/1e6)
}

// fanout publishes to all clients and accounts for every delivery.
func (b *bench) fanout(ctx context.Context, s server, at place, f *fleet) error {
	pids, err := s.PIDs()
	if err != nil {
		return err
	}
	before, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	r, err := f.play(ctx, s.Publisher(), &b.seq, burst{
		messages: b.messages, size: b.size, pause: every(b.every),
	})
	if err != nil {
		return err
	}
	after, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	b.recordLatency(at, "fanout", "", r)
	if n := len(r.latencies); n > 0 {
		b.report.add(at, "fanout", "server CPU per 1M deliveries", "s", (after-before)/float64(n)*1e6)
	}
	return nil
}

// recordLatency adds a result's figures; prefix tells variants apart.
func (b *bench) recordLatency(at place, scenario, prefix string, r result) {
	ms := func(q float64) float64 { return float64(percentile(r.latencies, q).Nanoseconds()) / 1e6 }
	b.report.add(at, scenario, prefix+"p50", "ms", ms(0.50))
	b.report.add(at, scenario, prefix+"p90", "ms", ms(0.90))
	b.report.add(at, scenario, prefix+"p99", "ms", ms(0.99))
	b.report.add(at, scenario, prefix+"max", "ms", ms(1))
	b.report.add(at, scenario, prefix+"deliveries", "", float64(len(r.latencies)))
	b.report.add(at, scenario, prefix+"missing", "", float64(r.missing))
	b.report.add(at, scenario, prefix+"duplicates", "", float64(r.duplicates+r.foreign))
	b.report.add(at, scenario, prefix+"dropped clients", "", float64(r.lost))
}
