package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// clientsPerAddress keeps each source address far from the 28,232 ports that
// Linux gives out by default (ip_local_port_range).
const clientsPerAddress = 5000

// opening bounds the handshakes under way, so that the listen queue of a server
// is not what is measured.
const opening = 128

// fleet is a number of held clients, spread over channels 1 to channels in
// turn: client i has channel i%channels + 1.
type fleet struct {
	clients  int
	channels int
	loops    []*loop
	start    time.Time // zero of all sample times

	delivered atomic.Int64 // messages read so far
	held      atomic.Int64 // clients that the server holds now
	lost      atomic.Int64 // clients that ended after they had been held
	reason    atomic.Pointer[error]
}

// sample is one message read by one client.
type sample struct {
	seq    uint32
	client uint32
	at     time.Duration // since the fleet's start, right after the read
}

// sourceAddress is the loopback address that client i connects from. The
// server's own 127.0.0.1 is left out.
func sourceAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i/clientsPerAddress)})
}

// client is one socket, or with a journey one after another.
type client struct {
	server netip.AddrPort
	wire   wire
	index  uint32
	state  clientState
	trip   *journey    // nil for one that stays at home
	again  func() wire // the protocol of the next connection
}

type clientState uint8

const (
	connecting clientState = iota
	asking                 // the request is out
	held
)

// fleetPlan says what to open.
type fleetPlan struct {
	server   netip.AddrPort
	clients  int
	channels int
	loops    int // threads that read
	// wire makes one client's protocol; scratch is lent by its loop.
	wire func(channel int, scratch *[]byte) wire
	// roam, in the place of wire, is for clients that come back whenever their
	// connection ends: the protocol of client's next one, by its journey.
	roam func(client, channel int, scratch *[]byte, trip *journey) wire
}

// client lays out client i of the plan.
func (p *fleetPlan) client(i int, scratch *[]byte) *client {
	c := &client{server: p.server, index: uint32(i)}
	channel := i%p.channels + 1
	if p.roam == nil {
		c.wire = p.wire(channel, scratch)
		return c
	}
	c.trip = &journey{client: c.index}
	c.again = func() wire { return p.roam(i, channel, scratch, c.trip) }
	c.wire = c.again()
	return c
}

// openFleet connects all clients and returns when the server holds the last; it
// fails when any of them is refused. The caller closes the fleet.
func openFleet(ctx context.Context, p fleetPlan) (*fleet, error) {
	f := &fleet{clients: p.clients, channels: p.channels, start: time.Now()}
	opened := make(chan error, p.clients)
	for range p.loops {
		l, err := newLoop(f, opened)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.loops = append(f.loops, l)
	}
	if err := f.open(ctx, p, opened); err != nil {
		f.Close()
		return nil, fmt.Errorf("open %d clients: %w", p.clients, err)
	}
	return f, nil
}

func (f *fleet) open(ctx context.Context, p fleetPlan, opened <-chan error) error {
	var first error
	held, failed := 0, 0
	wait := func() error {
		select {
		case err := <-opened:
			if err == nil {
				held++
				return nil
			}
			failed++
			if first == nil {
				first = err
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%d are held, %d failed: %w", held, failed, ctx.Err())
		}
	}
	for i := range p.clients {
		for i-held-failed >= opening {
			if err := wait(); err != nil {
				return err
			}
		}
		l := f.loops[i%len(f.loops)]
		if err := l.connect(p.client(i, &l.scratch)); err != nil {
			return err
		}
	}
	for held+failed < p.clients {
		if err := wait(); err != nil {
			return err
		}
	}
	if first != nil {
		return fmt.Errorf("%d of %d failed, the first: %w", failed, p.clients, first)
	}
	return nil
}

// subscribers is the number of clients on a channel.
func (f *fleet) subscribers(channel int) int {
	return (f.clients - channel + f.channels) / f.channels
}

// stall stops reading from all clients, as browser tabs that sleep do; resume
// reads again.
func (f *fleet) stall() error  { return f.watch(false) }
func (f *fleet) resume() error { return f.watch(true) }

func (f *fleet) watch(reading bool) error {
	for _, l := range f.loops {
		if err := l.watch(reading); err != nil {
			return err
		}
	}
	return nil
}

// dropped notes a client that ended after it had been held.
func (f *fleet) dropped(err error) {
	f.lost.Add(1)
	f.reason.CompareAndSwap(nil, &err)
}

// Close closes all clients in order (FIN) and waits for the loops to end.
func (f *fleet) Close() {
	for _, l := range f.loops {
		l.Close()
	}
	f.loops = nil
}

// samples takes what has been read since the last call.
func (f *fleet) samples() []sample {
	var all []sample
	for _, l := range f.loops {
		all = append(all, l.take()...)
	}
	return all
}

// tripLog takes what the journeys have noted since the last call.
func (f *fleet) tripLog() tripLog {
	var all tripLog
	for _, l := range f.loops {
		all.add(l.takeLog())
	}
	return all
}

// message is one published message.
type message struct {
	channel int
	at      time.Duration // since the fleet's start: its COMMIT, or its publish
}

// result is what a fleet saw of some messages.
type result struct {
	latencies  []time.Duration // of first deliveries, ascending
	duplicates int             // the same message twice at one client
	missing    int             // due but not read
	foreign    int             // read by a client of another channel, or never sent
	lost       int             // clients that the server dropped meanwhile
}

// tally compares what was read with what was sent: sent[i] has the number
// first+i.
func tally(f *fleet, samples []sample, first uint32, sent []message) result {
	var r result
	seen := make([]bool, f.clients*len(sent))
	for _, s := range samples {
		i := int(int64(s.seq) - int64(first))
		if i < 0 || i >= len(sent) || sent[i].channel != int(s.client)%f.channels+1 {
			r.foreign++
			continue
		}
		if at := i*f.clients + int(s.client); seen[at] {
			r.duplicates++
		} else {
			seen[at] = true
			r.latencies = append(r.latencies, s.at-sent[i].at)
		}
	}
	due := 0
	for _, m := range sent {
		due += f.subscribers(m.channel)
	}
	r.missing = due - len(r.latencies)
	slices.Sort(r.latencies)
	return r
}

// publisher sends one message and says when its latency begins.
type publisher interface {
	Publish(ctx context.Context, channel int, body string) (time.Time, error)
}

// burst is a run of messages.
type burst struct {
	messages int
	size     int                  // bytes of a body
	pause    func() time.Duration // before each message
}

// sequence numbers the messages of the whole process: a late one of an earlier
// burst cannot pass for one of this.
type sequence struct{ last uint32 }

// play publishes a burst to the fleet's channels in turn and waits for it to
// arrive: five seconds at most, and a little longer for what comes twice.
func (f *fleet) play(ctx context.Context, pub publisher, seq *sequence, b burst) (result, error) {
	f.samples()
	lost := f.lost.Load()
	first := seq.last + 1
	due := f.delivered.Load()
	var sent []message
	for i := range b.messages {
		if err := sleep(ctx, b.pause()); err != nil {
			return result{}, err
		}
		seq.last++
		channel := i%f.channels + 1
		at, err := pub.Publish(ctx, channel, string(appendBody(nil, seq.last, b.size)))
		if err != nil {
			return result{}, fmt.Errorf("publish message %d of %d: %w", i+1, b.messages, err)
		}
		sent = append(sent, message{channel: channel, at: at.Sub(f.start)})
		due += int64(f.subscribers(channel))
	}
	for deadline := time.Now().Add(5 * time.Second); f.delivered.Load() < due && time.Now().Before(deadline); {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return result{}, err
		}
	}
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return result{}, err
	}
	r := tally(f, f.samples(), first, sent)
	r.lost = int(f.lost.Load() - lost)
	if reason := f.reason.Load(); r.lost > 0 && reason != nil && len(r.latencies) == 0 {
		return r, fmt.Errorf("no message arrived and %d clients were dropped, the first: %w", r.lost, *reason)
	}
	return r, nil
}

// sleep waits for d or the context's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
