package hub

import (
	"errors"
	"fmt"
	"sync/atomic"

	"holdline/internal/chat"
)

// ErrUnknownSource is a channel whose source this server does not read.
var ErrUnknownSource = errors.New("no such source")

// Sub is one subscription. Everything but its methods belongs to its sender's
// goroutine. It is kept small: there is one for every held connection.
type Sub struct {
	to     Subscriber
	sender *sender
	refs   []ref
	late   *late                       // nil once live
	skip   atomic.Pointer[chat.Cursor] // rows up to here the client has, though we have not
	who    *chat.Party                 // who listens; nil: unknown
	heard  uint64                      // the board's counter when it went live and was told all of it
	tag    uint32                      // digest of the states and kept tellings the client has seen
	oneOff bool                        // a long poll: one delivery ends it
	listed bool                        // it is in its channels' lists
	live   atomic.Bool                 // late is nil; for other goroutines
	gone   atomic.Bool
}

// ref is the place of a subscription in a channel's list. The place is the sender's,
// which moves it when others leave; whoever else looks at ch must not copy it.
type ref struct {
	ch *channel
	at int32
}

// late is what a subscriber that has not caught up needs on top.
type late struct {
	from    chat.Cursor // what the client has
	held    bool        // nothing to do before an answer comes: a position, rows, room
	void    bool        // ids began again meanwhile: the answer is of the old table
	ticket  uint64      // of the read that was asked for because from is ahead of us
	asked   *source     // who gave the ticket
	sources []string
	drained func() bool // nil: the client takes a slice at any time
}

// Subscription is what Subscribe needs to know.
type Subscription struct {
	Channels []string
	// Who listens, for tellings that are not for everybody; nil: unknown. It is
	// shared and never changed.
	Who *chat.Party
	// From is the client's cursor; nil begins at the present.
	From *chat.Cursor
	// OneOff subscriptions (long polls) are told something once: the subscriber
	// closes itself in its first Deliver, and states and kept tellings that From's
	// digest already knows are not told.
	OneOff bool
	// Drained tells whether the client has taken what it was sent; a long
	// catching up waits for it between slices. Nil never waits. It is called
	// from another goroutine than the Subscriber's methods.
	Drained func() bool
}

// Subscribe registers s on its channels. Calls to s may begin before Subscribe
// returns; sub must be stored where they can find it, hence the callback.
func (h *Hub) Subscribe(to Subscriber, want Subscription, ready func(*Sub)) error {
	l := &late{drained: want.Drained}
	sub := &Sub{to: to, late: l, who: want.Who, oneOff: want.OneOff}
	if want.From != nil {
		l.from, sub.tag = want.From.WithTag(0), want.From.Tag()
	}
	sub.sender = h.senders[h.next.Add(1)%uint32(len(h.senders))]
	if err := h.enter(sub, want.Channels); err != nil {
		return err
	}
	ready(sub)
	sub.sender.post(command{add: sub})
	return nil
}

// enter counts the subscription on its channels, which thereby are watched.
func (h *Hub) enter(sub *Sub, names []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		src, _, err := chat.SplitChannel(name)
		if err != nil {
			return err
		}
		if h.sources[src] == nil {
			return fmt.Errorf("channel %s: %w", name, ErrUnknownSource)
		}
	}
	sub.refs = make([]ref, 0, len(names))
	for _, name := range names {
		if sub.on(name) {
			continue // named twice, told once
		}
		ch := h.channels[name]
		if ch == nil {
			ch = &channel{name: name, src: h.sourceOf(name), lists: make([][]*Sub, len(h.senders))}
			h.channels[name] = ch
			ch.src.stale = true
		} else if ch.refs == 0 {
			h.deserted--
		}
		ch.refs++
		sub.refs = append(sub.refs, ref{ch: ch, at: -1})
		sub.late.addSource(name)
	}
	return nil
}

func (l *late) addSource(channel string) {
	src, _, _ := chat.SplitChannel(channel)
	for _, s := range l.sources {
		if s == src {
			return
		}
	}
	l.sources = append(l.sources, src)
}

// Close ends the subscription. It may be called from anywhere, also from within
// Deliver, any number of times, and never waits. A call of Deliver that is
// under way goes on.
func (s *Sub) Close() {
	if s.gone.CompareAndSwap(false, true) {
		s.sender.post(command{remove: s})
	}
}

// Cursor is where a live subscriber stands: all that was published up to there
// has been handed to it, if it was not closed. Who closes because nothing came
// must therefore ask before. ok is false while it is still catching up.
func (s *Sub) Cursor() (text string, ok bool) {
	if !s.live.Load() {
		return "", false
	}
	seen := s.skip.Load() // first: it is dropped when the cursor has caught up with it
	if p := s.sender.cursor.Load(); p != nil {
		return s.own(*p, seen), true
	}
	return "", false
}

// Exact is Cursor where nothing beyond it has been handed to the subscriber either.
// ok is false also while a batch is on its way, of which it may have a part. It is
// asked under a lock that Deliver takes too, or it may be out of date at once.
func (s *Sub) Exact() (text string, ok bool) {
	if s.sender.carrying.Load() {
		return "", false
	}
	return s.Cursor()
}

// own adds to a cursor of ours what the client has beyond it; seen may be nil.
func (s *Sub) own(text string, seen *chat.Cursor) string {
	if seen == nil {
		return text
	}
	c, err := chat.ParseCursor(text)
	if err != nil {
		return text // cannot be: String wrote it
	}
	for i := range s.refs {
		key := s.refs[i].ch.src.key
		m, _ := c.Mark(key)
		had, _ := seen.Mark(key)
		c = c.With(key, join(had, m))
	}
	return c.String()
}

// tagOf sums the digests of all states and of the kept tellings that the
// subscriber may hear, whatever the order of the channels. Hub.mu is held.
func (h *Hub) tagOf(s *Sub) uint32 {
	var sum uint32
	for i := range s.refs {
		ch := s.refs[i].ch
		if ch.state != nil {
			sum += ch.state.tag
		}
		for _, n := range h.board.notes[ch.name] {
			if n.reaches(s.who) {
				sum += n.tag()
			}
		}
	}
	return sum
}

// on tells whether the subscription hears a channel.
func (s *Sub) on(channel string) bool {
	for i := range s.refs {
		if s.refs[i].ch.name == channel {
			return true
		}
	}
	return false
}
