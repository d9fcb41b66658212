package spool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFullByRecords(t *testing.T) {
	s := mustRun(t, t.TempDir(), Options{MaxRecords: 2})
	mustPut(t, s, "1", "a", "x")
	mustPut(t, s, "1", "b", "x")
	if _, err := s.Put(t.Context(), "1", "c", nil); !errors.Is(err, ErrFull) {
		t.Fatalf("the third: %v", err)
	}
	if got := mustPut(t, s, "1", "b", "x").State; got != Waiting {
		t.Errorf("a repetition takes no room, but: %v", got)
	}
	drain(t, s)
	mustPut(t, s, "1", "c", "x")
}

// A full spool must still take the marks that empty it, within its bound.
func TestFullByBytes(t *testing.T) {
	const limit = 16 << 10
	synctest.Test(t, func(t *testing.T) {
		s := mustRun(t, t.TempDir(), Options{MaxBytes: limit, SegmentBytes: 4 << 10})
		var err error
		put := 0
		for ; err == nil; put++ {
			_, err = s.Put(t.Context(), "lane", fmt.Sprint(put), make([]byte, 300))
		}
		if !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if got := len(drain(t, s)); got != put-1 {
			t.Errorf("%d records handed out, %d accepted", got, put-1)
		}
		if st := s.Stats(); st.Bytes > limit+8*headerSize || st.OwedMarks != 0 {
			t.Errorf("the marks did not fit: %+v", st)
		}
		wait(2 * time.Second)
		mustPut(t, s, "lane", "later", "x")
		mustClose(t, s)
	})
}

func TestOldFilesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustRun(t, dir, Options{SegmentBytes: 4 << 10, Remember: time.Minute})
		for i := range 100 {
			mustPut(t, s, fmt.Sprint(i%3), fmt.Sprint(i), strings.Repeat("x", 200))
		}
		drain(t, s)
		wait(5 * time.Second)
		if n := len(segmentFiles(t, dir)); n == 0 || n > 4 {
			t.Errorf("%d files where only the marks are to be remembered", n)
		}
		wait(time.Minute)
		if files := segmentFiles(t, dir); len(files) != 0 {
			t.Errorf("left over: %v", files)
		}
		if st := s.Stats(); st.Bytes != 0 || st.Segments != 0 || st.Remembered != 0 {
			t.Errorf("not empty: %+v", st)
		}
		mustPut(t, s, "1", "next", "x")
		mustClose(t, s)
	})
}

// One chat that WordPress does not take must not fill the disk with what others
// were done with long ago.
func TestStuckLaneDoesNotFillTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opt := Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}
		s := mustRun(t, dir, opt)
		mustPut(t, s, "stuck", "first", "precious")
		stuck := mustTake(t, s, 1)
		for i := range 2000 {
			mustPut(t, s, "other", fmt.Sprint(i), strings.Repeat("x", 200))
			if err := s.Done(mustTake(t, s, 1)[0].Seq, 0); err != nil {
				t.Fatal(err)
			}
			wait(100 * time.Millisecond)
		}
		if st := s.Stats(); st.Carried == 0 || st.Bytes > opt.MaxBytes {
			t.Errorf("%+v", st)
		}
		if err := s.Retry(stuck[0].Seq, 0); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s = mustRun(t, dir, opt)
		if got := drain(t, s); !cmp.Equal(got, []string{"stuck/first=precious"}) {
			t.Errorf("after a restart: %v", got)
		}
		mustClose(t, s)
	})
}
