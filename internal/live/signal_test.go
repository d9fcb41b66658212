package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/internal/chat"
)

// reason is a refusal's; "" for no error.
func reason(err error) string {
	if err == nil {
		return ""
	}
	if r := (*chat.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return "not a refusal: " + err.Error()
}

func TestSignal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		to     chat.Party
		id     string
		data   string
		want   string // told; "" for a refusal
		reason string
	}{
		{name: "an offer", to: agent, id: "offer-001", data: `{"sdp": "v=0"}`, want: `{"to":{"kind":"agent","id":2},"payload":{"sdp":"v=0"}}`},
		{name: "hanging up", to: visitor, id: "offer-002", data: `null`, want: `{"to":{"kind":"visitor"},"payload":null}`},
		{name: "no payload", to: visitor, id: "offer-002", want: `{"to":{"kind":"visitor"},"payload":null}`},
		{name: "no client id", to: agent, data: `1`, reason: chat.ReasonBadRequest},
		{name: "a client id with a slash", to: agent, id: "agent/0001", data: `1`, reason: chat.ReasonBadRequest},
		{name: "to nobody", id: "offer-001", data: `1`, reason: chat.ReasonBadRequest},
		{name: "to a machine", to: chat.Party{Kind: chat.KindSystem}, id: "offer-001", data: `1`, reason: chat.ReasonBadRequest},
		{name: "half an object", to: agent, id: "offer-001", data: `{"sdp":`, reason: chat.ReasonBadRequest},
		{name: "two values", to: agent, id: "offer-001", data: `1,"to":2`, reason: chat.ReasonBadRequest},
		{name: "too long", to: agent, id: "offer-001", data: `"` + strings.Repeat("x", maxSignal) + `"`, reason: chat.ReasonTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLive(t, func(t *testing.T, l *Live, r *record) {
				err := l.Signal("wplc/1", visitor, tt.to, tt.id, json.RawMessage(tt.data))
				if got := reason(err); got != tt.reason {
					t.Fatalf("error %v, want reason %q", err, tt.reason)
				}
				if err != nil {
					r.want(t)
					return
				}
				r.want(t, "wplc/1 signal from visitor/0 to "+show(tt.to)+" "+tt.want)
				time.Sleep(signalFor - 1)
				r.want(t)
				time.Sleep(time.Nanosecond)
				r.want(t, "wplc/1 forget s/visitor/"+tt.id)
				if s := l.Stats(); s.SignalBytes != 0 {
					t.Errorf("%d bytes are kept", s.SignalBytes)
				}
			})
		})
	}
}

func TestSignalRepeated(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		for range 2 {
			if err := l.Signal("wplc/1", agent, visitor, "offer-001", json.RawMessage(`1`)); err != nil {
				t.Fatal(err)
			}
		}
		r.want(t, `wplc/1 signal from agent/2 to visitor/0 {"to":{"kind":"visitor"},"payload":1}`)
		if err := l.Signal("wplc/1", other, visitor, "offer-001", json.RawMessage(`1`)); reason(err) != chat.ReasonBadRequest {
			t.Errorf("the id of somebody else: %v", err)
		}
		r.want(t)
	})
}

func TestSignalDataIsCopied(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		data := json.RawMessage(`"lent"`)
		if err := l.Signal("wplc/1", agent, visitor, "offer-001", data); err != nil {
			t.Fatal(err)
		}
		copy(data, `"gone"`)
		r.want(t, `wplc/1 signal from agent/2 to visitor/0 {"to":{"kind":"visitor"},"payload":"lent"}`)
	})
}

func TestSignalsAreBounded(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", 16<<10) + `"`)
	for _, tt := range []struct {
		name   string
		send   func(l *Live, i int) error
		most   int
		reason string
	}{
		{"of one sender", func(l *Live, i int) error {
			return l.Signal("wplc/1", visitor, agent, fmt.Sprintf("id-%06d", i), nil)
		}, maxSenderSignals, chat.ReasonRate},
		{"on one channel", func(l *Live, i int) error {
			return l.Signal("wplc/1", chat.Party{Kind: chat.KindAgent, ID: int64(i)}, agent, fmt.Sprintf("id-%06d", i), nil)
		}, maxChannelSignals, chat.ReasonFull},
		{"bytes on one channel", func(l *Live, i int) error {
			return l.Signal("wplc/1", visitor, agent, fmt.Sprintf("id-%06d", i), long)
		}, maxChannelBytes / (16<<10 + 50), chat.ReasonFull},
		{"bytes on all", func(l *Live, i int) error {
			return l.Signal(fmt.Sprintf("wplc/%d", i%100), visitor, agent, fmt.Sprintf("id-%06d", i), long)
		}, maxSignalBytes / (16<<10 + 42), chat.ReasonFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLive(t, func(t *testing.T, l *Live, r *record) {
				n := 0
				var err error
				for ; n < 2000 && err == nil; n++ {
					err = tt.send(l, n)
				}
				if n-1 != tt.most || reason(err) != tt.reason {
					t.Errorf("%d signals, then %v; want %d, then %s", n-1, err, tt.most, tt.reason)
				}
				if kept := len(r.keeps()); kept != n-1 {
					t.Errorf("%d are kept", kept)
				}
				time.Sleep(signalFor)
				if kept := r.keeps(); len(kept) > 0 || l.Stats().SignalBytes != 0 {
					t.Errorf("kept after their time: %q, %+v", kept, l.Stats())
				}
				if err := tt.send(l, 0); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}
