package wordpress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCourierCalls(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *Courier)
		pass time.Duration
		want []string
	}{
		{"nothing to say", func(*Courier) {}, 12 * time.Minute, []string{"5m0s hello", "10m0s hello"}},
		{"heartbeats wait for the batch", func(c *Courier) {
			c.Beat(beat(41, 5, "a"))
			time.Sleep(10 * time.Second)
			c.Beat(beat(42, 3, "b"))
			c.Beat(beat(41, 3, "c"))
		}, time.Minute, []string{"22s beat 41:3 c, beat 42:3 b"}},
		{"2 and 12 have no heartbeat", func(c *Courier) {
			c.Beat(beat(41, 2, "a"))
			c.Beat(beat(42, 12, "b"))
			c.Beat(beat(0, 3, "b"))
		}, time.Minute, nil},
		{"ageing alone", func(c *Courier) { c.Age(); c.Age() }, time.Minute, []string{"22s age"}},
		{"ageing does not hurry", func(c *Courier) {
			c.Age()
			c.Move(Transition{45, 1, 8, Visit{}})
			c.Flush()
		}, time.Minute, []string{"10ms move 45:1>8", "22s age"}},
		{"delivered messages within 300 ms", func(c *Courier) {
			c.Beat(beat(41, 3, ""))
			c.Read(905, 907)
			time.Sleep(200 * time.Millisecond)
			c.Read(907, 909, 0, -1)
		}, time.Minute, []string{"300ms beat 41:3, read [905 907 909]"}},
		{"no ids are nothing", func(c *Courier) { c.Read(); c.Read(0) }, time.Minute, nil},
		{"another page at once", func(c *Courier) {
			c.Beat(beat(41, 3, "new"))
			c.Flush()
		}, time.Minute, []string{"10ms beat 41:3 new"}},
		{"nothing to flush", func(c *Courier) { c.Flush() }, time.Minute, nil},
		{"transitions in their order, after a heartbeat", func(c *Courier) {
			c.Beat(beat(41, 7, "a"))
			c.Move(Transition{41, 7, 5, Visit{Session: "a"}})
			c.Move(Transition{45, 1, 8, Visit{}})
			c.Move(Transition{41, 7, 5, Visit{Session: "b"}})
			c.Move(Transition{0, 7, 5, Visit{}})
		}, time.Minute, []string{"10ms beat 41:7 a, move 41:7>5 b, move 45:1>8"}},
		{"nobody answered", func(c *Courier) {
			c.Move(Transition{44, 12, 12, Visit{}})
			c.Missed(44)
			c.Missed(44)
			c.Missed(-1)
		}, time.Minute, []string{"10ms move 44:12>12, missed [44]"}},
		{"a burst is three calls", func(c *Courier) {
			for i := range int64(10) {
				c.Move(Transition{i + 1, 1, 8, Visit{}})
				time.Sleep(33 * time.Millisecond)
			}
		}, time.Minute, []string{
			"10ms move 1:1>8", "210ms move 2:1>8, move 3:1>8, move 4:1>8, move 5:1>8, move 6:1>8, move 7:1>8",
			"410ms move 8:1>8, move 9:1>8, move 10:1>8",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, works)
				time.Sleep(300 * time.Millisecond) // the hello's pause
				w.began = time.Now()
				got := make(chan []string)
				go func() { got <- w.pass(tt.pass) }()
				tt.do(w.courier)
				want := tt.want
				if tt.name == "nothing to say" { // hello counts from the last answer
					want = []string{"4m59.7s hello", "9m59.7s hello"}
				}
				if d := cmp.Diff(want, <-got); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestCourierMakesOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, works)
		time.Sleep(time.Second)
		w.takes = 3 * time.Second
		for i := range int64(40) {
			w.courier.Move(Transition{i + 1, 1, 8, Visit{}})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if s := w.stats(); s.Queued != 0 || s.Calls["delivered"] != 4 { // hello, at 0, 3 and 6 s
			t.Errorf("%+v", s)
		}
	})
}

func TestCourierKeepsWhatWordPressDoesNotTake(t *testing.T) {
	login := "<html>Briefly unavailable for scheduled maintenance.</html>"
	for name, answer := range map[string]func(Sync, []byte) (int, string, error){
		"no connection": always(0, ""), "503": always(503, login), "429": always(429, ""), "500": always(500, helloBody),
		"not ok": always(200, oops), "a page": always(200, login), "nothing": always(200, ""), "too long": always(200, strings.Repeat(" ", MaxSyncBody+1)),
		"another contract": always(200, `{"ok":true}`), "lists for objects": always(200, `{"ok":true,"version":1,"hello":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, works)
				w.behave(answer)
				w.courier.Beat(beat(41, 3, "old"))
				w.courier.Beat(beat(42, 3, "old"))
				w.courier.Read(905)
				w.courier.Move(Transition{45, 1, 8, Visit{}})
				w.pass(time.Minute)
				w.courier.Beat(beat(41, 3, "new"))
				w.courier.Move(Transition{46, 1, 8, Visit{}})
				tries := len(w.pass(59 * time.Second))
				if tries < 1 || tries > 30 {
					t.Errorf("%d tries in a minute", tries)
				}
				if _, err := w.courier.Hello(t.Context()); err != nil {
					t.Errorf("hello while WordPress is silent: %v", err)
				}
				w.behave(works)
				var got []string
				for _, call := range w.pass(40 * time.Second) {
					_, call, _ = strings.Cut(call, " ")
					got = append(got, call)
				}
				if len(got) != 1 || !strings.HasPrefix(got[0], "beat 41:3 new, ") || !strings.HasSuffix(got[0], "move 45:1>8, move 46:1>8, read [905]") {
					t.Errorf("calls after the recovery: %q", got)
				}
				if n := strings.Count(w.log.String(), "\n"); n != 3 { // it takes, does not, takes again
					t.Errorf("log:\n%s", w.log.String())
				}
			})
		})
	}
}

func TestCourierDropsOldHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, always(0, ""))
		w.courier.Beat(beat(41, 3, "left"))
		w.courier.Move(Transition{45, 1, 8, Visit{}})
		w.pass(3 * time.Minute)
		w.courier.Beat(beat(42, 3, "here"))
		w.behave(works)
		calls := strings.Join(w.pass(time.Minute), "\n")
		if strings.Contains(calls, "beat 41") || !strings.Contains(calls, "beat 42:3 here, move 45:1>8") {
			t.Errorf("calls:\n%s", calls)
		}
		if s := w.stats(); s.Dropped != 1 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCourierTakesAReplayForDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, works)
		w.behave(always(409, `{"ok":false,"error":"replay"}`))
		w.courier.Move(Transition{45, 1, 8, Visit{}})
		if got := w.pass(time.Minute); len(got) != 1 {
			t.Errorf("calls %q", got)
		}
		if a, err := w.courier.Hello(t.Context()); err != nil || a.Plugin != "8.0.25" {
			t.Errorf("hello: %+v, %v", a, err)
		}
	})
}

func TestCourierObeysLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, works)
		time.Sleep(time.Second)
		var ids []int64
		for i := range int64(12_000) {
			ids = append(ids, i+1)
		}
		long := strings.Repeat("\x01é", 5000)
		for _, id := range ids[:2500] {
			w.courier.Beat(Beat{id, 3, Visit{Session: "s", URL: &long, UA: &long, IP: long}})
			w.courier.Move(Transition{id, 1, 8, Visit{Session: "s"}})
		}
		w.courier.Read(ids...)
		for _, id := range ids[:500] {
			w.courier.Missed(id)
		}
		w.pass(100 * time.Millisecond) // far less than a pause for each call
		total := map[string]int{}
		for i, s := range w.calls {
			if w.sizes[i] > MaxSyncBody || len(s.Beats) > MaxSyncBeats || len(s.Transitions) > MaxSyncTransitions || len(s.Read) > MaxSyncRead || len(s.Missed) > MaxSyncMissed {
				t.Errorf("call %d has %d bytes, %d, %d, %d, %d", i, w.sizes[i], len(s.Beats), len(s.Transitions), len(s.Read), len(s.Missed))
			}
			total["beats"] += len(s.Beats)
			total["moves"] += len(s.Transitions)
			total["read"] += len(s.Read)
			total["missed"] += len(s.Missed)
		}
		if want := map[string]int{"beats": 2500, "moves": 2500, "read": 12_000, "missed": 500}; !maps.Equal(total, want) {
			t.Errorf("arrived: %v", total)
		}
	})
}

func TestCourierHalvesWhatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, works)
		w.behave(func(_ Sync, body []byte) (int, string, error) {
			if len(body) > 2000 {
				return 413, "<html>413 Request Entity Too Large</html>", nil
			}
			return 200, helloBody, nil
		})
		for i := range int64(300) {
			w.courier.Beat(beat(i+1, 3, "s"))
		}
		w.courier.Flush()
		w.pass(time.Second)
		arrived := map[int64]bool{}
		for i, s := range w.calls {
			for _, b := range s.Beats {
				arrived[b.Chat] = arrived[b.Chat] || w.sizes[i] <= 2000
			}
		}
		if s := w.stats(); len(arrived) != 300 || s.Queued != 0 || s.Dropped != 0 || s.Calls["too_large"] == 0 {
			t.Errorf("%d arrived; %+v", len(arrived), s)
		}

		w.behave(always(413, "")) // whatever it gets
		before := len(w.calls)
		w.courier.Move(Transition{45, 1, 8, Visit{}})
		w.pass(time.Hour)
		if s := w.stats(); s.Dropped != 1 || s.Queued != 0 || len(w.calls)-before > 250 {
			t.Errorf("%d calls in an hour, %+v", len(w.calls)-before, s)
		}
	})
}

func TestCourierIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"secret", 403, `{"ok":false,"error":"signature","time":1}`, "set HOLDLINE_SECRET in wp-config.php"},
		{"clock", 403, `{"ok":false,"error":"time","time":946685400}`, "its clock is 10m0s ahead of this machine's; set both clocks by NTP"},
		{"clock of nonsense", 403, `{"ok":false,"error":"time","time":-9223372036854775808}`, "wrong by decades"},
		{"firewall", 403, "<h1>Not  acceptable</h1>", `it answers 403 "<h1>Not acceptable</h1>"`},
		{"login", 302, "", "it answers 302"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock begins at 946684800
				w := begin(t, func(Sync, []byte) (int, string, error) { return tt.status, tt.body, nil })
				if _, err := w.courier.Hello(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("hello: %v", err)
				}
				w.courier.Move(Transition{45, 1, 8, Visit{}})
				if d := cmp.Diff([]string{"1m0s hello", "2m0s hello"}, w.pass(150*time.Second)); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
				if log := w.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=ERROR") {
					t.Errorf("log:\n%s", log)
				}
				w.behave(works)
				if d := cmp.Diff([]string{"3m0s hello", "3m0s move 45:1>8"}, w.pass(time.Minute)); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
				if _, err := w.courier.Hello(t.Context()); err != nil {
					t.Errorf("hello at last: %v", err)
				}
			})
		})
	}
}

func TestCourierWithoutACompanion(t *testing.T) {
	for _, status := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			w := begin(t, always(status, "0\n"))
			if _, err := w.courier.Hello(t.Context()); !errors.Is(err, ErrAbsent) {
				t.Errorf("hello: %v", err)
			}
			w.courier.Move(Transition{45, 1, 8, Visit{}})
			w.courier.Age()
			if d := cmp.Diff([]string{"1m0s hello", "2m0s hello"}, w.pass(150*time.Second)); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			if s := w.stats(); s.Queued != 0 || s.Dropped != 1 || s.Calls["absent"] != 3 || !s.LastSuccess.IsZero() {
				t.Errorf("%+v", s)
			}
			w.behave(works)
			w.pass(time.Minute)
			if a, err := w.courier.Hello(t.Context()); err != nil || a.Hello.Since != 100 {
				t.Errorf("hello after it was installed: %+v, %v", a, err)
			}
			w.courier.Read(1)
			w.behave(always(0, ""))
			w.pass(time.Minute)
			if s := w.stats(); s.Queued != 1 {
				t.Errorf("nothing is kept for a companion that was there: %+v", s)
			}
			if log := w.log.String(); strings.Count(log, "\n") != 3 || strings.Count(log, "snippet mu-plugin") != 1 {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestHelloWaitsForTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, always(0, ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.courier.Hello(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while it is down: %v", err)
		}
		w.courier.Beat(beat(41, 3, "s"))
		for _, call := range w.pass(time.Minute) {
			if !strings.HasSuffix(call, "hello") {
				t.Errorf("unmet, it was sent %s", call)
			}
		}
		w.behave(works)
		if a, err := w.courier.Hello(t.Context()); err != nil || a.Plugin != "8.0.25" {
			t.Errorf("up: %+v, %v", a, err)
		}
		other := NewCourier(CourierOptions{})
		close(other.over)
		if _, err := other.Hello(t.Context()); err == nil {
			t.Error("a courier that has ended says hello")
		}
	})
}

func TestCourierEnds(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration // of each call
		after time.Duration // from the urgent move to the end of the courier's life
		want  []string
		lasts time.Duration
		left  int
	}{
		{"with a last batch", 0, time.Second, []string{"10ms move 45:1>8", "1s beat 41:3 s, age"}, 0, 0},
		{"with what is under way", 1600 * time.Millisecond, time.Second, []string{"10ms move 45:1>8", "1.61s beat 41:3 s, age"}, 2 * time.Second, 1},
		{"within two seconds", time.Hour, time.Second, []string{"10ms move 45:1>8", "3s beat 41:3 s, move 45:1>8, age"}, 2 * time.Second, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, works)
				time.Sleep(time.Second)
				w.began, w.takes = time.Now(), tt.takes
				w.courier.Move(Transition{45, 1, 8, Visit{}})
				time.Sleep(urgentLag)
				synctest.Wait()
				w.courier.Beat(beat(41, 3, "s"))
				w.courier.Age()
				time.AfterFunc(tt.after-urgentLag, w.stop)
				<-w.ended
				if lasted := time.Since(w.began) - tt.after; lasted != tt.lasts {
					t.Errorf("the end lasts %v", lasted)
				}
				var got []string
				for i, s := range w.calls[1:] {
					got = append(got, fmt.Sprint(w.at[i+1], " ", sketch(s)))
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
				if s := w.stats(); s.Queued != tt.left || strings.Contains(w.log.String(), "lost") != (tt.left > 0) {
					t.Errorf("%+v, log:\n%s", s, w.log.String())
				}
			})
		})
	}
}

func TestCourierIsRefusedInMidLife(t *testing.T) {
	tests := []struct {
		name   string
		answer func(Sync, []byte) (int, string, error)
		after  []string // what is sent when all is well again, without its times
	}{
		{"for a while", always(0, ""), []string{"beat 41:3 s, move 45:1>8, read [905], missed [44], age"}},
		{"for a new secret", always(403, `{"error":"signature"}`), []string{"hello", "beat 41:3 s, move 45:1>8, read [905], missed [44], age"}},
		{"for good", always(400, "0"), []string{"hello"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, works)
				w.behave(tt.answer)
				w.courier.Age()
				time.Sleep(everyBatch - time.Millisecond)
				w.courier.Beat(beat(41, 3, "s"))
				w.courier.Move(Transition{45, 1, 8, Visit{}})
				w.courier.Missed(44)
				w.courier.Read(905)
				w.pass(10 * time.Second) // all of it is in the batch that fails
				if s := w.stats(); s.Queued != 4 && (tt.name != "for good" || s.Queued != 0 || s.Dropped != 4) {
					t.Errorf("%+v", s)
				}
				w.behave(works)
				var got []string
				for _, call := range w.pass(70 * time.Second) {
					_, call, _ = strings.Cut(call, " ")
					got = append(got, call)
				}
				if d := cmp.Diff(tt.after, got); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
			})
		})
	}
}
