package wpdb_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/memrows"
	"holdline/wpdb"
)

// stateful tells each watched channel's state once, and again when the channel
// was not watched for one question, as wpdb.Statuser asks for.
type stateful struct {
	memrows.Source
	mu    sync.Mutex
	known []string
	asked int
	fail  error
}

func (s *stateful) Status(_ context.Context, _ wpdb.Querier, watched []string) (events []chat.Event, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.fail != nil {
		return nil, s.fail
	}
	for _, name := range watched {
		if !slices.Contains(s.known, name) {
			events = append(events, chat.Event{ID: 99, Type: chat.TypeStatus, Channel: "wplc/" + name, Data: []byte("{}")})
		}
	}
	s.known = slices.Clone(watched)
	return events, nil
}

func (s *stateful) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// told lists the channels whose states were published.
func told(batches []chat.Batch) string {
	var names []string
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Type == chat.TypeStatus && e.ID == 0 {
				names = append(names, e.Channel)
			}
		}
	}
	return strings.Join(names, " ")
}

func TestTailTellsStates(t *testing.T) {
	inBubble(t, &stateful{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		b.say(1)
		time.Sleep(time.Second)
		synctest.Wait()
		batches := b.sink.take()
		if got := told(batches); got != "wplc/1" {
			t.Fatalf("told %q", got)
		}
		if m := last(t, batches).Events[0].Mark; m.Last != 1 {
			t.Errorf("at %v", m)
		}
		b.sink.watch("1", "2")
		if got := told(b.after(time.Second)); got != "wplc/2" {
			t.Errorf("told %q to a second channel", got)
		}
	})
}

// The hub forgets the state of a channel that nobody watches. Whoever watches it
// again must be told, also if the Statuser was not asked in between.
func TestTailTellsStatesAnew(t *testing.T) {
	inBubble(t, &stateful{}, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		time.Sleep(time.Second)
		b.sink.watch()
		time.Sleep(time.Second) // the tail sleeps
		b.sink.watch("1")
		b.tail.Wake()
		if got := told(b.after(time.Second)); got != "wplc/1" {
			t.Errorf("after a pause: told %q", got)
		}
	})
	t.Run("although the source fails meanwhile", func(t *testing.T) {
		src := &stateful{}
		inBubble(t, src, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
			b.sink.watch("1", "2")
			time.Sleep(time.Second)
			src.setFail(errors.New("no such table"))
			b.sink.watch("2")
			time.Sleep(time.Second)
			b.sink.watch("1", "2")
			time.Sleep(time.Second)
			src.setFail(nil)
			if got := told(b.after(15 * time.Second)); got != "wplc/1" {
				t.Errorf("told %q", got)
			}
		})
	})
}

// That states cannot be read is no reason to hold messages back, nor to ask at
// every tick.
func TestTailReadsOnWithoutStates(t *testing.T) {
	src := &stateful{fail: errors.New("SELECT command denied")}
	inBubble(t, src, wpdb.TailOptions{}, nil, func(t *testing.T, b *bench) {
		time.Sleep(time.Minute)
		b.say(1)
		if diff := cmp.Diff([]int64{1}, ids(b.after(1100*time.Millisecond))); diff != "" {
			t.Error(diff)
		}
		src.mu.Lock()
		defer src.mu.Unlock()
		if src.asked > 60 || src.asked < 5 {
			t.Errorf("asked %d times in a minute", src.asked)
		}
	})
}
