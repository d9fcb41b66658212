package poll

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

// clockedLoop keeps when it was looked at. It says nothing, and fails at the
// looks in errs (the first is 0).
type clockedLoop struct {
	began time.Time
	hold  time.Duration
	again []time.Duration // after each look; the last one for all further
	errs  []int
	looks []time.Duration
	final time.Duration // when it was asked for its last words
}

func (l *clockedLoop) Channels() []string  { return nil }
func (l *clockedLoop) Hold() time.Duration { return l.hold }
func (l *clockedLoop) Told()               {}

func (l *clockedLoop) Again() time.Duration { return l.again[min(len(l.looks), len(l.again))-1] }

func (l *clockedLoop) Answer(_ context.Context, final bool) (*chat.Reply, error) {
	if final {
		l.final = time.Since(l.began)
		return nil, nil
	}
	l.looks = append(l.looks, time.Since(l.began))
	if slices.Contains(l.errs, len(l.looks)-1) {
		return nil, errors.New("the database does not answer")
	}
	return nil, nil
}

// run has askers at work during a test within a bubble.
func run(t *testing.T, test func(t *testing.T, loops *Loops)) {
	synctest.Test(t, func(t *testing.T) {
		loops := &Loops{Logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := loops.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		test(t, loops)
		cancel()
		wg.Wait()
	})
}

func TestAgain(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		hold  time.Duration // 0 is 30 s
		again []time.Duration
		errs  []int
		wakes []time.Duration // when an event comes
		want  []time.Duration // when it is looked at, but for the last time
	}{
		"never":                     {again: []time.Duration{0}, want: []time.Duration{0}},
		"never, said oddly":         {again: []time.Duration{-s}, want: []time.Duration{0}},
		"every 8 s":                 {again: []time.Duration{8 * s}, want: []time.Duration{0, 8 * s, 16 * s, 24 * s}},
		"later than the end":        {again: []time.Duration{time.Hour}, want: []time.Duration{0}},
		"once":                      {again: []time.Duration{5 * s, 0}, want: []time.Duration{0, 5 * s}},
		"later and later":           {again: []time.Duration{s, 2 * s, 4 * s, 0}, want: []time.Duration{0, s, 3 * s, 7 * s}},
		"an event begins it anew":   {again: []time.Duration{10 * s}, wakes: []time.Duration{4 * s}, want: []time.Duration{0, 4 * s, 14 * s, 24 * s}},
		"an event brings it nearer": {again: []time.Duration{20 * s, 9 * s, 0}, wakes: []time.Duration{4 * s}, want: []time.Duration{0, 4 * s, 13 * s}},
		"an event ends it":          {again: []time.Duration{10 * s, 0}, wakes: []time.Duration{4 * s}, want: []time.Duration{0, 4 * s}},
		"an error is retried sooner": {
			again: []time.Duration{10 * s}, errs: []int{0, 2},
			want: []time.Duration{0, s, 11 * s, 12 * s, 22 * s},
		},
		"an error near the end": {again: []time.Duration{29500 * time.Millisecond}, errs: []int{1}, want: []time.Duration{0, 29500 * time.Millisecond}},
		"no hold":               {hold: -s, again: []time.Duration{s}, want: []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, loops *Loops) {
				if c.hold == 0 {
					c.hold = 30 * s
				}
				l := &clockedLoop{began: time.Now(), hold: c.hold, again: c.again, errs: c.errs}
				conn := parked(t, loops, l)
				for _, at := range c.wakes {
					time.Sleep(at - time.Since(l.began))
					conn.h.wake()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(c.want, l.looks); diff != "" {
					t.Error("looks:", diff)
				}
				if end := max(c.hold, 0); l.final.Truncate(time.Millisecond) != end || !conn.at.Equal(l.began.Add(l.final)) {
					t.Errorf("its last words at %v, its end at %v, want %v", l.final, conn.at.Sub(l.began), end)
				}
				if p := conn.h.pass.(*countingPass); p.released != 1 {
					t.Errorf("the pass was given back %d times", p.released)
				}
			})
		})
	}
}

// parked has a loop held that says nothing at first sight.
func parked(t *testing.T, loops *Loops, l Loop) *fakeConn {
	t.Helper()
	h := &held{loops: loops, loop: l, pass: new(countingPass), raw: true, keepAlive: true}
	reply, wait := h.arrive(t.Context())
	if reply != nil {
		t.Fatalf("answered at once: %v", reply)
	}
	conn := &fakeConn{h: h}
	h.conn = conn
	loops.begin(h, wait)
	return conn
}
