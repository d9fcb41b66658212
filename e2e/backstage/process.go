//go:build linux

// Package backstage is what the end-to-end tests have behind their scenes: other
// programs that run for one test, and what the built holdline says of itself.
package backstage

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is another program that runs for one test.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start runs cmd until the test ends or Kill is called, and shows the end of what
// it wrote when the test has failed by then. Programs that start others end with
// all of them. A Stdout that cmd already has stays its own.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	// A group of its own, to be ended as one; Pdeathsig for when the test's own
	// process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s wrote:\n%s", filepath.Base(cmd.Path), LastLines(string(text)))
		}
	})
	return p
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process and its children, which must be there.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		t.Fatal("signal", p.cmd.Path, err)
	}
}

// Kill ends the process and its children at once, as a crash would, and waits until
// it has ended. It may have ended before.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error("kill", p.cmd.Path, err)
	}
	<-p.exited
}

// Stop asks the process to end and waits until it has.
func (p *Process) Stop(t testing.TB, within time.Duration) {
	t.Helper()
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal("stop", p.cmd.Path, err)
	}
	select {
	case <-p.exited:
	case <-time.After(within):
		t.Fatalf("%s does not stop", p.cmd.Path)
	}
}

// LastLines is the end of a log, without what Chromium says of a machine that has no
// desktop.
func LastLines(text string) string {
	const most = 40
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(line string) bool {
		return strings.Contains(line, "dbus") || strings.Contains(line, "D-Bus")
	})
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// Eventually asks until the answer is yes: other programs tell nobody when they are
// ready.
func Eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
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

// AwaitListening waits until something takes connections at an address.
func AwaitListening(t testing.TB, address string) {
	t.Helper()
	Eventually(t, address+" is listened at", time.Minute, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}
