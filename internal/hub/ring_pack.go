package hub

import (
	"slices"
	"strings"

	"holdline/internal/chat"
)

const (
	// ringWarm of the newest events keep what was encoded for whoever heard them at
	// once, as those want it who were just then away. It weighs more than the events.
	ringWarm = 64
	// ringPiece is how many older ones are packed together.
	ringPiece = 128
)

// pack lets go of what was encoded of the events that are not among the newest any
// more, and moves them into one piece of memory, some at a time. They stay for hours,
// and were made among thousands of things that come and go with clients: one of them
// keeps a page from being given back.
func (r *ring) pack() {
	for len(r.entries)-r.packed >= ringWarm+ringPiece {
		pack(r.entries[r.packed : r.packed+ringPiece])
		r.packed += ringPiece
	}
}

// pack has each entry be of a copy; all copies lie side by side.
func pack(entries []ringEntry) {
	var text strings.Builder
	var size, ids, extras int
	var last []int64 // open ids are mostly those of the event before
	for i := range entries {
		e := &entries[i].d.Events[0]
		eachText(e, func(s *string) { size += len(*s) })
		if !slices.Equal(last, e.Mark.Open) {
			last = e.Mark.Open
			ids += len(last)
		}
		extras += len(e.Data)
	}
	text.Grow(size)
	events, deliveries, parties := make([]chat.Event, len(entries)), make([]Delivery, len(entries)), make([]chat.Party, len(entries))
	open, data := make([]int64, 0, ids), make([]byte, 0, extras)
	last = nil
	for i := range entries {
		e := &events[i]
		*e = entries[i].d.Events[0]
		if e.From != nil {
			parties[i] = *e.From
			e.From = &parties[i]
		}
		eachText(e, func(s *string) { text.WriteString(*s) })
		if !slices.Equal(last, e.Mark.Open) {
			open = append(open, e.Mark.Open...)
			last = open[len(open)-len(e.Mark.Open) : len(open) : len(open)]
		}
		e.Mark.Open = last
		if e.Data != nil {
			data = append(data, e.Data...)
			e.Data = data[len(data)-len(e.Data) : len(data) : len(data)]
		}
	}
	rest := text.String()
	for i := range entries {
		eachText(&events[i], func(s *string) { *s, rest = rest[:len(*s)], rest[len(*s):] })
		d := entries[i].d
		deliveries[i] = Delivery{Events: events[i : i+1 : i+1], Cursor: events[i].Cursor, Tag: d.Tag, channel: events[i].Channel, tag: d.tag}
		entries[i].d = &deliveries[i]
	}
}

// eachText calls fn for every text of an event that is not a constant of ours.
func eachText(e *chat.Event, fn func(*string)) {
	for _, s := range []*string{&e.Channel, &e.Cursor, &e.Body, &e.ClientID} {
		fn(s)
	}
	if e.From != nil {
		fn(&e.From.Name)
	}
}
