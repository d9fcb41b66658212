package live

import (
	"container/heap"
	"container/list"
	"time"

	"holdline/internal/chat"
)

// channel is one channel's entry. It is made small for the one kind of channel
// of which there are thousands: where one visitor waits. All of it is guarded by
// Live.mu.
type channel struct {
	name    string
	members *member // who is there, in order of coming
	past    *past   // nil where nothing has happened yet
	due     moment  // when expire has something to do; never: not in Live.due
	index   int32   // in Live.due
	met     bool    // two different parties have been here: presence is told
	dirty   bool    // an errand to tell presence waits
}

// member is a party that is there, or was within Options.Grace.
type member struct {
	chat.Party
	next  *member
	until moment // with no refs: when it counts as gone
	refs  int32  // connections
}

// past is what a channel remembers beside who is there.
type past struct {
	left    []departed    // who was there, the last to leave last
	actors  []*actor      // who has done something, the last to do so last
	signals []signal      // kept by the hub, the first to be forgotten first
	emptied moment        // when the last party had left
	empty   *list.Element // in Live.empty; nil while somebody is there
}

// memory returns the channel's past, to add to it.
func (c *channel) memory() *past {
	if c.past == nil {
		c.past = new(past)
	}
	return c.past
}

// channel returns the entry of a channel, made if need be; nil if there are too
// many. The caller must settle it.
func (l *Live) channel(name string) *channel {
	if c := l.channels[name]; c != nil {
		return c
	}
	if len(l.channels) >= maxChannels {
		first := l.empty.Front()
		if first == nil {
			l.warn()
			return nil
		}
		l.vanish(first.Value.(*channel))
	}
	c := &channel{name: name, due: never}
	l.channels[name] = c
	return c
}

// settle brings a channel's places in lists up to date after a change.
func (l *Live) settle(c *channel, now moment) {
	l.schedule(c, c.nextDue())
	if c.members != nil {
		if p := c.past; p != nil && p.empty != nil {
			l.empty.Remove(p.empty)
			p.empty = nil
		}
		return
	}
	p := c.memory()
	if p.empty != nil {
		return
	}
	p.emptied, p.empty = now, l.empty.PushBack(c)
	if l.empty.Len() > maxEmpty {
		l.vanish(l.empty.Front().Value.(*channel))
	}
}

// emptied is when the channel was left by all that e of Live.empty refers to.
func emptied(e *list.Element) moment { return e.Value.(*channel).past.emptied }

// warn has the operator told, once a minute, that there are too many channels.
func (l *Live) warn() {
	now := l.now()
	if now < l.warned.add(time.Minute) {
		return
	}
	l.warned = now
	l.errands = append(l.errands, func() {
		l.opt.Logger.Warn("too many channels have somebody listening: presence, typing and receipts are not told on new ones",
			"channels", maxChannels)
	})
}

// nextDue is when expire has something to do next.
func (c *channel) nextDue() moment {
	due := never
	for m := c.members; m != nil; m = m.next {
		if m.refs == 0 {
			due = min(due, m.until)
		}
	}
	if c.past == nil {
		return due
	}
	for _, a := range c.past.actors {
		due = min(due, a.nextDue())
	}
	if len(c.past.signals) > 0 {
		due = min(due, c.past.signals[0].until)
	}
	return due
}

// expire does what is due on a channel.
func (l *Live) expire(c *channel, now moment) {
	l.expireMembers(c, now)
	if c.past != nil {
		l.expireReceipts(c, now)
		l.expireSignals(c, now)
	}
	l.settle(c, now)
}

// vanish forgets a channel where nobody is.
func (l *Live) vanish(c *channel) {
	l.schedule(c, never)
	delete(l.channels, c.name)
	if c.met {
		l.forget(c.name, keepPresence)
	}
	if c.past == nil {
		return
	}
	if c.past.empty != nil {
		l.empty.Remove(c.past.empty)
	}
	for len(c.past.actors) > 0 {
		l.dropActor(c)
	}
	l.expireSignals(c, never)
}

// schedule puts the channel where it belongs in the heap of what is due.
func (l *Live) schedule(c *channel, due moment) {
	was := c.due
	c.due = due
	switch {
	case was == due:
	case was == never:
		heap.Push(&l.due, c)
	case due == never:
		heap.Remove(&l.due, int(c.index))
	default:
		heap.Fix(&l.due, int(c.index))
	}
}

// timers is a heap of channels, the earliest due first.
type timers []*channel

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = int32(i), int32(j)
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	c := x.(*channel)
	c.index = int32(len(*t))
	*t = append(*t, c)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return c
}

// wall is the time of day of a moment that has passed.
func (l *Live) wall(at moment) time.Time {
	return time.Now().Add(-time.Duration(l.now() - at)).UTC().Truncate(time.Second)
}
