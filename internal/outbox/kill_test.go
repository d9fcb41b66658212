package outbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"holdline/internal/spool"
)

// childEnv makes the test binary a child: "DIR ROWS".
const childEnv = "HOLDLINE_OUTBOX_CHILD"

const killLanes, killMessages = 5, 1000

func killMessage(i int) Message { return message(fmt.Sprint("wplc/", i%killLanes), id(i)) }

// diskStore is a table: a row is a line of a file, written in one piece. A second
// file has what was asked for again. It is down while a third one exists.
type diskStore struct {
	down        string
	rows, again *os.File
	all         chan struct{} // closed when every message has a row
	left        int           // rows until it kills the process before it answers; 0: never

	mu  sync.Mutex
	ids map[string]int64
}

func openStore(dir string) (*diskStore, error) {
	s := &diskStore{down: filepath.Join(dir, "down"), ids: make(map[string]int64), all: make(chan struct{})}
	data, err := os.ReadFile(filepath.Join(dir, "rows"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for row := range strings.Lines(string(data)) {
		s.ids[strings.TrimSpace(row)] = int64(len(s.ids) + 1)
	}
	for name, f := range map[string]**os.File{"rows": &s.rows, "again": &s.again} {
		if *f, err = os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
	}
	s.check()
	return s, nil
}

func (s *diskStore) check() {
	select {
	case <-s.all:
	default:
		if len(s.ids) == killMessages {
			close(s.all)
		}
	}
}

func (s *diskStore) Store(_ context.Context, ms []Message) ([]Fate, error) {
	if _, err := os.Stat(s.down); err == nil {
		return nil, errors.New("WordPress is down")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.check()
	fates := make([]Fate, len(ms))
	for i, m := range ms {
		row, file := nameOf(m), s.again
		if s.ids[row] == 0 {
			s.ids[row] = int64(len(s.ids) + 1)
			file = s.rows
		}
		if _, err := file.WriteString(row + "\n"); err != nil {
			return nil, err
		}
		fates[i].ID = s.ids[row]
		if s.left--; s.left == 0 {
			return nil, errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("dead"))
		}
	}
	return fates, nil
}

func runChild(args string) int {
	var dir string
	var rows int
	if _, err := fmt.Sscan(args, &dir, &rows); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := sendAll(dir, rows); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// sendAll is a life in which all clients send all they ever sent, as they would
// who had no answer, and says each answer on stdout. It ends when all is stored,
// or after so many rows.
func sendAll(dir string, rows int) error {
	store, err := openStore(dir)
	if err != nil {
		return err
	}
	store.left = rows
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{SegmentBytes: 32 << 10, MaxBytes: 2 << 20})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return s.Run(context.Background()) })
	box := New(Options{Spool: s, Store: store, Hub: new(fakeHub), LaneQueue: killMessages, Batch: 10})
	ran := make(chan error, 1)
	go func() { ran <- box.Run(ctx) }()
	var answers sync.WaitGroup
	for i := range killMessages {
		m := killMessage(i)
		answers.Add(1)
		box.Send(m, func(a Answer) {
			defer answers.Done()
			fmt.Println(a.State, nameOf(m))
		})
	}
	answers.Wait()
	<-store.all
	cancel()
	return errors.Join(<-ran, s.Close(), g.Wait())
}

// TestKill9 kills a process in the middle of its work, again and again, while the
// store is down for some of its lives: each message has one row in the end, in
// the order of its channel, and next to none was asked for twice.
func TestKill9(t *testing.T) {
	const lives, batch, workers = 12, 10, 2
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(4, 9))
	down := filepath.Join(dir, "down")
	kept := make(map[string]bool) // answered as pending or stored
	for life := range lives {
		switch life {
		case 1:
			if err := os.WriteFile(down, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		case 4:
			if err := os.Remove(down); err != nil {
				t.Fatal(err)
			}
		}
		// From outside, anywhere; or from inside, between a row and its answer.
		answers, rows := 20+random.IntN(killMessages/2), 0
		if life >= 6 {
			answers, rows = -1, 5+random.IntN(40)
		}
		killOneLife(t, dir, answers, rows, kept)
	}
	early, err := os.ReadFile(filepath.Join(dir, "rows"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d were stored when the last one was killed, %d answered", strings.Count(string(early), "\n"), killMessages, len(kept))

	if out, err := child(t, dir, 0).Output(); err != nil {
		t.Fatalf("the last life: %v\n%s", err, out)
	}
	rows := readRows(t, filepath.Join(dir, "rows"))
	want := make(map[string][]string)
	for i := range killMessages {
		m := killMessage(i)
		want[m.Channel] = append(want[m.Channel], m.ClientID)
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	again := 0
	for _, ids := range readRows(t, filepath.Join(dir, "again")) {
		again += len(ids)
	}
	if again == 0 || again > lives*batch*workers {
		t.Errorf("%d rows were asked for again", again)
	}
	t.Logf("%d rows were asked for again", again)
}

// readRows returns the client ids in a file by channel.
func readRows(t *testing.T, path string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		channel, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		rows[channel] = append(rows[channel], id)
	}
	return rows
}

// child starts this test binary as a process of its own.
func child(t *testing.T, dir string, rows int) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprint(childEnv, "=", dir, " ", rows))
	cmd.Stderr = t.Output()
	return cmd
}

// killOneLife kills a child after so many answers, or has it kill itself after so
// many rows.
func killOneLife(t *testing.T, dir string, answers, rows int, kept map[string]bool) {
	t.Helper()
	cmd := child(t, dir, rows)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == answers {
			_ = cmd.Process.Kill()
		}
		state, name, _ := strings.Cut(lines.Text(), " ")
		if state == StateFailed {
			t.Errorf("%s was not taken", name)
		}
		kept[name] = true
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("a child ended by itself: %v", err)
	}
}
