package wplc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers each question with itself, and notes when which were put.
type echo struct {
	mu    sync.Mutex
	sizes []int
	times []time.Duration
	began time.Time
	delay time.Duration
}

func (e *echo) read(_ context.Context, all []int) ([]int, error) {
	time.Sleep(e.delay)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sizes = append(e.sizes, len(all))
	e.times = append(e.times, time.Since(e.began))
	return all, nil
}

func TestHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h herd[int, int]
		e := echo{began: time.Now()}
		var wg sync.WaitGroup
		askAll := func(n int) {
			for i := range n {
				wg.Go(func() {
					if got, err := h.ask(t.Context(), i, false, e.read); err != nil || got != i {
						t.Errorf("%d is answered %d, %v", i, got, err)
					}
				})
			}
		}
		askAll(1)
		wg.Wait()
		askAll(500)
		wg.Wait()
		time.Sleep(time.Second)
		askAll(1)
		wg.Wait()
		// The first does not wait; then queries are herdPause apart.
		if want := []int{1, 200, 200, 100, 1}; !slices.Equal(e.sizes, want) {
			t.Errorf("%v questions", e.sizes)
		}
		if want := []time.Duration{0, herdPause, 2 * herdPause, 3 * herdPause, 3*herdPause + time.Second}; !slices.Equal(e.times, want) {
			t.Errorf("at %v", e.times)
		}
	})
}

// The patient are asked for together, twice a second, and at once when somebody is
// in a hurry.
func TestHerdOfThePatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h herd[int, int]
		e := echo{began: time.Now()}
		var wg sync.WaitGroup
		at := func(when time.Duration, patient bool) {
			wg.Go(func() {
				time.Sleep(when)
				if got, err := h.ask(t.Context(), int(when), patient, e.read); err != nil || got != int(when) {
					t.Errorf("%v is answered %d, %v", when, got, err)
				}
			})
		}
		for i := range 20 {
			at(time.Duration(i)*51*time.Millisecond, true) // 0 … 969 ms
		}
		at(720*time.Millisecond, false)
		wg.Wait()
		if want := []time.Duration{0, 500 * time.Millisecond, 720 * time.Millisecond, 1220 * time.Millisecond}; !slices.Equal(e.times, want) {
			t.Errorf("at %v", e.times)
		}
		if want := []int{1, 9, 6, 5}; !slices.Equal(e.sizes, want) {
			t.Errorf("%v questions", e.sizes)
		}
	})
}

// Who leaves takes nobody along, whether waiting, pausing or asking for others.
func TestHerdsOutliveTheirLeaders(t *testing.T) {
	for name, tc := range map[string]struct {
		after     time.Duration
		questions int // of the second query
	}{
		"pausing": {herdPause / 2, 1},
		"asking":  {herdPause + time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h herd[int, int]
				e := echo{began: time.Now(), delay: 10 * time.Millisecond}
				if _, err := h.ask(t.Context(), 0, false, e.read); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(func() { h.ask(ctx, 1, false, e.read) })
				synctest.Wait()
				waiting, leave := context.WithCancel(t.Context())
				wg.Go(func() {
					if _, err := h.ask(waiting, 2, false, e.read); !errors.Is(err, context.Canceled) {
						t.Errorf("who left: %v", err)
					}
				})
				wg.Go(func() {
					if got, err := h.ask(t.Context(), 3, false, e.read); err != nil || got != 3 {
						t.Errorf("who stayed: %d, %v", got, err)
					}
				})
				synctest.Wait()
				leave()
				time.Sleep(tc.after)
				cancel()
				wg.Wait()
				if len(e.sizes) != 2 || e.sizes[1] != tc.questions {
					t.Errorf("%v questions", e.sizes)
				}
			})
		})
	}
}

func TestHerdsShareAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h herd[int, int]
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := h.ask(t.Context(), 1, false, func(context.Context, []int) ([]int, error) { return nil, errBroken })
				if !errors.Is(err, errBroken) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// However many visitors poll, the database hears of them at a fixed rate.
func TestQueriesDoNotGrowWithTheVisitors(t *testing.T) {
	site, root := newSite8(t)
	fill(t, root, 1000, statusActive)
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		var wg sync.WaitGroup
		before := site.queries.Load()
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				l, _ := visitorPage(t, s, site, 1000+i, "1").poll("status", "3")
				state := &LoopState{Cursor: LoopCursor{known: true, seen: 908}, timing: loopTiming{55, time.Second / 2}, round: 1, began: time.Now()}
				if a, err := s.Answer(t.Context(), site, l, state, false); err != nil || a.Now {
					t.Errorf("%s, %v", a.Body, err)
				}
			})
		}
		wg.Wait()
		if n := site.queries.Load() - before; n > 2*(int64(time.Second/herdPause)+2) {
			t.Errorf("%d queries in a second", n)
		}
	})
}

func TestOneQueryForManyClients(t *testing.T) {
	site, root := bigSite(t)
	s := detect(t, site)
	exec(t, root, "INSERT INTO wp_wplc_chat_msgs SELECT "+fmt.Sprint(manyRows)+" + seq, 1000 + seq, 'x', 'y', '2019-03-19 11:00:00', 0, 1, '', '', 0, 0 FROM seq_1_to_50")
	var asks []unreadOf
	for i := range int64(herdSize) {
		asks = append(asks, unreadOf{chat: 1001 + i, cursor: LoopCursor{known: true, seen: manyRows - i%40, settled: manyRows - 100, given: []int64{manyRows + 7}}, kinds: []int64{noteForVisitor, fromAgent}})
	}
	var portions []portion
	all, next := handlerReads(t, site, func(t *testing.T) {
		var err error
		if portions, err = s.readUnread(t.Context(), site, asks); err != nil {
			t.Fatal(err)
		}
	})
	if all > 1000 || next > 500 {
		t.Errorf("%d rows read, %d of them in a row", all, next)
	}
	for i, p := range portions {
		want := 1
		if i >= 50 || i == 6 { // nothing there, or given before
			want = 0
		}
		if len(p.rows) != want || want == 1 && p.rows[0].id != int64(manyRows+i+1) {
			t.Errorf("client %d: %d rows", i, len(p.rows))
		}
	}
}

// A chat that somebody floods holds up nobody else.
func TestAFloodedChatIsAskedForAlone(t *testing.T) {
	site, root := newSite8(t)
	s := detect(t, site)
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs;"+
		"INSERT INTO wp_wplc_chat_msgs SELECT seq, 41, 'x', REPEAT('y', 50000), '2019-03-19 11:00:00', 0, 1, '', '', 0, 0 FROM seq_1_to_300")
	say(t, root, 400, fromAgent, 0, "late in the table")
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET chat_sess_id = 42 WHERE id = 400")
	kinds := []int64{noteForVisitor, fromAgent}
	portions, err := s.readUnread(t.Context(), site, []unreadOf{{chat: 41, kinds: kinds}, {chat: 42, kinds: kinds}, {chat: 41, kinds: []int64{fromVisitor}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(portions[0].rows); n != 84 || !portions[0].more || portions[0].last != 84 {
		t.Errorf("flooded: %d rows, more %v behind %d", n, portions[0].more, portions[0].last)
	}
	if n := len(portions[1].rows); n != 1 || portions[1].more {
		t.Errorf("the other: %d rows", n)
	}
	if n := len(portions[2].rows); n != 0 {
		t.Errorf("the agent: %d rows", n)
	}
	// Small ones are cut for each client alone.
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET msg = 'y'")
	portions, err = s.readUnread(t.Context(), site, []unreadOf{{chat: 41, kinds: kinds}, {chat: 42, kinds: kinds}})
	if err != nil || len(portions[0].rows) != maxUnread || !portions[0].more || portions[0].last != maxUnread || len(portions[1].rows) != 1 || portions[1].more {
		t.Errorf("%d and %d rows, %v", len(portions[0].rows), len(portions[1].rows), err)
	}
}

// What the query selects is what the client wants.
func TestTheConditionIsTheWish(t *testing.T) {
	site, root := newSite8(t)
	s := detect(t, site)
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs;"+
		"INSERT INTO wp_wplc_chat_msgs SELECT seq, 41 + seq % 2, 'x', 'y', '2019-03-19 11:00:00', seq % 3 = 0, seq % 5, '', '', 0, 0 FROM seq_1_to_300")
	everything, err := s.messages(t.Context(), site, "TRUE ORDER BY `id`", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, strict := range []bool{false, true} {
		for _, c := range []LoopCursor{{}, {known: true}, {known: true, seen: 150, given: []int64{149, 150, 100}}, {known: true, seen: 250, settled: 40}, {known: true, seen: 250, settled: 249}, {known: true, seen: 999}} {
			u := unreadOf{chat: 42, cursor: c, strict: strict, kinds: []int64{noteForVisitor, fromAgent}}
			found, err := s.messages(t.Context(), site, u.condition()+" ORDER BY `id`", 1000)
			if err != nil {
				t.Fatal(err)
			}
			var selected, wanted []string
			for _, m := range found.rows {
				selected = append(selected, fmt.Sprint(m.id))
			}
			for _, m := range everything.rows {
				if u.wants(&m) {
					wanted = append(wanted, fmt.Sprint(m.id))
				}
			}
			if !slices.Equal(selected, wanted) {
				t.Errorf("%+v: %s\nselected, wanted %s", u, strings.Join(selected, " "), strings.Join(wanted, " "))
			}
		}
	}
}
