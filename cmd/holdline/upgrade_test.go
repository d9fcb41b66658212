//go:build linux

package main

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// perform runs a story while rows and messages flow to some clients of each kind,
// and holds that nobody missed anything, was told twice or was refused.
func (s *outfit) perform(t *testing.T, each int, story func()) {
	t.Helper()
	a := s.newAudience(t)
	common := s.chat()
	for range each {
		for _, transport := range []string{"sse", "ws", "poll"} {
			a.add(transport, common)
		}
		a.add("loop", s.chat())
	}
	f := &flow{t: t, s: s, a: a, common: common, stop: make(chan struct{})}
	f.writing.Go(f.writeRows)
	f.writing.Go(f.send)
	story()
	close(f.stop)
	f.writing.Wait()
	f.check()
}

// flow is what is written while a story goes on.
type flow struct {
	t       *testing.T
	s       *outfit
	a       *audience
	common  int64 // the chat of all but loops
	stop    chan struct{}
	writing sync.WaitGroup
	rows    []string
	sent    int
}

// pause is false once the story is over.
func (f *flow) pause(d time.Duration) bool {
	select {
	case <-f.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (f *flow) writeRows() {
	for f.pause(20 * time.Millisecond) {
		text := fmt.Sprintf("row-%d", len(f.rows))
		chats := []int64{f.common}
		for _, m := range f.a.members {
			if m.chat != f.common {
				chats = append(chats, m.chat)
			}
		}
		for _, chat := range chats {
			if err := f.s.say(chat, text); err != nil {
				f.t.Error(err)
				return
			}
		}
		f.rows = append(f.rows, text)
	}
}

func (f *flow) send() {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for ; f.pause(30 * time.Millisecond); f.sent++ {
		f.a.send(client, f.common, fmt.Sprintf("client-%04d", f.sent), fmt.Sprintf("sent-%d", f.sent))
	}
}

func (f *flow) check() {
	t := f.t
	t.Helper()
	last := f.rows[len(f.rows)-1]
	for _, m := range f.a.members {
		backstage.Eventually(t, m.name+" has heard "+last, patience, func() bool { return m.has(last) })
	}
	for _, m := range f.a.members {
		m.mu.Lock()
		for _, text := range f.rows {
			if n := m.told[text]; n != 1 {
				t.Errorf("%s was told %s %d times", m.name, text, n)
			}
		}
		m.mu.Unlock()
	}
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	for _, r := range f.a.refusals {
		t.Error("refused:", r)
	}
	backstage.Eventually(t, "all messages are stored", patience, func() bool {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		return len(f.s.rows) == f.sent
	})
	t.Logf("%d rows to %d clients, %d messages sent", len(f.rows), len(f.a.members), f.sent)
}

func TestUpgradeUnderAnAudience(t *testing.T) {
	s := newOutfit(t)
	s.start()
	s.perform(t, 8, func() {
		for range 3 {
			s.upgrade()
		}
	})
}

// TestUpgradesThatFail has the program's file replaced by what cannot take over. The
// process that runs goes on, whatever the successor had by then.
func TestUpgradesThatFail(t *testing.T) {
	s := newOutfit(t)
	s.start()
	pid := s.readPID()
	good := s.program + ".good"
	if err := os.Rename(s.program, good); err != nil {
		t.Fatal(err)
	}
	fail := func(file string, logged string) {
		t.Helper()
		if err := os.WriteFile(s.program+".new", []byte(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.program+".new", s.program); err != nil {
			t.Fatal(err)
		}
		s.signal(syscall.SIGUSR2)
		s.awaitLog(logged, 1)
		if now := s.readPID(); now != pid {
			t.Fatalf("process %d serves in the place of %d", now, pid)
		}
	}
	s.perform(t, 2, func() {
		fail("no program", "exec format error")
		fail("#!/bin/sh\nexit 9\n", "exit status 9")
		fail("#!/bin/sh\necho hello >&3\nsleep 100\n", `\"hello\"`)
		fail("#!/bin/sh\necho ready >&3\nread word <&3\nexit 10\n", "exit status 10")
		fail("#!/bin/sh\necho ready >&3\nread word <&3\necho what >&3\nsleep 100\n", `\"what\"`)
		if err := os.Rename(good, s.program); err != nil {
			t.Fatal(err)
		}
		text := s.amend("hold: 7\n")
		s.signal(syscall.SIGUSR2)
		s.awaitLog("has no unit", 1)
		s.awaitLog("exit status 2", 1)
		s.configure(text)
		s.upgrade()
	})
	if now := s.readPID(); now == pid {
		t.Error("the good one has not taken over")
	}
}

// TestStopDuringAnUpgrade ends both.
func TestStopDuringAnUpgrade(t *testing.T) {
	s := newOutfit(t)
	s.start()
	if err := os.Rename(s.program, s.program+".old"); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho $$ > %s\nexec sleep 100\n", s.file("successor"))
	if err := os.WriteFile(s.program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGUSR2)
	var successor int
	backstage.Eventually(t, "the successor runs", patience, func() bool {
		text, _ := os.ReadFile(s.file("successor"))
		n, _ := fmt.Sscan(string(text), &successor)
		return n == 1
	})
	s.signal(syscall.SIGTERM)
	s.awaitLog("holdline has stopped", 1)
	backstage.Eventually(t, "the successor has ended", patience, func() bool { return syscall.Kill(successor, 0) == syscall.ESRCH })
	backstage.Eventually(t, "pid_file is gone", patience, func() bool { return s.readPID() == 0 })
}
