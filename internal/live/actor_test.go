package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func TestTyping(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(type_ func(on bool))
		want []string
	}{
		{"on and off", func(typ func(bool)) {
			typ(true)
			time.Sleep(second)
			typ(false)
		}, []string{annTypes, annTypesNot}},
		{"off is told once", func(typ func(bool)) {
			typ(true)
			typ(false)
			typ(false)
		}, []string{annTypes, annTypesNot}},
		{"off that was never on", func(typ func(bool)) { typ(false) }, nil},
		{"off after it expired by itself", func(typ func(bool)) {
			typ(true)
			time.Sleep(typingLasts)
			typ(false)
		}, []string{annTypes}},
		{"each key is not told", func(typ func(bool)) {
			for range 39 {
				typ(true)
				time.Sleep(100 * time.Millisecond)
			}
		}, []string{annTypes, annTypes}},
		{"again after a message", func(typ func(bool)) {
			typ(true)
			typ(false)
			time.Sleep(typingPause)
			typ(true)
		}, []string{annTypes, annTypesNot, annTypes}},
		{"on and off at once, a thousand times", func(typ func(bool)) {
			for range 1000 {
				typ(true)
				typ(false)
				time.Sleep(time.Millisecond) // one second in all
			}
		}, []string{annTypes, annTypesNot, annTypes, annTypesNot}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLive(t, func(t *testing.T, l *Live, r *record) {
				tt.do(func(on bool) { l.Typing("wplc/1", visitor, on) })
				r.want(t, tt.want...)
				if kept := r.keeps(); len(kept) > 0 {
					t.Errorf("kept %q: a newcomer would see somebody type for ever", kept)
				}
			})
		})
	}
}

func TestReceipts(t *testing.T) {
	seen := func(upTo int64) string { return fmt.Sprintf(`wplc/1 seen from agent/2 {"up_to":%d}`, upTo) }
	delivered := func(upTo int64) string { return fmt.Sprintf(`wplc/1 delivered from agent/2 {"up_to":%d}`, upTo) }
	read := func(upTo int64) string { return fmt.Sprintf("wplc/1 agent/2 %d", upTo) }
	for _, tt := range []struct {
		name  string
		do    func(say func(kind chat.Type, upTo int64))
		want  []string
		reads []string
	}{
		{"one", func(say func(chat.Type, int64)) {
			say(chat.TypeSeen, 10)
		}, []string{seen(10)}, []string{read(10)}},
		{"a burst is two", func(say func(chat.Type, int64)) {
			for id := range int64(100) {
				say(chat.TypeSeen, id+1)
			}
			time.Sleep(receiptEvery)
		}, []string{seen(1), seen(100)}, []string{read(1), read(100)}},
		{"at most every half second", func(say func(chat.Type, int64)) {
			for id := range int64(334) {
				say(chat.TypeSeen, id+1)
				time.Sleep(3 * time.Millisecond) // never when it is told, at 500 and 1000
			}
		}, []string{seen(1), seen(167), seen(334)}, []string{read(1), read(167), read(334)}},
		{"never backwards", func(say func(chat.Type, int64)) {
			say(chat.TypeSeen, 10)
			time.Sleep(second)
			say(chat.TypeSeen, 9)
			say(chat.TypeSeen, 10)
			time.Sleep(second)
		}, []string{seen(10)}, []string{read(10)}},
		{"read flags are written once", func(say func(chat.Type, int64)) {
			say(chat.TypeDelivered, 10)
			say(chat.TypeSeen, 10)
			time.Sleep(second)
			say(chat.TypeSeen, 12)
			say(chat.TypeDelivered, 11)
		}, []string{delivered(10), seen(10), seen(12), delivered(11)}, []string{read(10), read(12)}},
		{"nonsense", func(say func(chat.Type, int64)) {
			say(chat.TypeSeen, 0)
			say(chat.TypeSeen, -1)
			say(chat.TypeMessage, 10)
		}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLive(t, func(t *testing.T, l *Live, r *record) {
				tt.do(func(kind chat.Type, upTo int64) { l.Receipt("wplc/1", agent, kind, upTo) })
				r.want(t, tt.want...)
				if diff := cmp.Diff(tt.reads, r.takeReads()); diff != "" {
					t.Errorf("read (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestReceiptsAreKeptByReaderAndKind(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		l.Receipt("wplc/1", agent, chat.TypeSeen, 10)
		l.Receipt("wplc/1", agent, chat.TypeDelivered, 11)
		l.Receipt("wplc/1", visitor, chat.TypeSeen, 12)
		want := []string{"wplc/1 delivered/agent/2", "wplc/1 seen/agent/2", "wplc/1 seen/visitor/0"}
		if diff := cmp.Diff(want, r.keeps()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReadersAreBounded(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		reader := func(id int64) chat.Party { return chat.Party{Kind: chat.KindAgent, ID: id} }
		for id := range int64(maxActors) {
			l.Receipt("wplc/1", reader(id+1), chat.TypeSeen, 5)
		}
		l.Receipt("wplc/1", reader(1), chat.TypeSeen, 6) // so that 2 has done nothing for longest
		r.take()
		l.Receipt("wplc/1", reader(2), chat.TypeSeen, 7)
		l.Receipt("wplc/1", reader(3), chat.TypeSeen, 7)
		l.Receipt("wplc/1", reader(1000), chat.TypeSeen, 5)
		r.want(t, "wplc/1 forget seen/agent/4", `wplc/1 seen from agent/1000 {"up_to":5}`)
		if n := len(r.keeps()); n != maxActors {
			t.Errorf("%d receipts are kept, want %d", n, maxActors)
		}
		time.Sleep(receiptEvery)
		r.want(t, `wplc/1 seen from agent/1 {"up_to":6}`, `wplc/1 seen from agent/2 {"up_to":7}`, `wplc/1 seen from agent/3 {"up_to":7}`)
	})
}

// A reader that is displaced, or whose server ends, within the half second that
// receipts wait is not taken for one that has not read.
func TestWaitingReceiptsAreNotLost(t *testing.T) {
	var r *record
	inLive(t, func(t *testing.T, l *Live, rec *record) {
		r = rec
		l.Receipt("wplc/1", agent, chat.TypeSeen, 10)
		l.Receipt("wplc/1", agent, chat.TypeSeen, 11)
		for id := range int64(maxActors) {
			l.Typing("wplc/1", chat.Party{Kind: chat.KindAgent, ID: 100 + id}, true)
		}
		if diff := cmp.Diff([]string{"wplc/1 agent/2 10", "wplc/1 agent/2 11"}, r.takeReads()); diff != "" {
			t.Errorf("displaced (-want +got):\n%s", diff)
		}
		l.Receipt("wplc/2", agent, chat.TypeSeen, 10)
		l.Receipt("wplc/2", agent, chat.TypeSeen, 11)
	})
	if diff := cmp.Diff([]string{"wplc/2 agent/2 10", "wplc/2 agent/2 11"}, r.reads); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
}

// Without Run what is said does not pile up.
func TestErrandsAreBounded(t *testing.T) {
	l := New(Options{Hub: &record{kept: make(map[string]string)}})
	for i := range 3 * maxErrands {
		ch, id := fmt.Sprintf("wplc/%d", i), strings.Repeat("x", 8)
		l.Typing(ch, visitor, true)
		l.Receipt(ch, visitor, chat.TypeSeen, int64(i+1))
		if err := l.Signal(ch, visitor, agent, id, nil); i > maxErrands && reason(err) != chat.ReasonFull {
			t.Fatalf("signal %d: %v, want full", i, err)
		}
	}
	if n := len(l.errands); n > maxErrands+2*maxActors {
		t.Errorf("%d errands wait, want %d", n, maxErrands)
	}
}
