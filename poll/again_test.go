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
	"holdline/internal/hub"
)

// clockedLoop keeps when it was looked at. It says nothing but its reply, and
// fails at the looks in errs (the first is 0).
type clockedLoop struct {
	channels []string
	began    time.Time
	hold     time.Duration
	again    []time.Duration // after each look; the last one for all further
	errs     []int
	during   []func() // what happens during each look
	reply    *chat.Reply
	looks    []time.Duration
	final    time.Duration // when it was asked for its last words
	told     int
}

func (l *clockedLoop) Channels() []string  { return l.channels }
func (l *clockedLoop) Hold() time.Duration { return l.hold }
func (l *clockedLoop) Told()               { l.told++ }

func (l *clockedLoop) Again() time.Duration {
	if len(l.again) == 0 {
		return 0
	}
	return l.again[min(len(l.looks), len(l.again))-1]
}

func (l *clockedLoop) Answer(_ context.Context, final bool) (*chat.Reply, error) {
	l.looks = append(l.looks, time.Since(l.began))
	if final {
		l.final = time.Since(l.began)
	}
	n := len(l.looks) - 1
	if n < len(l.during) && l.during[n] != nil {
		l.during[n]()
	}
	if slices.Contains(l.errs, n) {
		return nil, errors.New("the database does not answer")
	}
	return l.reply, nil
}

// source is a table of which nothing is asked.
type source struct{}

func (source) Name() string { return "wplc" }
func (source) Wake() uint64 { return 1 }

func (source) Rows(context.Context, []string, int64, int64, []int64, int) ([]chat.Event, int64, error) {
	return nil, 0, nil
}

// publish tells the loops' hub of a row on a channel, or without one only where
// the table is.
func (l *Loops) publish(t *testing.T, id int64, channel string) {
	t.Helper()
	b := chat.Batch{Source: "wplc", Mark: chat.Mark{Last: id}}
	if channel != "" {
		b.Events = []chat.Event{{Type: chat.TypeMessage, Channel: channel, ID: id, Mark: b.Mark}}
	}
	if err := l.Hub.Publish(t.Context(), b); err != nil {
		t.Error(err)
	}
}

// run has askers and a hub at work during a test within a bubble.
func run(t *testing.T, test func(t *testing.T, loops *Loops)) {
	synctest.Test(t, func(t *testing.T) {
		loops := &Loops{Hub: hub.New(hub.Options{Senders: 2}), Logger: slog.New(slog.DiscardHandler)}
		loops.Hub.Add(source{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, run := range []func(context.Context) error{loops.Run, loops.Hub.Run} {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
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
		want  []time.Duration // when it is looked at
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
				conn := parked(t, loops, l, func() {})
				for _, at := range c.wakes {
					time.Sleep(at - time.Since(l.began))
					conn.h.wake()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(c.want, l.looks); diff != "" {
					t.Error("looks:", diff)
				}
				end := conn.at.Sub(l.began).Truncate(time.Millisecond)
				if want := max(c.hold, 0); end != want || l.final != 0 {
					t.Errorf("its end at %v, want %v; asked for its last words at %v", end, want, l.final)
				}
				if p := conn.h.pass.(*countingPass); p.released != 1 {
					t.Errorf("the pass was given back %d times", p.released)
				}
			})
		})
	}
}

// parked has a loop held that says nothing at first sight. before comes between
// that and its connection.
func parked(t *testing.T, loops *Loops, l Loop, before func()) *fakeConn {
	t.Helper()
	h := &held{loops: loops, loop: l, pass: new(countingPass), raw: true, keepAlive: true}
	reply, pause := h.arrive(t.Context())
	if reply != nil {
		t.Fatalf("answered at once: %v", reply)
	}
	before()
	conn := &fakeConn{h: h}
	h.conn = conn
	loops.begin(h, pause)
	return conn
}
