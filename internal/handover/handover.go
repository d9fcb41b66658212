// Package handover lets one process take over the listening sockets of another, so
// that no connection is refused while a program is replaced by a newer one. The
// running process (the predecessor) starts the program anew (the successor), hands
// it duplicates of its sockets, and both talk over a line of their own:
//
//	successor    "ready"    it has read all that it needs and could serve
//	predecessor  "yours"    it accepts no more, and has let go of its files
//	successor    "serving"  it accepts
//
// Until "yours" the predecessor can go on as if nothing had been. Each waits for the
// other with a limit, and a word that it does not know ends the attempt, so that
// versions which do not understand each other cannot hang.
//
// Sockets may also come from systemd (sd_listen_fds(3)).
package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// Names of sockets: as systemd's FileDescriptorName= says them, and as a successor is
// told them.
const (
	Public = "holdline" // or any other name, where systemd gives the socket
	Admin  = "admin"
)

// variable tells a successor of the sockets that it was given. It does not begin with
// HOLDLINE_, for those are settings.
const variable = "_HOLDLINE_UPGRADE"

// firstDescriptor is the line to the predecessor, behind standard error; the sockets
// follow it.
const firstDescriptor = 3

// What is said.
const (
	wordReady   = "ready"
	wordYours   = "yours"
	wordServing = "serving"
	maxWord     = 64
)

// Given is what a process was started with.
type Given struct {
	// Predecessor is nil for a process that nobody hands anything over to.
	Predecessor *Predecessor

	sockets []given
}

// given is a socket that was there before this process.
type given struct {
	about    about
	listener net.Listener
}

// about is what a successor is told of a socket.
type about struct {
	Name string
	// Setting is the address that was configured where the socket is the
	// predecessor's own; "" for one of systemd's.
	Setting string
}

// Receive takes what a predecessor or systemd has given to this process, and takes it
// out of the environment, which children would misunderstand. It is to be called
// once, before anything else opens files. An error says that something was given that
// cannot be used.
func Receive() (*Given, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return fromSystemd(activation.Files(true))
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, fmt.Errorf("forget %s: %w", variable, err)
	}
	list, err := parse(text)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, 1+len(list))
	for i := range files {
		syscall.CloseOnExec(firstDescriptor + i)
		files[i] = os.NewFile(uintptr(firstDescriptor+i), "inherited")
	}
	defer closeAll(files)
	conn, err := net.FileConn(files[0])
	if err != nil {
		return nil, fmt.Errorf("%s is set, but there is no line to a predecessor: %w", variable, err)
	}
	g := &Given{Predecessor: &Predecessor{&line{conn}}}
	for i, a := range list {
		if err := g.add(a, files[1+i]); err != nil {
			return nil, errors.Join(err, g.Close(), conn.Close())
		}
	}
	return g, nil
}

// maxSockets is more than anybody has use for.
const maxSockets = 16

func parse(text string) ([]about, error) {
	var list []about
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) > maxSockets {
		return nil, fmt.Errorf("%s is not a list of sockets; it is not meant to be set by hand", variable)
	}
	return list, nil
}

func fromSystemd(files []*os.File) (*Given, error) {
	g := new(Given)
	defer closeAll(files)
	for _, f := range files {
		name := Public
		if f.Name() == Admin {
			name = Admin
		}
		if err := g.add(about{Name: name}, f); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

func (g *Given) add(a about, f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("the socket %q that was handed to this process cannot be listened on: %w", a.Name, err)
	}
	g.sockets = append(g.sockets, given{a, l})
	return nil
}

// Take returns the first socket of a name, or nil, and what a successor is to be told
// of where it comes from (Socket.Setting). One that a predecessor has bound by a
// setting which is no longer the same is not taken.
func (g *Given) Take(name, setting string) (l net.Listener, from string) {
	for i, s := range g.sockets {
		if s.listener != nil && s.about.Name == name && (s.about.Setting == "" || s.about.Setting == setting) {
			g.sockets[i].listener = nil
			return s.listener, s.about.Setting
		}
	}
	return nil, setting
}

// Close closes what has not been taken.
func (g *Given) Close() error {
	var errs []error
	for _, s := range g.sockets {
		if s.listener != nil {
			errs = append(errs, s.listener.Close())
		}
	}
	g.sockets = nil
	return errors.Join(errs...)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close() // who uses it has a duplicate
		}
	}
}

// line carries words.
type line struct{ net.Conn }

// errHungUp says that the other process has ended, or has closed the line.
var errHungUp = errors.New("it has hung up")

// say writes a word. The line's buffer has room for all there are, so it does not
// wait.
func (l *line) say(word string) error {
	_, err := io.WriteString(l.Conn, word+"\n")
	return err
}

// hear waits for a word until ctx ends.
func (l *line) hear(ctx context.Context, word string) error {
	if err := l.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.SetReadDeadline(time.Unix(1, 0)) }) // or it is closed
	defer stop()
	var heard strings.Builder
	for b := make([]byte, 1); ; {
		switch _, err := l.Read(b); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("it has not said %q in time: %w", word, context.Cause(ctx))
		case err != nil:
			return errHungUp
		case b[0] == '\n' && heard.String() == word:
			return nil
		case b[0] == '\n' || heard.Len() >= maxWord:
			return fmt.Errorf("it says %q instead of %q: it may be of another version", heard.String(), word)
		}
		heard.WriteByte(b[0])
	}
}
