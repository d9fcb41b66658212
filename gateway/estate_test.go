package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

var errHeld = errors.New("somebody has it")

func TestAwait(t *testing.T) {
	for name, tc := range map[string]struct {
		let  error // what open says after a minute
		want time.Duration
	}{
		"it becomes free":     {nil, time.Minute},
		"it is broken by now": {os.ErrPermission, time.Minute},
		"it stays locked":     {errHeld, time.Hour}, // until the context ends
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				opened, err := await(ctx, func() (*int, error) {
					if time.Since(began) < time.Minute {
						return nil, errHeld
					}
					return new(int), tc.let
				}, errHeld)
				took := time.Since(began)
				if took < tc.want || took > tc.want+time.Second {
					t.Errorf("took %v, want %v and less than a second", took, tc.want)
				}
				if wantErr := tc.let; wantErr == errHeld {
					if !errors.Is(err, context.DeadlineExceeded) || opened != nil {
						t.Error(opened, err)
					}
				} else if !errors.Is(err, wantErr) {
					t.Error(err)
				}
			})
		})
	}
}

// A door that is shut leaves connections to the kernel, and is opened again.
func TestDoor(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			d, err := newDoor(l, true)
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan error, 10)
			over := make(chan struct{})
			go func() {
				defer close(over)
				for {
					c, err := d.Accept()
					got <- err
					if err != nil {
						return
					}
					c.Close()
				}
			}()
			knock := func() {
				t.Helper()
				c, err := net.Dial(network, l.Addr().String())
				if err != nil {
					t.Fatal("refused:", err)
				}
				t.Cleanup(func() { c.Close() })
			}
			for range 3 {
				knock()
				knock()
				if len(got) > 0 {
					t.Fatal("let in through a shut door:", <-got)
				}
				if err := d.setOpen(true); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := <-got; err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(d.setOpen(false), d.setOpen(false)); err != nil {
					t.Fatal(err)
				}
			}
			d.leaveFile(true)
			if err := errors.Join(d.Close(), d.Close()); err != nil {
				t.Error(err)
			}
			if err := <-got; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			<-over
			if _, err := os.Stat(address); network == "unix" && err != nil {
				t.Error("the file that a successor listens on is gone:", err)
			}
		})
	}
}

func TestDoorOfWhatIsNoSocket(t *testing.T) {
	if _, err := newDoor(oddListener{}, false); err == nil {
		t.Error("taken")
	}
}

type oddListener struct{ net.Listener }

func (oddListener) Addr() net.Addr { return &net.IPAddr{} }

// What hangs has the sign of life hang, and so systemd's watchdog bite.
func TestAlive(t *testing.T) {
	g, err := New(Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	g.cfg.BasePath = "/holdline/v1"
	g.handler = g.routes()
	if err := g.Alive(t.Context()); err != nil {
		t.Error("well:", err)
	}
	for name, lock := range map[string]interface {
		Lock()
		Unlock()
	}{"admission": &g.admission.mu, "gate": &g.gate.mu} {
		lock.Lock()
		answer := make(chan error, 1)
		go func() { answer <- g.Alive(context.Background()) }()
		select {
		case err := <-answer:
			t.Errorf("%s is stuck, and all is well: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
		lock.Unlock()
		if err := <-answer; err != nil {
			t.Error("well again:", err)
		}
	}
	g.handler = http.NotFoundHandler()
	if err := g.Alive(t.Context()); err == nil {
		t.Error("a page of its own is not there, and all is well")
	}
}
