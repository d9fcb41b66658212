package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clientsCommand makes the command of a process that holds clients.
type clientsCommand func(ctx context.Context) (*exec.Cmd, error)

// ownClients runs this very program, so that the clients' memory is not in the
// measured process.
func ownClients(ctx context.Context) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return exec.CommandContext(ctx, path, demoClientsName), nil
}

// warmUp clients are held before the measurement begins: the first crowd ever
// makes the program grow by what every later one finds there already.
const warmUp = 200

// holdReport is what held clients cost.
type holdReport struct {
	Clients int   `json:"clients"` // measured, held by another process
	WarmUp  int   `json:"warm_up"` // held besides, not measured
	Before  int64 `json:"before"`  // resident bytes of this process without the measured ones
	After   int64 `json:"after"`   // and with them
	Each    int64 `json:"each"`    // the difference over Clients
}

// holder keeps processes full of clients. Its methods may be called
// concurrently; of several that change something, the first wins.
type holder struct {
	command clientsCommand
	held    func() int
	ctx     context.Context // of the processes
	cancel  context.CancelFunc

	busy   sync.Mutex // held by whoever changes something
	crowds []*clientProcess

	mu     sync.Mutex
	latest *holdReport
}

func newHolder(command clientsCommand, held func() int) *holder {
	h := &holder{command: command, held: held}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

const errHolderBusy = badRequest("one thing at a time: connections are just being opened or closed")

// report is the latest measurement, nil for none.
func (h *holder) report() *holdReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.latest
}

// more opens clients and measures.
func (h *holder) more(c crowd) (*holdReport, error) {
	if !h.busy.TryLock() {
		return nil, errHolderBusy
	}
	defer h.busy.Unlock()
	have := holdReport{WarmUp: warmUp}
	if latest := h.report(); latest != nil {
		have = *latest
	}
	if have.Clients+c.Count > demoMost {
		return nil, badRequest(fmt.Sprintf("enough: this demo holds %d connections at most", demoMost))
	}
	var err error
	if len(h.crowds) == 0 {
		warm := c
		warm.Count = warmUp
		if have.Before, err = h.add(warm); err != nil {
			return nil, err
		}
	}
	if have.After, err = h.add(c); err != nil {
		return nil, err
	}
	have.Clients += c.Count
	have.Each = (have.After - have.Before) / int64(have.Clients)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latest = &have
	return &have, nil
}

// add opens clients and returns the memory with them.
func (h *holder) add(c crowd) (int64, error) {
	process, err := startClients(h.ctx, h.command, c)
	if err != nil {
		return 0, err
	}
	h.crowds = append(h.crowds, process)
	return h.settled()
}

// settled is the resident memory once the garbage of arrivals is collected: the
// least of a few looks, because others are at work in this process too.
func (h *holder) settled() (int64, error) {
	least := int64(math.MaxInt64)
	for range 3 {
		debug.FreeOSMemory()
		select {
		case <-h.ctx.Done():
			return 0, h.ctx.Err()
		case <-time.After(150 * time.Millisecond):
		}
		bytes, err := residentBytes()
		if err != nil {
			return 0, err
		}
		least = min(least, bytes)
	}
	return least, nil
}

// release lets all clients go.
func (h *holder) release() error {
	if !h.busy.TryLock() {
		return errHolderBusy
	}
	defer h.busy.Unlock()
	return h.leave()
}

func (h *holder) leave() error {
	var errs []error
	for _, c := range h.crowds {
		errs = append(errs, c.end())
	}
	h.crowds = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latest = nil
	return errors.Join(errs...)
}

// close ends the processes at once. It may be called again.
func (h *holder) close() {
	h.cancel()
	h.busy.Lock()
	defer h.busy.Unlock()
	_ = h.leave() // killed, as they should be
}

// clientProcess is another process with clients.
type clientProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// startClients returns once all clients are held, or with the reason why not.
func startClients(ctx context.Context, command clientsCommand, c crowd) (_ *clientProcess, err error) {
	cmd, err := command(ctx)
	if err != nil {
		return nil, err
	}
	wish, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start clients: %w", err)
	}
	p := &clientProcess{cmd: cmd, stdin: stdin}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.end())
		}
	}()
	if _, err := stdin.Write(append(wish, '\n')); err != nil {
		return nil, fmt.Errorf("tell the clients where to go: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the clients' process has ended: %w", err)
	}
	var told crowdReport
	if err := json.Unmarshal([]byte(line), &told); err != nil {
		return nil, fmt.Errorf("understand the clients: %w", err)
	}
	if told.Error != "" {
		return nil, badRequest("the connections could not be opened: " + told.Error)
	}
	return p, nil
}

// end closes the process's standard input, upon which it leaves, and waits.
func (p *clientProcess) end() error {
	_ = p.stdin.Close() // broken already when the process is gone
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("wait for the clients: %w", err)
	}
	return nil
}

// residentBytes is the resident memory of this process's own: on Linux the
// kernel's number without pages of files, which are the program's code as far as
// it has run yet (proc(5), RssAnon); elsewhere what Go has from the system.
func residentBytes() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return goBytes(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("read this process's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read this process's memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read this process's memory: /proc/self/status has no RssAnon")
}

func goBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
