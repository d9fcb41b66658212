package hub

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"holdline/internal/chat"
)

// inBubble runs f with a hub that carries, in fake time.
func inBubble(t *testing.T, opt Options, f func(t *testing.T, h *Hub, src *fakeSource)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opt.Senders = max(opt.Senders, 1)
		h := New(opt)
		src := &fakeSource{name: "a", hub: h}
		h.Add(src)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := h.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(t, h, src)
		cancel()
		wg.Wait()
	})
}

// fakeSource is a table without gaps and its tail, told what to do.
type fakeSource struct {
	name string
	hub  *Hub

	mu      sync.Mutex
	last    int64
	rows    []chat.Event
	tickets uint64
	asked   int    // calls of Rows
	fail    error  // of Rows
	during  func() // called once, in the midst of Rows
}

func (s *fakeSource) Name() string { return s.name }

func (s *fakeSource) Wake() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	return s.tickets
}

func (s *fakeSource) Rows(_ context.Context, names []string, after, upTo int64, ids []int64, limit int) (found []chat.Event, cut int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if f := s.during; f != nil {
		s.during = nil
		s.mu.Unlock()
		f()
		s.mu.Lock()
	}
	if s.fail != nil {
		return nil, 0, s.fail
	}
	for _, e := range s.rows {
		wanted := names == nil || slices.ContainsFunc(names, func(n string) bool { return e.Channel == s.name+"/"+n })
		if !wanted || !(e.ID > after && e.ID <= upTo || slices.Contains(ids, e.ID)) {
			continue
		}
		found = append(found, e)
		if len(found) == limit {
			return found, e.ID, nil
		}
	}
	return found, 0, nil
}

func (s *fakeSource) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *fakeSource) count() (tickets uint64, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tickets, s.asked
}

// store adds rows that nobody is told of.
func (s *fakeSource) store(channel string, n int) (events []chat.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.last++
		e := message(s.last, channel, mark(s.last))
		s.rows = append(s.rows, e)
		events = append(events, e)
	}
	return events
}

func (s *fakeSource) publish(t *testing.T, b chat.Batch) {
	t.Helper()
	b.Source = s.name
	if b.Mark.Last == 0 && !b.Reset {
		b.Mark.Last = s.last
	}
	if err := s.hub.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// begin tells the position, as a tail that starts.
func (s *fakeSource) begin(t *testing.T) {
	t.Helper()
	tickets, _ := s.count()
	s.publish(t, chat.Batch{Fresh: tickets})
}

// say stores n rows and publishes them.
func (s *fakeSource) say(t *testing.T, channel string, n int) {
	t.Helper()
	s.publish(t, chat.Batch{Events: s.store(channel, n)})
}

// status publishes states: channel and data, in turn.
func (s *fakeSource) status(t *testing.T, pairs ...string) {
	t.Helper()
	var events []chat.Event
	for pair := range slices.Chunk(pairs, 2) {
		events = append(events, chat.Event{Type: chat.TypeStatus, Channel: pair[0], Data: []byte(pair[1]), Mark: mark(s.last)})
	}
	s.publish(t, chat.Batch{Events: events})
}

// client writes down what it is told.
type client struct {
	mu        sync.Mutex
	ids       []int64
	states    []string
	heard     []string // everything, in words
	resets    int
	lives     []string // cursors
	cursor    string
	tag       uint32 // as last told, or brought along
	calls     int
	sub       *Sub
	onDeliver func(c *client) // called with the lock held
}

func (c *client) Live(cursor string, states *Delivery) {
	c.mu.Lock()
	c.lives = append(c.lives, cursor)
	c.cursor = cursor
	c.mu.Unlock()
	if states != nil {
		c.Deliver(states)
	}
}

func (c *client) Deliver(d *Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	for _, e := range d.Events {
		c.heard = append(c.heard, inWords(&e))
		switch {
		case e.Cursor == "": // told, not stored
		case e.Type == chat.TypeStatus:
			c.states = append(c.states, string(e.Data))
		case e.Type == chat.TypeReset:
			c.resets++
		default:
			c.ids = append(c.ids, e.ID)
		}
	}
	if d.Cursor != "" {
		c.cursor = d.Cursor
	}
	if d.Tag != 0 {
		c.tag = d.Tag
	}
	if c.onDeliver != nil {
		c.onDeliver(c)
	}
}

// inWords is "message 7", "stored 7 anna", "pending anna", "typing {}".
func inWords(e *chat.Event) string {
	words := []string{string(e.Type)}
	if e.Pending {
		words[0] = "pending"
	}
	if e.ID != 0 {
		words = append(words, strconv.FormatInt(e.ID, 10))
	}
	for _, more := range []string{e.ClientID, string(e.Data)} {
		if more != "" {
			words = append(words, more)
		}
	}
	return strings.Join(words, " ")
}

// news is what the client has been told since it was last asked.
func (c *client) news() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.heard = nil }()
	return strings.Join(c.heard, ", ")
}

func (c *client) told() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ids)
}

func cursorAt(m chat.Mark) *chat.Cursor {
	c := chat.At(m)
	return &c
}

// join subscribes a stream; from is nil for the present.
func joinHub(t *testing.T, h *Hub, from *chat.Cursor, channels ...string) *client {
	t.Helper()
	return joinAs(t, h, nil, from, channels...)
}

func joinAs(t *testing.T, h *Hub, who *chat.Party, from *chat.Cursor, channels ...string) *client {
	t.Helper()
	c := &client{}
	if err := h.Subscribe(c, Subscription{Channels: channels, Who: who, From: from}, func(s *Sub) { c.sub = s }); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return c
}

// poll subscribes a long poll, which closes itself when it is answered.
func poll(t *testing.T, h *Hub, cursor string, channels ...string) *client {
	t.Helper()
	return pollAs(t, h, nil, cursor, channels...)
}

func pollAs(t *testing.T, h *Hub, who *chat.Party, cursor string, channels ...string) *client {
	t.Helper()
	from, err := chat.ParseCursor(cursor)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{cursor: from.WithTag(0).String(), tag: from.Tag(), onDeliver: func(c *client) { c.sub.Close() }}
	want := Subscription{Channels: channels, Who: who, From: &from, OneOff: true}
	if err := h.Subscribe(c, want, func(s *Sub) { c.sub = s }); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return c
}

// next is the cursor that a poll's client comes back with.
func (c *client) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, _ := chat.ParseCursor(c.cursor)
	if c.tag != 0 {
		at = at.WithTag(c.tag)
	}
	return at.String()
}

func (c *client) statesTold() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.states, " ")
}
