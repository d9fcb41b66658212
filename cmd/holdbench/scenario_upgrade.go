package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// overAll is the transport of figures that concern clients of all kinds.
const overAll = "all"

// backWithin is how long clients have for coming back before they are given up.
const backWithin = time.Minute

// upgrade replaces Holdline again and again under clients that come back as
// they are told, while rows flow: by its own upgrade (SIGUSR2), and by a
// restart on a socket that stays open. Every row must reach every client of its
// channel once.
func (b *bench) upgrade(ctx context.Context) (err error) {
	begin := time.Now()
	b.say("upgrade: %d clients, %d rows a second …", b.upgradeClients, b.upgradeRate)
	defer func() { b.say(" %.0f s\n", time.Since(begin).Seconds()) }()
	u, err := newUnit(b.holdline, b.upgradeClients)
	if err != nil {
		return err
	}
	defer u.Close()
	if _, err := u.start(ctx); err != nil {
		return err
	}
	f, err := b.openRoaming(ctx, u)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	rows := b.startRows(ctx, f)
	troubles, err := b.troubles(ctx, u, f)
	if stopErr := rows.stop(); err != nil || stopErr != nil {
		return errors.Join(err, stopErr)
	}
	if err := f.awaitDelivered(ctx, rows.due); err != nil {
		return err
	}
	b.recordUpgrade(tally(f, f.samples(), rows.first, rows.sent), rows, troubles)
	_, err = u.stop(ctx)
	return err
}

// transportAt mixes the transports, and those of each channel's clients too.
func (b *bench) transportAt(client, channels int) string {
	return b.transports[(client/channels+client%channels)%len(b.transports)]
}

// openRoaming holds clients that come back.
func (b *bench) openRoaming(ctx context.Context, u *unit) (*fleet, error) {
	channels := min(b.upgradeClients, b.upgradeChannels)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not all are held after two minutes"))
	defer cancel()
	return openFleet(ctx, fleetPlan{
		server: u.Address(), clients: b.upgradeClients, channels: channels, loops: b.loops,
		roam: func(client, channel int, scratch *[]byte, trip *journey) wire {
			return u.resume(b.transportAt(client, channels), channel, scratch, trip)
		},
	})
}

// trouble is one upgrade or restart, and what it meant to the clients.
type trouble struct {
	kind          string
	begun         time.Duration // since the fleet's start
	serving       time.Duration // until the successor was there: since the signal, or since its start
	drained       time.Duration // from the signal to the old process's end
	before, after memory        // of the old process, and of the new when all had come back
	log           tripLog
	missing       int // clients that did not come back in time
}

// troubles alternates upgrades and restarts.
func (b *bench) troubles(ctx context.Context, u *unit, f *fleet) ([]trouble, error) {
	var all []trouble
	for i := range max(b.upgrades, b.restarts) {
		for _, kind := range []struct {
			name  string
			times int
			do    func(context.Context, *unit, *trouble) error
		}{{"upgrade", b.upgrades, upgradeOnce}, {"restart", b.restarts, restartOnce}} {
			if i >= kind.times {
				continue
			}
			t := trouble{kind: kind.name}
			if err := b.make(ctx, u, f, &t, kind.do); err != nil {
				return nil, fmt.Errorf("%s %d: %w", kind.name, i+1, err)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// make goes through one trouble, from a quiet moment to the next.
func (b *bench) make(ctx context.Context, u *unit, f *fleet, t *trouble, do func(context.Context, *unit, *trouble) error) (err error) {
	f.tripLog()
	if t.before, err = u.memory(); err != nil {
		return err
	}
	t.begun = time.Since(f.start)
	if err := do(ctx, u, t); err != nil {
		return err
	}
	if err := f.awaitBack(ctx, t); err != nil {
		return err
	}
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	t.log.add(f.tripLog()) // who was told late, or went on a second trip
	t.after, err = u.memory()
	return err
}

func upgradeOnce(ctx context.Context, u *unit, t *trouble) (err error) {
	t.serving, t.drained, err = u.replace(ctx)
	return err
}

func restartOnce(ctx context.Context, u *unit, t *trouble) (err error) {
	if t.drained, err = u.stop(ctx); err != nil {
		return err
	}
	t.serving, err = u.start(ctx)
	return err
}

// awaitBack waits until every client has been away and is held again.
func (f *fleet) awaitBack(ctx context.Context, t *trouble) error {
	back := make(map[uint32]bool, f.clients)
	for deadline := time.Now().Add(backWithin); ; {
		log := f.tripLog()
		for _, trip := range log.trips {
			back[trip.client] = true
		}
		t.log.add(log)
		t.missing = f.clients - min(len(back), int(f.held.Load()))
		if t.missing == 0 || time.Now().After(deadline) {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// rows is a steady flow of rows into a fleet's channels, in turn.
type rows struct {
	first uint32 // number of sent[0]
	sent  []message
	due   int64         // deliveries
	took  time.Duration // from the first to the last
	end   context.CancelFunc
	done  chan error
}

// startRows begins to insert rows; the caller stops it.
func (b *bench) startRows(ctx context.Context, f *fleet) *rows {
	ctx, cancel := context.WithCancel(ctx)
	f.samples()
	r := &rows{first: b.seq.last + 1, due: f.delivered.Load(), end: cancel, done: make(chan error, 1)}
	go func() { r.done <- r.run(ctx, b, f) }()
	return r
}

func (r *rows) run(ctx context.Context, b *bench, f *fleet) error {
	for begin := time.Now(); ; r.took = time.Since(begin) {
		// By the clock, so that what a busy machine delays is made up for.
		due := begin.Add(time.Duration(len(r.sent)+1) * time.Second / time.Duration(b.upgradeRate))
		if sleep(ctx, time.Until(due)) != nil {
			return nil
		}
		b.seq.last++
		channel := len(r.sent)%f.channels + 1
		// Not broken off by ctx: nobody would know whether the row is there.
		at, err := b.db.Publish(context.WithoutCancel(ctx), channel, string(appendBody(nil, b.seq.last, b.size)))
		if err != nil {
			return err
		}
		r.sent = append(r.sent, message{channel: channel, at: at.Sub(f.start)})
		r.due += int64(f.subscribers(channel))
	}
}

// stop ends the flow. The fields may be read from then on.
func (r *rows) stop() error {
	r.end()
	return <-r.done
}

// awaitDelivered waits until all that is due has been read, for ten seconds at
// most, and a little longer for what comes twice.
func (f *fleet) awaitDelivered(ctx context.Context, due int64) error {
	for deadline := time.Now().Add(10 * time.Second); f.delivered.Load() < due && time.Now().Before(deadline); {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return sleep(ctx, time.Second)
}
