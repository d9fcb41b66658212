package live

import (
	"encoding/json"
	"slices"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// Limits of one channel's presence. It is told whole, to everybody, whenever it
// changes, so its size counts squared.
const (
	// maxPresent bounds who is shown: far beyond what a support chat sees. Who
	// comes later hears and speaks as usual, and is not in the list.
	maxPresent = 64
	// maxLeft and leftFor bound who is shown as having been there.
	maxLeft = 8
	leftFor = 24 * time.Hour
)

// keepPresence is what the hub keeps a channel's presence as.
const keepPresence = "presence"

// departed is a party that was there, and until when.
type departed struct {
	chat.Party
	At time.Time `json:"at"`
}

// Enter says that who listens on the channels, until leave is called; later
// calls of leave do nothing. A party may enter as often as it has connections.
// Who has no kind is nobody, and is not present.
//
// It is told (presence, data {"present":[Party…],"left":[…]}) once two different
// parties have been on the channel; before that there is nobody to tell. Enter
// comes before the subscription at the hub, so that a newcomer is more likely to
// hear of a list with itself than of the one before.
func (l *Live) Enter(channels []string, who chat.Party) (leave func()) {
	if who.Kind == "" || len(channels) == 0 {
		return func() {}
	}
	spots := make([]spot, 0, len(channels))
	l.mu.Lock()
	now := l.now()
	for _, name := range channels {
		c := l.channel(name)
		if c == nil {
			continue
		}
		if m := l.enter(c, who); m != nil {
			spots = append(spots, spot{c, m})
		}
		l.settle(c, now)
	}
	l.unlock()
	if len(spots) == 1 { // nearly always: a function of half the size
		only := (*[1]spot)(spots)
		return func() { l.leave(only[:]) }
	}
	return func() { l.leave(spots) }
}

// spot is what one Enter holds on one channel; its member is nil once left.
type spot struct {
	channel *channel
	member  *member
}

func (l *Live) leave(spots []spot) {
	l.mu.Lock()
	now := l.now()
	for i := range spots {
		c, m := spots[i].channel, spots[i].member
		if m == nil {
			continue
		}
		spots[i] = spot{}
		if m.refs--; m.refs == 0 {
			m.until = now.add(l.opt.Grace)
			l.settle(c, now)
		}
	}
	l.unlock()
}

// enter adds a connection of who; nil when too many parties are there.
func (l *Live) enter(c *channel, who chat.Party) *member {
	n, end := 0, &c.members
	for ; *end != nil; end = &(*end).next {
		if m := *end; m.Is(who) {
			m.refs++
			if m.Name == "" && who.Name != "" {
				m.Name = who.Name
				l.present(c)
			}
			return m
		}
		n++
	}
	if n == maxPresent {
		return nil
	}
	m := &member{Party: who, refs: 1}
	*end = m
	others := n
	if c.past != nil {
		c.past.left = slices.DeleteFunc(c.past.left, func(d departed) bool { return d.Is(who) })
		others += len(c.past.left)
	}
	c.met = c.met || others > 0
	l.present(c)
	return m
}

// expireMembers parts with those whose grace is over.
func (l *Live) expireMembers(c *channel, now moment) {
	for at := &c.members; *at != nil; {
		m := *at
		if m.refs > 0 || m.until > now {
			at = &m.next
			continue
		}
		*at = m.next
		p := c.memory()
		if len(p.left) == maxLeft {
			p.left = slices.Delete(p.left, 0, 1)
		}
		p.left = append(p.left, departed{m.Party, l.wall(m.until.add(-l.opt.Grace))})
		l.present(c)
	}
}

// present has Run tell who is there. Changes until it does are told as one,
// since the whole list is told.
func (l *Live) present(c *channel) {
	if !c.met || c.dirty {
		return
	}
	c.dirty = true
	l.errands = append(l.errands, func() {
		data := l.presence(c)
		l.opt.Hub.Tell(hub.Telling{
			Event: chat.Event{Type: chat.TypePresence, Channel: c.name, Data: data},
			Keep:  keepPresence,
		})
	})
}

// presence is the whole state of a channel as a client is told it.
func (l *Live) presence(c *channel) json.RawMessage {
	l.mu.Lock()
	c.dirty = false
	state := struct {
		Present []chat.Party `json:"present"`
		Left    []departed   `json:"left"`
	}{[]chat.Party{}, []departed{}}
	for m := c.members; m != nil; m = m.next {
		state.Present = append(state.Present, m.Party)
	}
	if c.past != nil {
		old := time.Now().Add(-leftFor)
		c.past.left = slices.DeleteFunc(c.past.left, func(d departed) bool { return d.At.Before(old) })
		state.Left = append(state.Left, c.past.left...)
	}
	l.mu.Unlock()
	data, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings, numbers and times of this age always are JSON
	}
	return data
}
