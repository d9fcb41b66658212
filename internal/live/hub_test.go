package live

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// emptyTable is a source in which nothing is ever written.
type emptyTable struct{}

func (emptyTable) Name() string { return "wplc" }
func (emptyTable) Wake() uint64 { return 1 }

func (emptyTable) Rows(context.Context, []string, int64, int64, []int64, int) ([]chat.Event, int64, error) {
	return nil, 0, nil
}

// browser writes down what a subscriber of the hub hears.
type browser struct {
	mu    sync.Mutex
	heard []string
}

func (b *browser) Live(_ string, states *hub.Delivery) {
	if states != nil {
		b.Deliver(states)
	}
}

func (b *browser) Deliver(d *hub.Delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range d.Events {
		b.heard = append(b.heard, fmt.Sprintf("%s %s", e.Type, e.Data))
	}
}

func (b *browser) want(t *testing.T, who string, lines ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(lines, b.heard); diff != "" {
		t.Errorf("%s heard (-want +got):\n%s", who, diff)
	}
	b.heard = nil
}

// With the real hub: who hears what, and what somebody hears who comes later.
func TestThroughHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		h.Add(emptyTable{})
		l := New(Options{Hub: h})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = h.Run(ctx) })
		wg.Go(func() { _ = l.Run(ctx) })
		if err := h.Publish(ctx, chat.Batch{Source: "wplc", Mark: chat.Mark{Last: 9}, Fresh: 1}); err != nil {
			t.Fatal(err)
		}
		listen := func(who chat.Party) (*browser, func()) {
			b := new(browser)
			var sub *hub.Sub
			leave := l.Enter([]string{"wplc/1"}, who)
			synctest.Wait() // else the hub may tell first what it had kept before
			want := hub.Subscription{Channels: []string{"wplc/1"}, Who: &who}
			if err := h.Subscribe(b, want, func(s *hub.Sub) { sub = s }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return b, func() { sub.Close(); leave() }
		}

		ann, annLeaves := listen(visitor)
		ann.want(t, "Ann, alone,")
		bob, bobLeaves := listen(agent)
		both := `presence {"present":[` + annIsThere + "," + bobIsThere + `],"left":[]}`
		ann.want(t, "Ann", both)
		bob.want(t, "Bob", both)

		l.Typing("wplc/1", agent, true)
		l.Receipt("wplc/1", agent, chat.TypeSeen, 7)
		if err := l.Signal("wplc/1", agent, visitor, "offer-001", json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
		offer := `signal {"to":{"kind":"visitor"},"payload":1}`
		ann.want(t, "Ann", `typing {"typing":true,"expires_ms":6000}`, `seen {"up_to":7}`, offer)
		bob.want(t, "Bob", `seen {"up_to":7}`)

		annLeaves() // and comes back: the call still rings
		ann, annLeaves = listen(visitor)
		ann.want(t, "Ann, back,", both, `seen {"up_to":7}`, offer)
		bob.want(t, "Bob, of a reconnect,")

		annLeaves()
		bobLeaves()
		time.Sleep(30 * time.Minute)
		cyd, cydLeaves := listen(other)
		left := `{"kind":"visitor","name":"Ann","at":"2000-01-01T00:00:00Z"},{"kind":"agent","id":2,"name":"Bob","at":"2000-01-01T00:00:00Z"}`
		cyd.want(t, "Cyd, late,", `presence {"present":[`+cydIsThere+`],"left":[`+left+`]}`, `seen {"up_to":7}`)
		cydLeaves()
		time.Sleep(linger + time.Minute)
		last, _ := listen(other)
		last.want(t, "who comes when all is forgotten")
	})
}
