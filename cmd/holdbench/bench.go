package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// server is a program under test. Start after Stop gives a fresh process.
type server interface {
	Name() string
	Start(context.Context) error
	Address() netip.AddrPort
	PIDs() ([]int, error)
	Wire(transport string, channel int, scratch *[]byte) wire
	Publisher() publisher
	Stop() error
}

// bench is one run of the program.
type bench struct {
	options
	log      io.Writer
	db       *database
	holdline *holdline
	peer     server // nil without --peer
	seq      sequence
	report   *report
}

// run does all rounds. Servers alternate, and who is first alternates too.
func (b *bench) run(ctx context.Context) error {
	for round := 1; round <= b.rounds; round++ {
		servers := []server{b.holdline}
		if b.peer != nil {
			servers = append(servers, b.peer)
		}
		if round%2 == 0 {
			slices.Reverse(servers)
		}
		if err := b.compare(ctx, round, servers); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := b.alone(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// compare runs the scenarios that a peer takes part in.
func (b *bench) compare(ctx context.Context, round int, servers []server) error {
	for _, transport := range b.transports {
		for _, s := range servers {
			at := place{transport: transport, server: s.Name(), round: round}
			if b.wants("memory") || b.wants("fanout") || b.wants("leave") {
				if err := b.with(ctx, s, at, "hold", b.hold); err != nil {
					return err
				}
			}
			// A long poll has no heartbeat: its end and the next poll are it.
			if b.wants("idle") && transport != overPoll {
				if err := b.with(ctx, s, at, "idle", b.idle); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// alone runs the scenarios that only a server with a database has.
func (b *bench) alone(ctx context.Context, round int) error {
	for _, transport := range b.transports {
		at := place{transport: transport, server: b.holdline.Name(), round: round}
		if b.wants("latency") {
			if err := b.with(ctx, b.holdline, at, "latency", b.latency); err != nil {
				return err
			}
		}
		// A long poll that is not read is not asked again: nothing piles up.
		if b.wants("slow") && transport != overPoll {
			if err := b.with(ctx, b.holdline, at, "slow", b.slow); err != nil {
				return err
			}
		}
	}
	if round > 1 {
		return nil
	}
	if b.wants("queries") {
		at := place{transport: overSSE, server: b.holdline.Name(), round: round}
		if err := b.with(ctx, b.holdline, at, "queries", b.queries); err != nil {
			return err
		}
	}
	if b.wants("start") {
		if err := b.start(ctx); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	if b.wants(upgradeScenario) {
		if err := b.upgrade(ctx); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
	}
	return nil
}

// with runs one scenario against a fresh process of s.
func (b *bench) with(ctx context.Context, s server, at place, name string,
	scenario func(context.Context, server, place) error,
) (err error) {
	begin := time.Now()
	b.say("round %d: %s, %s over %s …", at.round, name, at.server, at.transport)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s of %s over %s: %w", name, at.server, at.transport, err)
		}
		b.say(" %.0f s\n", time.Since(begin).Seconds())
	}()
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	return scenario(ctx, s, at)
}

// open holds n clients of s.
func (b *bench) open(ctx context.Context, s server, transport string, n, channels int) (*fleet, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not all are held after two minutes"))
	defer cancel()
	return openFleet(ctx, fleetPlan{
		server: s.Address(), clients: n, channels: min(n, channels), loops: b.loops,
		wire: func(channel int, scratch *[]byte) wire { return s.Wire(transport, channel, scratch) },
	})
}

func (b *bench) say(format string, a ...any) { fmt.Fprintf(b.log, format, a...) }

// every is a constant pause.
func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// about is a pause between half and one and a half of d, at random, so that it
// does not march in step with a tick.
func about(d time.Duration) func() time.Duration {
	return func() time.Duration { return d/2 + rand.N(d) }
}
