package hub

import (
	"slices"

	"holdline/internal/chat"
)

// maxNotes bounds what is kept for one channel. Above it the oldest goes.
const maxNotes = 512

// board is what was told and is kept, by channel. A channel's notes outlive its
// subscribers: a message may be pending while everybody is away.
//
// Its counter orders what happens to it. A note has the number of its keeping, a
// settlement that of the moment in which rows took the places of notes, and a
// subscriber (Sub.heard) that of the moment in which it went live and was told all
// notes there were. Comparing them tells who has heard a note and who has not,
// however far the senders are behind. Hub.mu guards it.
type board struct {
	seq   uint64
	notes map[string][]*note // in the order of keeping; no channel without notes
}

// keep puts up a note, in the place of the one with the same name. gone is that
// one, or the one for which there is no room any more; news is false when just the
// same was kept already, which stays.
func (b *board) keep(n *note) (gone *note, news bool) {
	notes := b.notes[n.channel]
	i := find(notes, n.keep)
	if i >= 0 && notes[i].sum == n.sum {
		return nil, false
	}
	b.seq++
	n.seq = b.seq
	if i >= 0 {
		gone, notes[i] = notes[i], n
		return gone, true
	}
	if len(notes) == maxNotes {
		gone = notes[0]
		notes = slices.Delete(notes, 0, 1)
	}
	if b.notes == nil {
		b.notes = make(map[string][]*note)
	}
	b.notes[n.channel] = append(notes, n)
	return gone, true
}

// forget takes a note off and returns it; nil if there is none.
func (b *board) forget(channel, keep string) *note {
	notes := b.notes[channel]
	i := find(notes, keep)
	if i < 0 {
		return nil
	}
	n := notes[i]
	if len(notes) == 1 {
		delete(b.notes, channel)
	} else {
		b.notes[channel] = slices.Delete(notes, i, i+1)
	}
	return n
}

func find(notes []*note, keep string) int {
	return slices.IndexFunc(notes, func(n *note) bool { return n.keep == keep })
}

// settlement is a delivery with rows of messages that were told as pending.
type settlement struct {
	seq   uint64
	plain *Delivery // for who has not heard them: rows as they are
	all   *Delivery // for who has heard all of them
	notes []*note   // by event; nil for a row that was not pending
}

// settle takes the notes off whose rows are in a delivery. It is nil for nearly
// every delivery: none of its rows was pending.
func (b *board) settle(d *Delivery) *settlement {
	if len(b.notes[d.channel]) == 0 {
		return nil
	}
	var st *settlement
	for i := range d.Events {
		e := &d.Events[i]
		if e.Type != chat.TypeMessage || e.PendingKey() == "" {
			continue
		}
		n := b.forget(d.channel, e.PendingKey())
		if n == nil {
			continue
		}
		if st == nil {
			st = &settlement{plain: d, notes: make([]*note, len(d.Events))}
		}
		st.notes[i] = n
	}
	if st == nil {
		return nil
	}
	b.seq++
	st.seq = b.seq
	st.all = st.variant(func(*note) bool { return true })
	return st
}

// variant is the delivery to who has heard some of the notes.
func (st *settlement) variant(heard func(*note) bool) *Delivery {
	d := &Delivery{Events: slices.Clone(st.plain.Events), Cursor: st.plain.Cursor, channel: st.plain.channel}
	for i, n := range st.notes {
		if n != nil && heard(n) {
			d.Events[i].Type = chat.TypeStored
		}
	}
	return d
}

// of is the delivery for one live subscriber.
//
// A poll that is held has heard, in this request or before, what its digest
// stands for, and that was the board when it went live. A note that came later
// ends it, unless the row has come by the time that the poll would be told.
func (st *settlement) of(sub *Sub) *Delivery {
	if sub.heard >= st.seq {
		return st.plain // live so late that the notes were gone
	}
	heard := func(n *note) bool { return n.reaches(sub.who) && (!sub.oneOff || n.seq <= sub.heard) }
	any, all, tag := false, true, sub.tag
	for _, n := range st.notes {
		switch {
		case n == nil:
		case heard(n):
			any = true
			tag -= n.tag()
		default:
			all = false
		}
	}
	switch {
	case !any:
		return st.plain
	case all && !sub.oneOff:
		return st.all
	case all:
		// The bytes are everybody's, the digest without the notes is its own.
		return &Delivery{Events: st.all.Events, Cursor: st.all.Cursor, Tag: tag, channel: st.all.channel, same: st.all}
	}
	d := st.variant(heard)
	if sub.oneOff {
		d.Tag = tag
	}
	return d
}
