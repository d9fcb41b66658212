package wplc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/internal/lru"
	"holdline/wpdb"
)

// Visit is what a visitor's request tells of itself, raw from its headers:
// Referer, User-Agent, and the address it came from.
type Visit struct{ URL, UserAgent, IP string }

// Writes takes the writes that PHP's loops would have made. Its methods must not
// block and are called concurrently.
type Writes interface {
	// Effect is a heartbeat or a change of a chat's status; e.Switch means at once.
	Effect(e Effect, v Visit)
	// Read tells that messages have been delivered.
	Read(ids []int64)
	// Age tells that a loop is held which in PHP would have run the plugin's ageing
	// (wplc_update_chat_statuses).
	Age()
}

// DeskOptions are what a Desk works with.
type DeskOptions struct {
	// Query reads the database; nil is the source's own site.
	Query wpdb.Querier
	// Writes is nil where no companion plugin is there to make the writes: then
	// only relayed loops are right, in which PHP makes them.
	Writes Writes
	// Wake has all held loops of a channel asked again. It must not call back into
	// the Desk before it returns. Never nil.
	Wake func(channel string)
	// Keep holds how far each client has got for the next process; nil: memory only,
	// until TakeOver.
	Keep   Keep
	Logger *slog.Logger
}

const (
	// maxClients bounds the browsers that are remembered between their polls.
	maxClients = 100_000
	// clientLife is how long one is remembered after its last poll. A page polls
	// every half minute, unless its machine sleeps.
	clientLife = time.Hour
	// defaultHold is the plugin's own, where its settings cannot be read.
	defaultHold = 27500 * time.Millisecond
	// pendingLook is how often a visitor who waits for an agent has the ageing run
	// within his hold, so that he is told "no answer" about when PHP would say so: it
	// ages at 14 s, 43 s, 72 s of his loops one after the other.
	pendingLook = 15 * time.Second
)

// Desk makes the loops of a site's browsers: each knows how to answer one
// request, and the Desk what has to be remembered from one request to the next.
// All its methods may be called concurrently; Run has to run for relayed loops.
type Desk struct {
	src *Source
	opt DeskOptions

	// What clients have, in whichever way they are answered.
	cursors *lru.Map[string, position]
	slots   *slots
	doubts  *doubts
	telling *lru.Map[string, telling]
	kept    *kept

	pulses   *lru.Map[string, pulse] // by chat: heartbeats through PHP
	memories *lru.Map[string, memory]
	lists    *lru.Map[string, string] // what the rows showed that a client's list was made of
	forwards *forwards
	ageing   ageing
	gripe    gripe
}

// NewDesk starts nothing; see Run.
func NewDesk(src *Source, opt DeskOptions) *Desk {
	if opt.Query == nil {
		opt.Query = src.site
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Desk{
		src:     src,
		opt:     opt,
		cursors: lru.New[string, position](maxClients, clientLife),
		doubts:  newDoubts(),
		telling: lru.New[string, telling](maxClients, time.Minute),
		kept:    &kept{log: opt.Logger},
	}
	d.slots = newSlots(d.kept)
	if opt.Keep != nil {
		d.TakeOver(opt.Keep)
	}
	return d.start()
}

// start makes what belongs to one way of answering.
func (d *Desk) start() *Desk {
	d.pulses = lru.New[string, pulse](maxClients, clientLife)
	d.memories = lru.New[string, memory](maxClients, clientLife)
	d.lists = lru.New[string, string](maxClients, clientLife)
	d.forwards = &forwards{done: d.forwarded, gone: d.unmade}
	return d
}

// Alone is a Desk for the times when no companion plugin makes the writes: its
// relayed loops have PHP make them. It needs a Run of its own, but what clients were
// told by one Desk the other one knows.
func (d *Desk) Alone() *Desk {
	alone := &Desk{
		src: d.src, opt: d.opt,
		cursors: d.cursors, slots: d.slots, doubts: d.doubts, telling: d.telling, kept: d.kept,
	}
	alone.opt.Writes = nil
	return alone.start()
}

// forgetEvery is how often what is old is looked for.
const forgetEvery = time.Minute

// Run makes the forwards of relayed loops and forgets what is old, until ctx
// ends. Forwards that are under way then have a moment to come back: PHP has
// marked as read what their answers hold. Once it has returned it may be called
// again.
func (d *Desk) Run(ctx context.Context) error {
	wait := d.forwards.start(ctx)
	defer wait()
	defer d.doubts.settle()
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	doubt := time.NewTicker(doubtLook)
	defer doubt.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-doubt.C:
			d.doubts.expire()
		case <-tick.C:
			d.cursors.Forget()
			d.telling.Forget()
			d.pulses.Forget()
			d.memories.Forget()
			d.lists.Forget()
			d.slots.forget()
		}
	}
}

// IsAgent tells whether a WordPress user is one of the plugin's agents. An error
// is one of the database; the answer is then no.
func (d *Desk) IsAgent(ctx context.Context, userID int64) (bool, error) {
	if userID <= 0 {
		return false, nil
	}
	agent, err := d.src.isAgent(ctx, userID)
	if err != nil {
		return false, fmt.Errorf("wplc: find out whether user %d is an agent: %w", userID, err)
	}
	return agent, nil
}

// clientKey is under what the Desk remembers a client of a loop. Who the client
// is was proved; the rest of the key comes from the form.
func clientKey(client string, l *Loop) string {
	if l.CID == 0 {
		return client + "\x00dashboard"
	}
	return client + "\x00" + l.Client()
}

// remember keeps a client's position. base is what it was when its request came.
func (d *Desk) remember(key string, base, next LoopCursor) {
	if !next.known {
		return
	}
	d.cursors.Update(key, func(p position) position {
		p.LoopCursor = p.joined(base, next)
		return p
	})
}

// move is remember for a client that was told something: also the next process
// knows, and WordPress is told that the messages were read.
func (d *Desk) move(key string, base, next LoopCursor, delivered []int64) {
	if next.known {
		d.cursors.Update(key, func(p position) position {
			p = p.moved(base, next, delivered)
			d.kept.position(key, p)
			return p
		})
	}
	d.mark(delivered)
}

// mark has messages marked as read.
func (d *Desk) mark(delivered []int64) {
	if len(delivered) > 0 && d.opt.Writes != nil {
		d.opt.Writes.Read(delivered)
	}
}

// suppose is move for an answer in doubt. The client stays where it is, but should
// this process be killed before it is known more, the next one takes the answer for
// received: browsers that leave are rare.
func (d *Desk) suppose(key string, base, next LoopCursor, delivered []int64) {
	if next.known {
		d.kept.position(key, d.cursors.Get(key).moved(base, next, delivered))
	}
	d.doubts.add(key, unsure{
		settle: func(received bool) {
			if received {
				d.move(key, base, next, delivered)
			} else {
				d.kept.position(key, d.cursors.Get(key))
			}
		},
		mark: func() { d.mark(delivered) },
	})
}

// write hands on what PHP would have written.
func (d *Desk) write(l *Loop, effects []Effect, v Visit) {
	for _, e := range effects {
		if d.opt.Writes != nil {
			d.opt.Writes.Effect(e, v)
		}
		if e.Switch {
			// The page that had the chat is told so now (status 11).
			d.opt.Wake(l.Channel())
		}
	}
}

// ages tells whether PHP runs the ageing in such a loop, once it is held: in
// those of visitors (8.x) and of the dashboard, and not where the answer comes
// in the first round.
func (d *Desk) ages(l *Loop) bool {
	return l.Action == ActionDashboard || l.Action == ActionVisitor && d.src.facts.Version == 8 && !l.Short
}

// ageAsked has the ageing run for one loop: once, and as long as its visitor
// waits for an agent again and again.
type ageAsked struct{ at time.Time }

// ask returns when to look again, 0 for never.
func (a *ageAsked) ask(d *Desk, l *Loop) time.Duration {
	if d.opt.Writes == nil || !d.ages(l) {
		return 0
	}
	pending := l.isPending()
	if a.at.IsZero() || pending && time.Since(a.at) >= pendingLook {
		a.at = time.Now()
		d.opt.Writes.Age()
	}
	if !pending {
		return 0
	}
	return max(pendingLook-time.Since(a.at), time.Millisecond)
}

// isPending tells whether the visitor waits for an agent. While the loop is held,
// the status that the page sent is that of the row.
func (l *Loop) isPending() bool {
	row := chatRow{exists: true}
	return l.Action == ActionVisitor &&
		(row.equalsNumber(l.form.status, statusPending) || row.equalsNumber(l.form.status, statusUnanswered))
}

// Channel is that of the visitor's chat, "wplc/41": what a binding or token must
// name to let a browser read it. It is "" for the dashboard, and where the form
// names no chat or one that cannot be told.
func (l *Loop) Channel() string {
	if l.CID <= 0 {
		return ""
	}
	return room{chat: l.CID}.channel()
}

// sooner is the earlier of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// SilentLoop is held as long as PHP would hold it and then gets the plugin's
// empty answer. It is for who may not read: the plugin's JavaScript takes any
// error for more than that.
type SilentLoop struct {
	desk *Desk
	loop Loop
	hold time.Duration
}

// Silent makes a loop that is told nothing.
func (d *Desk) Silent(l Loop) *SilentLoop { return &SilentLoop{desk: d, loop: l} }

// Channels are none.
func (l *SilentLoop) Channels() []string { return nil }

// Answer is never more than the empty one.
func (l *SilentLoop) Answer(ctx context.Context, _ bool) (*chat.Reply, error) {
	if !l.loop.Short {
		l.hold = orDefault(l.desk.src.Hold(ctx))
	}
	return nil, nil
}

// orDefault is a hold, or the default where it is not known.
func orDefault(hold time.Duration, err error) time.Duration {
	if err != nil {
		return defaultHold
	}
	return hold
}

// Hold is PHP's, and nothing where the page asked for an answer at once.
func (l *SilentLoop) Hold() time.Duration { return l.hold }

// Again is never.
func (l *SilentLoop) Again() time.Duration { return 0 }

// Told is not called, as there is never a Reply.
func (l *SilentLoop) Told() {}

// StringsOf makes the texts out of what the companion plugin tells (in its
// answer's "strings", holdline_strings in wordpress/holdline.php). What it does
// not tell stays English.
func StringsOf(texts map[string]string) *Strings {
	words := English()
	for key, text := range map[string]*string{
		"admin":           &words.Admin,
		"agent_ended":     &words.AgentEnded,
		"no_answer":       &words.NoAnswer, // the site's setting, or the text where it has none
		"retry":           &words.RequestNewChat,
		"ip_not_recorded": &words.NoAddress,
		"accept_chat":     &words.AcceptChat,
		"open_chat":       &words.OpenChat,
		"initiate_chat":   &words.InitiateChat,
		"new":             &words.New,
		"returning":       &words.Returning,
		"no_answer_5":     &words.NoAnswer5,
	} {
		if told, ok := texts[key]; ok {
			*text = strings.ToValidUTF8(told, "\uFFFD")
		}
	}
	return &words
}
