package wplc

import (
	"container/list"
	"sync"
	"time"

	"holdline/internal/chat"
)

const (
	// maxReply bounds one answer of PHP's that is kept for a browser, maxReplies all
	// of them together, in bytes.
	maxReply   = 1 << 20
	maxReplies = 32 << 20
	// replyCost is what each answer counts on top of its body.
	replyCost = 2 << 10
	// replyLife is how long an answer waits for its browser to come back, if it
	// holds what PHP tells only once; staleAfter any other, which PHP will tell
	// again.
	replyLife  = 10 * time.Minute
	staleAfter = 10 * time.Second
	// toldLife is how long requests may still be held that were already when the
	// answer was given to another one of the same client.
	toldLife = 2 * time.Minute
)

// slots keep PHP's answers until their browsers have them: one for each client,
// the oldest go first. PHP has marked the messages in an answer as read when it
// comes, so one whose browser has left in the meantime is given to the next poll.
type slots struct {
	mu    sync.Mutex
	order list.List // of *slot, the oldest in front
	byKey map[string]*list.Element
	bytes int
}

// slot is one answer.
type slot struct {
	key     string
	print   string // of the form that PHP answered
	carries bool   // PHP tells this once
	reply   *chat.Reply
	came    time.Time
	told    time.Time // when a browser got it; zero while none has
}

func newSlots() *slots { return &slots{byKey: make(map[string]*list.Element)} }

func (s *slot) size() int { return replyCost + len(s.key) + len(s.print) + len(s.reply.Body) }

func (s *slot) isOld() bool {
	switch age := time.Since(s.came); {
	case !s.told.IsZero():
		return time.Since(s.told) > toldLife
	case s.carries:
		return age > replyLife
	default:
		return age > staleAfter
	}
}

// put replaces what was there: PHP is not asked while a client has something to
// take.
func (s *slots) put(key, print string, carries bool, reply *chat.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.byKey[key])
	added := &slot{key: key, print: print, carries: carries, reply: reply, came: time.Now()}
	s.byKey[key] = s.order.PushBack(added)
	s.bytes += added.size()
	for s.bytes > maxReplies {
		s.remove(s.order.Front())
	}
}

// take is what a client's request may be answered with, or nil. began is when the
// request came: an answer that another request was given is also for those that
// were held at that time, since of two requests of one browser only one has a
// line that still works. What PHP would tell again fits only the form it was
// told for.
func (s *slots) take(key, print string, began time.Time) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return nil
	}
	found := e.Value.(*slot)
	switch {
	case found.isOld():
		s.remove(e)
		return nil
	case !found.told.IsZero() && !began.Before(found.told):
		return nil
	case !found.carries && found.print != print:
		return nil
	}
	return found
}

// tell notes that a browser has got what take gave for it.
func (s *slots) tell(given *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if given.told.IsZero() {
		given.told = time.Now()
	}
}

func (s *slots) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*slot).isOld() {
			s.remove(e)
		}
		e = next
	}
}

func (s *slots) usage() (count, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len(), s.bytes
}

func (s *slots) remove(e *list.Element) {
	if e == nil {
		return
	}
	gone := s.order.Remove(e).(*slot)
	delete(s.byKey, gone.key)
	s.bytes -= gone.size()
}
