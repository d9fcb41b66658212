package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

const ch = "wplc/1"

func TestSendStores(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, t.TempDir(), new(fakeStore), nil)
		defer r.stop()
		r.send(message(ch, id(0)))
		settled()
		if got := r.answered(ch, id(0)); got != "pending" {
			t.Errorf("answered %q", got)
		}
		want := chat.Event{
			Type: chat.TypeMessage, Channel: ch, ClientID: id(0), Pending: true, Body: "body of " + id(0),
			From: &chat.Party{Kind: chat.KindVisitor, Name: "Ann"}, SentAt: time.Unix(1_700_000_000, 0).UTC(),
		}
		told := r.hub.tellings()
		if len(told) != 1 {
			t.Fatalf("told %v", told)
		}
		if d := cmp.Diff(want, told[0].Event); d != "" {
			t.Errorf("the pending message (-want +got):\n%s", d)
		}
		if got := r.store.rowsOf(ch); !cmp.Equal(got, numbered(1)) {
			t.Errorf("stored %v", got)
		}
		after(keepPending - lookAgain)
		if got := r.hub.keeps(); !cmp.Equal(got, []string{ch + " p/visitor/" + id(0)}) {
			t.Errorf("kept until its row comes: %v", got)
		}
		after(2 * lookAgain)
		if got := r.hub.keeps(); len(got) != 0 {
			t.Errorf("kept for good: %v", got)
		}
		if got := r.box.Stats(); got != (Stats{Accepted: 1, Stored: 1, Calls: 1}) {
			t.Errorf("stats: %+v", got)
		}
	})
}

// What Store is given is what was sent, after the way over the disk.
func TestStoreIsGivenTheMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []Message
		store := new(fakeStore)
		store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
			got = append(got, ms...)
			return nil, nil, false
		})
		r := start(t, t.TempDir(), store, nil)
		m := message("wplc/some/Chat-1", id(1))
		m.From = chat.Party{Kind: chat.KindAgent, ID: 2, Name: "Zoë <b>"}
		m.Body = "a\n\"b\" <i>\u2028&amp; 🙂"
		r.send(m)
		settled()
		r.stop()
		if d := cmp.Diff([]Message{m}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

// A thousand messages of one chat need some twenty calls, and others go between.
func TestBacklogDrainsInBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.fail(errors.New("down"))
		r := start(t, t.TempDir(), store, func(o *Options) { o.LaneQueue = 2000 })
		defer r.stop()
		for i := range 1000 {
			r.send(message(ch, id(i)))
		}
		r.send(message("wplc/2", id(0)))
		after(time.Minute)
		before := len(store.called())
		store.do(nil)
		after(maxProbe + time.Second)
		if got := store.rowsOf(ch); !cmp.Equal(got, numbered(1000)) {
			t.Fatalf("%d stored, or out of order", len(got))
		}
		if n := len(store.called()) - before; n > 30 {
			t.Errorf("%d calls", n)
		}
		for i, name := range store.stored() {
			if strings.HasPrefix(name, "wplc/2") && i > 200 {
				t.Errorf("the other chat waited for %d messages", i)
			}
		}
	})
}

func TestRepetition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.fail(errors.New("down"))
		r := start(t, t.TempDir(), store, nil)
		defer r.stop()
		check := func(m Message, want string) {
			t.Helper()
			settled()
			if got := r.answered(m.Channel, m.ClientID); got != want {
				t.Errorf("%s was answered %q, want %q", nameOf(m), got, want)
			}
		}
		m := message(ch, id(0))
		r.send(m)
		r.send(m) // at once
		check(m, "pending, pending")
		r.send(m) // while it waits
		check(m, "pending, pending, pending")
		if got := r.hub.told("pending"); len(got) != 1 {
			t.Errorf("told as pending: %v", got)
		}

		store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
			if ms[0].Channel != "wplc/2" {
				return nil, nil, false
			}
			return []Fate{{Refused: &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat was closed."}}}, nil, true
		})
		after(time.Minute)
		r.send(m) // after it was stored
		check(m, "pending, pending, pending, stored 1")

		refused := message("wplc/2", id(0))
		r.send(refused)
		check(refused, "pending")
		r.send(refused)
		check(refused, "pending, failed closed")

		// The other side's client may have the same id.
		agent := message(ch, id(0))
		agent.From.Kind = chat.KindAgent
		r.send(agent)
		check(agent, "pending, pending, pending, stored 1, pending")

		r.stop()
		r = start(t, r.dir, store, nil)
		defer r.stop()
		r.send(m)
		check(m, "stored 1")
		r.send(refused)
		check(refused, "failed closed")
		if got := r.hub.told(""); len(got) != 0 {
			t.Errorf("a repetition was told: %v", got)
		}
	})
}

func TestRefusedIsWithdrawn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		release := make(chan struct{})
		store.do(func(_ context.Context, ms []Message) ([]Fate, error, bool) {
			<-release
			fates := make([]Fate, len(ms))
			for i, m := range ms {
				if fates[i].ID = int64(100 + i); m.ClientID == id(1) {
					fates[i] = Fate{Refused: &chat.Refusal{Reason: chat.ReasonText, Text: "No emoji."}}
				}
			}
			return fates, nil, true
		})
		r := start(t, t.TempDir(), store, nil)
		defer r.stop()
		for i := range 3 {
			r.send(message(ch, id(i)))
		}
		settled()
		close(release)
		after(time.Second)
		want := []string{
			"pending wplc/1 message-0000", "pending wplc/1 message-0001", "pending wplc/1 message-0002",
			"withdrawn wplc/1 message-0001",
		}
		if d := cmp.Diff(want, r.hub.told("")); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
		if got := string(r.hub.tellings()[3].Event.Data); got != `{"reason":"text","text":"No emoji."}` {
			t.Errorf("data %s", got)
		}
		after(keepPending + lookAgain)
		if got := r.hub.keeps(); !cmp.Equal(got, []string{ch + " w/visitor/" + id(1)}) {
			t.Errorf("kept: %v", got)
		}
		after(keepWithdrawn)
		if got := r.hub.keeps(); len(got) != 0 {
			t.Errorf("kept for good: %v", got)
		}
	})
}

// After a restart what waits is told first, and stored in its order before what
// comes new.
func TestRestartTellsWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.fail(errors.New("down"))
		r := start(t, t.TempDir(), store, nil)
		for i := range 250 {
			r.send(message(ch, id(i)))
		}
		settled()
		r.stop()

		r = prepare(t, r.dir, store, nil)
		r.send(message(ch, id(250)))
		settled()
		if got := r.answered(ch, id(250)); got != "" {
			t.Errorf("answered before Run: %q", got)
		}
		r.run()
		settled()
		var want []string
		for _, id := range numbered(251) {
			want = append(want, "pending "+ch+" "+id)
		}
		if d := cmp.Diff(want, r.hub.told("pending")); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
		store.do(nil)
		after(time.Minute)
		if got := store.rowsOf(ch); !cmp.Equal(got, numbered(251)) {
			t.Errorf("stored: %v", got)
		}
		r.stop()
	})
}

// A crash came after messages were stored and before the spool knew. Nobody is shown
// them as pending, unless that cannot be found out.
func TestRestartLeavesOutWhatHasARow(t *testing.T) {
	for _, tt := range []struct {
		name string
		rows func(store *fakeStore, ms []Message) ([]int64, error)
		told []string // of messages 0 to 2
		asks int
		kept bool // message 2 is, for who comes now
	}{
		{"two of three have", func(s *fakeStore, ms []Message) ([]int64, error) {
			ids := make([]int64, len(ms))
			for i, m := range ms {
				ids[i] = s.ids[nameOf(m)]
			}
			return ids, nil
		}, []string{id(2)}, 4, true},
		{"one more is stored meanwhile", func(s *fakeStore, ms []Message) ([]int64, error) {
			ids := make([]int64, len(ms))
			for i, m := range ms {
				ids[i] = s.ids[nameOf(m)]
			}
			if ms[0].Channel == ch {
				s.insert(message(ch, id(2)))
			}
			return ids, nil
		}, []string{id(2)}, 4, false},
		{"it cannot be known", func(*fakeStore, []Message) ([]int64, error) { return nil, errors.New("no database") }, numbered(3), 1, true},
		{"too few are told of", func(*fakeStore, []Message) ([]int64, error) { return []int64{1}, nil }, numbered(3), 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				asked := 0
				store := new(fakeStore)
				r := prepare(t, t.TempDir(), store, func(o *Options) {
					o.Rows = func(_ context.Context, ms []Message) ([]int64, error) {
						asked++
						return tt.rows(store, ms)
					}
				})
				for i := range 3 {
					r.put(message(ch, id(i)))
					r.put(message("wplc/77", id(i)))
				}
				store.insert(message(ch, id(0)))
				store.insert(message(ch, id(1)))
				r.run()
				settled()
				var want []string
				for _, id := range tt.told {
					want = append(want, "pending "+ch+" "+id)
				}
				if d := cmp.Diff(want, r.hub.told("pending "+ch)); d != "" {
					t.Errorf("told (-want +got):\n%s", d)
				}
				if got := len(r.hub.told("pending wplc/77")); got != 3 {
					t.Errorf("%d messages of another channel were told, want 3", got)
				}
				if kept := r.hub.has(ch, "p/"+spoolID(message(ch, id(2)))); kept != tt.kept {
					t.Errorf("the last message is kept: %t", kept)
				}
				if asked != tt.asks {
					t.Errorf("asked %d times, want %d", asked, tt.asks)
				}
				after(time.Minute)
				if got := store.rowsOf(ch); !cmp.Equal(got, numbered(3)) {
					t.Errorf("stored: %v", got)
				}
				if got := r.hub.keeps(); len(got) != 0 {
					t.Errorf("kept for good: %v", got)
				}
				store.early = nil // that is the point
				r.stop()
			})
		})
	}
}

func TestFullness(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t, t.TempDir(), new(fakeStore), func(o *Options) { o.Queue, o.LaneQueue = 5, 3 })
		for i := range 5 {
			r.send(message(ch, id(i)))
		}
		for i := range 4 {
			r.send(message("wplc/2", id(i)))
		}
		settled()
		for channel, want := range map[string][]string{
			ch:       {"", "", "", "failed full", "failed full"}, // the channel's own bound
			"wplc/2": {"", "", "failed full", "failed full"},     // the bound in all
		} {
			for i, want := range want {
				if got := r.answered(channel, id(i)); got != want {
					t.Errorf("%s %d was answered %q, want %q", channel, i, got, want)
				}
			}
		}
		r.run()
		settled()
		if got := r.box.Stats(); got.Stored != 5 || got.Queued != 0 || got.Rejected != 4 {
			t.Errorf("%+v", got)
		}
		r.send(message(ch, id(3)))
		settled()
		if got := r.answered(ch, id(3)); got != "failed full, pending" {
			t.Errorf("later: %q", got)
		}
		r.stop()
	})
}

func TestSendRefuses(t *testing.T) {
	system := message(ch, id(0))
	system.From.Kind = chat.KindSystem
	ancient := message(ch, id(0))
	ancient.SentAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	long := message(ch, id(0))
	long.Body = strings.Repeat("x", 70_000)
	for _, c := range []struct {
		name string
		m    Message
		want string
	}{
		{"no client id", message(ch, ""), "failed bad_request"},
		{"slash in the client id", message(ch, "abc/defghi"), "failed bad_request"},
		{"no channel", message("", id(0)), "failed bad_request"},
		{"the system", system, "failed bad_request"},
		{"impossible time", ancient, "failed bad_request"},
		{"longer than the spool takes", long, "failed too_long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := start(t, t.TempDir(), new(fakeStore), nil)
				defer r.stop()
				r.send(c.m)
				settled()
				if got := r.answered(c.m.Channel, c.m.ClientID); got != c.want {
					t.Errorf("answered %q, want %q", got, c.want)
				}
				if got := r.hub.told(""); len(got) != 0 {
					t.Errorf("told %v", got)
				}
			})
		})
	}
}

func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.do(func(ctx context.Context, ms []Message) ([]Fate, error, bool) {
			<-ctx.Done() // WordPress is slow
			return nil, ctx.Err(), true
		})
		r := start(t, t.TempDir(), store, nil)
		for i := range 100 {
			r.send(message(fmt.Sprint("wplc/", i%7), id(i)))
		}
		r.stop()
		for i := range 100 {
			if got := r.answered(fmt.Sprint("wplc/", i%7), id(i)); got != "pending" {
				t.Errorf("%d was answered %q", i, got)
			}
		}
		r.send(message(ch, id(200)))
		settled()
		if got := r.answered(ch, id(200)); got != "failed unavailable" {
			t.Errorf("after the end: %q", got)
		}
		if got := r.hub.told("delayed"); len(got) != 0 {
			t.Errorf("the end is no failure of WordPress: %v", got)
		}
		if err := r.box.Run(t.Context()); err == nil {
			t.Error("Run twice: no error")
		}
		store.do(nil)
		r = start(t, r.dir, store, nil)
		settled()
		if got := len(store.stored()); got != 100 {
			t.Errorf("%d stored", got)
		}
		r.stop()
	})
}

// The spool may be closed by mistake, or its Run may have ended first.
func TestSpoolEndsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := prepare(t, t.TempDir(), new(fakeStore), nil)
		ran := make(chan error)
		go func() { ran <- r.box.Run(t.Context()) }()
		settled()
		r.stop()
		if err := <-ran; err == nil {
			t.Error("Run ended without an error")
		}
		r.send(message(ch, id(0)))
		settled()
		if got := r.answered(ch, id(0)); got != "failed unavailable" {
			t.Errorf("answered %q", got)
		}
	})
}
