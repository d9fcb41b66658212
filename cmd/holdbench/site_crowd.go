package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// crowdSpread is the time in which new visitors of a crowd send their first poll.
const crowdSpread = 4 * time.Second

// crowd is a number of visitors of one site, of whom the first ones poll.
type crowd struct {
	visitors  []*visitor
	polling   int
	tally     pollTally
	box       mailbox
	transport *http.Transport
	ctx       context.Context
	cancel    context.CancelFunc
	group     sync.WaitGroup
}

// gather makes n visitors, each with a chat of its own from the site's own first
// contact. None of them polls yet. The caller calls leave.
func gather(ctx context.Context, site webSite, n int) (*crowd, error) {
	c := &crowd{transport: &http.Transport{MaxIdleConnsPerHost: n}}
	c.ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		v, err := newVisitor(site, c.transport, &c.tally, c.box.arrived)
		if err == nil {
			err = v.contact(ctx)
		}
		if err != nil {
			c.leave()
			return nil, fmt.Errorf("visitor %d of %d: %w", len(c.visitors)+1, n, err)
		}
		c.visitors = append(c.visitors, v)
	}
	return c, nil
}

// bound counts the visitors whose browser has the binding cookie.
func (c *crowd) bound() int {
	n := 0
	for _, v := range c.visitors {
		if v.bound() {
			n++
		}
	}
	return n
}

// chats is the list of the numbers of visitors low to high-1, for SQL.
func (c *crowd) chats(low, high int) string {
	ids := make([]string, 0, high-low)
	for _, v := range c.visitors[low:high] {
		ids = append(ids, v.cid)
	}
	return strings.Join(ids, ",")
}

// grow lets so many visitors poll as n says, each in a chat that an agent has
// accepted. accept does that for the listed chats.
func (c *crowd) grow(ctx context.Context, n int, accept func(ctx context.Context, chats string) error) error {
	if n <= c.polling {
		return nil
	}
	if err := accept(ctx, c.chats(c.polling, n)); err != nil {
		return err
	}
	for _, v := range c.visitors[c.polling:n] {
		v.status = statusActive
		delay := spread(crowdSpread)
		c.group.Go(func() {
			if sleep(c.ctx, delay) == nil {
				v.run(c.ctx)
			}
		})
	}
	c.polling = n
	return sleep(ctx, crowdSpread)
}

// someone is a visitor whose poll has been held for a while, at random; nil when
// there is none now.
func (c *crowd) someone(now time.Time) *visitor {
	for _, i := range rand.Perm(c.polling) {
		if c.visitors[i].heldFor(now) >= heldLong {
			return c.visitors[i]
		}
	}
	return nil
}

// heldLong is when a poll is held for sure: WordPress has started and PHP's loop runs.
const heldLong = time.Second

// leave closes all browsers and waits for them.
func (c *crowd) leave() {
	c.cancel()
	c.group.Wait()
	c.transport.CloseIdleConnections()
}

// mailbox keeps the times of messages. Its methods may be called concurrently.
type mailbox struct {
	mu      sync.Mutex
	letters map[int]*letter
}

// letter is one message. The zero time says that something has not happened.
type letter struct {
	begun     time.Time // before it was sent
	committed time.Time // after its INSERT, or after the agent's POST was answered
	asked     time.Time // when the poll was sent that brought it
	arrived   time.Time
	copies    int
}

// arrived notes that a message is here, in the answer to the poll sent at asked.
func (b *mailbox) arrived(seq int, asked time.Time) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letter(seq)
	l.copies++
	if l.copies == 1 {
		l.asked, l.arrived = asked, now
	}
}

// letter wants mu held. A message may arrive before its INSERT has returned here.
func (b *mailbox) letter(seq int) *letter {
	if b.letters == nil {
		b.letters = map[int]*letter{}
	}
	if b.letters[seq] == nil {
		b.letters[seq] = &letter{}
	}
	return b.letters[seq]
}

func (b *mailbox) sent(seq int, begun, committed time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letter(seq)
	l.begun, l.committed = begun, committed
}

// take returns the messages low to high and how many of them have not arrived.
func (b *mailbox) take(low, high int) (letters []letter, missing int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq := low; seq <= high; seq++ {
		l := *b.letter(seq)
		if l.copies == 0 {
			missing++
		}
		letters = append(letters, l)
	}
	return letters, missing
}
