package live

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// record is a hub that writes down what it is told, one line each.
type record struct {
	mu    sync.Mutex
	lines []string
	kept  map[string]string // by channel and keep
	reads []string
	logs  strings.Builder
}

func (r *record) Tell(t hub.Telling) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf("%s %s", t.Event.Channel, t.Event.Type)
	if t.Event.From != nil {
		line += " from " + show(*t.Event.From)
	}
	if t.To != nil {
		line += " to " + show(*t.To)
	}
	if t.Except != nil {
		line += " except " + show(*t.Except)
	}
	line += " " + string(t.Event.Data)
	r.lines = append(r.lines, line)
	if t.Keep != "" {
		r.kept[t.Event.Channel+" "+t.Keep] = string(t.Event.Data)
	}
}

func (r *record) Forget(channel, keep string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, channel+" forget "+keep)
	delete(r.kept, channel+" "+keep)
}

func (r *record) read(channel string, reader chat.Party, upTo int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, fmt.Sprintf("%s %s %d", channel, show(reader), upTo))
}

func show(p chat.Party) string { return fmt.Sprintf("%s/%d", p.Kind, p.ID) }

// take returns the lines since the last take, once all is told that is due.
func (r *record) take() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func (r *record) takeReads() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	reads := r.reads
	r.reads = nil
	return reads
}

func (r *record) keeps() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.kept))
}

// want fails unless exactly these lines were told since the last time.
func (r *record) want(t *testing.T, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, r.take()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// inLive runs a test with a running Live in a bubble of its own time, which
// begins at midnight on 2000-01-01 UTC.
func inLive(t *testing.T, test func(t *testing.T, l *Live, r *record)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &record{kept: make(map[string]string)}
		l := New(Options{Hub: r, Read: r.read, Logger: slog.New(slog.NewTextHandler(&r.logs, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		defer func() { // also when the test ends by Fatal
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		test(t, l, r)
	})
}

var (
	visitor = chat.Party{Kind: chat.KindVisitor, Name: "Ann"}
	agent   = chat.Party{Kind: chat.KindAgent, ID: 2, Name: "Bob"}
	other   = chat.Party{Kind: chat.KindAgent, ID: 3, Name: "Cyd"}
)

const (
	annIsThere  = `{"kind":"visitor","name":"Ann"}`
	bobIsThere  = `{"kind":"agent","id":2,"name":"Bob"}`
	cydIsThere  = `{"kind":"agent","id":3,"name":"Cyd"}`
	annTypes    = `wplc/1 typing from visitor/0 except visitor/0 {"typing":true,"expires_ms":6000}`
	annTypesNot = `wplc/1 typing from visitor/0 except visitor/0 {"typing":false}`
)

func presence(present, left string) string {
	return fmt.Sprintf(`wplc/1 presence {"present":[%s],"left":[%s]}`, present, left)
}

const second = time.Second
