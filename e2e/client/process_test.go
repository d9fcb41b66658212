//go:build e2e

package client

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs cmd until the test ends and shows the end of what it wrote when the
// test has failed by then. signal goes to it and its children.
func start(t *testing.T, cmd *exec.Cmd) (signal func(syscall.Signal)) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, to be ended as one; Pdeathsig for when the test's own
	// process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error("kill", cmd.Path, err)
		}
		<-exited
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("%s wrote:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	return func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
			t.Fatal("signal", cmd.Path, err)
		}
	}
}

// eventually asks until the answer is yes: other programs tell nobody when they
// are ready.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}
