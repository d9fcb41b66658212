package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOrderWithinLane(t *testing.T) {
	s := mustRun(t, t.TempDir(), Options{})
	for i := range 5 {
		mustPut(t, s, "wplc/1", fmt.Sprint("a", i), "x")
		mustPut(t, s, "wplc/2", fmt.Sprint("b", i), "y")
	}
	for i := range 5 {
		recs := mustTake(t, s, 10)
		if len(recs) != 2 || recs[0].ID != fmt.Sprint("a", i) || recs[1].ID != fmt.Sprint("b", i) {
			t.Fatalf("round %d: %v", i, recs)
		}
		if again := takeNow(t, s, 10, 1); len(again) != 0 {
			t.Fatalf("round %d: taken while their lanes are in flight: %v", i, again)
		}
		for _, r := range recs {
			if err := s.Done(r.Seq, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRepetition(t *testing.T) {
	dir := t.TempDir()
	s := mustRun(t, dir, Options{})
	first := mustPut(t, s, "1", "stored", "x")
	mustPut(t, s, "2", "refused", "y")
	mustPut(t, s, "3", "waiting", "z")

	check := func(lane, id string, want State, ref int64) {
		t.Helper()
		if got := mustPut(t, s, lane, id, "other"); got.State != want || got.Ref != ref {
			t.Errorf("%s/%s: %+v, want %v with %d", lane, id, got, want, ref)
		}
	}
	check("1", "stored", Waiting, 0)
	recs := mustTake(t, s, 2)
	check("1", "stored", Waiting, 0)
	if err := errors.Join(s.Done(recs[0].Seq, 4711), s.Refuse(recs[1].Seq, 5)); err != nil {
		t.Fatal(err)
	}
	check("1", "stored", Stored, 4711)
	check("2", "refused", Refused, 5)
	check("2", "stored", Accepted, 0) // an id is of its lane

	mustClose(t, s)
	s = mustRun(t, dir, Options{})
	check("1", "stored", Stored, 4711)
	check("2", "refused", Refused, 5)
	check("3", "waiting", Waiting, 0)
	if got := mustPut(t, s, "1", "stored", ""); got.Seq != first.Seq {
		t.Errorf("after a restart the number is %d, it was %d", got.Seq, first.Seq)
	}
	if got, want := drain(t, s), []string{"2/stored=other", "3/waiting=z"}; !cmp.Equal(got, want) {
		t.Errorf("handed out: %v, want %v", got, want)
	}
}

func TestRepetitionAfterWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{Remember: time.Minute})
		mustPut(t, s, "1", "a", "x")
		drain(t, s)
		wait(59 * time.Second)
		if got := mustPut(t, s, "1", "a", "x").State; got != Stored {
			t.Errorf("within the window: %v", got)
		}
		wait(2 * time.Second)
		if got := mustPut(t, s, "1", "a", "x").State; got != Accepted {
			t.Errorf("after the window: %v", got)
		}
		mustClose(t, s)
	})
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{})
		mustPut(t, s, "1", "a", "x")
		mustPut(t, s, "1", "b", "y")
		mustPut(t, s, "2", "c", "z")
		start := time.Now()
		recs := mustTake(t, s, 1)
		if err := s.Retry(recs[0].Seq, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if other := mustTake(t, s, 5); len(other) != 1 || other[0].ID != "c" {
			t.Fatalf("a lane that waits to be retried held up another: %v", other)
		}
		again := mustTake(t, s, 5)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("tried again after %v", took)
		}
		if len(again) != 1 || again[0].ID != "a" || again[0].Attempt != 1 || string(again[0].Body) != "x" {
			t.Errorf("the same record was to come again, before the next one: %+v", again)
		}
		mustClose(t, s)
	})
}

// A Take whose context ends must leave its alarm to another that sleeps.
func TestTwoTakersOneAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{})
		mustPut(t, s, "1", "a", "x")
		first := mustTake(t, s, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := make(chan error)
		go func() {
			_, err := s.Take(ctx, 1, 1)
			gone <- err
		}()
		synctest.Wait() // it is first in line for the next wake-up
		got := make(chan []Record)
		go func() {
			recs, _ := s.Take(t.Context(), 1, 1)
			got <- recs
		}()
		synctest.Wait()
		start := time.Now()
		if err := s.Retry(first[0].Seq, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := <-gone; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one that gave up: %v", err)
		}
		if recs := <-got; len(recs) != 1 || time.Since(start) != time.Minute {
			t.Errorf("the other got %v after %v", recs, time.Since(start))
		}
		mustClose(t, s)
	})
}

func TestWaiting(t *testing.T) {
	s := mustRun(t, t.TempDir(), Options{})
	for i := range 4 {
		mustPut(t, s, "1", fmt.Sprint(i), fmt.Sprint("body", i))
	}
	mustTake(t, s, 1)
	recs, err := s.Waiting("1", 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range recs {
		got = append(got, string(r.Body))
	}
	if want := []string{"body0", "body1", "body2"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, c := range []struct {
		after uint64
		limit int
		want  string
	}{{0, 1, "[0]"}, {recs[0].Seq, 2, "[1 2]"}, {recs[2].Seq, 9, "[3]"}, {recs[2].Seq + 1, 9, "[]"}, {99, 9, "[]"}, {0, -1, "[]"}} {
		page, err := s.Waiting("1", c.after, c.limit)
		ids := []string{}
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		if got := fmt.Sprint(ids); err != nil || got != c.want {
			t.Errorf("%d records after %d: %v %v, want %v", c.limit, c.after, got, err, c.want)
		}
	}
	if got := s.Lanes(); !cmp.Equal(got, []string{"1"}) {
		t.Errorf("lanes: %v", got)
	}
	if recs, err := s.Waiting("unknown", 0, 3); err != nil || len(recs) != 0 {
		t.Errorf("an unknown lane has %v, %v", recs, err)
	}
}

func TestPutErrors(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name, lane, id string
		body           int
		want           error
	}{
		{"no lane", "", "a", 1, ErrInvalid},
		{"long lane", long, "a", 1, ErrInvalid},
		{"no id", "1", "", 1, ErrInvalid},
		{"long id", "1", long, 1, ErrInvalid},
		{"long body", "1", "a", 101, ErrInvalid},
		{"longest", long[:255], long[:255], 100, nil},
		{"empty body", "1", "a", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustRun(t, t.TempDir(), Options{MaxBody: 100})
			if _, err := s.Put(t.Context(), c.lane, c.id, make([]byte, c.body)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestGroupCommit(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { mustPut(t, s, fmt.Sprint(i), "a", "x") })
	}
	for s.Stats().Accepted < n {
		runtime.Gosched()
	}
	if recs := takeNow(t, s, n, 1); len(recs) != 0 {
		t.Errorf("%d records were handed out before they were durable", len(recs))
	}
	go func() { _ = s.Run(context.Background()) }()
	wg.Wait()
	if got := s.Stats().Syncs; got > 3 {
		t.Errorf("%d records took %d syncs", n, got)
	}
	if got := len(takeNow(t, s, n, 1)); got != n {
		t.Errorf("%d of %d handed out", got, n)
	}
}

func TestPutEndsWithItsContext(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{}) // not run: nobody syncs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.Put(ctx, "1", "a", nil)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestShutdown(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	mustPut(t, s, "1", "a", "x")
	mustPut(t, s, "2", "b", "y")
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "1", "c", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Run: %v", err)
	}
	// A sender may still bring home what it has.
	recs := mustTake(t, s, 1)
	if err := s.Done(recs[0].Seq, 0); err != nil {
		t.Errorf("Done after Run: %v", err)
	}
	mustClose(t, s)
	mustClose(t, s)
	if _, err := s.Take(t.Context(), 1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Take after Close: %v", err)
	}
	if _, err := s.Waiting("2", 0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Waiting after Close: %v", err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run twice: no error")
	}
	s = mustOpen(t, dir, Options{})
	if got := drain(t, s); !cmp.Equal(got, []string{"2/b=y"}) {
		t.Errorf("after a restart: %v", got)
	}
}

func TestCloseWakesTake(t *testing.T) {
	s := mustRun(t, t.TempDir(), Options{})
	done := make(chan error)
	go func() {
		_, err := s.Take(context.Background(), 1, 1)
		done <- err
	}()
	mustClose(t, s)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestMarksOfStrangers(t *testing.T) {
	s := mustRun(t, t.TempDir(), Options{})
	seq := mustPut(t, s, "1", "a", "x").Seq
	for name, err := range map[string]error{
		"done, not taken": s.Done(seq, 0), "refuse, unknown": s.Refuse(99, 0), "retry, unknown": s.Retry(99, 0),
	} {
		if !errors.Is(err, ErrNotTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustTake(t, s, 1)
	if err := s.Done(seq, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Done(seq, 0); !errors.Is(err, ErrNotTaken) {
		t.Errorf("done twice: %v", err)
	}
}

func TestFolder(t *testing.T) {
	t.Run("private", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "deep", "spool")
		s := mustRun(t, dir, Options{})
		mustPut(t, s, "1", "a", "x")
		for path, want := range map[string]os.FileMode{
			dir: 0o700, filepath.Join(dir, "lock"): 0o600, segmentFiles(t, dir)[0]: 0o600,
		} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
			}
		}
	})
	t.Run("locked", func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, Options{})
		_, err := Open(dir, Options{})
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d has", os.Getpid())) {
			t.Errorf("got %v", err)
		}
		mustClose(t, s)
		mustOpen(t, dir, Options{})
	})
	t.Run("writable by others", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "not a folder") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]Options{
		"policy":            {Sync: 7},
		"negative interval": {Interval: -1},
		"huge body":         {MaxBody: 2 << 20},
		"tiny segment":      {SegmentBytes: 100},
		"segment too large": {SegmentBytes: 32 << 20, MaxBytes: 64 << 20},
		"tiny bound":        {MaxBytes: 100},
	} {
		if _, err := Open(t.TempDir(), opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, p := range []Sync{SyncAlways, SyncInterval, SyncNever} {
		if got, err := ParseSync(p.String()); err != nil || got != p {
			t.Errorf("%v became %v, %v", p, got, err)
		}
	}
	if _, err := ParseSync("sometimes"); err == nil {
		t.Error("sometimes is no policy")
	}
}

func TestPolicies(t *testing.T) {
	for _, policy := range []Sync{SyncAlways, SyncInterval, SyncNever} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := mustRun(t, dir, Options{Sync: policy})
				for i := range 10 {
					mustPut(t, s, "1", fmt.Sprint(i), "x")
				}
				wait(1500 * time.Millisecond)
				syncs := s.Stats().Syncs
				if want := map[Sync]uint64{SyncAlways: 10, SyncInterval: 1, SyncNever: 0}[policy]; syncs != want {
					t.Errorf("%d syncs, want %d", syncs, want)
				}
				if got := len(drain(t, s)); got != 10 {
					t.Errorf("%d of 10 handed out", got)
				}
				mustClose(t, s)
			})
		})
	}
}
