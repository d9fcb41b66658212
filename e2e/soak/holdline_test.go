//go:build e2e && linux

package soak_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the built holdline.
var program string

// holdline is the program under test, one process after the other.
type holdline struct {
	t     *testing.T
	dir   string
	admin string
	env   []string
	log   *os.File
	pid   int // of the one that serves; 0 is none
	group int // of all of them since the last start
}

func newHoldline(t *testing.T, dir, admin string, env []string) *holdline {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "holdline.log"))
	if err != nil {
		t.Fatal(err)
	}
	h := &holdline{t: t, dir: dir, admin: admin, log: log}
	h.env = append(os.Environ(), env...)
	h.env = append(h.env, "HOLDLINE_PID_FILE="+h.pidFile(), "GORACE=log_path="+filepath.Join(dir, "race"))
	t.Cleanup(func() {
		h.kill()
		log.Close()
	})
	return h
}

// start starts it and waits until it is ready.
func (h *holdline) start(ctx context.Context) {
	h.t.Helper()
	cmd := exec.Command(program, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, h.log, h.log
	// A group of its own, for successors to be ended with it; Pdeathsig for when the
	// test's own process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.pid, h.group = cmd.Process.Pid, cmd.Process.Pid
	go cmd.Wait() // for the kernel to forget it; how it ended is in its log
	answers(ctx, h.t, "Holdline", "http://"+h.admin+"/readyz")
}

// kill ends it at once, as a crash would.
func (h *holdline) kill() {
	if h.pid == 0 {
		return
	}
	if err := syscall.Kill(-h.group, syscall.SIGKILL); err != nil {
		h.t.Errorf("Holdline has ended by itself, see %s: %v", h.log.Name(), err)
	}
	h.gone(h.pid, 10*time.Second)
	h.pid = 0
}

// stop asks it to drain and waits for it.
func (h *holdline) stop() {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	h.gone(h.pid, 30*time.Second)
	h.pid = 0
}

// upgrade asks it to start a successor and waits until that has taken its place.
func (h *holdline) upgrade(ctx context.Context) {
	h.t.Helper()
	old := h.pid
	h.signal(syscall.SIGUSR2)
	for end := time.Now().Add(40 * time.Second); h.pid == old; pass(ctx, 20*time.Millisecond) {
		text, err := os.ReadFile(h.pidFile())
		pid, wrong := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && wrong == nil && pid != 0 {
			h.pid = pid
		}
		if time.Now().After(end) {
			h.t.Fatalf("Holdline %d has no successor, see %s: %v", old, h.log.Name(), errors.Join(err, wrong))
		}
	}
	h.gone(old, 30*time.Second)
	answers(ctx, h.t, "Holdline's successor", "http://"+h.admin+"/readyz")
}

func (h *holdline) pidFile() string { return filepath.Join(h.dir, "pid") }

// gone waits until a process has ended. A successor is nobody's child in the end, and may
// remain as a zombie where nobody reaps.
func (h *holdline) gone(pid int, within time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(within); ; pass(context.Background(), 10*time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, state, ok := strings.Cut(string(stat), ") "); err != nil || ok && strings.HasPrefix(state, "Z") {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("Holdline %d does not end within %v, see %s", pid, within, h.log.Name())
		}
	}
}

func (h *holdline) signal(s syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(h.pid, s); err != nil {
		h.t.Fatalf("Holdline has ended by itself, see %s: %v", h.log.Name(), err)
	}
}

// gauge is what a process weighs. Of its resident memory, Files are the pages of the
// program that were used, Spans what the heap takes for its objects, and Runtime is what
// Go needs besides, of which not all is resident.
type gauge struct {
	Memory, Heap, Descriptors, Goroutines, Held float64

	Files, Spans, Idle, Stacks, Runtime float64
}

// weigh asks it for its numbers after a garbage collection.
func (h *holdline) weigh(ctx context.Context) (gauge, error) {
	// As text, which makes little garbage of its own.
	if _, err := h.ask(ctx, "/debug/pprof/heap?gc=1&debug=1"); err != nil {
		return gauge{}, err
	}
	text, err := h.ask(ctx, "/metrics")
	if err != nil {
		return gauge{}, err
	}
	var g gauge
	var released float64
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		to := map[string]*float64{
			"process_resident_memory_bytes": &g.Memory, "go_memstats_heap_alloc_bytes": &g.Heap,
			"go_memstats_heap_inuse_bytes": &g.Spans, "go_memstats_heap_idle_bytes": &g.Idle, "go_memstats_heap_released_bytes": &released,
			"go_memstats_stack_inuse_bytes": &g.Stacks,
			"go_memstats_mspan_sys_bytes":   &g.Runtime, "go_memstats_gc_sys_bytes": &g.Runtime,
			"go_memstats_buck_hash_sys_bytes": &g.Runtime, "go_memstats_other_sys_bytes": &g.Runtime,
			"process_open_fds": &g.Descriptors, "go_goroutines": &g.Goroutines, "holdline_connections_held": &g.Held,
		}[name]
		if to == nil {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return gauge{}, fmt.Errorf("read %s: %w", name, err)
		}
		*to += n
	}
	g.Idle -= released
	g.Files, err = h.files()
	return g, err
}

// files is what of the resident memory is mapped from files, in bytes.
func (h *holdline) files() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.pid))
	if err != nil {
		return 0, err
	}
	var kilobytes float64
	_, rest, _ := strings.Cut(string(text), "\nRssFile:")
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes * 1024, err
}

// profile keeps what its memory is made of, for whoever has to find out.
func (h *holdline) profile(ctx context.Context, name string) {
	h.t.Helper()
	text, err := h.ask(ctx, "/debug/pprof/heap?gc=1")
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, name+".heap"), []byte(text), 0o600)
	}
	maps, wrong := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", h.pid))
	err = errors.Join(err, wrong, os.WriteFile(filepath.Join(h.dir, name+".smaps"), maps, 0o600))
	if err != nil {
		h.t.Error(err)
	}
}

// metric is one of its numbers.
func (h *holdline) metric(ctx context.Context, name string) (float64, error) {
	text, err := h.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(text, "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

func (h *holdline) ask(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.admin+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask Holdline's admin listener: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// races are the race detector's reports, of a program that has one.
func (h *holdline) races() []string {
	files, _ := filepath.Glob(filepath.Join(h.dir, "race.*"))
	var all []string
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			all = append(all, string(text))
		}
	}
	return all
}

// quiesce waits until nobody is held and what came with the clients has gone, which is
// when its goroutines and descriptors hardly change any more, and weighs it then: the
// median of a dozen times, since a collection comes and goes.
func (h *holdline) quiesce(ctx context.Context) gauge {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	const times = 24 // at least 12 s: idle memory is given back every 10 s
	var last []gauge
	for {
		g, err := h.weigh(ctx)
		if err != nil {
			h.t.Fatalf("Holdline does not come to rest, %+v: %v", last, err)
		}
		last = append(last, g)
		last = last[max(0, len(last)-times):]
		least, median, most := spread(last)
		if len(last) == times && most.Held == 0 && most.Goroutines-least.Goroutines <= 4 && most.Descriptors-least.Descriptors <= 2 {
			return median
		}
		pass(ctx, 500*time.Millisecond)
	}
}

// spread is the least, the middle and the most of each number.
func spread(all []gauge) (least, median, most gauge) {
	for _, at := range []func(*gauge) *float64{
		func(g *gauge) *float64 { return &g.Memory },
		func(g *gauge) *float64 { return &g.Heap },
		func(g *gauge) *float64 { return &g.Descriptors },
		func(g *gauge) *float64 { return &g.Goroutines },
		func(g *gauge) *float64 { return &g.Held },
		func(g *gauge) *float64 { return &g.Files },
		func(g *gauge) *float64 { return &g.Spans },
		func(g *gauge) *float64 { return &g.Idle },
		func(g *gauge) *float64 { return &g.Stacks },
		func(g *gauge) *float64 { return &g.Runtime },
	} {
		var values []float64
		for i := range all {
			values = append(values, *at(&all[i]))
		}
		slices.Sort(values)
		*at(&least), *at(&median), *at(&most) = values[0], values[len(values)/2], values[len(values)-1]
	}
	return least, median, most
}
