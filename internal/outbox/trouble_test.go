package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// While WordPress is down it is asked by one call at a time and seldom, every
// sender hears of the delay, and all is stored soon after it is back.
func TestOutage(t *testing.T) {
	const lanes, down = 40, time.Minute
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		var under, most atomic.Int32
		store.do(func(context.Context, []Message) ([]Fate, error, bool) {
			n := under.Add(1)
			most.Store(max(most.Load(), n))
			<-time.After(300 * time.Millisecond)
			under.Add(-1)
			return nil, errors.New("connection refused"), true
		})
		r := start(t, t.TempDir(), store, func(o *Options) { o.Workers = 4 })
		defer r.stop()
		for i := range 10 * lanes {
			r.send(message(fmt.Sprint("wplc/", i%lanes), id(i)))
		}
		after(3 * time.Second)
		most.Store(0)
		after(down - 3*time.Second)
		if n := len(store.called()); most.Load() != 1 || n < 20 || n > 60 {
			t.Errorf("%d calls in %v, %d at a time", n, down, most.Load())
		}
		if s := r.box.Stats(); !s.Down || s.Delayed == 0 || s.Stored != 0 || s.Failures != s.Calls {
			t.Errorf("%+v", s)
		}
		for i := range lanes {
			told := r.hub.told(fmt.Sprintf("delayed wplc/%d ", i))
			if len(told) < 4 || len(told) > 6 || told[0] != fmt.Sprintf("delayed wplc/%d %s", i, id(i)) {
				t.Errorf("the sender on channel %d heard %v", i, told)
			}
		}
		after(300 * time.Millisecond) // for a call that is under way
		before := len(store.called())
		store.do(nil)
		after(maxProbe + 300*time.Millisecond)
		if got := len(store.stored()); got != 10*lanes {
			t.Errorf("%d stored of %d", got, 10*lanes)
		}
		calls := store.called()[before:]
		if took := calls[len(calls)-1].at.Sub(calls[0].at); took != 0 {
			t.Errorf("channels waited for %v after WordPress was back", took)
		}
		if s := r.box.Stats(); s.Down || s.Delayed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDelayedIsToldToTheSender(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.fail(errors.New("down"))
		r := start(t, t.TempDir(), store, nil)
		defer r.stop()
		r.send(message(ch, id(0)))
		r.send(message(ch, id(1)))
		after(9 * time.Second)
		if d := cmp.Diff([]string{"delayed wplc/1 message-0000"}, r.hub.told("delayed")); d != "" {
			t.Fatalf("told (-want +got):\n%s", d)
		}
		tellings := r.hub.tellings()
		told := tellings[slices.IndexFunc(tellings, func(t hub.Telling) bool { return t.Event.Type == chat.TypeDelayed })]
		if told.To == nil || !told.To.Is(chat.Party{Kind: chat.KindVisitor}) || told.Keep != "" {
			t.Errorf("told to %v, kept as %q", told.To, told.Keep)
		}
		var ms int
		if _, err := fmt.Sscanf(string(told.Event.Data), `{"reason":"unavailable","retry_ms":%d}`, &ms); err != nil || ms < 250 || ms > 500 {
			t.Errorf("data %s: %v", told.Event.Data, err)
		}
		after(11 * time.Second)
		if got := r.hub.told("delayed"); len(got) != 2 {
			t.Errorf("after 20 s: %v", got)
		}
	})
}

// One channel that makes every call fail that it is part of must not keep others
// from being stored, and is itself tried for ever.
func TestPoison(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		poisoned := func(m Message) bool { return m.Channel == "wplc/666" }
		store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
			return nil, errors.New("error 500"), slices.ContainsFunc(ms, poisoned)
		})
		r := start(t, t.TempDir(), store, nil)
		defer r.stop()
		for i := range 5 {
			r.send(message("wplc/666", id(i)))
		}
		worst := time.Duration(0)
		for i := range 300 {
			channel := fmt.Sprint("wplc/", i%10)
			r.send(message(channel, id(i)))
			sent := time.Now()
			for settled(); !slices.Contains(store.rowsOf(channel), id(i)); settled() {
				<-time.After(10 * time.Millisecond)
			}
			took := time.Since(sent)
			if worst = max(worst, took); i > 20 && took > time.Second {
				t.Errorf("message %d was stored after %v", i, took)
			}
			after(100 * time.Millisecond)
		}
		if worst > 5*time.Second {
			t.Errorf("a message was stored after %v", worst)
		}
		tries := 0
		for _, c := range store.called() {
			if strings.HasPrefix(c.names[0], "wplc/666") {
				if tries++; tries > 5 && len(c.names) > 1 {
					t.Errorf("it was tried with %d messages after %d failures", len(c.names), tries)
				}
			}
		}
		if tries < 5 || tries > 15 {
			t.Errorf("it was tried %d times in 30 s", tries)
		}
		store.do(nil)
		after(maxDelay)
		if got := store.rowsOf("wplc/666"); !cmp.Equal(got, numbered(5)) {
			t.Errorf("in the end: %v", got)
		}
	})
}

// A chat whose calls hang until their limit does not delay others.
func TestSlowChat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		slow := func(m Message) bool { return m.Channel == "wplc/slow" }
		store.do(func(ctx context.Context, ms []Message) ([]Fate, error, bool) {
			if !slices.ContainsFunc(ms, slow) {
				return nil, nil, false
			}
			<-ctx.Done()
			return nil, ctx.Err(), true
		})
		r := start(t, t.TempDir(), store, func(o *Options) { o.Timeout = 5 * time.Second })
		defer r.stop()
		r.send(message("wplc/slow", id(0)))
		settled()
		for i := range 200 {
			r.send(message(ch, id(i)))
			after(100 * time.Millisecond)
			if i > 60 && len(store.rowsOf(ch)) < i-12 {
				t.Fatalf("message %d: %d are stored", i, len(store.rowsOf(ch)))
			}
		}
		after(5 * time.Second)
		if got := store.rowsOf(ch); !cmp.Equal(got, numbered(200)) {
			t.Errorf("%d stored, or out of order", len(got))
		}
	})
}

// Answers that cannot be true are not believed, and asking again brings the truth.
func TestLyingStore(t *testing.T) {
	for _, c := range []struct {
		name  string
		fates func(n int) []Fate
	}{
		{"none", func(int) []Fate { return nil }},
		{"too few", func(n int) []Fate { return []Fate{{ID: 1}, {ID: 2}, {ID: 3}}[:n-1] }},
		{"too many", func(n int) []Fate { return make([]Fate, n+1) }},
		{"one row for two", func(n int) []Fate { return []Fate{{ID: 5}, {ID: 5}, {ID: 6}}[:n] }},
		{"negative row", func(n int) []Fate { return []Fate{{ID: 1}, {ID: 2}, {ID: -3}}[:n] }},
		{"stored and refused", func(n int) []Fate { return []Fate{{ID: 1}, {ID: 2}, {ID: 3, Refused: &chat.Refusal{}}}[:n] }},
		{"panic", func(int) []Fate { panic("nil map") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := new(fakeStore)
				r := prepare(t, t.TempDir(), store, nil)
				for i := range 3 {
					r.put(message(ch, id(i)))
				}
				var lies atomic.Int32
				store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
					if len(ms) < 3 {
						return nil, nil, false
					}
					lies.Add(1)
					return c.fates(len(ms)), nil, true
				})
				r.run()
				defer r.stop()
				settled()
				if s := r.box.Stats(); lies.Load() != 1 || s.Stored != 0 || s.Refused != 0 || s.Failures != 1 {
					t.Errorf("after %d lies: %+v", lies.Load(), s)
				}
				after(time.Minute) // fewer at a time are tried after failures
				if got := store.rowsOf(ch); !cmp.Equal(got, numbered(3)) {
					t.Errorf("stored %v", got)
				}
			})
		})
	}
}

// A store that skips one and stores a later one of the channel is not believed for
// the later one.
func TestGapInFates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		r := prepare(t, t.TempDir(), store, nil)
		for i := range 3 {
			r.put(message(ch, id(i)))
		}
		r.put(message("wplc/2", id(0)))
		store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
			fates := make([]Fate, len(ms))
			for i, m := range ms {
				if nameOf(m) != ch+" "+id(1) {
					fates[i].ID = int64(100 + i)
				}
			}
			return fates, nil, true
		})
		r.run()
		defer r.stop()
		settled()
		if s := r.box.Stats(); s.Stored != 2 || s.Down || s.Delayed != 1 {
			t.Errorf("%+v", s)
		}
		if got := r.hub.told("delayed"); len(got) != 0 {
			t.Errorf("the channel moved on, but: %v", got)
		}
		store.do(nil)
		after(time.Second)
		if got := store.rowsOf(ch); !cmp.Equal(got, []string{id(1), id(2)}) {
			t.Errorf("tried again: %v", got)
		}
	})
}

// Whatever a store does, each message is stored or withdrawn, once, and in order
// within its channel.
func TestAnyFates(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { anyFates(t, rand.New(rand.NewPCG(seed, 4))) })
		})
	}
}

func anyFates(t *testing.T, random *rand.Rand) {
	const lanes, n = 5, 300
	store := new(fakeStore)
	refused := make(map[string]bool)
	var mu sync.Mutex
	busy := make(map[string]bool) // channels of calls under way
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	store.do(func(_ context.Context, ms []Message) (fates []Fate, err error, instead bool) {
		mu.Lock()
		here := make(map[string]bool)
		for _, m := range ms {
			here[m.Channel] = true
		}
		for c := range here {
			if busy[c] {
				t.Errorf("two calls at a time have messages of %s", c)
			}
			busy[c] = true
		}
		wait, how, until := time.Duration(random.IntN(3000))*time.Millisecond, random.IntN(10), random.IntN(len(ms)+1)
		mu.Unlock()
		<-time.After(wait)
		mu.Lock()
		defer mu.Unlock()
		defer func() {
			for c := range here {
				delete(busy, c)
			}
		}()
		if how == 0 {
			return nil, errors.New("nothing happened"), true
		}
		fates = make([]Fate, len(ms))
		store.mu.Lock()
		defer store.mu.Unlock()
		for i, m := range ms[:until] {
			if strings.HasSuffix(m.ClientID, "3") {
				fates[i].Refused = &chat.Refusal{Reason: chat.ReasonClosed}
				refused[nameOf(m)] = true
				continue
			}
			fates[i].ID = store.insert(m)
		}
		if how == 1 {
			return nil, errors.New("the answer was lost"), true
		}
		return fates, nil, true
	})
	r := start(t, t.TempDir(), store, func(o *Options) { o.Batch = 10 })
	var want [lanes][]string
	for i := range n {
		lane := draw(lanes)
		m := message(fmt.Sprint("wplc/", lane), id(i))
		r.send(m)
		if draw(10) == 0 {
			r.send(m)
		}
		if !strings.HasSuffix(id(i), "3") {
			want[lane] = append(want[lane], id(i))
		}
		<-time.After(time.Duration(draw(200)) * time.Millisecond)
		if draw(100) == 0 {
			r.stop()
			r = start(t, r.dir, store, func(o *Options) { o.Batch = 10 })
		}
	}
	after(5 * time.Minute)
	for lane := range lanes {
		if d := cmp.Diff(want[lane], store.rowsOf(fmt.Sprint("wplc/", lane))); d != "" {
			t.Errorf("channel %d (-want +got):\n%s", lane, d)
		}
	}
	if len(refused) != n/10 {
		t.Errorf("%d were refused of %d", len(refused), n/10)
	}
	if got := r.hub.keeps(); len(got) != 0 {
		t.Errorf("kept for good: %v", got)
	}
	r.stop()
}
