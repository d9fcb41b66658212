package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// FuzzLive lets many parties do anything at all, at any time, and compares who is
// told to be there with a plain model, what the hub keeps with what is known here,
// and everything with its limits.
func FuzzLive(f *testing.F) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for i := range 30 {
		data := make([]byte, 3*300)
		if i < 2 {
			data = make([]byte, 3*1500) // enough to reach every limit
		}
		for j := range data {
			data[j] = byte(rnd.Uint32())
			if i%2 == 0 && j%3 == 2 {
				data[j] %= 8 // few parties, who meet again and again
			}
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			data = data[:min(len(data), 3*1500)]
			for i := 0; i+3 <= len(data); i += 3 {
				w.step(data[i], data[i+1], data[i+2])
				if i%8 == 0 {
					w.check()
				}
			}
			w.check()
			for _, visit := range w.visits {
				visit.leave()
			}
			w.pass(w.live.opt.Grace + linger + time.Minute)
			if len(w.kept) > 0 || w.live.Stats() != (Stats{}) {
				t.Fatalf("once all is over the hub keeps %v, and here are %+v", w.kept, w.live.Stats())
			}
		})
	})
}

// world is a Live whose Run is done by hand, and what should be true of it.
type world struct {
	t      *testing.T
	live   *Live
	kept   map[string]json.RawMessage // at the hub, by channel and keep
	visits []visit
	there  map[string][]stay
	ids    int
}

// visit is one Enter that has not been left.
type visit struct {
	channels []string
	who      chat.Party
	leave    func()
}

// stay is a party on a channel.
type stay struct {
	who  chat.Party
	refs int
	gone time.Time // with no refs: when it left
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, kept: make(map[string]json.RawMessage), there: make(map[string][]stay)}
	w.live = New(Options{Hub: w})
	return w
}

// Tell is the hub's. Receipts never go back while they are kept.
func (w *world) Tell(t hub.Telling) {
	if t.Keep == "" {
		return
	}
	key := t.Event.Channel + " " + t.Keep
	var was, is struct {
		UpTo int64 `json:"up_to"`
	}
	if old := w.kept[key]; old != nil && (t.Event.Type == chat.TypeSeen || t.Event.Type == chat.TypeDelivered) {
		if json.Unmarshal(old, &was) != nil || json.Unmarshal(t.Event.Data, &is) != nil || is.UpTo <= was.UpTo {
			w.t.Fatalf("%s: %s after %s", key, t.Event.Data, old)
		}
	}
	w.kept[key] = t.Event.Data
}

// Forget is the hub's. Nothing is forgotten that is not kept.
func (w *world) Forget(channel, keep string) {
	key := channel + " " + keep
	if _, ok := w.kept[key]; !ok {
		w.t.Fatalf("%s is forgotten and was not kept", key)
	}
	delete(w.kept, key)
}

func (w *world) step(what, where, id byte) {
	ch := fmt.Sprintf("wplc/%d", where%3)
	who := chat.Party{Kind: chat.KindAgent, ID: int64(id)}
	switch what % 8 {
	case 0, 1:
		w.enter([]string{ch, "wplc/list"}, who)
	case 2:
		if len(w.visits) > 0 {
			i := int(where) % len(w.visits)
			w.leave(w.visits[i])
			w.visits = slices.Delete(w.visits, i, i+1)
		}
	case 3:
		w.live.Typing(ch, who, where < 128)
	case 4:
		w.live.Receipt(ch, who, chat.TypeSeen, int64(where)-2)
	case 5:
		w.live.Receipt(ch, who, chat.TypeDelivered, int64(where)-2)
	case 6:
		w.ids++
		_ = w.live.Signal(ch, who, who, fmt.Sprintf("id-%06d", w.ids-int(where)%4), nil) // some are refused
	case 7:
		w.pass(time.Duration(where) * time.Duration(where) * time.Millisecond) // up to 65 s
		return
	}
	w.pass(0)
}

// pass lets time pass, and does what Run does whenever Run would.
func (w *world) pass(d time.Duration) {
	for end := time.Now().Add(d); ; {
		errands, wait := w.live.turn(nil)
		for _, do := range errands {
			do()
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(wait, left))
	}
}

func (w *world) enter(channels []string, who chat.Party) {
	v := visit{who: who, leave: w.live.Enter(channels, who)}
	for _, ch := range channels {
		stays := w.present(ch)
		i := slices.IndexFunc(stays, func(s stay) bool { return s.who == who })
		if i < 0 && len(stays) == maxPresent {
			continue
		}
		if i < 0 {
			i, stays = len(stays), append(stays, stay{who: who})
		}
		stays[i].refs++
		w.there[ch] = stays
		v.channels = append(v.channels, ch)
	}
	w.visits = append(w.visits, v)
}

func (w *world) leave(v visit) {
	v.leave()
	for _, ch := range v.channels {
		for i := range w.there[ch] {
			if s := &w.there[ch][i]; s.who == v.who {
				s.refs--
				s.gone = time.Now()
			}
		}
	}
}

// present is who the model says is there.
func (w *world) present(ch string) []stay {
	w.there[ch] = slices.DeleteFunc(w.there[ch], func(s stay) bool {
		return s.refs == 0 && time.Since(s.gone) >= w.live.opt.Grace
	})
	return w.there[ch]
}

func (w *world) check() {
	w.t.Helper()
	kept := make(map[string]bool)
	bytes := 0
	for name, c := range w.live.channels {
		w.checkPresence(c)
		w.checkLists(c)
		if c.met {
			kept[name+" "+keepPresence] = true
		}
		if c.past == nil {
			continue
		}
		for _, a := range c.past.actors {
			for _, kind := range []chat.Type{chat.TypeSeen, chat.TypeDelivered} {
				if a.receipt(kind).told > 0 {
					kept[name+" "+keepReceipt(kind, a.Party)] = true
				}
			}
		}
		for _, s := range c.past.signals {
			kept[name+" "+s.keep()] = true
			bytes += s.size
		}
	}
	want, got := slices.Sorted(maps.Keys(kept)), slices.Sorted(maps.Keys(w.kept))
	if !slices.Equal(want, got) {
		w.t.Fatalf("the hub keeps %q, want %q", got, want)
	}
	if bytes != w.live.signalBytes {
		w.t.Fatalf("signals are %d bytes, and counted as %d", bytes, w.live.signalBytes)
	}
	if len(w.live.errands) > 0 {
		w.t.Fatalf("%d errands wait", len(w.live.errands))
	}
}

func (w *world) checkPresence(c *channel) {
	w.t.Helper()
	var want, got, told []int64
	for _, s := range w.present(c.name) {
		want = append(want, s.who.ID)
	}
	for m := c.members; m != nil; m = m.next {
		got = append(got, m.ID)
	}
	if !slices.Equal(want, got) {
		w.t.Fatalf("on %s are %v, want %v", c.name, got, want)
	}
	if !c.met {
		return
	}
	var state struct{ Present, Left []chat.Party }
	if err := json.Unmarshal(w.kept[c.name+" "+keepPresence], &state); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range state.Present {
		told = append(told, p.ID)
	}
	for _, p := range state.Left {
		if slices.Contains(told, p.ID) {
			w.t.Fatalf("%v is told as present and as having left", p)
		}
	}
	if !slices.Equal(want, told) || len(state.Left) > maxLeft {
		w.t.Fatalf("told on %s: %v have %d left, want %v", c.name, told, len(state.Left), want)
	}
}

// checkLists compares a channel with its limits and its places in Live's lists.
func (w *world) checkLists(c *channel) {
	w.t.Helper()
	if due := c.nextDue(); c.due != due || due != never && w.live.due[c.index] != c {
		w.t.Fatalf("%s is due at %d, and in the heap at %d", c.name, due, c.due)
	}
	empty := c.past != nil && c.past.empty != nil
	if empty != (c.members == nil) {
		w.t.Fatalf("%s is listed as empty: %v", c.name, empty)
	}
	if p := c.past; p != nil && (len(p.left) > maxLeft || len(p.actors) > maxActors || len(p.signals) > maxChannelSignals) {
		w.t.Fatalf("%s: %d have left, %d act, %d signals", c.name, len(p.left), len(p.actors), len(p.signals))
	}
}
