package handover_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/internal/handover"
)

// soon is for successors that hang.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestSuccessorTakesTheSockets(t *testing.T) {
	s := newSockets(t)
	next := s.start("good")
	if err := next.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Until it has all, whoever comes is the predecessor's.
	go func() {
		c, err := s.public.Accept()
		if err == nil {
			fmt.Fprintln(c, "predecessor")
			c.Close()
		}
	}()
	if got := s.ask(s.public); got != "predecessor\n" {
		t.Errorf("answered by %q", got)
	}
	if err := next.Yours(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := s.public.Addr()
	s.public.Close()
	if got, want := s.ask(s.public), fmt.Sprintf("good %d\n", next.Pid()); got != want {
		t.Errorf("%v is answered by %q, want %q", address, got, want)
	}
}

func TestSuccessorWithAnotherAddress(t *testing.T) {
	s := newSockets(t)
	next := s.start("is configured otherwise")
	if err := next.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next.Yours(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := s.ask(s.admin), fmt.Sprintf("is configured otherwise %d\n", next.Pid()); got != want {
		t.Errorf("answered by %q, want %q", got, want)
	}
}

func TestSuccessorsThatFail(t *testing.T) {
	for role, want := range map[string]struct {
		early bool // before it could have anything
		text  string
	}{
		"dies at once":              {true, "exit status 7"},
		"hangs at once":             {true, "in time"},
		"speaks another language":   {true, `"hello"`},
		"dies when all is its own":  {false, "exit status 8"},
		"hangs when all is its own": {false, "in time"},
	} {
		t.Run(role, func(t *testing.T) {
			s := newSockets(t)
			next := s.start(role)
			ctx := t.Context()
			if role == "hangs at once" {
				ctx = soon(t)
			}
			err := next.AwaitReady(ctx)
			if err == nil && !want.early {
				ctx := t.Context()
				if strings.HasPrefix(role, "hangs") {
					ctx = soon(t)
				}
				err = next.Yours(ctx)
			}
			if err == nil || !strings.Contains(err.Error(), want.text) {
				t.Errorf("%v, want something with %q", err, want.text)
			}
			next.Kill()
			// The socket is as it was.
			go func() {
				if c, err := s.public.Accept(); err == nil {
					fmt.Fprintln(c, "predecessor")
					c.Close()
				}
			}()
			if got := s.ask(s.public); got != "predecessor\n" {
				t.Errorf("then %q answers", got)
			}
			// Also in that whoever waits for a connection can be woken.
			if err := s.admin.SetDeadline(time.Now()); err != nil {
				t.Error(err)
			}
			if _, err := s.admin.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

func TestStartOfWhatIsNoProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(file, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "-that-is-not-there"} {
		if _, err := handover.Start(handover.Program{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNobodyGivesAnything(t *testing.T) {
	given, err := handover.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if l, from := given.Take(handover.Public, "here"); l != nil || from != "here" || given.Predecessor != nil {
		t.Errorf("%v from %q, %v", l, from, given.Predecessor)
	}
	if err := given.Close(); err != nil {
		t.Error(err)
	}
}

func TestVariableSetByHand(t *testing.T) {
	for _, text := range []string{"", "1", "[", `[{"Name":1}]`, "[" + strings.Repeat("{},", 40) + "{}]"} {
		t.Setenv("_HOLDLINE_UPGRADE", text)
		if given, err := handover.Receive(); err == nil {
			t.Errorf("%q gives %v", text, given)
		}
		if _, ok := os.LookupEnv("_HOLDLINE_UPGRADE"); ok {
			t.Errorf("%q is still set", text)
		}
	}
}
