package wordpress

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of adoption. Anybody can ask for any number.
const (
	adoptCalls   = 5 // a second, each for up to MaxSyncAdopt chats
	adoptTimeout = 10 * time.Second
	mostAsked    = 1000
	mostRefused  = 10_000 // remembered refusals
	refusedLife  = time.Minute
	mostUnheard  = 1000
)

var (
	errManyAsk = errors.New("too many chats wait to be adopted")
	errSilent  = errors.New("WordPress has not answered lately")
)

// Adopt asks for a chat that began before Holdline, on behalf of a browser that
// polls for it: true exactly once per chat. It answers from memory where it can,
// else when WordPress does; who asks for one chat at the same time shares the call,
// and one of them gets the true. After an error the chat counts as not bound.
func (c *Courier) Adopt(ctx context.Context, chat int64) (bool, error) {
	got, err := c.adopt(ctx, chat)
	if err != nil {
		return false, fmt.Errorf("adopt chat %d: %w", chat, err)
	}
	return got, nil
}

func (c *Courier) adopt(ctx context.Context, chat int64) (bool, error) {
	hello, err := c.Hello(ctx)
	if err != nil {
		return false, err
	}
	if chat <= 0 || chat > hello.Hello.Since {
		return false, nil
	}
	c.mu.Lock()
	silent := c.last == failed
	c.mu.Unlock()
	a, got, err := c.adoptions.ask(chat, silent)
	if a == nil {
		return got, err
	}
	select {
	case <-a.done:
		return c.adoptions.claim(a)
	case <-c.over:
		err = errOver
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.adoptions.leave(a)
	return false, err
}

// adoption is one chat that was asked for.
type adoption struct {
	chat int64
	done chan struct{} // closed when WordPress has answered or cannot be asked

	// Under the lock of adoptions.
	askers int
	got    bool // nobody has claimed it yet
	err    error
}

// adoptions are the chats that are asked for, and what is known without asking.
type adoptions struct {
	limiter *rate.Limiter
	bell    chan struct{} // somebody asks

	mu      sync.Mutex
	asked   map[int64]*adoption
	waiting []*adoption // of asked, those that are in no call yet
	refused ordered[int64, time.Time]
	unheard set // whose browser had left when they were given away: the next one's
}

func newAdoptions() *adoptions {
	return &adoptions{
		limiter: rate.NewLimiter(adoptCalls, 1), bell: make(chan struct{}, 1), asked: make(map[int64]*adoption),
		refused: ordered[int64, time.Time]{most: mostRefused}, unheard: set{most: mostUnheard},
	}
}

// ask returns what to wait for, or nil and the answer that is known.
func (s *adoptions) ask(chat int64, silent bool) (a *adoption, got bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unheard.remove(chat) {
		return nil, true, nil
	}
	if at, ok := s.refused.of[chat]; ok && time.Since(at) < refusedLife {
		return nil, false, nil
	}
	if a = s.asked[chat]; a != nil {
		a.askers++
		return a, false, nil
	}
	if silent {
		return nil, false, errSilent
	}
	if len(s.waiting) >= mostAsked {
		return nil, false, errManyAsk
	}
	a = &adoption{chat: chat, done: make(chan struct{}), askers: 1}
	s.asked[chat] = a
	s.waiting = append(s.waiting, a)
	select {
	case s.bell <- struct{}{}:
	default: // it has been rung
	}
	return a, false, nil
}

// claim is an asker's part of the answer.
func (s *adoptions) claim(a *adoption) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.askers--
	got := a.got
	a.got = false
	return got, a.err
}

// leave is that an asker cannot wait.
func (s *adoptions) leave(a *adoption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.askers--
	s.keep(a)
}

// keep saves what nobody is left to claim. The caller has the lock.
func (s *adoptions) keep(a *adoption) {
	if a.got && a.askers == 0 {
		a.got = false
		s.unheard.put(a.chat, struct{}{})
	}
}

// next takes up to a call's worth of chats that somebody still waits for.
func (s *adoptions) next() (taken []*adoption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(taken) < MaxSyncAdopt {
		a := s.waiting[0]
		s.waiting = s.waiting[1:]
		if a.askers == 0 {
			delete(s.asked, a.chat)
			continue
		}
		taken = append(taken, a)
	}
	return taken
}

// settle gives one adoption its answer.
func (s *adoptions) settle(a *adoption, got bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, a.chat)
	a.got, a.err = got, err
	if err == nil {
		s.refused.put(a.chat, time.Now()) // also when it was given away, since that was once
	}
	s.keep(a)
	close(a.done)
}

// runAdoptions makes the calls, one at a time, until ctx ends.
func (c *Courier) runAdoptions(ctx, calls context.Context) {
	for {
		select {
		case <-ctx.Done():
			return // who still waits hears of it by c.over
		case <-c.adoptions.bell:
		}
		for more := true; more; {
			if c.adoptions.limiter.Wait(ctx) != nil {
				return
			}
			taken := c.adoptions.next()
			if more = len(taken) > 0; more {
				c.adoptAll(calls, taken)
			}
		}
	}
}

func (c *Courier) adoptAll(ctx context.Context, taken []*adoption) {
	var s Sync
	for _, a := range taken {
		s.Adopt = append(s.Adopt, a.chat)
	}
	var answer SyncAnswer
	body, err := encode(s)
	if err == nil {
		var r result
		if answer, r, err = c.call(ctx, body, adoptTimeout); r == replayed {
			err = errors.New("WordPress has had this call before")
		}
	}
	for _, a := range taken {
		c.adoptions.settle(a, answer.Adopted[strconv.FormatInt(a.chat, 10)], err)
	}
}
