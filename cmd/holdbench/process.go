package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"holdline/internal/freeport"
)

// process is a server under test. It dies with the bench.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string // path of its output
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

func startProcess(name, log string, cmd *exec.Cmd) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = ownedProcess()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// readyPause is the time between two looks whether a process is ready. It is
// short since it adds to the start's time.
const readyPause = 2 * time.Millisecond

// await calls ready until it is true, for a minute at most.
func (p *process) await(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !ready(ctx) {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended at its start: %w: %s", p.name, p.err, p.lastWords())
		default:
		}
		if err := sleep(ctx, readyPause); err != nil {
			return fmt.Errorf("%s does not answer: %w: %s", p.name, err, p.lastWords())
		}
	}
	return nil
}

// lastWords is the end of the process's output.
func (p *process) lastWords() string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	out = bytes.TrimSpace(out)
	if n := len(out); n > 600 {
		out = out[n-600:]
	}
	return string(out)
}

// stop asks the process to end (SIGTERM), kills it after five seconds, and
// waits for it.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", p.name, err)
		}
		<-p.exited
	}
	return nil
}

// freePort is a loopback port that nobody listens on now.
func freePort() (netip.AddrPort, error) {
	addresses, err := freeport.Addresses(1)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(addresses[0])
}

// answers reports whether a GET of url gives 200.
func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
