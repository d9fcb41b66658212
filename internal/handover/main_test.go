package handover_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/internal/handover"
)

// TestMain is also the successor of the tests: role says which.
func TestMain(m *testing.M) {
	if role := os.Getenv("ROLE"); role != "" {
		if err := succeed(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// succeed plays a successor that answers connections with a word of its own. Except
// for "good" it goes wrong as its role says.
func succeed(role string) error {
	switch role {
	case "dies at once":
		os.Exit(7)
	case "hangs at once":
		time.Sleep(time.Hour)
	case "speaks another language":
		_, err := io.WriteString(os.NewFile(3, "line"), "hello\n")
		return err
	}
	given, err := handover.Receive()
	if err != nil {
		return err
	}
	if given.Predecessor == nil {
		return fmt.Errorf("nobody handed anything over")
	}
	setting := "here"
	if role == "is configured otherwise" {
		setting = "elsewhere"
	}
	public, from := given.Take(handover.Public, setting)
	admin, _ := given.Take(handover.Admin, "anywhere")
	if err := given.Close(); err != nil {
		return err
	}
	if admin == nil || (public == nil) != (setting == "elsewhere") || from != setting {
		return fmt.Errorf("took %v (%q) and %v", public, from, admin)
	}
	if public == nil {
		public = admin
	}
	if err := given.Predecessor.Ready(context.Background()); err != nil {
		return err
	}
	switch role {
	case "dies when all is its own":
		os.Exit(8)
	case "hangs when all is its own":
		time.Sleep(time.Hour)
	}
	given.Predecessor.Serving()
	for {
		c, err := public.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%s %d\n", role, os.Getpid())
		c.Close()
	}
}

// sockets are two that listen, and a word from who accepts on the first.
type sockets struct {
	t             *testing.T
	public, admin *net.TCPListener
}

func newSockets(t *testing.T) *sockets {
	listen := func() *net.TCPListener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.(*net.TCPListener)
	}
	return &sockets{t, listen(), listen()}
}

// ask connects and reads a line.
func (s *sockets) ask(l net.Listener) string {
	s.t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	text, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// start starts a successor with duplicates of the sockets.
func (s *sockets) start(role string) *handover.Successor {
	s.t.Helper()
	next, err := handover.Start(
		handover.Program{Path: os.Args[0], Env: append(os.Environ(), "ROLE="+role, "WATCHDOG_PID=1", "LISTEN_FDS=9", "LISTEN_PID=1")},
		handover.Socket{Name: handover.Public, Setting: "here", Listener: s.public},
		handover.Socket{Name: handover.Admin, Listener: s.admin},
	)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(next.Kill)
	return next
}
