package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	goleak.VerifyTestMain(m)
}

// mustOpen opens without running.
func mustOpen(t testing.TB, dir string, opt Options) *Spool {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// mustRun opens and runs; Close ends it.
func mustRun(t testing.TB, dir string, opt Options) *Spool {
	t.Helper()
	s := mustOpen(t, dir, opt)
	go func() {
		if err := s.Run(context.Background()); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return s
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t testing.TB, s *Spool, lane, id, body string) Receipt {
	t.Helper()
	r, err := s.Put(t.Context(), lane, id, []byte(body))
	if err != nil {
		t.Fatalf("Put %s/%s: %v", lane, id, err)
	}
	return r
}

// mustTake takes one record of each lane.
func mustTake(t testing.TB, s *Spool, limit int) []Record {
	t.Helper()
	recs, err := s.Take(t.Context(), limit, 1)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// takeNow takes what is there without waiting.
func takeNow(t testing.TB, s *Spool, limit, depth int) []Record {
	t.Helper()
	picked, _, err := s.pick(limit, depth)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := s.fetch(picked)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// drain takes and stores all, and returns "lane/id=body" in the order of lanes'
// names and, within a lane, as handed out.
func drain(t testing.TB, s *Spool) []string {
	t.Helper()
	var out []Record
	for {
		recs := takeNow(t, s, 1000, 7)
		if len(recs) == 0 {
			break
		}
		for _, r := range recs {
			if r.Err != nil {
				t.Errorf("%s/%s: %v", r.Lane, r.ID, r.Err)
			}
			if err := s.Done(r.Seq, 0); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, recs...)
	}
	slices.SortStableFunc(out, func(a, b Record) int { return strings.Compare(a.Lane, b.Lane) })
	var names []string
	for _, r := range out {
		names = append(names, fmt.Sprintf("%s/%s=%s", r.Lane, r.ID, r.Body))
	}
	return names
}

// segmentFiles returns the paths of the segments, oldest first.
func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wait(d time.Duration) { <-time.After(d) } // inside a bubble only
