//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is another program that runs for one test.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// start runs cmd until the test ends or kill is called, and shows the end of
// what it wrote when the test has failed by then. Programs that start others
// end with all of them.
func start(t *testing.T, cmd *exec.Cmd) *process {
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
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s wrote:\n%s", filepath.Base(cmd.Path), lastLines(string(text), 20))
		}
	})
	return p
}

// kill ends the process and its children at once, as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error("kill", p.cmd.Path, err)
	}
	<-p.exited
}

// stop asks the process to end and waits until it has.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal("stop", p.cmd.Path, err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not stop", p.cmd.Path)
	}
}

// lastLines leaves out what Chromium says of a machine without a desktop.
func lastLines(text string, n int) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(line string) bool {
		return strings.Contains(line, "dbus") || strings.Contains(line, "D-Bus")
	})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
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
