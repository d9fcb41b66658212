//go:build linux

package main

import (
	"io"
	"os"
	"testing"
	"time"
)

// testBench measures s without a database.
func testBench(t *testing.T, s server, args ...string) *bench {
	t.Helper()
	o, err := parseOptions(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{options: o, log: t.Output(), peer: s, report: newReport(o)}
}

// Fifty clients on each transport, in ten channels, get all of theirs once.
func TestNchanEndToEnd(t *testing.T) {
	peer := &nchan{dir: t.TempDir()}
	if err := peer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := peer.Stop(); err != nil {
			t.Error(err)
		}
	})
	b := testBench(t, peer)
	for _, transport := range allTransports() {
		t.Run(transport, func(t *testing.T) {
			f, err := b.open(t.Context(), peer, transport, 50, 10)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := f.play(t.Context(), peer.Publisher(), &b.seq, burst{
				messages: 40, size: 128, pause: every(20 * time.Millisecond),
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.latencies) != 200 || r.missing+r.duplicates+r.foreign+r.lost != 0 {
				t.Errorf("%d deliveries of 200, missing %d, duplicates %d, foreign %d, lost %d",
					len(r.latencies), r.missing, r.duplicates, r.foreign, r.lost)
			}
			if percentile(r.latencies, 0) <= 0 {
				t.Errorf("a message arrived %s before it was published", -percentile(r.latencies, 0))
			}
		})
	}
	pids, err := peer.PIDs()
	if err != nil || len(pids) != 3 {
		t.Fatalf("processes %v, %v: want a master and two workers", pids, err)
	}
	m, err := readMemory(pids)
	if err != nil || m.rss < m.pss || m.pss <= m.anon || m.anon <= 0 {
		t.Errorf("memory %+v, %v", m, err)
	}
	// The kernel counts in hundredths of a second, and nginx may have needed none.
	cpu, err := cpuSeconds(append(pids, os.Getpid()))
	if err != nil || cpu <= 0 {
		t.Errorf("CPU %g s, %v", cpu, err)
	}
	k, err := readKernel()
	if err != nil || k.slab <= 0 {
		t.Errorf("kernel %+v, %v", k, err)
	}
}

// A server that has gone is an error, not a hang.
func TestServerGone(t *testing.T) {
	peer := &nchan{dir: t.TempDir()}
	if err := peer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := testBench(t, peer)
	f, err := b.open(t.Context(), peer, overSSE, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := peer.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.play(t.Context(), peer.Publisher(), &b.seq, burst{messages: 1, size: 32, pause: every(1)}); err == nil {
		t.Error("published to a server that is gone")
	}
	if _, err := b.open(t.Context(), peer, overSSE, 20, 1); err == nil {
		t.Error("connected to a server that is gone")
	}
}
