package spool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ids(recs []Record) string {
	out := ""
	for _, r := range recs {
		out += r.ID
	}
	return out
}

func TestDepthDrainsALaneInBatches(t *testing.T) {
	const n, depth = 1000, 50
	s := mustRun(t, t.TempDir(), Options{Sync: SyncNever})
	for i := range n {
		mustPut(t, s, "wplc/1", fmt.Sprint(i), "x")
	}
	mustPut(t, s, "wplc/2", "other", "x")
	next, takes, others := 0, 0, 0
	for ; next+others < n+1; takes++ {
		recs, err := s.Take(t.Context(), depth, depth)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			switch {
			case r.Lane == "wplc/2":
				others++
			case r.ID != fmt.Sprint(next):
				t.Fatalf("%s came instead of %d", r.ID, next)
			default:
				next++
			}
			if err := s.Done(r.Seq, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if takes > n/depth+1 || others != 1 {
		t.Errorf("%d takes, %d of the other lane", takes, others)
	}
}

// Whatever is marked in whatever order, an older record never comes after a newer
// one of its lane was marked.
func TestMarksWithinALane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{})
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			mustPut(t, s, "1", id, "x")
		}
		recs := takeNow(t, s, 9, 4)
		if got := ids(recs); got != "abcd" {
			t.Fatalf("handed out %q", got)
		}
		for name, err := range map[string]error{"done": s.Done(recs[1].Seq, 0), "refuse": s.Refuse(recs[1].Seq, 0)} {
			if !errors.Is(err, ErrOrder) {
				t.Errorf("%s before the head: %v", name, err)
			}
		}
		// c is given back while a and b are in flight, and takes d with it.
		if err := s.Retry(recs[2].Seq, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := s.Done(recs[3].Seq, 0); !errors.Is(err, ErrNotTaken) {
			t.Errorf("d was given back with c: %v", err)
		}
		start := time.Now()
		if err := errors.Join(s.Done(recs[0].Seq, 0), s.Done(recs[1].Seq, 0)); err != nil {
			t.Fatal(err)
		}
		if early := takeNow(t, s, 9, 9); len(early) != 0 {
			t.Errorf("handed out before its time: %q", ids(early))
		}
		again, err := s.Take(t.Context(), 9, 9)
		if err != nil || ids(again) != "cde" || time.Since(start) != time.Minute {
			t.Errorf("after %v: %q, %v", time.Since(start), ids(again), err)
		}
		if again[0].Attempt != 1 || again[1].Attempt != 0 {
			t.Errorf("attempts %d and %d: only c was given back by name", again[0].Attempt, again[1].Attempt)
		}
		mustClose(t, s)
	})
}

func TestDepthStopsAtWhatIsNotDurable(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{}) // syncs only when told
	var tickets []Ticket
	begin := func(id string) {
		t.Helper()
		ticket, err := s.Begin("1", id, nil)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	begin("a")
	begin("b")
	if err := s.commit(true); err != nil {
		t.Fatal(err)
	}
	begin("c")
	if got := ids(takeNow(t, s, 9, 9)); got != "ab" {
		t.Errorf("handed out %q, but only a and b are durable", got)
	}
	for i, ticket := range tickets[:2] {
		if r, err := ticket.Wait(t.Context()); err != nil || r.State != Accepted || r.Seq != uint64(i+1) {
			t.Errorf("ticket %d: %+v, %v", i, r, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tickets[2].Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a ticket that is not durable: %v", err)
	}
}

func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{})
		for i := range 4 {
			mustPut(t, s, fmt.Sprint(i), fmt.Sprint(i), "x")
			mustPut(t, s, fmt.Sprint(i), "more", "x")
		}
		recs := takeNow(t, s, 8, 2)
		for i, r := range recs[:6] {
			if i%2 == 0 {
				if err := s.Retry(r.Seq, time.Duration(10-i)*time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Retry(recs[7].Seq, time.Hour); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		taken := make(chan []Record)
		go func() {
			recs, _ := s.Take(t.Context(), 9, 1)
			taken <- recs
		}()
		synctest.Wait()
		s.Hurry()
		if got := <-taken; ids(got) != "012" || time.Since(start) != 0 {
			t.Errorf("after %v: %q", time.Since(start), ids(got))
		}
		// Lane 3 is in flight still; what was given back behind its head hurries too.
		if err := s.Done(recs[6].Seq, 0); err != nil {
			t.Fatal(err)
		}
		if got := takeNow(t, s, 9, 9); ids(got) != "more" {
			t.Errorf("behind the head: %q", ids(got))
		}
		mustClose(t, s)
	})
}

// Records that are begun together share a sync and keep their order.
func TestBeginSharesASync(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	var want []string
	var tickets []Ticket
	for i := range 100 {
		ticket, err := s.Begin("1", fmt.Sprint(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
		want = append(want, fmt.Sprintf("1/%d=", i))
	}
	go func() { _ = s.Run(context.Background()) }()
	for _, ticket := range tickets {
		if _, err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Syncs; n > 2 {
		t.Errorf("%d syncs", n)
	}
	if d := cmp.Diff(want, drain(t, s)); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}
