package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdline/internal/chat"
)

// TestHubModel drives a hub by hand, one command of a sender and one question to
// the database at a time, in any order: every moment there is between
// registering, replaying and going live is somebody's. Clients leave and come
// back with their last cursor, also to here from another node.
//
// After every single delivery a client's cursor must tell exactly the rows that
// it has, and in the end everybody has everything once. Beside the rows things are
// told that are not stored, some of them pending messages; see tellmodel_test.go.
func TestHubModel(t *testing.T) {
	for run := range 6 {
		t.Run(strconv.Itoa(run), func(t *testing.T) { rapid.Check(t, checkHub) })
	}
}

func checkHub(rt *rapid.T) {
	w := newWorld()
	for range 4 { // a longer life than rapid gives by default
		rt.Repeat(map[string]func(*rapid.T){
			"insert":    w.insert,
			"commit":    w.commit,
			"roll back": w.rollBack,
			"tick":      w.tick,
			"elsewhere": w.readElsewhere,
			"arrive":    w.arrive,
			"leave":     w.leave,
			"send":      func(rt *rapid.T) { w.step(w.hub.senders[rapid.IntRange(0, 1).Draw(rt, "sender")]) },
			"look up":   func(*rapid.T) { w.lookUp() },
			"fail":      func(rt *rapid.T) { w.anySource(rt).fail = rapid.Bool().Draw(rt, "fail") },
			"sweep":     func(*rapid.T) { w.hub.sweep(time.Now().Add(time.Hour)) },
			"truncate":  w.truncate,
			"pend":      w.pend,
			"withdraw":  w.withdraw,
			"tell":      w.tell,
			"forget":    w.forget,
			"drop":      w.drop,
		})
	}
	w.settle(rt)
}

type world struct {
	hub     *Hub
	sources []*modelSource
	clients []*modelClient
	typed   int             // tellings that nobody keeps
	pended  map[string]bool // messages that were told as pending, by key
}

// modelSource is a table, its tail and, in elsewhere, another node's.
type modelSource struct {
	name            string
	epoch           int // how often ids began again
	table           table
	here, elsewhere node
	awake           bool
	tickets         uint64
	fail            bool
}

func (s *modelSource) Name() string { return s.name }

func (s *modelSource) Wake() uint64 { s.tickets++; return s.tickets }

var errModel = errors.New("the database is away")

// Rows is cut after three rows of named channels, to make slices.
func (s *modelSource) Rows(_ context.Context, names []string, after, upTo int64, ids []int64, limit int) (events []chat.Event, cut int64, err error) {
	if s.fail {
		return nil, 0, errModel
	}
	if names != nil {
		limit = 3
	}
	for id := int64(1); id < s.table.next; id++ {
		channel, ok := s.table.rows[id]
		if !ok || !(id > after && id <= upTo || slices.Contains(ids, id)) {
			continue
		}
		if names == nil || slices.ContainsFunc(names, func(n string) bool { return channel == s.name+"/"+n }) {
			events = append(events, message(id, channel, chat.Mark{}))
			s.sign(events)
		}
		if len(events) == limit {
			return events, id, nil
		}
	}
	return events, 0, nil
}

func newWorld() *world {
	w := &world{hub: New(Options{Senders: 2, Linger: time.Nanosecond}), pended: map[string]bool{}}
	for _, name := range []string{"a", "b"} {
		s := &modelSource{name: name}
		s.forget()
		w.sources = append(w.sources, s)
		w.hub.Add(s)
	}
	return w
}

func (s *modelSource) forget() {
	s.epoch++
	s.table = table{rows: map[int64]string{}, dead: map[int64]bool{}, next: 1}
	s.here, s.elsewhere = node{all: []chat.Mark{{}}}, node{all: []chat.Mark{{}}}
}

func (w *world) anySource(rt *rapid.T) *modelSource {
	return w.sources[rapid.IntRange(0, len(w.sources)-1).Draw(rt, "source")]
}

func (w *world) insert(rt *rapid.T) {
	t := &w.anySource(rt).table
	t.next = min(t.next+rapid.Int64Range(1, 3).Draw(rt, "n"), 24)
}

func (w *world) commit(rt *rapid.T) {
	s := w.anySource(rt)
	id := rapid.Int64Range(0, s.table.next-1).Draw(rt, "id")
	if _, ok := s.table.rows[id]; id > 0 && !ok && !s.table.dead[id] {
		s.table.rows[id] = fmt.Sprintf("%s/%d", s.name, id%2)
	}
}

func (w *world) rollBack(rt *rapid.T) {
	s := w.anySource(rt)
	id := rapid.Int64Range(0, s.table.next-1).Draw(rt, "id")
	if _, ok := s.table.rows[id]; id > 0 && !ok {
		s.table.dead[id] = true
	}
}

func (w *world) readElsewhere(rt *rapid.T) {
	s := w.anySource(rt)
	s.elsewhere.read(rt, &s.table, "")
}

// tick is what the tail does.
func (w *world) tick(rt *rapid.T) { w.tickOf(rt, w.anySource(rt)) }

func (w *world) tickOf(rt *rapid.T, s *modelSource) {
	for _, sender := range w.hub.senders { // Publish must not wait for the model
		for len(sender.slots) > pending/2 {
			w.step(sender)
		}
	}
	ctx := context.Background()
	var err error
	switch watched := w.hub.Watched(s.name); {
	case len(watched) == 0 && s.awake:
		s.awake = false
		err = w.hub.Pause(ctx, s.name)
	case len(watched) == 0:
	case !s.awake:
		s.awake = true
		s.here.read(rt, &s.table, "")
		w.forgetUnread(s)
		err = w.hub.Publish(ctx, chat.Batch{Source: s.name, Mark: s.here.mark, Fresh: s.tickets})
	default:
		events := s.here.read(rt, &s.table, "")
		s.sign(events)
		err = w.hub.Publish(ctx, chat.Batch{Source: s.name, Events: events, Mark: s.here.mark, Fresh: s.tickets})
	}
	if err != nil {
		rt.Fatal(err)
	}
}

// step lets a sender do one thing.
func (w *world) step(s *sender) bool {
	s.mu.Lock()
	if len(s.box) == 0 {
		s.mu.Unlock()
		return false
	}
	c := s.box[0]
	s.box = s.box[1:]
	s.mu.Unlock()
	s.do(&c)
	return true
}

// lookUp answers one question to the database.
func (w *world) lookUp() bool {
	c := w.hub.catchUp
	c.release()
	j := c.take()
	if j == nil {
		return false
	}
	if c.answer(context.Background(), j) != nil {
		c.putBack(j)
		return false
	}
	return true
}

// drop makes the ring short.
func (w *world) drop(rt *rapid.T) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	r := &w.hub.sources[w.anySource(rt).name].ring
	r.drop(rapid.IntRange(0, len(r.entries)).Draw(rt, "n"))
}

// truncate begins the ids again. Clients who are away have cursors that nobody
// can know to be void, so the model forgets those clients.
func (w *world) truncate(rt *rapid.T) {
	s := w.anySource(rt)
	if !s.awake || !rapid.Bool().Draw(rt, "really") {
		return
	}
	w.sendAll()
	s.forget()
	if err := w.hub.Publish(context.Background(), chat.Batch{Source: s.name, Reset: true, Fresh: s.tickets}); err != nil {
		rt.Fatal(err)
	}
	w.sendAll()
	w.clients = slices.DeleteFunc(w.clients, func(c *modelClient) bool { return c.sub == nil || c.sub.gone.Load() })
	for _, c := range w.clients {
		if c.hears(s.name) && c.resets[s.name] == 0 {
			rt.Fatalf("%v was not told that the ids began again", c.channels)
		}
		c.resets[s.name] = 0
	}
}

func (w *world) sendAll() {
	for _, s := range w.hub.senders {
		for w.step(s) {
		}
	}
}

// settle lets everything come to rest and looks at what everybody has.
func (w *world) settle(rt *rapid.T) {
	for _, c := range w.clients {
		if c.oneOff || c.sub.gone.Load() {
			c.sub.Close()
			c.oneOff = false
			w.subscribe(rt, c)
		}
		c.stuck = false
	}
	for _, s := range w.sources {
		s.fail = false
	}
	for range 100 {
		w.sendAll()
		for w.lookUp() {
			w.sendAll()
		}
		for _, s := range w.sources {
			w.tickOf(rt, s)
		}
	}
	for _, c := range w.clients {
		if !c.sub.live.Load() {
			rt.Fatalf("a client of %v never went live", c.channels)
		}
		c.checkBoard("in the end")
		for _, s := range w.sources {
			c.checkAll(rt, s)
		}
		if c.resets["a"]+c.resets["b"] > 0 {
			rt.Fatalf("a client of %v was reset for nothing", c.channels)
		}
	}
}
