package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdline/internal/keep"
	"holdline/internal/spool"
	"holdline/poll"
)

// estate is what only one process of a site can have: how far its browsers have got,
// and the messages that WordPress has not stored. The process has it for terms: from
// start to stop, as often as it takes. A folder that another process has is taken as
// soon as that one lets go.
type estate struct {
	g      *Gateway
	polls  *poll.Loops
	loops  *Loops // nil where PHP answers all loops
	speech *speech
	failed chan error // of a term; of one slot

	mu   sync.Mutex
	end  func() error // of the term that runs; nil for none
	over bool         // run has ended
}

// lockedRetry is how often a folder is tried that another process has.
const lockedRetry = 300 * time.Millisecond

// start begins a term, unless one runs. Once it has returned, all that is free is
// there.
func (e *estate) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.end != nil || e.over {
		return
	}
	term, cancel := context.WithCancel(context.Background())
	var all errgroup.Group
	if e.loops != nil {
		all.Go(e.beginLoops(term))
	}
	if e.speech.backend.Store != nil {
		all.Go(e.beginBox(term))
	}
	ended := make(chan error, 1)
	go func() { // ends with the term, for which end waits
		err := all.Wait()
		if err != nil {
			select {
			case e.failed <- err:
			default:
			}
		}
		ended <- err
	}()
	e.end = func() error {
		cancel()
		return <-ended
	}
	e.polls.Resume()
}

// quit ends the term: when it returns nil, another process may have all of it, and
// goes on where this one stopped. Loops are answered with nothing from now on, and
// messages refused. With an error, of ctx, some loops may be told again what they are
// being told now.
func (e *estate) quit(ctx context.Context) error {
	err := e.polls.Quit(ctx)
	return errors.Join(err, e.stop())
}

func (e *estate) stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.end == nil {
		return nil
	}
	err := e.end()
	e.end = nil
	return err
}

// run owns the terms until ctx ends. What is under way is brought to an end then:
// first those who still speak, then what they said and the loops, last what these
// have for WordPress.
func (e *estate) run(ctx context.Context) error {
	courier, endCourier := context.WithCancel(context.WithoutCancel(ctx))
	defer endCourier()
	var all errgroup.Group
	if e.loops != nil {
		all.Go(func() error { return e.loops.Courier.Run(courier) })
	}
	all.Go(func() (err error) {
		defer endCourier()
		select {
		case <-ctx.Done():
		case err = <-e.failed:
		}
		e.speech.talks.stop()
		e.mu.Lock()
		e.over = true
		e.mu.Unlock()
		if left := e.stop(); err == nil {
			err = left
		}
		return err
	})
	return all.Wait()
}

// beginLoops takes over how far browsers have got, and returns what the loops need
// behind the answers for one term.
func (e *estate) beginLoops(ctx context.Context) func() error {
	g, l := e.g, e.loops
	open := func() (*keep.Map, error) { return g.openKeep(g.env) }
	state, err := open()
	if state != nil {
		l.Desk.TakeOver(state)
	}
	if err != nil {
		g.log.Info("another Holdline of this site runs on this machine and has the state folder: until it ends, this one remembers browsers only while it runs, "+
			"and if it is killed, what they were told in its last seconds may be told again", "error", err)
	}
	return func() error {
		var all errgroup.Group
		all.Go(func() error { return l.Desk.Run(ctx) })
		all.Go(func() error { return l.Alone.Run(ctx) })
		if err != nil {
			all.Go(func() error {
				if state, _ = await(ctx, open, keep.ErrLocked); state != nil { // openKeep tells of other errors
					l.Desk.TakeOver(state)
					g.log.Info("the other Holdline has let go of the state folder: this one has it now")
				}
				return nil
			})
		}
		err := all.Wait()
		l.Desk.LetGo()
		if state != nil {
			if closing := state.Close(); closing != nil {
				g.log.Debug("closing the state", "error", closing)
			}
		}
		return err
	}
}

// beginBox opens the folder of messages, and returns what takes them for one term.
func (e *estate) beginBox(ctx context.Context) func() error {
	g, s := e.g, e.speech
	open := func() (*spool.Spool, error) { return g.openSpool(g.env) }
	disk, err := open()
	if err == nil {
		return s.beginBox(ctx, disk)
	}
	s.off.Store(noPlace)
	g.log.Warn("browsers cannot send messages, all else works", "error", err)
	return func() error {
		if !errors.Is(err, spool.ErrLocked) {
			return nil
		}
		disk, err := await(ctx, open, spool.ErrLocked)
		if err != nil {
			if ctx.Err() == nil {
				g.log.Warn("browsers still cannot send messages, all else works", "error", err)
			}
			return nil
		}
		g.log.Info("the other Holdline has let go of the messages: this one takes them now")
		return s.beginBox(ctx, disk)()
	}
}

// await opens what another process has as soon as that lets go of it. The error is
// ctx's, or that something else is wrong now.
func await[T any](ctx context.Context, open func() (*T, error), locked error) (*T, error) {
	tick := time.NewTicker(lockedRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		if opened, err := open(); !errors.Is(err, locked) {
			return opened, err
		}
	}
}
