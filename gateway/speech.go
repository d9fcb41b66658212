package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/live"
	"holdline/internal/outbox"
	"holdline/wpdb/wplc"
)

// Speech is a source that can be written to.
type Speech interface {
	// Speaker is who a viewer is on a channel where it may write, named without its
	// source; as is "", visitor or agent. The error is a *chat.Refusal, or says that
	// it cannot be known now.
	Speaker(ctx context.Context, v chat.Viewer, name, as string) (chat.Party, error)
	// Listener is who a viewer is to others that listen.
	Listener(ctx context.Context, v chat.Viewer, as string) chat.Party
	// CheckText returns a message as it is to be stored, or a *chat.Refusal.
	CheckText(body string) (string, error)
	// Unread are rows of the other side up to upTo that are not flagged as read.
	Unread(ctx context.Context, name string, reader chat.Party, upTo int64) ([]int64, error)
}

var _ Speech = (*wplc.Source)(nil)

// speech takes what clients say, over whichever transport.
type speech struct {
	log      *slog.Logger
	settings func() *settings
	metrics  *metrics
	backend  *Backend
	hub      *hub.Hub
	live     *live.Live
	box      atomic.Pointer[box]          // nil while nothing could ever be sent
	off      atomic.Pointer[chat.Refusal] // why there is no sending now

	rates atomic.Pointer[rates]
	roles roles
	talks crew // of the goroutines behind WebSockets
	reads chan read
}

// voice is who speaks: one connection, or one request.
type voice struct {
	viewer chat.Viewer
	as     side   // what the connection said; a message may say another
	sender string // what rates count by
}

// verdict is what becomes of a message.
type verdict struct {
	state   string // of a send: one of outbox's
	id      int64  // of the row of a send that is stored
	refused *chat.Refusal
	retry   time.Duration // after which a refused one may be taken; 0: never, or unknown
}

func refuse(r *chat.Refusal) verdict {
	v := verdict{state: outbox.StateFailed, refused: r}
	if r.Reason == chat.ReasonFull || r.Reason == chat.ReasonUnavailable {
		v.retry = retryAfter * time.Second
	}
	return v
}

// say takes a message that is sound. done is called once, from any goroutine,
// perhaps before say returns. Messages that are said one after the other are
// stored and told in that order.
func (s *speech) say(ctx context.Context, by *voice, w *word, done func(verdict)) {
	tell := func(v verdict) {
		s.metrics.said(w.kind, v)
		done(v)
	}
	if wait := s.rates.Load().take(by.sender, w.kind, time.Now()); wait > 0 {
		tell(verdict{state: outbox.StateFailed, retry: wait, refused: &chat.Refusal{
			Reason: chat.ReasonRate, Text: fmt.Sprintf("Too many messages: the limit is %d a second (limits.sends). Wait a moment.", s.settings().Limits.Sends),
		}})
		return
	}
	feed, party, refused := s.speaker(ctx, by, w)
	if refused != nil {
		tell(refuse(refused))
		return
	}
	if w.kind == typeSend {
		s.send(ctx, feed, party, w, tell)
		return
	}
	switch kind := chat.Type(w.kind); kind {
	case chat.TypeTyping:
		s.live.Typing(w.channel, party, w.typing)
	case chat.TypeSeen, chat.TypeDelivered:
		// A receipt never goes back: one for rows to come would stand for ever.
		s.live.Receipt(w.channel, party, kind, min(w.upTo, feed.Tail.Stats().Last))
	case chat.TypeSignal:
		if err := s.live.Signal(w.channel, party, w.to, w.clientID, w.payload); err != nil {
			tell(refuse(refusalOf(err)))
			return
		}
	}
	tell(verdict{})
}

// send gives a message to the outbox.
func (s *speech) send(ctx context.Context, feed *Feed, from chat.Party, w *word, tell func(verdict)) {
	body, err := feed.Speech.CheckText(w.body)
	if err != nil {
		tell(refuse(refusalOf(err)))
		return
	}
	if refused := s.cannotSend(ctx); refused != nil {
		tell(refuse(refused))
		return
	}
	m := outbox.Message{
		Channel: w.channel, ClientID: w.clientID, From: from, Body: body,
		SentAt: time.Now().UTC().Truncate(time.Millisecond), After: feed.Tail.Stats().Last,
	}
	s.box.Load().outbox.Send(m, func(a outbox.Answer) {
		if a.Refusal != nil {
			v := refuse(a.Refusal)
			v.state = a.State
			tell(v)
			return
		}
		tell(verdict{state: a.State, id: a.ID})
	})
}

// cannotSend is why no message can be stored, or nil.
func (s *speech) cannotSend(ctx context.Context) *chat.Refusal {
	if off := s.off.Load(); off != nil || s.backend.Sends == nil {
		return off
	}
	return s.backend.Sends(ctx)
}

// writable tells whether there is a source that takes messages now.
func (s *speech) writable(ctx context.Context) bool {
	for _, f := range s.backend.Feeds {
		if f.Speech != nil {
			return s.cannotSend(ctx) == nil
		}
	}
	return false
}

// speaker is who says a message, if it may.
func (s *speech) speaker(ctx context.Context, by *voice, w *word) (*Feed, chat.Party, *chat.Refusal) {
	source, name, _ := chat.SplitChannel(w.channel) // the word was checked
	feed := s.backend.feed(source)
	if feed == nil {
		return nil, chat.Party{}, badRequest("This server reads no source called " + source + ".")
	}
	if feed.Speech == nil {
		return nil, chat.Party{}, &chat.Refusal{Reason: chat.ReasonUnsupported, Text: "Nothing can be written to " + source + " through this server."}
	}
	as := cmp.Or(w.as, by.as)
	party, refused := s.role(ctx, feed, by.viewer, w.channel, name, as)
	if refused != nil && refused.Reason == chat.ReasonClosed && (w.kind == string(chat.TypeSeen) || w.kind == string(chat.TypeDelivered)) {
		// Who could write until the chat ended may still have read its last words.
		return feed, feed.Speech.Listener(ctx, by.viewer, as.String()), nil
	}
	return feed, party, refused
}

// role asks the source, and not for every message of a burst.
func (s *speech) role(ctx context.Context, feed *Feed, v chat.Viewer, channel, name string, as side) (chat.Party, *chat.Refusal) {
	key := roleKey{v.UserID, v.TokenUser, v.HasGrant(channel), slices.Contains(v.Granted, channel), channel, as}
	if r, ok := s.roles.get(key, time.Now()); ok {
		return r.party, r.refused
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	party, err := feed.Speech.Speaker(ctx, v, name, as.String())
	var refused *chat.Refusal
	if err != nil && !errors.As(err, &refused) {
		s.log.Debug("whether somebody may write cannot be known", "channel", channel, "error", err)
		return chat.Party{}, refusalOf(err)
	}
	s.roles.put(key, role{party, refused, time.Now().Add(roleLife)})
	return party, refused
}

// roleKey is all that a source's answer depends on.
type roleKey struct {
	user, tokenUser int64
	granted, exact  bool // by the channel's own name, not by source/*
	channel         string
	as              side
}

type role struct {
	party   chat.Party
	refused *chat.Refusal
	until   time.Time
}

const (
	// roleLife is how long it may take until a chat that was closed takes no more
	// messages; WordPress refuses those that slip in.
	roleLife = 2 * time.Second
	maxRoles = 10_000
)

// roles remembers for a moment who may speak where. The zero value is ready.
type roles struct {
	mu sync.Mutex
	of map[roleKey]role
}

func (r *roles) get(key roleKey, now time.Time) (role, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.of[key]
	return known, ok && now.Before(known.until)
}

func (r *roles) put(key roleKey, known role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.of) >= maxRoles || r.of == nil {
		r.of = make(map[roleKey]role)
	}
	r.of[key] = known
}

// listener is who somebody that may read channels is to the others there, nil
// where nobody asks.
func (s *speech) listener(ctx context.Context, v chat.Viewer, as side, channels []string) *chat.Party {
	source, _, _ := strings.Cut(channels[0], "/")
	feed := s.backend.feed(source)
	if feed == nil || feed.Speech == nil {
		return nil
	}
	who := feed.Speech.Listener(ctx, v, as.String())
	if who == *nobodyElse {
		return nobodyElse
	}
	return &who
}

// enter says that somebody is on channels until the pass is given back.
func (s *speech) enter(p *pass, who *chat.Party, channels []string) {
	if who != nil {
		p.after(s.live.Enter(channels, *who))
	}
}

// nobodyElse is most of those who listen, so that they share it.
var nobodyElse = &chat.Party{Kind: chat.KindVisitor}

// Run carries what is said and not stored, until ctx ends.
func (s *speech) Run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.live.Run(ctx) })
	all.Go(func() error { return s.runReads(ctx) })
	return all.Wait()
}

// read is how far somebody has read.
type read struct {
	channel string
	reader  chat.Party
	upTo    int64
}

// maxReads wait to be written back. What finds no room comes with the reader's
// next step.
const maxReads = 256

// flag is live's way to have read flags written: it never waits.
func (s *speech) flag(channel string, reader chat.Party, upTo int64) {
	select {
	case s.reads <- read{channel, reader, upTo}:
	default:
	}
}

// runReads turns steps of readers into the rows that they have read, one question
// at a time, so that it can never have more than one of the database's connections.
func (s *speech) runReads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.reads:
			if err := s.writeBack(ctx, r); err != nil && ctx.Err() == nil {
				s.log.Debug("who has read what is not written back", "channel", r.channel, "error", err)
			}
		}
	}
}

func (s *speech) writeBack(ctx context.Context, r read) error {
	source, name, err := chat.SplitChannel(r.channel)
	if err != nil {
		return err
	}
	feed := s.backend.feed(source)
	if feed == nil || feed.Speech == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ids, err := feed.Speech.Unread(ctx, name, r.reader, r.upTo)
	if err != nil {
		return fmt.Errorf("look for unread rows: %w", err)
	}
	s.backend.Loops.Courier.Read(ids...)
	return nil
}
