package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"holdline/internal/chat"
)

// What is packed is the same as before, in everything that a client can be told.
func TestPackedEventsAreTheSame(t *testing.T) {
	var r ring
	var want, got []chat.Event
	const rows = 5*ringPiece + ringWarm + 7
	for i := 1; i <= rows; i++ {
		e := chat.Event{
			Type: chat.TypeMessage, Channel: fmt.Sprint("wplc/", i%7), Cursor: fmt.Sprint("cursor ", i), ID: int64(i),
			SentAt: time.Unix(int64(i), 0), Body: strings.Repeat("ä", i%50),
			Mark: chat.Mark{Last: int64(i)},
		}
		if i%3 > 0 {
			e.From, e.Data = &chat.Party{Kind: chat.KindAgent, ID: 7, Name: fmt.Sprint("Ann ", i)}, []byte(fmt.Sprintf(`{"n":%d}`, i))
		}
		if i%5 > 0 {
			e.ClientID = fmt.Sprint("client-", i)
			e.Mark.Open = []int64{int64(i/100 - 50), int64(i/100 - 40)}
		}
		want = append(want, e)
		r.append([]*Delivery{newDelivery([]chat.Event{e})})
	}
	if r.packed != 5*ringPiece {
		t.Errorf("%d are packed", r.packed)
	}
	for _, e := range r.entries {
		if e.d.Cursor != e.d.Events[0].Cursor || e.d.channel != e.d.Events[0].Channel || e.id != e.d.Events[0].ID {
			t.Errorf("%+v is of %+v", e, e.d)
		}
		got = append(got, e.d.Events...)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// What was encoded of old events is not kept; of new ones it is.
func TestOldEventsAreNotKeptEncoded(t *testing.T) {
	var r ring
	for i := int64(1); i <= ringPiece+ringWarm; i++ {
		d := newDelivery([]chat.Event{{Type: chat.TypeMessage, ID: i, Mark: chat.Mark{Last: i}}})
		d.Bytes(0, func(*Delivery) []byte { return []byte("encoded") })
		r.append([]*Delivery{d})
	}
	for i, e := range r.entries {
		if kept := e.d.bytes[0] != nil; kept != (i >= ringPiece) {
			t.Fatalf("event %d: kept is %t", i, kept)
		}
	}
}
