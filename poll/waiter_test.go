package poll_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/internal/park"
)

const channel = "wplc/1"

func TestPollWithoutCursorTellsThePresent(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		for range 3 { // over one connection
			b.ask("/poll?channels=" + channel)
			a := b.answer()
			if a.status != 200 || a.Cursor != "7" || a.body != `{"cursor":"7","events":[]}` || a.closes {
				t.Errorf("%+v", a)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "Cache-Control": "no-store", "Etag": `"7"`, "Vary": "Origin",
			} {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		}
	})
}

func TestPollIsHeldAndAnsweredOnce(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		b.ask("/poll?channels=" + channel + "&cursor=7")
		if err := wait(t, h.served); err != nil {
			t.Fatal(err)
		}
		h.say(8, "wplc/2") // to somebody else
		if h.held().Pass() != h.lastPass() {
			t.Error("the poll does not say whose it is")
		}
		h.say(9, channel)
		h.say(10, channel)
		first := b.answer()
		if !slices.Equal(first.ids(), []int64{9}) || first.Cursor != "9" || first.closes {
			t.Errorf("%+v", first)
		}
		wait(t, h.lastPass().over)
		b.ask("/poll?channels=" + channel + "&cursor=" + first.Cursor)
		if second := b.answer(); !slices.Equal(second.ids(), []int64{10}) || second.Cursor != "10" {
			t.Errorf("%+v", second)
		}
	})
}

func TestConditionalPoll(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		for name, c := range map[string]struct {
			query, tag string
			status     int
			body       string
		}{
			"nothing new":                    {"&wait=0", `"7"`, 304, ""},
			"nothing new, by a weak tag":     {"&wait=0", `W/"7"`, 304, ""},
			"nothing new at a hold's end":    {"&wait=0.01", `"7"`, 304, ""},
			"nothing new, but not asked so":  {"&wait=0&cursor=7", `"7"`, 200, `{"cursor":"7","events":[]}`},
			"no tag but a list":              {"&wait=0", `"6", "7"`, 200, `{"cursor":"7","events":[]}`},
			"an empty tag is no position":    {"&wait=0", `""`, 200, `{"cursor":"7","events":[]}`},
			"the digest of states is kept":   {"&wait=0", `"7~a"`, 304, ""},
			"a reset is news, even with 304": {"&wait=0", `"99"`, 200, ""},
		} {
			b.ask("/poll?channels="+channel+c.query, "If-None-Match: "+c.tag)
			if name == "a reset is news, even with 304" {
				// A cursor beyond the table: the tail is asked to look again.
				await(t, "the tail is asked", func() bool { return h.table.tickets.Load() > 0 })
				h.begin(7)
			}
			a := b.answer()
			if a.status != c.status || c.body != "" && a.body != c.body || a.closes {
				t.Errorf("%s: %+v", name, a)
			}
			if want := strings.TrimPrefix(c.tag, "W/"); c.status == 304 &&
				(a.header.Get("Etag") != want || a.header.Get("Content-Type") != "" || a.header.Get("Cache-Control") != "no-store") {
				t.Errorf("%s: %v", name, a.header)
			}
		}
		// Nothing for this client, but the position has moved: it is told, or its
		// next poll would begin further and further back.
		h.say(8, "wplc/2")
		b.ask("/poll?channels="+channel+"&wait=0", `If-None-Match: "7"`)
		if a := b.answer(); a.status != 200 || a.Cursor != "8" || len(a.Events) > 0 {
			t.Errorf("%+v", a)
		}
	})
}

// TestResetIsNewsWhereTheCursorIsTheSame is for a dump of the table that was
// restored to where the client happens to stand.
func TestResetIsNewsWhereTheCursorIsTheSame(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		b.ask("/poll?channels="+channel, `If-None-Match: "7"`)
		wait(t, h.served)
		h.publish(chat.Batch{Reset: true, Mark: chat.Mark{Last: 7}})
		if a := b.answer(); a.status != 200 || a.Cursor != "7" || len(a.Events) != 1 || a.Events[0].Type != chat.TypeReset {
			t.Errorf("%+v", a)
		}
	})
}

// TestStateIsToldOnce has the digest handed back, or each poll would be
// answered with the same state at once.
func TestStateIsToldOnce(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		poll := func(cursor, wish string) {
			b.ask("/poll?channels=" + channel + "&cursor=" + cursor + wish)
			if err := wait(t, h.served); err != nil {
				t.Fatal(err)
			}
		}
		poll("7", "")
		h.state(7, channel, `{"status":"active"}`)
		first := b.answer()
		at, digest, ok := strings.Cut(first.Cursor, "~")
		if len(first.Events) != 1 || at != "7" || !ok {
			t.Fatalf("%+v", first)
		}
		poll(first.Cursor, "&wait=0")
		if a := b.answer(); a.Cursor != first.Cursor || len(a.Events) > 0 {
			t.Errorf("told again: %+v", a)
		}
		poll(first.Cursor, "")
		h.state(7, channel, `{"status":"active"}`) // no news
		h.say(8, channel)
		a := b.answer()
		if !slices.Equal(a.ids(), []int64{8}) || a.Cursor != "8~"+digest {
			t.Errorf("a message lost the digest: %+v", a)
		}
		poll(a.Cursor, "")
		h.state(8, channel, `{"status":"ended"}`)
		if a = b.answer(); len(a.Events) != 1 || strings.HasSuffix(a.Cursor, "~"+digest) {
			t.Errorf("a change was not told: %+v", a)
		}
		poll("8", "&wait=20") // a client that knows of no state
		if again := b.answer(); again.Cursor != a.Cursor || len(again.Events) != 1 {
			t.Errorf("%+v", again)
		}
	})
}

// TestPollWhileThePositionIsUnknown is for the first seconds of a server: even
// who does not want to wait is not sent away with what is missing.
func TestPollWhileThePositionIsUnknown(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		newcomer, back := h.browser(), h.browser()
		newcomer.ask("/poll?channels=" + channel)
		back.ask("/poll?channels=" + channel + "&wait=0&cursor=5")
		for range 2 {
			if err := wait(t, h.served); err != nil {
				t.Fatal(err)
			}
		}
		h.table.rows = append(h.table.rows, chat.Event{Type: chat.TypeMessage, Channel: channel, ID: 6})
		h.begin(7)
		if a := newcomer.answer(); a.Cursor != "7" || len(a.Events) > 0 {
			t.Errorf("%+v", a)
		}
		if a := back.answer(); !slices.Equal(a.ids(), []int64{6}) {
			t.Errorf("%+v", a)
		}
	})
}

func TestServersHoldEnds(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.polls.Hold = 5 // nanoseconds: less than can be spread
		h.begin(7)
		b := h.browser()
		b.ask("/poll?channels=" + channel + "&cursor=7")
		if a := b.answer(); a.status != 200 || a.Cursor != "7" || len(a.Events) > 0 || a.closes {
			t.Errorf("%+v", a)
		}
	})
}

func TestClientsThatDoNotComeBack(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		for _, request := range []string{
			"GET /poll?channels=" + channel + " HTTP/1.0\r\n\r\n",
			"GET /poll?channels=" + channel + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"GET /poll?channels=" + channel + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		} {
			b := h.browser()
			b.send(request)
			if a := b.answer(); a.Cursor != "7" || !a.closes {
				t.Errorf("%q: %+v", request, a)
			}
			b.wantEnd()
		}
	})
}

func TestBrowserLeavesAPoll(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b := h.browser()
		b.ask("/poll?channels=" + channel + "&cursor=7")
		wait(t, h.served)
		b.conn.Close()
		wait(t, h.lastPass().over)
		h.say(8, channel)
		await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
	})
}

func TestPollEnds(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		t.Run("the server leaves", func(t *testing.T) {
			b := h.browser()
			b.ask("/poll?channels=" + channel + "&cursor=7")
			wait(t, h.served)
			h.held().End(park.ReasonDrain, time.Minute)
			if a := b.answer(); a.status != 200 || a.Cursor != "7" || len(a.Events) > 0 || !a.closes {
				t.Errorf("%+v", a)
			}
			b.wantEnd()
			wait(t, h.lastPass().over)
		})
		t.Run("the login has ended", func(t *testing.T) {
			b := h.browser()
			b.ask("/poll?channels=" + channel + "&cursor=7")
			wait(t, h.served)
			l := h.held()
			l.End(park.ReasonRevoked, 0)
			b.wantEnd()
			l.End(park.ReasonRevoked, 0)
			l.End(park.ReasonDrain, 0)
		})
	})
}

func TestPollOfAnUnknownSource(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		b := h.browser()
		b.ask("/poll?channels=other/1&cursor=7")
		if err := wait(t, h.served); err == nil || !strings.Contains(err.Error(), "subscribe: ") {
			t.Error(err)
		}
		b.wantEnd()
	})
}

func TestPollAfterTheEnd(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		b, last := h.browser(), h.browser()
		b.ask("/poll?channels=" + channel + "&cursor=7")
		wait(t, h.served)
		h.leave()
		b.wantEnd()
		wait(t, h.lastPass().over)
		last.ask("/poll?channels=" + channel + "&cursor=7")
		if err := wait(t, h.served); err != nil {
			t.Error(err)
		}
		last.wantEnd()
	})
}

// TestAlarmMeetsDelivery has the end of a hold and a row come in the same
// moment: a client must get every row once, by this answer or the next.
func TestAlarmMeetsDelivery(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		const rounds = 200
		h.begin(0)
		b := h.browser()
		cursor := "0"
		var got []int64
		for id := int64(1); id <= rounds; id++ {
			b.ask("/poll?channels=" + channel + "&cursor=" + cursor)
			wait(t, h.served)
			l := h.held()
			var both sync.WaitGroup
			both.Go(func() { l.Alarm(nil) })
			both.Go(func() { h.say(id, channel) })
			a := b.answer()
			both.Wait()
			wait(t, h.lastPass().over)
			got, cursor = append(got, a.ids()...), a.Cursor
			if len(a.Events) == 0 { // the row is for the next one
				b.ask("/poll?channels=" + channel + "&cursor=" + cursor)
				a = b.answer()
				wait(t, h.served)
				wait(t, h.lastPass().over)
				got, cursor = append(got, a.ids()...), a.Cursor
			}
		}
		for i, id := range got {
			if id != int64(i+1) {
				t.Fatalf("row %d was told as number %d", id, i+1)
			}
		}
		if len(got) != rounds {
			t.Errorf("%d rows of %d", len(got), rounds)
		}
	})
}

func TestPollOverHTTP2(t *testing.T) {
	h := open(t, park.Options{}, true)
	h.begin(7)
	client := h.client()
	get := func(query string) answer {
		resp, err := client.Get(h.server.URL + "/poll?channels=" + query)
		if err != nil {
			t.Error(err)
			return answer{}
		}
		if resp.ProtoMajor != 2 {
			t.Error(resp.Proto)
		}
		return whole(t, resp)
	}
	if a := get(channel); a.Cursor != "7" || a.header.Get("Vary") != "Origin" {
		t.Errorf("%+v", a)
	}
	wait(t, h.served)
	done := make(chan answer, 1)
	go func() { done <- get(channel + "&cursor=7") }()
	await(t, "it is held", func() bool { return h.hub.Subscribers() == 1 })
	h.say(8, channel)
	if a := wait(t, done); !slices.Equal(a.ids(), []int64{8}) {
		t.Errorf("%+v", a)
	}
	if a := get(channel + "&cursor=8&wait=0.01"); a.status != 200 || a.Cursor != "8" || len(a.Events) > 0 {
		t.Errorf("%+v", a)
	}
	if a := get("other/1&cursor=7"); a.status != 200 || a.body != "" {
		t.Errorf("%+v", a)
	}
}

// TestManyPolls has a crowd wait for one row.
func TestManyPolls(t *testing.T) {
	houses(t, func(t *testing.T, h *house) {
		h.begin(7)
		crowd := make([]*browser, 50)
		for i := range crowd {
			crowd[i] = h.browser()
			crowd[i].ask(fmt.Sprintf("/poll?channels=%s,wplc/%d&cursor=7", channel, i+2))
			wait(t, h.served)
		}
		h.say(8, channel)
		for _, b := range crowd {
			if a := b.answer(); a.status != http.StatusOK || !slices.Equal(a.ids(), []int64{8}) {
				t.Errorf("%+v", a)
			}
		}
		await(t, "nobody is subscribed", func() bool { return h.hub.Subscribers() == 0 })
	})
}
