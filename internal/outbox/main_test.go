package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/spool"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	goleak.VerifyTestMain(m)
}

// fakeHub writes down what it is told, "kind channel client-id" a line each, and
// what it keeps.
type fakeHub struct {
	mu   sync.Mutex
	log  []string
	all  []hub.Telling
	kept map[string]hub.Telling // by channel and keep
}

func (h *fakeHub) Tell(t hub.Telling) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := string(t.Event.Type)
	if t.Event.Pending {
		what = "pending"
	}
	h.log = append(h.log, fmt.Sprint(what, " ", t.Event.Channel, " ", t.Event.ClientID))
	h.all = append(h.all, t)
	if t.Keep != "" {
		if h.kept == nil {
			h.kept = make(map[string]hub.Telling)
		}
		h.kept[t.Event.Channel+" "+t.Keep] = t
	}
}

func (h *fakeHub) Forget(channel, keep string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.kept, channel+" "+keep)
}

func (h *fakeHub) tellings() []hub.Telling {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

func (h *fakeHub) has(channel, keep string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.kept[channel+" "+keep]
	return ok
}

// keeps returns what is kept, sorted.
func (h *fakeHub) keeps() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []string{}
	for k := range h.kept {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// told returns the lines that begin with prefix.
func (h *fakeHub) told(prefix string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.log), func(l string) bool { return !strings.HasPrefix(l, prefix) })
}

// fakeStore is an idempotent store, and does what a test says before.
type fakeStore struct {
	mu    sync.Mutex
	rows  []string         // "channel client-id" in order of storing; the id is the place + 1
	ids   map[string]int64 // by row
	calls []call
	hub   *fakeHub
	early []string // messages that were to be stored before they were told as pending
	// before, if set, may answer instead. It is called without the lock.
	before func(ctx context.Context, ms []Message) (fates []Fate, err error, instead bool)
}

// call is what Store was given and when.
type call struct {
	at    time.Time
	names []string
}

func nameOf(m Message) string { return m.Channel + " " + m.ClientID }

func (s *fakeStore) Store(ctx context.Context, ms []Message) ([]Fate, error) {
	c := call{at: time.Now()}
	for _, m := range ms {
		c.names = append(c.names, nameOf(m))
	}
	s.mu.Lock()
	for _, m := range ms {
		if !s.hub.has(m.Channel, "p/"+spoolID(m)) {
			s.early = append(s.early, nameOf(m))
		}
	}
	s.calls = append(s.calls, c)
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if fates, err, instead := before(ctx, ms); instead {
			return fates, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fates := make([]Fate, len(ms))
	for i, m := range ms {
		fates[i].ID = s.insert(m)
	}
	return fates, nil
}

func (s *fakeStore) insert(m Message) int64 {
	if s.ids == nil {
		s.ids = make(map[string]int64)
	}
	if id := s.ids[nameOf(m)]; id != 0 {
		return id
	}
	s.rows = append(s.rows, nameOf(m))
	s.ids[nameOf(m)] = int64(len(s.rows))
	return int64(len(s.rows))
}

func (s *fakeStore) do(before func(context.Context, []Message) ([]Fate, error, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *fakeStore) fail(err error) {
	s.do(func(context.Context, []Message) ([]Fate, error, bool) { return nil, err, true })
}

func (s *fakeStore) stored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rows)
}

func (s *fakeStore) called() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// rig is an outbox that runs.
type rig struct {
	t     *testing.T
	dir   string
	spool *spool.Spool
	store *fakeStore
	hub   *fakeHub
	box   *Outbox
	stop  func()

	mu      sync.Mutex
	answers map[string][]Answer
}

// start opens the spool in dir and runs an outbox; its end is checked.
func start(t *testing.T, dir string, store *fakeStore, change func(*Options)) *rig {
	t.Helper()
	r := prepare(t, dir, store, change)
	r.run()
	return r
}

// prepare is start without Run.
func prepare(t *testing.T, dir string, store *fakeStore, change func(*Options)) *rig {
	t.Helper()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, spool: s, store: store, hub: new(fakeHub), answers: make(map[string][]Answer)}
	opt := Options{Spool: s, Store: store, Hub: r.hub, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&opt)
	}
	r.box = New(opt)
	store.mu.Lock()
	store.hub = r.hub
	store.mu.Unlock()
	go func() {
		if err := s.Run(context.Background()); err != nil {
			t.Errorf("the spool's Run: %v", err)
		}
	}()
	r.stop = func() {
		store.mu.Lock()
		defer store.mu.Unlock()
		if len(store.early) > 0 {
			t.Errorf("stored before they were told as pending: %v", store.early)
		}
		if err := s.Close(); err != nil {
			t.Errorf("the spool's Close: %v", err)
		}
	}
	return r
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.box.Run(ctx) }()
	closeSpool := r.stop
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		closeSpool()
	})
}

func message(channel, id string) Message {
	return Message{
		Channel: channel, ClientID: id, From: chat.Party{Kind: chat.KindVisitor, Name: "Ann"},
		Body: "body of " + id, SentAt: time.Unix(1_700_000_000, 0).UTC(), After: 7,
	}
}

// id makes a client id of a number.
func id(i int) string { return fmt.Sprintf("message-%04d", i) }

func (r *rig) send(m Message) {
	r.box.Send(m, func(a Answer) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answers[nameOf(m)] = append(r.answers[nameOf(m)], a)
	})
}

// put leaves a message in the spool as an earlier life would.
func (r *rig) put(m Message) {
	r.t.Helper()
	body, err := encode(m)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.spool.Put(r.t.Context(), m.Channel, spoolID(m), body); err != nil {
		r.t.Fatal(err)
	}
}

// answered returns the states that a message was answered with, with the reason
// or row.
func (r *rig) answered(channel, id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, a := range r.answers[channel+" "+id] {
		switch {
		case a.Refusal != nil:
			out = append(out, a.State+" "+a.Refusal.Reason)
		case a.ID > 0:
			out = append(out, fmt.Sprint(a.State, " ", a.ID))
		default:
			out = append(out, a.State)
		}
	}
	return strings.Join(out, ", ")
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// after lets time pass in a bubble and what is due happen.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// settled waits until everything is at rest. Writing to a disk is not at rest, so
// no time needs to pass for it.
func settled() { synctest.Wait() }

func (s *fakeStore) rowsOf(channel string) []string {
	var out []string
	for _, row := range s.stored() {
		if c, id, _ := strings.Cut(row, " "); c == channel {
			out = append(out, id)
		}
	}
	return out
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, id(i))
	}
	return out
}
