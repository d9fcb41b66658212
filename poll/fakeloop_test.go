package poll_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"holdline/internal/chat"
)

// fakeLoop has the test answer for the plugin: every look is a question.
type fakeLoop struct {
	t         *testing.T
	channel   string // "" for none
	hold      time.Duration
	again     time.Duration
	questions chan question
	told      chan struct{}
	looks     atomic.Int32
	busy      atomic.Bool
	bug       string // the method that panics; set before the request, or between a question and its reply
}

type question struct {
	final bool
	reply chan reply
}

type reply struct {
	*chat.Reply
	err error
}

var (
	nothing = reply{}
	broken  = reply{err: errors.New("the database does not answer")}
	half    = reply{Reply: yes("half").Reply, err: broken.err}
)

func yes(body string) reply { return reply{Reply: &chat.Reply{Body: []byte(body)}} }

// serve makes the loop of the next request.
func (h *house) serve(channel string, hold time.Duration) *fakeLoop {
	l := &fakeLoop{t: h.t, channel: channel, hold: hold, questions: make(chan question), told: make(chan struct{}, 8)}
	h.mu.Lock()
	h.loop = l
	h.mu.Unlock()
	return l
}

func (l *fakeLoop) Channels() []string {
	defer l.alone()()
	l.panics("Channels")
	if l.channel == "" {
		return nil
	}
	return []string{l.channel}
}

func (l *fakeLoop) Hold() time.Duration {
	defer l.alone()()
	l.panics("Hold")
	return l.hold
}

func (l *fakeLoop) Again() time.Duration {
	defer l.alone()()
	l.panics("Again")
	return l.again
}

func (l *fakeLoop) Answer(ctx context.Context, final bool) (*chat.Reply, error) {
	defer l.alone()()
	l.looks.Add(1)
	q := question{final, make(chan reply, 1)}
	select {
	case l.questions <- q:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-q.reply:
		l.panics("Answer")
		return r.Reply, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *fakeLoop) Told() {
	defer l.alone()()
	l.panics("Told")
	l.told <- struct{}{}
}

func (l *fakeLoop) panics(method string) {
	if l.bug == method {
		panic("a bug in " + method)
	}
}

// alone finds calls that overlap.
func (l *fakeLoop) alone() (done func()) {
	if !l.busy.CompareAndSwap(false, true) {
		l.t.Error("two calls of one loop at a time")
	}
	return func() { l.busy.Store(false) }
}

// asked waits for a look and answers it.
func (l *fakeLoop) asked(final bool, r reply) {
	l.t.Helper()
	q := wait(l.t, l.questions)
	if q.final != final {
		l.t.Errorf("final is %v", q.final)
	}
	q.reply <- r
}

// wantTold is asked once the request is over: its pass has been given back.
func (l *fakeLoop) wantTold(n int) {
	l.t.Helper()
	if got := len(l.told); got != n {
		l.t.Errorf("told %d times, want %d", got, n)
	}
}

// park has a loop held: nothing at first sight.
func (h *house) park(b *browser, l *fakeLoop) {
	h.t.Helper()
	b.ask("/loop")
	l.asked(false, nothing)
	if err := wait(h.t, h.served); err != nil {
		h.t.Fatal(err)
	}
}

// wantEmpty wants what PHP says at the end of a hold.
func (b *browser) wantEmpty(closes bool) {
	b.t.Helper()
	if a := b.answer(); a.status != 200 || a.body != "" || a.header.Get("Content-Length") != "0" || a.closes != closes {
		b.t.Errorf("%+v", a)
	}
}
