package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (d *testDisk) set(change func(*testDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// After an fsync that failed, nothing is acknowledged, nothing of it is handed
// out, now or after a restart, and the same client ids can be put again.
func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		dir, disk := t.TempDir(), newTestDisk()
		opt := Options{disk: disk, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		s := mustRun(t, dir, opt)
		mustPut(t, s, "1", "before", "x")
		disk.set(func(d *testDisk) { d.failSync = syscall.EIO })
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := s.Put(t.Context(), fmt.Sprint(i%3), fmt.Sprint(i), nil); !errors.Is(err, syscall.EIO) {
					t.Errorf("Put %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		disk.set(func(d *testDisk) { d.failSync = nil })
		wait(2 * time.Second)
		if got := mustPut(t, s, "1", "1", "again").State; got != Accepted {
			t.Errorf("put again: %v", got)
		}
		mustClose(t, s)
		s = mustRun(t, dir, opt)
		if d := cmp.Diff([]string{"1/before=x", "1/1=again"}, drain(t, s)); d != "" {
			t.Errorf("records (-want +got):\n%s", d)
		}
		mustClose(t, s)
		if n := strings.Count(log.String(), "the spool's disk fails"); n != 1 || !strings.Contains(log.String(), "works again") {
			t.Errorf("the log does not say it once:\n%s", &log)
		}
	})
}

// A disk that takes files and fails every sync must not use up descriptors, and
// the spool recovers with the disk.
func TestSyncFailsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), newTestDisk()
		s := mustRun(t, dir, Options{disk: disk, MaxBytes: 16 << 10, SegmentBytes: 4 << 10})
		disk.set(func(d *testDisk) { d.failSync = syscall.EIO })
		for i := range 200 {
			if _, err := s.Put(t.Context(), "1", fmt.Sprint(i), nil); err == nil {
				t.Fatal("no error")
			}
		}
		if n := len(segmentFiles(t, dir)); n > 25 {
			t.Errorf("%d files", n)
		}
		disk.set(func(d *testDisk) { d.failSync = nil })
		wait(5 * time.Second)
		mustPut(t, s, "1", "after", "x")
		if got := s.Stats(); got.Segments > 2 || got.Waiting != 1 {
			t.Errorf("not tidied: %+v", got)
		}
		mustClose(t, s)
	})
}

// A record that was stored while the disk was full must not be stored again after
// a restart, once the disk had room for its mark.
func TestOwedMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), newTestDisk()
		s := mustRun(t, dir, Options{disk: disk})
		for i := range 10 {
			mustPut(t, s, fmt.Sprint(i), "a", "x")
		}
		recs := mustTake(t, s, 9)
		disk.set(func(d *testDisk) { d.room = 20 })
		for _, r := range recs {
			if err := s.Done(r.Seq, 7); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Stats().OwedMarks; got != 9 {
			t.Errorf("%d marks are owed", got)
		}
		disk.set(func(d *testDisk) { d.room = -1 })
		wait(2 * time.Second)
		if got := s.Stats().OwedMarks; got != 0 {
			t.Errorf("%d marks are owed still", got)
		}
		mustClose(t, s)
		s = mustRun(t, dir, Options{})
		if got := mustPut(t, s, "3", "a", "x"); got.State != Stored || got.Ref != 7 {
			t.Errorf("a repetition: %+v", got)
		}
		if got := drain(t, s); !cmp.Equal(got, []string{"9/a=x"}) {
			t.Errorf("handed out: %v", got)
		}
		mustClose(t, s)
	})
}

// 100,000 records with bodies of 1 KiB are 100 MiB on disk and a small fraction in
// memory, in this life and the next.
func TestMemoryOf100000(t *testing.T) {
	const n, perRecord = 100_000, 450
	dir := t.TempDir()
	opt := Options{Sync: SyncNever, MaxRecords: n}
	body := make([]byte, 1024)
	before := heapInUse()
	s := mustRun(t, dir, opt)
	for i := range n {
		if _, err := s.Put(t.Context(), fmt.Sprint("wplc/", i%5000), fmt.Sprintf("%032x", i), body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "1", "one more", nil); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	report := func(when string, s *Spool) {
		used := heapInUse() - before
		t.Logf("%s: %d bytes of heap for each of %d records, %d MiB on disk", when, used/n, s.Stats().Waiting, s.Stats().Bytes>>20)
		if used > n*perRecord {
			t.Errorf("%s: %d bytes of heap for each record", when, used/n)
		}
	}
	report("put", s)
	mustClose(t, s)
	before = heapInUse() // the first one is held by the test's cleanup
	s = mustRun(t, dir, opt)
	report("replayed", s)
	for left := n; left > 0; {
		recs := takeNow(t, s, 500, 500)
		left -= len(recs)
		for _, r := range recs {
			if err := s.Done(r.Seq, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	report("all remembered", s)
	runtime.KeepAlive(s)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkPut is Put by 1 and by 64 goroutines under each policy, on the disk of
// the temporary folder; each record is taken and stored too.
func BenchmarkPut(b *testing.B) {
	for _, policy := range []Sync{SyncAlways, SyncInterval, SyncNever} {
		for _, putters := range []int{1, 64} {
			b.Run(fmt.Sprintf("%v/%d", policy, putters), func(b *testing.B) { benchmarkPut(b, policy, putters) })
		}
	}
}

func benchmarkPut(b *testing.B, policy Sync, putters int) {
	s := mustRun(b, b.TempDir(), Options{Sync: policy, MaxRecords: 1 << 20, Remember: time.Second, Interval: 100 * time.Millisecond})
	body := make([]byte, 200)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; n < b.N; {
			recs, err := s.Take(b.Context(), 64, 64)
			if err != nil {
				b.Error(err)
				return
			}
			n += len(recs)
			for _, r := range recs {
				if err := s.Done(r.Seq, 0); err != nil {
					b.Error(err)
				}
			}
		}
	})
	for p := range putters {
		wg.Go(func() {
			for i := p; i < b.N; i += putters {
				if _, err := s.Put(b.Context(), fmt.Sprint("wplc/", p), fmt.Sprint(i), body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(s.Stats().Syncs)/float64(b.N), "fsyncs/op")
}

// BenchmarkOpen replays 100,000 records.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := mustRun(b, dir, Options{Sync: SyncNever})
	for i := range 100_000 {
		if _, err := s.Put(b.Context(), fmt.Sprint(i%5000), fmt.Sprint(i), make([]byte, 200)); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, s)
	for b.Loop() {
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, s)
	}
}
