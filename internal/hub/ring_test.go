package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"holdline/internal/chat"
)

func mark(last int64, open ...int64) chat.Mark { return chat.Mark{Last: last, Open: open} }

func message(id int64, channel string, m chat.Mark) chat.Event {
	return chat.Event{Type: chat.TypeMessage, Channel: channel, ID: id, Mark: m}
}

func everything(string) bool { return true }

func idsOf(ds []*Delivery) (ids []int64) {
	for _, d := range ds {
		for _, e := range d.Events {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// published is a ring that began at 10 and was told 11, 13 and late 12, 14.
func published() *ring {
	r := &ring{}
	r.restart(mark(10))
	r.append([]*Delivery{newDelivery([]chat.Event{message(11, "a/1", mark(11))})})
	r.append([]*Delivery{newDelivery([]chat.Event{message(13, "a/2", mark(13, 12))})})
	r.append([]*Delivery{newDelivery([]chat.Event{message(12, "a/1", mark(13)), message(14, "a/1", mark(14))})})
	return r
}

func TestRingSince(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to chat.Mark
		channel  string // "" for all
		want     []int64
	}{
		{"from the floor", mark(10), mark(14), "", []int64{11, 13, 12, 14}},
		{"at the present", mark(14), mark(14), "", nil},
		{"behind the gap", mark(13, 12), mark(14), "", []int64{12, 14}},
		{"a sender that has not got to the late row", mark(10), mark(13, 12), "", []int64{11, 13}},
		{"a client that another node told the late row", mark(12), mark(14), "", []int64{13, 14}},
		{"one channel", mark(10), mark(14), "a/1", []int64{11, 12, 14}},
		{"a channel that said nothing", mark(10), mark(14), "a/3", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			on := func(c string) bool { return tt.channel == "" || c == tt.channel }
			ds, next, complete := published().since(tt.from, tt.to, on)
			if diff := cmp.Diff(tt.want, idsOf(ds)); diff != "" {
				t.Fatal(diff)
			}
			if !complete || !cmp.Equal(next, tt.to) {
				t.Fatalf("next = %v, complete = %v", next, complete)
			}
		})
	}
}

func TestRingCovers(t *testing.T) {
	r := published()
	r.drop(2) // the floor is now 13 without 12
	for _, tt := range []struct {
		from chat.Mark
		want bool
	}{
		{mark(13, 12), true},
		{mark(13), true},
		{mark(14), true},
		{mark(12), false},
		{mark(13, 11), false},
		{mark(20, 12, 15), true},
	} {
		if got := r.covers(tt.from); got != tt.want {
			t.Errorf("covers(%v) = %v", tt.from, got)
		}
	}
}

func TestRingTrim(t *testing.T) {
	t.Run("by number", func(t *testing.T) {
		r := &ring{}
		for id := int64(1); id <= ringEvents+5; id++ {
			r.append([]*Delivery{newDelivery([]chat.Event{message(id, "a/1", mark(id))})})
		}
		if len(r.entries) != ringEvents || !cmp.Equal(r.floor, mark(5)) {
			t.Fatalf("%d entries, floor %v", len(r.entries), r.floor)
		}
	})
	t.Run("by bytes", func(t *testing.T) {
		r := &ring{}
		body := strings.Repeat("x", ringBytes/4)
		for id := int64(1); id <= 10; id++ {
			e := message(id, "a/1", mark(id))
			e.Body = body
			r.append([]*Delivery{newDelivery([]chat.Event{e})})
		}
		if len(r.entries) != 3 || r.bytes > ringBytes || !cmp.Equal(r.floor, mark(7)) {
			t.Fatalf("%d entries of %d bytes, floor %v", len(r.entries), r.bytes, r.floor)
		}
	})
	t.Run("one row larger than all", func(t *testing.T) {
		r := &ring{}
		e := message(1, "a/1", mark(1))
		e.Body = strings.Repeat("x", ringBytes+1)
		r.append([]*Delivery{newDelivery([]chat.Event{e})})
		if len(r.entries) != 0 || r.bytes != 0 || !cmp.Equal(r.floor, mark(1)) {
			t.Fatalf("%d entries of %d bytes, floor %v", len(r.entries), r.bytes, r.floor)
		}
	})
	t.Run("states are not kept", func(t *testing.T) {
		r := &ring{}
		r.append([]*Delivery{newDelivery([]chat.Event{{Type: chat.TypeStatus, Channel: "a/1"}})})
		if len(r.entries) != 0 {
			t.Fatal("a status went into the ring")
		}
	})
}

// A client of another node may have a row that is late here. What is filled in
// for it will serve others who have not.
func TestBackfillForClientOfAnotherNode(t *testing.T) {
	r := &ring{}
	r.restart(mark(5, 4))
	r.backfill(mark(5, 3), []chat.Event{message(3, "a/1", chat.Mark{})}, func(m chat.Mark) string { return chat.At(m).String() })
	ds, _, _ := r.since(mark(5, 3, 4), mark(5, 4), everything)
	if diff := cmp.Diff([]int64{3}, idsOf(ds)); diff != "" {
		t.Fatal(diff)
	}
	if got, want := ds[0].Cursor, chat.At(mark(5, 4)).String(); got != want {
		t.Fatalf("with row 3 the client is told to be at %s; row 4 is open for it, as in %s", got, want)
	}
}

// table is the model of a table whose rows commit in any order, and node one
// server that reads it.
type table struct {
	rows map[int64]string // committed: id to channel
	dead map[int64]bool   // rolled back
	next int64
}

type node struct {
	mark chat.Mark
	all  []chat.Mark // every mark that a client of this node may hold
}

// read tells what the node sees anew, with the marks that the tail gives.
func (n *node) read(rt *rapid.T, tab *table, body string) (events []chat.Event) {
	seen := func(m chat.Mark, id int64) chat.Mark {
		last := max(m.Last, id)
		var open []int64
		for x := int64(1); x < last; x++ {
			if !m.Has(x) && x != id {
				open = append(open, x)
			}
		}
		return chat.Mark{Last: last, Open: open}
	}
	for id := int64(1); id < tab.next; id++ {
		if channel, ok := tab.rows[id]; ok && !n.mark.Has(id) {
			n.mark = seen(n.mark, id)
			e := message(id, channel, n.mark)
			e.Body = body
			events = append(events, e)
			n.all = append(n.all, n.mark)
		}
	}
	if rapid.Bool().Draw(rt, "settle") {
		open := slices.DeleteFunc(slices.Clone(n.mark.Open), func(id int64) bool { return tab.dead[id] })
		n.mark = chat.Mark{Last: n.mark.Last, Open: open}
		n.all = append(n.all, n.mark)
	}
	return events
}

// Whatever the order of commits, whatever was dropped from the ring and filled
// in again, and whoever gave the client its cursor: the client is told exactly
// what it lacks, and may stop anywhere with a cursor that says exactly that.
func TestRingModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := &table{rows: map[int64]string{}, dead: map[int64]bool{}, next: 1}
		here, there := &node{all: []chat.Mark{{}}}, &node{all: []chat.Mark{{}}}
		r := &ring{}
		body := rapid.SampledFrom([]string{"", strings.Repeat("x", sliceBytes/3)}).Draw(rt, "body")
		anyMark := func() chat.Mark {
			n := rapid.SampledFrom([]*node{here, there}).Draw(rt, "node")
			return rapid.SampledFrom(n.all).Draw(rt, "from")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"insert": func(rt *rapid.T) { tab.next = min(tab.next+rapid.Int64Range(1, 4).Draw(rt, "n"), 24) },
			"commit": func(rt *rapid.T) {
				id := rapid.Int64Range(0, tab.next-1).Draw(rt, "id")
				if _, ok := tab.rows[id]; id > 0 && !ok && !tab.dead[id] {
					tab.rows[id] = fmt.Sprintf("a/%d", id%2)
				}
			},
			"roll back": func(rt *rapid.T) {
				id := rapid.Int64Range(0, tab.next-1).Draw(rt, "id")
				if _, ok := tab.rows[id]; id > 0 && !ok {
					tab.dead[id] = true
				}
			},
			"read here": func(rt *rapid.T) {
				for _, e := range here.read(rt, tab, body) {
					r.append([]*Delivery{newDelivery([]chat.Event{e})})
				}
			},
			"read there": func(rt *rapid.T) { there.read(rt, tab, body) },
			"drop":       func(rt *rapid.T) { r.drop(rapid.IntRange(0, len(r.entries)).Draw(rt, "n")) },
			"backfill": func(rt *rapid.T) {
				from := anyMark()
				if r.covers(from) || from.Last > r.floor.Last {
					return
				}
				var rows []chat.Event
				for id := int64(1); id <= r.floor.Last; id++ {
					if channel, ok := tab.rows[id]; ok && !from.Has(id) {
						e := message(id, channel, chat.Mark{})
						e.Body = body
						rows = append(rows, e)
					}
				}
				r.backfill(from, rows, func(chat.Mark) string { return "" })
				if !r.covers(from) {
					rt.Fatalf("backfilled from %v and does not cover it", from)
				}
			},
			"": func(rt *rapid.T) { // after every step, for whoever there may be
				behind := rapid.SampledFrom(here.all).Draw(rt, "behind")
				for _, from := range slices.Concat(here.all, there.all) {
					for _, channel := range []string{"a/0", "a/1", ""} {
						if r.covers(from) && from.Last <= here.mark.Last {
							checkReturn(rt, tab, r, from, here.mark, channel)
						}
						if r.covers(from) && from.Last <= behind.Last {
							checkReturn(rt, tab, r, from, behind, channel)
						}
					}
				}
			},
		})
	})
}

func checkReturn(rt *rapid.T, tab *table, r *ring, from, to chat.Mark, channel string) {
	on := func(c string) bool { return channel == "" || c == channel }
	got := map[int64]bool{}
	check := func(m chat.Mark, what string) {
		for id, c := range tab.rows {
			if on(c) && m.Has(id) != (from.Has(id) || got[id]) {
				rt.Fatalf("%s: a cursor at %v, from %v, told %v, is wrong about %d", what, m, from, got, id)
			}
		}
	}
	at := from
	for complete := false; !complete; {
		var ds []*Delivery
		var next chat.Mark
		ds, next, complete = r.since(at, to, on)
		if !complete && len(ds) == 0 {
			rt.Fatal("no progress")
		}
		for _, d := range ds {
			e := d.Events[0]
			if got[e.ID] || from.Has(e.ID) {
				rt.Fatalf("row %d told twice", e.ID)
			}
			got[e.ID] = true
			check(join(at, meet(e.Mark, to)), "within")
		}
		at = join(at, next)
		check(at, "between slices")
	}
	for id, c := range tab.rows {
		if on(c) && to.Has(id) && !from.Has(id) && !got[id] {
			rt.Fatalf("row %d is missing: from %v to %v", id, from, to)
		}
	}
}

// The last row of one mark may be open to the other: a cursor has no words for an open
// id that is not below Last.
func TestMeetIsAMark(t *testing.T) {
	for _, c := range []struct{ a, b, want chat.Mark }{
		{mark(3, 1), mark(5, 3), mark(2, 1)},
		{mark(5, 2, 3), mark(3), mark(1)},
		{mark(1), mark(5, 1, 2), mark(0)},
		{mark(4, 2), mark(9, 3, 8), mark(4, 2, 3)},
	} {
		got := meet(c.a, c.b)
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%v and %v: %s", c.a, c.b, diff)
		}
		for id := range int64(10) {
			if got.Has(id) != (c.a.Has(id) && c.b.Has(id)) {
				t.Errorf("%v and %v: %v has %d: %t", c.a, c.b, got, id, got.Has(id))
			}
		}
		if back, err := chat.ParseCursor(chat.At(got).String()); err != nil {
			t.Errorf("%v, %v: %v", got, back, err)
		}
	}
}
