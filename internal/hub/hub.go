// Package hub carries events from sources to subscribers: it encodes each once
// per wire format, fans out from one sender goroutine per core, and brings a
// returning client from its cursor to the present without a gap or a repeat.
//
// How catching up works: a subscriber has a cursor, a sender has a position, and
// both are marks (chat.Mark: the last id and the ids still open). What the
// client is missing is the difference of the two, taken from the ring of recent
// events or, further back, from the database. The sender alone hands events
// over, so the step from the last missing event to the first live one cannot
// have anything in between.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdline/internal/chat"
)

// Source is one table's tail, as the hub needs it.
type Source interface {
	// Name is the first part of the source's channels.
	Name() string
	// Wake asks for a read now and returns a ticket: a batch whose Fresh is at
	// least that comes even when there is nothing new. It never blocks.
	Wake() (ticket uint64)
	// Rows reads stored rows: those with after < id <= upTo or id in ids, on the
	// given channels (names without the source; nil means all), ascending, at
	// most limit. When the limit cut it short, cut is the last id looked at, else
	// 0. It may be slow and may fail; the hub tries again.
	Rows(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) (events []chat.Event, cut int64, err error)
}

// Subscriber takes what its channels say. All calls come from one sender
// goroutine, one after the other, and must never block.
type Subscriber interface {
	// Live tells that the subscriber has caught up (or began without a cursor),
	// where it stands, and what is the case on its channels: their states as far
	// as they are known, and behind those the tellings that are kept (nil for
	// none, or none that a one-off subscriber has not seen). It may come again,
	// with all of that, after the source was paused; a one-off subscriber that was
	// answered before never hears it.
	Live(cursor string, states *Delivery)
	// Deliver hands over events in the order of their ids as they became known, or
	// something that was told and not stored (Delivery.Cursor is then empty).
	Deliver(d *Delivery)
}

// Options of a Hub.
type Options struct {
	Logger *slog.Logger
	// Senders is the number of sender goroutines; 0 is one for each core.
	Senders int
	// Linger is how long a channel without subscribers counts as watched, so
	// that a long poll's pause between two requests stops nothing. 0 is 2 s.
	Linger time.Duration
}

// Hub is safe for concurrent use. New starts nothing; Run carries.
type Hub struct {
	opt     Options
	senders []*sender
	next    atomic.Uint32 // round robin of new subscribers over senders
	catchUp *catchUp

	// publishing keeps the order of batches the same for all senders. It may be
	// held while a sender is behind, so nothing else waits for it.
	publishing sync.Mutex

	mu       sync.Mutex
	sources  map[string]*source
	channels map[string]*channel
	deserted int         // channels that nobody is subscribed to, and that are not forgotten yet
	cursor   chat.Cursor // the newest position of every source
	board    board

	dropped atomic.Uint64 // tellings
}

// source is the hub's view of one Source. The mutable part is guarded by Hub.mu.
type source struct {
	Source
	key     string // name inside cursors; "" for the first source
	ring    ring
	paused  bool
	watched []string // as Watched last returned it
	stale   bool     // watched must be made anew
}

// channel is one channel's entry. The lists belong to the senders, each to its
// own goroutine; the rest is guarded by Hub.mu.
type channel struct {
	name  string
	src   *source
	lists [][]*Sub // by sender
	refs  int32
	empty time.Time // since when nobody is subscribed; zero while somebody is
	state *Delivery // the newest status; nil while unknown
}

// New makes a hub that carries nothing yet.
func New(opt Options) *Hub {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Senders = cmp.Or(opt.Senders, min(runtime.GOMAXPROCS(0), 16))
	opt.Linger = cmp.Or(opt.Linger, 2*time.Second)
	h := &Hub{
		opt:      opt,
		sources:  make(map[string]*source),
		channels: make(map[string]*channel),
	}
	for i := range opt.Senders {
		h.senders = append(h.senders, newSender(h, i))
	}
	h.catchUp = newCatchUp(h)
	return h
}

// Add makes a source known, before Run. The first one added is the primary,
// whose marks stand in cursors without a name.
func (h *Hub) Add(src Source) {
	s := &source{Source: src}
	if len(h.sources) > 0 {
		s.key = src.Name()
	}
	h.sources[src.Name()] = s
}

// Run carries until ctx ends. It is called once.
func (h *Hub) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range h.senders {
		g.Go(func() error { return s.run(ctx) })
	}
	g.Go(func() error { return h.catchUp.run(ctx) })
	g.Go(func() error { return h.runSweep(ctx) })
	return g.Wait()
}

// runSweep notices channels that nobody has asked for in a while.
func (h *Hub) runSweep(ctx context.Context) error {
	tick := time.NewTicker(h.opt.Linger / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			h.sweep(now)
		}
	}
}

func (h *Hub) sweep(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deserted == 0 {
		return // nearly always, and there may be thousands
	}
	for _, ch := range h.channels {
		if ch.isOver(now, h.opt.Linger) {
			ch.src.stale = true
		}
	}
}

// isOver tells whether nobody has been subscribed for longer than linger.
func (ch *channel) isOver(now time.Time, linger time.Duration) bool {
	return ch.refs == 0 && now.Sub(ch.empty) >= linger
}

// Watched returns the channels of a source, without its name, that somebody is
// or was just now subscribed to. The slice is shared: read it only.
//
// A channel is forgotten here and nowhere else, so that its source hears of it:
// were it forgotten and made anew between two calls, its state would be unknown
// to us, and known to everybody for the source.
func (h *Hub) Watched(sourceName string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	src := h.sources[sourceName]
	if src == nil {
		return nil
	}
	if !src.stale {
		return src.watched
	}
	src.stale, src.watched = false, nil
	now := time.Now()
	for name, ch := range h.channels {
		switch {
		case ch.src != src:
		case ch.isOver(now, h.opt.Linger):
			delete(h.channels, name)
			h.deserted--
		default:
			_, rest, _ := chat.SplitChannel(name)
			src.watched = append(src.watched, rest)
		}
	}
	slices.Sort(src.watched)
	return src.watched
}

// sourceOf finds the source of a channel that is known to have one.
func (h *Hub) sourceOf(channel string) *source {
	name, _, _ := chat.SplitChannel(channel)
	return h.sources[name]
}

// Publish hands a batch to every subscriber. It returns once the senders have
// taken it over, and waits while they are far behind: the tail slows down and
// the rows wait in their table. Batches of one source come from one goroutine.
func (h *Hub) Publish(ctx context.Context, b chat.Batch) error {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	p, err := h.record(b)
	if err != nil {
		return err
	}
	for _, s := range h.senders {
		if err := s.publish(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Pause tells that a source is not read any more and will later go on from
// wherever its table then ends: until the next batch nobody's position is known.
func (h *Hub) Pause(ctx context.Context, sourceName string) error {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.mu.Lock()
	if src := h.sources[sourceName]; src != nil {
		src.paused = true
	}
	h.mu.Unlock()
	for _, s := range h.senders {
		if err := s.publish(ctx, &publication{source: sourceName, pause: true}); err != nil {
			return err
		}
	}
	return nil
}

// publication is a batch on its way to the senders.
type publication struct {
	source string
	ds     []*Delivery
	// settled are those of ds with rows of messages that were pending; nil for none.
	settled map[*Delivery]*settlement

	mark   chat.Mark
	cursor string // text of all sources' marks behind this batch
	pause  bool
	reset  bool
	fresh  uint64
}

// record turns a batch into deliveries with cursors and remembers it.
func (h *Hub) record(b chat.Batch) (*publication, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	src := h.sources[b.Source]
	if src == nil {
		return nil, fmt.Errorf("publish: no source is called %q", b.Source)
	}
	p := &publication{source: b.Source, mark: b.Mark, reset: b.Reset, fresh: b.Fresh}
	if _, known := h.cursor.Mark(src.key); b.Reset || !known || src.paused {
		if len(b.Events) > 0 {
			return nil, errors.New("publish: a source that starts must tell its position alone")
		}
		src.ring.restart(b.Mark)
		src.paused = false
	}
	for start := 0; start < len(b.Events); {
		end := start + 1
		for end < len(b.Events) && b.Events[end].Channel == b.Events[start].Channel &&
			b.Events[end].Type != chat.TypeStatus && b.Events[end-1].Type != chat.TypeStatus {
			end++
		}
		run := b.Events[start:end:end]
		for i := range run {
			run[i].Cursor = h.cursor.With(src.key, run[i].Mark).String()
		}
		d := newDelivery(run)
		p.ds = append(p.ds, d)
		if st := h.board.settle(d); st != nil {
			if p.settled == nil {
				p.settled = make(map[*Delivery]*settlement)
			}
			p.settled[d] = st
		}
		start = end
	}
	src.ring.append(p.ds)
	for _, d := range p.ds {
		if ch := h.channels[d.channel]; ch != nil && d.tag != 0 {
			ch.state = d
		}
	}
	h.cursor = h.cursor.With(src.key, b.Mark)
	p.cursor = h.cursor.String()
	return p, nil
}

// Subscribers counts who is subscribed, caught up or not.
func (h *Hub) Subscribers() int {
	n := 0
	for _, s := range h.senders {
		n += int(s.subs.Load())
	}
	return n
}

// Each calls fn for every subscriber, from the senders' goroutines, some time
// soon. It is how logins are revoked and the house is emptied.
func (h *Hub) Each(fn func(Subscriber)) {
	for _, s := range h.senders {
		s.post(command{each: fn})
	}
}
