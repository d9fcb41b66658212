package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// childEnv makes the test binary a child: "kill DIR LIFE" or "full DIR BYTES".
const childEnv = "HOLDLINE_SPOOL_CHILD"

func runChild(args string) int {
	var mode, dir string
	var n int
	if _, err := fmt.Sscan(args, &mode, &dir, &n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	run := putUntilKilled
	if mode == "full" {
		run = fillSmallDisk
	}
	if err := run(dir, n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child starts this test binary as a process of its own.
func child(t *testing.T, args string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+args)
	cmd.Stderr = t.Output()
	return cmd
}

// killOptions have small files, so that some are finished, carried and removed.
var killOptions = Options{SegmentBytes: 8 << 10, MaxBytes: 1 << 20}

const killLanes = 4

// putUntilKilled puts to each lane in order and takes what there is, and says on
// stdout, a line each, "put LANE ID" when a Put has returned and "done LANE ID"
// before a record is marked.
func putUntilKilled(dir string, life int) error {
	s, err := Open(dir, killOptions)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what, lane, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, lane, id)
	}
	var g errgroup.Group
	g.Go(func() error { return s.Run(context.Background()) })
	for lane := range killLanes {
		g.Go(func() error {
			for i := 0; ; i++ {
				name, id := fmt.Sprint(lane), fmt.Sprintf("%d.%06d", life, i)
				_, err := s.Put(context.Background(), name, id, []byte("body of "+id))
				if errors.Is(err, ErrFull) {
					i--
					continue
				}
				if err != nil {
					return err
				}
				say("put", name, id)
			}
		})
	}
	g.Go(func() error {
		for {
			recs, err := s.Take(context.Background(), 8, 3)
			if err != nil {
				return err
			}
			for _, r := range recs {
				if r.Lane == "3" {
					continue // WordPress does not take this chat
				}
				say("done", r.Lane, r.ID)
				if err := s.Done(r.Seq, 0); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

// TestKill9 kills a process in the middle of its work, several times, and finds
// in the folder all that it had acknowledged, in order and nothing that it had
// marked, but for one record of each lane that was being marked.
func TestKill9(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	var put, done [killLanes][]string
	for life := range 5 {
		killOneLife(t, dir, life, &put, &done)
	}

	s := mustRun(t, dir, killOptions)
	var left [killLanes][]string
	for _, name := range drain(t, s) {
		var lane int
		name, body, _ := strings.Cut(name, "=")
		if _, err := fmt.Sscanf(name, "%d/", &lane); err != nil {
			t.Fatal(err)
		}
		id := name[2:]
		if body != "body of "+id {
			t.Errorf("%s has body %q", id, body)
		}
		left[lane] = append(left[lane], id)
	}
	for lane := range killLanes {
		if !slices.IsSorted(left[lane]) {
			t.Errorf("lane %d is out of order: %v", lane, left[lane])
		}
		again := 0
		for _, id := range left[lane] {
			if slices.Contains(done[lane], id) {
				again++
			}
		}
		if again > 1 {
			t.Errorf("lane %d: %d records come again after their marks", lane, again)
		}
		for _, id := range put[lane] {
			if !slices.Contains(left[lane], id) && !slices.Contains(done[lane], id) {
				t.Errorf("lane %d: %s was acknowledged and is lost", lane, id)
			}
		}
		t.Logf("lane %d: %d put, %d done, %d left, %d again", lane, len(put[lane]), len(done[lane]), len(left[lane]), again)
	}
}

// killOneLife adds to put and done what a child said until it was dead.
func killOneLife(t *testing.T, dir string, life int, put, done *[killLanes][]string) {
	t.Helper()
	cmd := child(t, fmt.Sprint("kill ", dir, " ", life))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == 500 {
			_ = cmd.Process.Kill() // and what it says until it is dead counts too
		}
		var what, id string
		var lane int
		if _, err := fmt.Sscan(lines.Text(), &what, &lane, &id); err != nil {
			break // the last line, cut short
		}
		if what == "put" {
			put[lane] = append(put[lane], id)
		} else {
			done[lane] = append(done[lane], id)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("life %d ended by itself: %v", life, err)
	}
}

// fillSmallDisk puts until no file may grow any more, stores all, and puts again.
func fillSmallDisk(dir string, limit int) error {
	// The Go runtime would end the process by this signal.
	signal.Ignore(syscall.SIGXFSZ)
	small := syscall.Rlimit{Cur: uint64(limit), Max: uint64(limit)}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return s.Run(context.Background()) })
	put := 0
	for ; err == nil; put++ {
		_, err = s.Put(context.Background(), fmt.Sprint(put%7), fmt.Sprint(put), bytes.Repeat([]byte("x"), 1000))
	}
	fmt.Println("accepted", put-1, "full", errors.Is(err, ErrFull), "reason", errors.Is(err, syscall.EFBIG))
	return errors.Join(s.Close(), g.Wait())
}

// TestFullDisk has the system refuse to let a file grow, in the middle of a frame.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	const limit = 100_500
	out, err := child(t, fmt.Sprint("full ", dir, " ", limit)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var accepted int
	var full, reason bool
	if _, err := fmt.Sscanf(string(out), "accepted %d full %t reason %t", &accepted, &full, &reason); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if !full || !reason || accepted < 90 || accepted > 100 {
		t.Errorf("the child said %q", out)
	}
	s := mustRun(t, dir, Options{})
	if r := s.Recovered(); r.Damaged() || r.Records != accepted {
		t.Errorf("the half frame was not cut off at once: %+v", r)
	}
	if got := len(drain(t, s)); got != accepted {
		t.Errorf("%d handed out of %d", got, accepted)
	}
}
