//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdline/e2e/backstage"
)

func TestConfigurationIsReadAgain(t *testing.T) {
	s := newOutfit(t)
	s.start()
	a := s.newAudience(t)
	a.add("sse", s.chat())
	backstage.Eventually(t, "a stream is held", patience, func() bool { return s.held() == 1 })

	before := s.amend("hold: 7\nlimits: {per_adress: 3}\n")
	s.signal(syscall.SIGHUP)
	s.awaitLog("what was in force stays", 1)
	for _, problem := range []string{"has no unit", "did you mean limits.per_address?"} {
		if !strings.Contains(s.log(), problem) {
			t.Errorf("the log does not say %q", problem)
		}
	}
	if strings.Contains(s.log(), "configuration read again") {
		t.Error("a mistake was taken")
	}

	s.configure(before + "hold: 7s\nlimits: {per_address: 1}\nlog: {level: debug}\nspool: {sync: never}\nbase_path: /other\n")
	s.signal(syscall.SIGHUP)
	s.awaitLog(`msg="configuration read again" changed="hold limits.per_address log.level"`, 1)
	s.awaitLog(`msg="needs a restart: base_path, spool.sync"`, 1)
	if n := s.held(); n != 1 {
		t.Errorf("%v connections are held, want the one that was", n)
	}
	resp, err := http.Get(a.address(a.members[0], "sse", "0"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second stream of one address is answered %s", resp.Status)
	}
	s.awaitLog(`level=DEBUG msg="request failed"`, 1)
}

// held is how many connections are held.
func (s *outfit) held() int {
	n, _ := backstage.Metric(s.t, s.admin, "holdline_connections_held")
	return int(n)
}

// supervisor hears what is told to systemd.
type supervisor struct {
	conn *net.UnixConn
	mu   sync.Mutex
	told []string
	done chan struct{}
}

func newSupervisor(t *testing.T, s *outfit) *supervisor {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.file("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	v := &supervisor{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		for b := make([]byte, 4096); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			v.mu.Lock()
			v.told = append(v.told, string(b[:n]))
			v.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-v.done
	})
	s.env = append(s.env, "NOTIFY_SOCKET="+s.file("notify"), "WATCHDOG_USEC=200000")
	return v
}

// await waits until a message has had a text n times.
func (v *supervisor) await(t *testing.T, text string, n int) {
	t.Helper()
	backstage.Eventually(t, fmt.Sprintf("%q is told %d times", text, n), patience, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return strings.Count(strings.Join(v.told, "\n"), text) >= n
	})
}

func TestWhatSystemdIsTold(t *testing.T) {
	s := newOutfit(t)
	v := newSupervisor(t, s)
	s.start()
	v.await(t, "READY=1\nSTATUS=serving browsers at "+s.public, 1)
	v.await(t, "WATCHDOG=1", 3)
	s.signal(syscall.SIGHUP)
	v.await(t, "RELOADING=1", 1)
	v.await(t, "READY=1", 2)
	s.upgrade()
	v.await(t, fmt.Sprintf("MAINPID=%d\nREADY=1\nWATCHDOG=1\nSTATUS=serving", s.readPID()), 1)
	v.mu.Lock()
	if all := strings.Join(v.told, "\n"); strings.Contains(all, "STOPPING") {
		t.Errorf("systemd would take the upgrade for the end: %s", all)
	}
	v.told = nil
	v.mu.Unlock()
	v.await(t, "WATCHDOG=1", 3) // of the successor
	s.signal(syscall.SIGTERM)
	v.await(t, "STOPPING=1", 1)
}

// TestSocketsOfSystemds has systemd's own tool give the sockets, one for browsers and
// one for the operator. The settings, which say something else, do not count.
func TestSocketsOfSystemds(t *testing.T) {
	s := newOutfit(t)
	s.env = []string{"HOLDLINE_LISTEN=127.0.0.1:1", "HOLDLINE_ADMIN_LISTEN=127.0.0.1:2"}
	prefix := []string{"systemd-socket-activate", "-l", s.public, "-l", s.admin, "--fdname=holdline:admin"}
	for _, pair := range append(s.command().Env, s.env...) {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "HOLDLINE_") {
			prefix = append(prefix, "-E", name)
		}
	}
	s.run(s.command(prefix...))
	s.awaitLog("let them say the same", 2)
	s.perform(t, 1, s.upgrade)
}

// TestAnotherHoldlineTakesOver has two serve the same site: the second one can do less,
// until the first one is killed.
func TestAnotherHoldlineTakesOver(t *testing.T) {
	first := newOutfit(t)
	first.start()
	second := first.beside("2")
	second.start()
	second.awaitLog("another Holdline of this site", 2) // state and messages

	chat := first.chat()
	one, two := first.newAudience(t), second.newAudience(t)
	two.add("sse", chat)
	two.add("loop", first.chat())
	if err := first.say(chat, "row-1"); err != nil {
		t.Fatal(err)
	}
	backstage.Eventually(t, "the second one serves", patience, func() bool { return two.members[0].has("row-1") })
	form := url.Values{"type": {"send"}, "channel": {fmt.Sprintf("wplc/%d", chat)}, "client_id": {"client-0001"}, "body": {"hello"}, "token": {two.s.token(fmt.Sprintf("wplc/%d", chat))}}
	send := func() string {
		resp, err := http.PostForm("http://"+second.public+"/holdline/v1/send?token="+form.Get("token"), form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Status
	}
	if got := send(); !strings.HasPrefix(got, "503") {
		t.Errorf("a message is answered %s while another process has the messages", got)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	one.send(client, chat, "client-0000", "sent to the first")
	first.signal(syscall.SIGKILL)
	killed := time.Now()
	backstage.Eventually(t, "the second one takes messages", patience, func() bool { return strings.HasPrefix(send(), "2") })
	second.awaitLog("this one has it now", 1)
	t.Logf("%v after the kill", time.Since(killed).Round(time.Millisecond))
	backstage.Eventually(t, "both messages are stored", patience, func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return len(first.rows) == 2
	})
}

// TestWatchdog has the check do what it may.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		var well atomic.Bool
		var pings atomic.Int32
		well.Store(true)
		check := func(ctx context.Context) error {
			if well.Load() {
				return nil
			}
			if pings.Load() > 5 {
				<-stuck
			}
			return errors.New("the clock stands still")
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			watch(ctx, time.Second, check, func() { pings.Add(1) }, slog.New(slog.DiscardHandler))
		}()
		after := func(d time.Duration, want int32, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := pings.Load(); got != want {
				t.Errorf("%s: %d pings, want %d", what, got, want)
			}
		}
		after(3500*time.Millisecond, 4, "well")
		well.Store(false)
		after(time.Minute, 4, "unwell")
		well.Store(true)
		after(2*time.Second, 6, "well again")
		well.Store(false)
		after(time.Minute, 6, "stuck")
		cancel()
		<-over
		close(stuck)
	})
}

func TestPIDFileThatCannotBeWritten(t *testing.T) {
	s := newOutfit(t)
	s.env = []string{"HOLDLINE_PID_FILE=" + s.file("nowhere") + "/pid"}
	cmd := s.command()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	backstage.AwaitReady(t, s.admin) // it serves all the same
	s.awaitLog("pid_file cannot be written", 1)
	if _, err := os.Stat(s.file("nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
