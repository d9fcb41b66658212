package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/internal/chat"
)

func TestPresence(t *testing.T) {
	const at = `"at":"2000-01-01T00:00:`
	ch := []string{"wplc/1"}
	both := presence(annIsThere+","+bobIsThere, "")
	for _, tt := range []struct {
		name string
		do   func(l *Live, r *record)
		want []string
	}{
		{"alone tells nobody", func(l *Live, _ *record) {
			leave := l.Enter(ch, visitor)
			time.Sleep(time.Minute)
			leave()
			time.Sleep(time.Minute)
		}, nil},
		{"nobody is not present", func(l *Live, _ *record) {
			l.Enter(ch, visitor)
			l.Enter(ch, chat.Party{})()
		}, nil},
		{"no channels", func(l *Live, _ *record) { l.Enter(nil, visitor)() }, nil},
		{"two meet", func(l *Live, r *record) {
			l.Enter(ch, visitor)
			l.Enter(ch, agent)
		}, []string{both}},
		{"a reconnect within grace", func(l *Live, r *record) {
			l.Enter(ch, visitor)
			leave := l.Enter(ch, agent)
			r.take()
			leave()
			time.Sleep(9 * second)
			l.Enter(ch, agent)
			time.Sleep(time.Minute)
		}, nil},
		{"the new connection before the old one's end", func(l *Live, r *record) {
			l.Enter(ch, visitor)
			leave := l.Enter(ch, agent)
			r.take()
			l.Enter(ch, agent)
			leave()
			time.Sleep(time.Minute)
		}, nil},
		{"pauses of polls", func(l *Live, r *record) {
			l.Enter(ch, agent)
			l.Enter(ch, visitor)()
			r.take()
			for range 50 {
				leave := l.Enter(ch, visitor)
				time.Sleep(25 * second)
				leave()
				time.Sleep(3 * second)
			}
		}, nil},
		{"leaving for good is told once, with the time of leaving", func(l *Live, r *record) {
			l.Enter(ch, agent)
			leave := l.Enter(ch, visitor)
			r.take()
			time.Sleep(5 * second)
			leave()
			time.Sleep(9 * second)
			r.want(t)
			time.Sleep(time.Minute)
		}, []string{presence(bobIsThere, `{"kind":"visitor","name":"Ann",`+at+`05Z"}`)}},
		{"two tabs are one party", func(l *Live, r *record) {
			l.Enter(ch, agent)
			first, last := l.Enter(ch, visitor), l.Enter(ch, visitor)
			r.want(t, presence(bobIsThere+","+annIsThere, ""))
			first()
			time.Sleep(time.Minute)
			r.want(t)
			last()
			time.Sleep(10 * second)
		}, []string{presence(bobIsThere, `{"kind":"visitor","name":"Ann","at":"2000-01-01T00:01:00Z"}`)}},
		{"leave twice leaves once", func(l *Live, r *record) {
			l.Enter(ch, agent)
			first := l.Enter(ch, visitor)
			l.Enter(ch, visitor)
			r.take()
			first()
			first()
			time.Sleep(time.Minute)
		}, nil},
		{"the same channel twice in one Enter", func(l *Live, r *record) {
			l.Enter(ch, agent)
			leave := l.Enter([]string{"wplc/1", "wplc/1"}, visitor)
			r.take()
			leave()
			time.Sleep(10 * second)
		}, []string{presence(bobIsThere, `{"kind":"visitor","name":"Ann",`+at+`00Z"}`)}},
		{"back after leaving", func(l *Live, r *record) {
			l.Enter(ch, agent)
			l.Enter(ch, visitor)()
			time.Sleep(time.Minute)
			r.take()
			l.Enter(ch, visitor)
		}, []string{presence(bobIsThere+","+annIsThere, "")}},
		{"an agent who comes late sees when the visitor was there", func(l *Live, r *record) {
			l.Enter(ch, visitor)()
			time.Sleep(30 * time.Minute)
			l.Enter(ch, agent)
		}, []string{presence(bobIsThere, `{"kind":"visitor","name":"Ann",`+at+`00Z"}`)}},
		{"the visitor alone comes back", func(l *Live, r *record) {
			l.Enter(ch, visitor)()
			time.Sleep(time.Minute)
			l.Enter(ch, visitor)
		}, nil},
		{"an agent who comes far too late", func(l *Live, r *record) {
			l.Enter(ch, visitor)()
			time.Sleep(linger + time.Minute)
			l.Enter(ch, agent)
		}, nil},
		{"everybody leaves at once", func(l *Live, r *record) {
			a, b := l.Enter(ch, visitor), l.Enter(ch, agent)
			r.take()
			a()
			b()
			time.Sleep(10 * second)
		}, []string{presence("", `{"kind":"visitor","name":"Ann",`+at+`00Z"},{"kind":"agent","id":2,"name":"Bob",`+at+`00Z"}`)}},
		{"a name becomes known", func(l *Live, r *record) {
			l.Enter(ch, agent)
			l.Enter(ch, chat.Party{Kind: chat.KindVisitor})
			r.want(t, presence(bobIsThere+`,{"kind":"visitor"}`, ""))
			l.Enter(ch, visitor)
		}, []string{presence(bobIsThere+","+annIsThere, "")}},
		{"a name does not change under way", func(l *Live, r *record) {
			l.Enter(ch, agent)
			l.Enter(ch, visitor)
			r.take()
			l.Enter(ch, chat.Party{Kind: chat.KindVisitor, Name: "Eve"})
		}, nil},
		{"after a day it does not matter who has left", func(l *Live, r *record) {
			l.Enter(ch, agent)
			l.Enter(ch, visitor)()
			time.Sleep(leftFor + time.Minute)
			r.take()
			l.Enter(ch, other)
		}, []string{presence(bobIsThere+","+cydIsThere, "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLive(t, func(t *testing.T, l *Live, r *record) {
				tt.do(l, r)
				r.want(t, tt.want...)
			})
		})
	}
}

func TestNewcomerHearsTheList(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		leave := l.Enter([]string{"wplc/1", "wplc/2"}, visitor)
		l.Enter([]string{"wplc/1"}, agent)
		if diff := r.keeps(); len(diff) != 1 || diff[0] != "wplc/1 presence" {
			t.Fatalf("kept %q, want the presence of wplc/1 alone", diff)
		}
		want := `{"present":[` + annIsThere + "," + bobIsThere + `],"left":[]}`
		if got := r.kept["wplc/1 presence"]; got != want {
			t.Errorf("kept %s, want %s", got, want)
		}
		leave()
	})
}

func TestPresenceIsBounded(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		var leave []func()
		for id := range int64(maxPresent + 5) {
			leave = append(leave, l.Enter([]string{"wplc/1"}, chat.Party{Kind: chat.KindAgent, ID: id + 1}))
		}
		lines := r.take()
		last := lines[len(lines)-1]
		if n := strings.Count(last, `"kind"`); n != maxPresent {
			t.Errorf("%d parties are present, want %d", n, maxPresent)
		}
		for _, f := range leave {
			f()
		}
		time.Sleep(10 * second)
		lines = r.take()
		if n := strings.Count(lines[len(lines)-1], `"at"`); n != maxLeft {
			t.Errorf("%d parties have left, want %d", n, maxLeft)
		}
		if want := fmt.Sprintf(`"id":%d,`, maxPresent); !strings.Contains(lines[len(lines)-1], want) {
			t.Errorf("who left last is not shown: %s", lines[len(lines)-1])
		}
	})
}

func TestChannelVanishes(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		ch := []string{"wplc/1"}
		a, b := l.Enter(ch, visitor), l.Enter(ch, agent)
		l.Typing("wplc/1", visitor, true)
		l.Receipt("wplc/1", agent, chat.TypeSeen, 10)
		l.Receipt("wplc/1", visitor, chat.TypeDelivered, 12)
		if err := l.Signal("wplc/1", visitor, agent, "offer-001", nil); err != nil {
			t.Fatal(err)
		}
		a()
		b()
		time.Sleep(10*second + linger - 1)
		if s := l.Stats(); s != (Stats{Channels: 1, Empty: 1}) {
			t.Errorf("just before its time: %+v", s)
		}
		r.take()
		time.Sleep(time.Nanosecond)
		r.want(t, "wplc/1 forget presence", "wplc/1 forget seen/agent/2", "wplc/1 forget delivered/visitor/0")
		if s := l.Stats(); s != (Stats{}) {
			t.Errorf("afterwards: %+v", s)
		}
		if kept := r.keeps(); len(kept) > 0 {
			t.Errorf("the hub still keeps %q", kept)
		}
	})
}

func TestEmptyChannelsAreBounded(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		for i := range maxEmpty + 10 {
			l.Enter([]string{fmt.Sprintf("wplc/%d", i)}, visitor)()
			if i%1000 == 0 {
				time.Sleep(second / 2)
			}
		}
		time.Sleep(time.Minute)
		r.take()
		if s := l.Stats(); s != (Stats{Channels: maxEmpty, Empty: maxEmpty}) {
			t.Fatalf("%+v, want %d", s, maxEmpty)
		}
		l.Enter([]string{"wplc/0"}, agent) // among the first to be left, so forgotten
		r.want(t)
		l.Enter([]string{fmt.Sprintf("wplc/%d", maxEmpty+9)}, agent)
		if n := len(r.take()); n != 1 {
			t.Errorf("the last one to be left was forgotten")
		}
	})
}

func TestChannelsAreBounded(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		names := make([]string, maxChannels+1)
		for i := range names {
			names[i] = fmt.Sprintf("wplc/%d", i)
		}
		l.Enter([]string{"wplc/gone"}, visitor)()
		time.Sleep(11 * second)
		leave := l.Enter(names, visitor)
		if s := l.Stats(); s != (Stats{Channels: maxChannels}) {
			t.Errorf("%+v, want %d channels and none empty", s, maxChannels)
		}
		l.Typing("wplc/new", visitor, true)
		if err := l.Signal("wplc/new", visitor, agent, "offer-001", nil); reason(err) != chat.ReasonFull {
			t.Errorf("signal on one channel too many: %v", err)
		}
		r.want(t)
		if n := strings.Count(r.logs.String(), "too many channels"); n != 1 {
			t.Errorf("the operator is told %d times, want once: %s", n, r.logs.String())
		}
		leave()
		time.Sleep(2 * linger)
		if s := l.Stats(); s != (Stats{}) {
			t.Errorf("afterwards: %+v", s)
		}
	})
}
