package outbox

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"holdline/internal/spool"
)

// work takes from the spool and stores until the context ends.
func (o *Outbox) work(ctx context.Context) error {
	for {
		recs, err := o.opt.Spool.Take(ctx, o.opt.Batch, o.opt.Batch)
		if err == nil {
			err = o.deliverAll(ctx, recs)
		}
		if ctx.Err() != nil {
			return nil // what is in flight comes again in the next life
		}
		if err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
}

func (o *Outbox) deliverAll(ctx context.Context, recs []spool.Record) error {
	batches, err := o.plan(recs)
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := o.deliver(ctx, b.all); err != nil {
			return err
		}
	}
	return nil
}

// deliver has messages stored and marks what became of them. The error is the
// context's, or the spool's.
func (o *Outbox) deliver(ctx context.Context, all []taken) error {
	for _, lane := range byChannel(all) {
		if err := o.awaitShown(ctx, lane[0].msg.Channel); err != nil {
			return err
		}
	}
	ms := readable(all)
	if len(ms) == 0 {
		return o.settleAll(all, nil)
	}
	probe, err := o.gate.enter(ctx)
	if err != nil {
		o.gate.leave(probe, unknown)
		return err
	}
	fates, err := o.store(ctx, ms)
	how := answered
	switch {
	case err != nil && (ctx.Err() != nil || o.isOwnTrouble(all)):
		how = unknown
	case err != nil:
		how = silent
	}
	turned, was := o.gate.leave(probe, how)
	switch {
	case turned && how == answered:
		o.opt.Logger.Info("WordPress stores messages again", "after", was)
		o.opt.Spool.Hurry()
	case turned:
		o.opt.Logger.Warn("WordPress does not store messages; they are kept, and tried again", "error", err)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range all {
		if err == nil && all[i].bad == nil {
			all[i].fate, fates = fates[0], fates[1:]
		}
	}
	return o.settleAll(all, err)
}

func readable(all []taken) []Message {
	var ms []Message
	for _, t := range all {
		if t.bad == nil {
			ms = append(ms, t.msg)
		}
	}
	return ms
}

// store calls Store within bounds, and believes only what can be true.
func (o *Outbox) store(ctx context.Context, ms []Message) ([]Fate, error) {
	ctx, cancel := context.WithTimeout(ctx, o.opt.Timeout)
	defer cancel()
	fates, err := o.callStore(ctx, ms)
	if err == nil {
		err = checkFates(ms, fates)
	}
	o.tally(func(s *Stats) {
		s.Calls++
		if err != nil {
			s.Failures++
		}
	})
	return fates, err
}

// callStore makes an error of a panic: the messages are on disk and must not keep
// the process from starting again and again.
func (o *Outbox) callStore(ctx context.Context, ms []Message) (fates []Fate, err error) {
	defer func() {
		if p := recover(); p != nil {
			fates, err = nil, fmt.Errorf("outbox: storing panicked: %v", p)
			o.opt.Logger.Error("storing messages panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return o.opt.Store.Store(ctx, ms)
}

// checkFates refuses an answer that cannot be true. Nothing is known then, and
// asking again is harmless.
func checkFates(ms []Message, fates []Fate) error {
	if len(fates) != len(ms) {
		return fmt.Errorf("outbox: %d fates for %d messages", len(fates), len(ms))
	}
	type row struct {
		source string
		id     int64
	}
	rows := make(map[row]bool)
	for i, f := range fates {
		switch {
		case f.ID < 0:
			return fmt.Errorf("outbox: a message became row %d", f.ID)
		case f.ID > 0 && f.Refused != nil:
			return fmt.Errorf("outbox: a message became row %d and was refused", f.ID)
		case f.ID > 0:
			source, _, _ := strings.Cut(ms[i].Channel, "/")
			if rows[row{source, f.ID}] {
				return fmt.Errorf("outbox: two messages became row %d", f.ID)
			}
			rows[row{source, f.ID}] = true
		}
	}
	return nil
}
