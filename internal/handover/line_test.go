package handover

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A predecessor that dies has let go of all; one that hangs has not, nor one that
// says something else.
func TestReady(t *testing.T) {
	for name, tc := range map[string]struct {
		predecessor func(c net.Conn)
		good        bool
	}{
		"lets go":    {func(c net.Conn) { c.Write([]byte("yours\n")) }, true},
		"dies":       {func(c net.Conn) { c.Close() }, true},
		"half dies":  {func(c net.Conn) { c.Write([]byte("you")); c.Close() }, true},
		"hangs":      {func(net.Conn) {}, false},
		"hangs half": {func(c net.Conn) { c.Write([]byte("yours")) }, false},
		"is odd":     {func(c net.Conn) { c.Write([]byte("mine\n")) }, false},
		"babbles":    {func(c net.Conn) { c.Write(make([]byte, 100)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				go func() {
					b := make([]byte, 16)
					if n, _ := theirs.Read(b); string(b[:n]) != "ready\n" {
						t.Errorf("said %q", b[:n])
					}
					tc.predecessor(theirs)
				}()
				began := time.Now()
				err := (&Predecessor{&line{ours}}).Ready(t.Context())
				if (err == nil) != tc.good {
					t.Error(err)
				}
				if took := time.Since(began); took > letGoTime {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		go theirs.Read(make([]byte, 16))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := (&Predecessor{&line{ours}}).Ready(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add(`[{"Name":"holdline","Setting":"127.0.0.1:8787"},{"Name":"admin","Setting":""}]`)
	f.Add(`[null]`)
	f.Fuzz(func(t *testing.T, text string) {
		if list, err := parse(text); err == nil && len(list) > maxSockets {
			t.Error(len(list))
		}
	})
}

func FuzzHear(f *testing.F) {
	f.Add([]byte("ready\n"))
	f.Add([]byte("no"))
	f.Fuzz(func(t *testing.T, said []byte) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				theirs.Write(said)
				theirs.Close()
			}()
			err := (&line{ours}).hear(t.Context(), wordReady)
			if good := len(said) >= 6 && string(said[:6]) == "ready\n"; (err == nil) != good {
				t.Errorf("%q: %v", said, err)
			}
		})
	})
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", "WATCHDOG_PID=7", "WATCHDOG_USEC=1", "LISTEN_PID=7", "LISTEN_FDS=1", "LISTEN_FDNAMES=x", variable + "=[]", "NOTIFY_SOCKET=/x"})
	want := []string{"A=1", "WATCHDOG_USEC=1", "NOTIFY_SOCKET=/x"}
	if len(got) != len(want) {
		t.Fatal(got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Error(got)
		}
	}
}
