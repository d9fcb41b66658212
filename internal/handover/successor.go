package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is how a process was started, and so how its successor is.
type Program struct {
	Path string   // of the file; a newer one may have come in its place
	Args []string // without the program's name
	Env  []string
}

// Socket is one to hand on.
type Socket struct {
	Name     string // Public or Admin
	Setting  string // the configured address, "" for a socket that systemd gave
	Listener syscall.Conn
}

// Successor is a process that is to take the place of this one.
type Successor struct {
	cmd    *exec.Cmd
	line   *line
	exited chan struct{}
	ended  error // how it has exited
}

// Start starts it with duplicates of the sockets. It writes where this process does. Whoever starts a Successor either hears from Yours that it
// serves, or calls Kill.
func Start(p Program, sockets ...Socket) (*Successor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	list := make([]about, len(sockets))
	files := []*os.File{theirs}
	defer func() { closeAll(files[1:]) }()
	for i, s := range sockets {
		list[i] = about{s.Name, s.Setting}
		f, err := duplicate(s.Listener)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("duplicate the socket %q: %w", s.Name, err), ours.Close())
		}
		files = append(files, f)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tell of sockets: %w", err), ours.Close())
	}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append(environment(p.Env), variable+"="+string(text))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, files
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.Path, err), ours.Close())
	}
	s := &Successor{cmd: cmd, line: &line{ours}, exited: make(chan struct{})}
	go func() { // ends with the process, or with this one
		defer close(s.exited)
		s.ended = cmd.Wait()
	}()
	return s, nil
}

// duplicate makes a file of a socket. That of the net package (TCPListener.File) would
// not do: as soon as a child gets it, it makes the socket block, for all who have it,
// and a call of Accept could not be ended any more.
func duplicate(c syscall.Conn) (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	if err := raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return os.NewFile(uintptr(fd), "duplicate"), nil
}

// environment leaves out what systemd or an earlier predecessor said to this process
// alone. Without WATCHDOG_PID the watchdog's time is for whoever asks.
func environment(env []string) []string {
	var kept []string
	for _, pair := range env {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case variable, "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES":
		default:
			kept = append(kept, pair)
		}
	}
	return kept
}

// socketPair makes a line: a connection of this process's, and a file for the other.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // no other child may have a copy: it would keep the line open
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a line to a successor: %w", err)
	}
	here := os.NewFile(uintptr(fds[0]), "line to a successor")
	theirs = os.NewFile(uintptr(fds[1]), "line to a predecessor")
	defer here.Close()
	if ours, err = net.FileConn(here); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a line to a successor: %w", err), theirs.Close())
	}
	return ours, theirs, nil
}

// Pid is its process id.
func (s *Successor) Pid() int { return s.cmd.Process.Pid }

// AwaitReady waits until the successor could serve. An error says why it cannot, or is
// ctx's.
func (s *Successor) AwaitReady(ctx context.Context) error { return s.hear(ctx, wordReady) }

// Yours tells the successor that all is its own now, and waits until it serves. The
// conversation is over then.
func (s *Successor) Yours(ctx context.Context) error {
	if err := s.line.say(wordYours); err != nil {
		return s.why(errHungUp)
	}
	if err := s.hear(ctx, wordServing); err != nil {
		return err
	}
	_ = s.line.Close()
	return nil
}

func (s *Successor) hear(ctx context.Context, word string) error {
	if err := s.line.hear(ctx, word); err != nil {
		return s.why(err)
	}
	return nil
}

// exitTime is how long a process that has hung up may take to be gone, to say how.
const exitTime = 2 * time.Second

// why tells how a successor has ended, if it has.
func (s *Successor) why(err error) error {
	if errors.Is(err, errHungUp) {
		select {
		case <-s.exited:
			if s.ended != nil {
				return fmt.Errorf("it has ended: %w", s.ended)
			}
			return errors.New("it has ended without a word")
		case <-time.After(exitTime):
		}
	}
	return err
}

// Kill ends the successor at once, and returns when it is gone.
func (s *Successor) Kill() {
	_ = s.cmd.Process.Kill() // or it is gone already
	<-s.exited
	_ = s.line.Close()
}
