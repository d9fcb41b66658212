//go:build linux

package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// TestUpgradeUnderAnAudience replaces the program three times while rows and messages
// flow.
func TestUpgradeUnderAnAudience(t *testing.T) {
	s := newOutfit(t)
	s.start()
	c := s.newAudience(t)
	common := s.chat()
	for range 8 {
		for _, transport := range []string{"sse", "ws", "poll"} {
			c.add(transport, common)
		}
		c.add("loop", s.chat())
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	var rows []string
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			text := fmt.Sprintf("row-%d", i)
			for _, m := range c.members {
				if m.chat != common {
					if err := s.say(m.chat, text); err != nil {
						t.Error(err)
						return
					}
				}
			}
			if err := s.say(common, text); err != nil {
				t.Error(err)
				return
			}
			rows = append(rows, text)
		}
	})
	sent := 0
	writing.Go(func() {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for ; ; sent++ {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
			c.send(client, common, fmt.Sprintf("client-%04d", sent), fmt.Sprintf("sent-%d", sent))
		}
	})
	for range 3 {
		s.upgrade()
	}
	close(stop)
	writing.Wait()
	last := rows[len(rows)-1]
	for _, m := range c.members {
		backstage.Eventually(t, m.name+" has heard "+last, patience, func() bool { return m.has(last) })
	}
	for _, m := range c.members {
		m.mu.Lock()
		for _, text := range rows {
			if n := m.told[text]; n != 1 {
				t.Errorf("%s was told %s %d times", m.name, text, n)
			}
		}
		m.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.refusals {
		t.Error("refused:", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range sent {
		if s.rows[fmt.Sprintf("client-%04d", i)] == 0 {
			t.Errorf("message %d was not stored", i)
		}
	}
	t.Logf("%d rows to %d clients, %d messages sent", len(rows), len(c.members), sent)
}
