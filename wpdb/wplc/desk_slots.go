package wplc

import (
	"container/list"
	"encoding/json"
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
	// kept are written down, of which keptBytes are known.
	kept      *kept
	keptBytes int
}

// slot is one answer.
type slot struct {
	key     string
	print   string // of the form that PHP answered
	carries bool   // PHP tells this once
	reply   *chat.Reply
	came    time.Time
	told    time.Time // when a browser got it; zero while none has
	kept    int       // bytes that are written down
}

func newSlots(k *kept) *slots { return &slots{byKey: make(map[string]*list.Element), kept: k} }

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
	s.add(&slot{key: key, print: print, carries: carries, reply: reply, came: time.Now()})
}

func (s *slots) add(added *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.byKey[added.key])
	s.byKey[added.key] = s.order.PushBack(added)
	s.bytes += added.size()
	s.write(added)
	for s.bytes > maxReplies {
		s.remove(s.order.Front())
	}
}

// write has the next process know an answer that PHP tells only once.
func (s *slots) write(added *slot) {
	size := added.size()
	if !s.kept.has() || !added.carries || len(added.reply.Body) > maxKeptReply || s.keptBytes+size > maxKeptReplies {
		return
	}
	r := added.reply
	value, err := json.Marshal(keptReply{added.came.UnixMilli(), r.Status, r.Header, r.Body})
	if err != nil {
		s.kept.complain(err)
		return
	}
	s.kept.put(keptSlot, added.key, value)
	added.kept, s.keptBytes = size, s.keptBytes+size
}

// rewrite writes down what is there, after a Keep has come.
func (s *slots) rewrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keptBytes = 0
	for e := s.order.Front(); e != nil; e = e.Next() {
		of := e.Value.(*slot)
		of.kept = 0
		if of.told.IsZero() {
			s.write(of)
		}
	}
}

// has tells whether a client has an answer.
func (s *slots) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key] != nil
}

// erase has the next process not know it.
func (s *slots) erase(gone *slot) {
	if gone.kept > 0 {
		s.kept.remove(keptSlot, gone.key)
		s.keptBytes -= gone.kept
		gone.kept = 0
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

// tell notes when a browser has got what take gave for it.
func (s *slots) tell(given *slot, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase(given)
	if given.told.IsZero() {
		given.told = at
	}
}

// suppose is tell for an answer in doubt: only the next process takes it for told.
func (s *slots) suppose(given *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase(given)
}

// back takes suppose back.
func (s *slots) back(given *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[given.key]; e != nil && e.Value.(*slot) == given && given.kept == 0 {
		s.write(given)
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
	s.erase(gone)
}
