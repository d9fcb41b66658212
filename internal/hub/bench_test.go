package hub

import (
	"testing"

	"holdline/internal/chat"
)

// deaf takes what it is told and does nothing.
type deaf struct{ sub *Sub }

func (*deaf) Live(string, *Delivery) {}
func (*deaf) Deliver(*Delivery)      {}

// BenchmarkFanOut is what one message costs a sender with a thousand listeners on
// its channel, in a hub that keeps no notes.
func BenchmarkFanOut(b *testing.B) {
	h := New(Options{Senders: 1})
	h.Add(&fakeSource{name: "a", hub: h})
	s := h.senders[0]
	first, err := h.record(chat.Batch{Source: "a", Mark: mark(1)})
	if err != nil {
		b.Fatal(err)
	}
	s.carry(first)
	for range 1000 {
		to := &deaf{}
		if err := h.Subscribe(to, Subscription{Channels: []string{"a/1"}}, func(sub *Sub) { to.sub = sub }); err != nil {
			b.Fatal(err)
		}
		s.do(&command{add: to.sub})
	}
	id := int64(1)
	b.ReportAllocs()
	for b.Loop() {
		id++
		e := message(id, "a/1", mark(id))
		e.ClientID, e.From = "12345678", &chat.Party{Kind: chat.KindVisitor}
		p, err := h.record(chat.Batch{Source: "a", Events: []chat.Event{e}, Mark: mark(id)})
		if err != nil {
			b.Fatal(err)
		}
		s.carry(p)
	}
}
