package hub

import (
	"slices"

	"pgregory.net/rapid"

	"holdline/internal/chat"
)

// modelClient is one browser over all its connections.
type modelClient struct {
	rt       *rapid.T
	world    *world
	channels []string
	oneOff   bool
	stuck    bool // it does not take its slices
	tellings modelTellings
	sub      *Sub
	cursor   string
	base     map[string]chat.Mark // where it began, by source
	got      map[string]map[int64]bool
	resets   map[string]int
}

func (c *modelClient) hears(source string) bool {
	return slices.ContainsFunc(c.channels, func(ch string) bool { return ch[:1] == source })
}

// arrive is a new client or one that comes back.
func (w *world) arrive(rt *rapid.T) {
	away := slices.DeleteFunc(slices.Clone(w.clients), func(c *modelClient) bool { return c.sub != nil && !c.sub.gone.Load() })
	if len(away) > 0 && rapid.Bool().Draw(rt, "back") {
		w.subscribe(rt, rapid.SampledFrom(away).Draw(rt, "client"))
		return
	}
	c := &modelClient{
		world: w, base: map[string]chat.Mark{}, got: map[string]map[int64]bool{"a": {}, "b": {}}, resets: map[string]int{},
		channels: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a/0", "a/1", "b/0", "b/1"}), 1, 3, rapid.ID).Draw(rt, "channels"),
		oneOff:   rapid.Bool().Draw(rt, "poll"),
		tellings: newModelTellings(rt),
	}
	if rapid.Bool().Draw(rt, "with cursor") {
		var from chat.Cursor
		for i, s := range w.sources {
			n := rapid.SampledFrom([]*node{&s.here, &s.elsewhere}).Draw(rt, "node")
			key := s.name
			if i == 0 {
				key = ""
			}
			if c.hears(s.name) {
				c.base[s.name] = rapid.SampledFrom(n.all).Draw(rt, "from")
				from = from.With(key, c.base[s.name])
			}
		}
		c.cursor = from.String()
	}
	w.clients = append(w.clients, c)
	w.subscribe(rt, c)
}

func (w *world) subscribe(rt *rapid.T, c *modelClient) {
	c.rt = rt
	want := Subscription{Channels: c.channels, Who: c.tellings.who, OneOff: c.oneOff, Drained: func() bool { return !c.stuck }}
	if c.cursor != "" {
		from, err := chat.ParseCursor(c.cursor)
		if err != nil {
			rt.Fatal(err)
		}
		from = from.WithTag(c.tellings.tag)
		want.From = &from
	}
	if !c.oneOff {
		c.tellings.anew() // a stream is a new page; polls go on
	}
	c.stuck = rapid.Bool().Draw(rt, "stuck")
	if err := w.hub.Subscribe(c, want, func(s *Sub) { c.sub = s }); err != nil {
		rt.Fatal(err)
	}
}

func (w *world) leave(rt *rapid.T) {
	if len(w.clients) == 0 {
		return
	}
	c := rapid.SampledFrom(w.clients).Draw(rt, "client")
	if cursor, ok := c.sub.Cursor(); ok && !c.sub.gone.Load() {
		c.standAt(cursor) // as a heartbeat or an empty answer would tell it
	}
	c.sub.Close()
}

func (c *modelClient) Live(cursor string, states *Delivery) {
	if c.sub.gone.Load() {
		c.rt.Fatal("live after it was closed")
	}
	c.standAt(cursor)
	if !c.oneOff {
		c.tellings.anew()
	}
	if states != nil {
		c.Deliver(states)
	}
	c.checkBoard("going live")
	c.tellings.held = c.pendingOnBoard()
}

func (c *modelClient) Deliver(d *Delivery) {
	if c.sub.gone.Load() {
		c.rt.Fatal("told something after it was closed")
	}
	if c.oneOff {
		c.sub.Close()
	}
	c.listen(d)
	for _, e := range d.Events {
		if e.Cursor == "" {
			continue // no row
		}
		source := e.Channel[:1]
		switch {
		case !slices.Contains(c.channels, e.Channel):
			c.rt.Fatalf("a client of %v was told of %s", c.channels, e.Channel)
		case e.Type == chat.TypeReset:
			at, _ := chat.ParseCursor(e.Cursor)
			c.base[source], _ = at.Mark(c.world.hub.sources[source].key)
			c.got[source] = map[int64]bool{}
			c.resets[source]++
		case c.got[source][e.ID] || c.hadAtFirst(source, e.ID):
			c.rt.Fatalf("a client of %v was told row %d of %s again", c.channels, e.ID, source)
		default:
			c.got[source][e.ID] = true
		}
		c.standAt(e.Cursor)
	}
	switch standing, live := c.sub.Cursor(); {
	case d.Cursor == "" && !live:
		c.rt.Fatal("told what is not stored while it was late")
	case d.Cursor == "":
		c.standAt(standing) // as a poll answers, or the next heartbeat tells
	case d.Events[0].Cursor == "":
		c.standAt(d.Cursor)
	case d.Cursor != c.cursor:
		c.rt.Fatalf("a delivery's cursor %s is not its last event's, %s", d.Cursor, c.cursor)
	}
}

func (c *modelClient) hadAtFirst(source string, id int64) bool {
	m, ok := c.base[source]
	return ok && m.Has(id)
}

// standAt takes over a cursor, which must tell neither more nor less than the
// rows that the client has.
func (c *modelClient) standAt(text string) {
	at, err := chat.ParseCursor(text)
	if err != nil {
		c.rt.Fatal(err)
	}
	c.cursor = text
	for _, s := range c.world.sources {
		m, ok := at.Mark(c.world.hub.sources[s.name].key)
		if !ok || !c.hears(s.name) {
			continue
		}
		if _, begun := c.base[s.name]; !begun {
			c.base[s.name] = m
			for id := range c.got[s.name] {
				if !m.Has(id) {
					c.rt.Fatalf("row %d of %s was told before its time", id, s.name)
				}
			}
		}
		for id, channel := range s.table.rows {
			has := c.hadAtFirst(s.name, id) || c.got[s.name][id]
			if slices.Contains(c.channels, channel) && m.Has(id) != has {
				c.rt.Fatalf("a client of %v with cursor %s, base %v and rows %v: wrong about row %d of %s",
					c.channels, text, c.base[s.name], c.got[s.name], id, s.name)
			}
		}
	}
}

func (c *modelClient) checkAll(rt *rapid.T, s *modelSource) {
	for id, channel := range s.table.rows {
		if slices.Contains(c.channels, channel) && s.here.mark.Has(id) && !c.hadAtFirst(s.name, id) && !c.got[s.name][id] {
			rt.Fatalf("a client of %v is missing row %d of %s", c.channels, id, s.name)
		}
	}
}
