package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unit runs `holdline serve` as systemd's socket and service units do
// (sd_listen_fds(3), sd_notify(3)). It holds the listening sockets itself, so
// that who connects while no process is there waits in the kernel's backlog and
// is not refused.
type unit struct {
	*holdline
	clients int // that will be held
	admin   netip.AddrPort
	sockets []*os.File    // for browsers, and for the operator
	notify  *net.UnixConn // what the processes tell
	pids    chan int      // each MAINPID that was told
	heard   chan struct{} // closed when notify is
	main    int           // the process that serves
	leader  *process      // the last that was started here: it leads a group of its successors
	started int
}

// newUnit binds both addresses and starts no process. The caller closes it.
func newUnit(h *holdline, clients int) (u *unit, err error) {
	u = &unit{holdline: h, clients: clients, pids: make(chan int, 16), heard: make(chan struct{})}
	if h.token, err = mint(h.secret); err != nil {
		return nil, err
	}
	if h.address, err = u.bind(); err != nil {
		return nil, err
	}
	if u.admin, err = u.bind(); err != nil {
		u.unbind()
		return nil, err
	}
	u.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(h.dir, "notify")})
	if err != nil {
		u.unbind()
		return nil, fmt.Errorf("listen for Holdline's notifications: %w", err)
	}
	go u.hear()
	return u, nil
}

// bind opens one more socket.
func (u *unit) bind() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen for Holdline: %w", err)
	}
	defer l.Close() // the file below is a duplicate
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen for Holdline: %w", err)
	}
	u.sockets = append(u.sockets, file)
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}

func (u *unit) unbind() {
	for _, s := range u.sockets {
		s.Close()
	}
}

// hear reads notifications until the socket is closed.
func (u *unit) hear() {
	defer close(u.heard)
	buf := make([]byte, 4096)
	for {
		n, err := u.notify.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:n])) {
			text, ok := strings.CutPrefix(strings.TrimSpace(line), "MAINPID=")
			pid, err := strconv.Atoi(text)
			if !ok || err != nil {
				continue
			}
			select {
			case u.pids <- pid:
			default: // nobody waits for so many
			}
		}
	}
}

// environment is that of the other scenarios, with what systemd adds and a
// state folder: it, too, has to change hands. Room is for twice the clients, as
// all of them may come back while the server still counts them, and the rest of
// the process's files is for those that are about to ask: all polls at once.
func (u *unit) environment() []string {
	return append(append(withoutHoldline(os.Environ()), u.holdline.environment(u.admin)...),
		"HOLDLINE_LIMITS_CONNECTIONS="+strconv.Itoa(2*u.clients),
		"HOLDLINE_STATE_DIR="+filepath.Join(u.dir, "state"),
		"NOTIFY_SOCKET="+filepath.Join(u.dir, "notify"),
		"LISTEN_FDS=2", "LISTEN_FDNAMES=holdline:admin")
}

// start starts a process on the socket and returns how long it took until it
// was ready.
func (u *unit) start(ctx context.Context) (time.Duration, error) {
	if _, err := os.Stat(u.program); err != nil {
		return 0, fmt.Errorf("no holdline program (make build, or --holdline PATH): %w", err)
	}
	// LISTEN_PID is the process's own number, which only itself knows in time.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$; export LISTEN_PID; exec "$@"`, "sh", u.program, "serve")
	cmd.Env = u.environment()
	cmd.Dir = u.dir
	cmd.ExtraFiles = u.sockets
	begin := time.Now()
	u.started++
	log := filepath.Join(u.dir, fmt.Sprintf("holdline-%d.log", u.started))
	p, err := startProcess("holdline serve", log, cmd)
	if err != nil {
		return 0, err
	}
	u.leader, u.main = p, p.cmd.Process.Pid
	err = p.await(ctx, func(ctx context.Context) bool {
		// Nobody refuses the connection should the process have ended.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return answers(ctx, fmt.Sprintf("http://%s/readyz", u.admin))
	})
	return time.Since(begin), err
}

// replace has the process hand over to a successor (SIGUSR2). It returns how
// long it took until the successor took over, and until the process had ended.
func (u *unit) replace(ctx context.Context) (serving, drained time.Duration, err error) {
	old, begin := u.main, time.Now()
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return 0, 0, fmt.Errorf("upgrade Holdline: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("there is no successor after a minute"))
	defer cancel()
	for u.main == old {
		select {
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("upgrade Holdline: %w: %s", context.Cause(ctx), u.lastWords())
		case u.main = <-u.pids:
		}
	}
	serving = time.Since(begin)
	if err := awaitEnd(ctx, old); err != nil {
		return 0, 0, fmt.Errorf("upgrade Holdline: %w: %s", err, u.lastWords())
	}
	return serving, time.Since(begin), nil
}

// stop ends the process in order (SIGTERM) and returns how long that took.
func (u *unit) stop(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	if err := syscall.Kill(u.main, syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("stop Holdline: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := awaitEnd(ctx, u.main); err != nil {
		return 0, fmt.Errorf("stop Holdline: %w: %s", err, u.lastWords())
	}
	return time.Since(begin), nil
}

// awaitEnd waits for a process that may be nobody's child here.
func awaitEnd(ctx context.Context, pid int) error {
	for {
		fields, err := readStat(pid)
		if err != nil || fields[0] == "Z" { // gone, or not yet reaped (proc(5))
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("process %d has not ended: %w", pid, err)
		}
	}
}

func (u *unit) lastWords() string {
	if u.leader == nil {
		return "no process was started"
	}
	return u.leader.lastWords()
}

// memory is what the process occupies.
func (u *unit) memory() (memory, error) { return readMemory([]int{u.main}) }

// Close ends the process at once and lets the sockets go.
func (u *unit) Close() {
	if u.leader != nil {
		if _, err := readStat(u.main); err == nil {
			// The group: there may be a successor that is not known yet.
			_ = syscall.Kill(-u.leader.cmd.Process.Pid, syscall.SIGKILL)
		}
		<-u.leader.exited
	}
	u.notify.Close()
	<-u.heard
	u.unbind()
}
