package wplc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNativeLoopAnswersAsThePlugin(t *testing.T) {
	site, root := loopSite(t, "8")
	bubble(t, site, func(t *testing.T) {
		d := newDesk(t, site, root, true)
		defer d.close()
		poll := func(name string) *NativeLoop {
			return d.Native(d.recognise(formOf(t, goldenFile(t, name+".form"))), "v1", Visit{URL: "https://shop.example/", IP: "10.0.0.1"})
		}
		loop := poll("V-A")
		if got, want := look(t, loop, false), goldenFile(t, "V-A.json"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		want := []Effect{{Kind: EffectBeat, CID: 41, Session: "1552987800001", From: statusActive}}
		if diff := cmp.Diff(want, d.wrote.effects); diff != "" || d.wrote.visits[0].IP != "10.0.0.1" || len(d.wrote.ages) != 1 {
			t.Errorf("effects (-want +got):\n%s%v, ages %v", diff, d.wrote.visits, d.wrote.ages)
		}
		if d.wrote.read != nil {
			t.Errorf("read before anybody was told: %v", d.wrote.read)
		}
		// The browser has left: its next poll gets the same.
		time.Sleep(tellingTime)
		loop = poll("V-A")
		if got := look(t, loop, false); got != goldenFile(t, "V-A.json") {
			t.Errorf("after an abort: %s", got)
		}
		loop.Told()
		if diff := cmp.Diff([]int64{905, 907}, d.wrote.read); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
		loop = poll("V-A")
		if got := look(t, loop, false); got != "" || loop.Hold() != 27500*time.Millisecond || loop.Again() != 0 {
			t.Errorf("told again: %s, hold %v, again %v", got, loop.Hold(), loop.Again())
		}
		if got := look(t, loop, true); got != "" {
			t.Errorf("at the end: %s", got)
		}
		// Another browser at the same chat is another client.
		l := d.recognise(formOf(t, goldenFile(t, "V-A.form")))
		if got := look(t, d.Native(l, "v2", Visit{}), false); got != goldenFile(t, "V-A.json") {
			t.Errorf("to another browser: %s", got)
		}
	})
}

// A visitor who waits for an agent has the ageing run in mid-hold; one who talks
// or wants an answer at once does not.
func TestNativeLoopAges(t *testing.T) {
	site, root := loopSite(t, "8")
	bubble(t, site, func(t *testing.T) {
		d := newDesk(t, site, root, true)
		defer d.close()
		began := time.Now()
		for range 2 {
			loop := d.Native(d.recognise(visitorForm(42, "2", "1552987800002")), "v1", Visit{})
			if reply, _ := d.serve(context.Background(), loop); reply != nil {
				t.Fatalf("%s", reply.Body)
			}
			time.Sleep(1500 * time.Millisecond)
		}
		var at []string
		for _, aged := range d.wrote.ages {
			at = append(at, aged.Sub(began).String())
		}
		if diff := cmp.Diff([]string{"0s", "15s", "29s", "44s"}, at); diff != "" {
			t.Errorf("ages (-want +got):\n%s", diff)
		}
		d.wrote.ages = nil
		for _, tc := range []struct {
			field, value string
			ages         int
		}{{"short_poll", "false", 1}, {"short_poll", "true", 0}} {
			form := visitorForm(46, "10", "1552987800006")
			form.Set(tc.field, tc.value)
			look(t, d.Native(d.recognise(form), "v1", Visit{}), false)
			if len(d.wrote.ages) != tc.ages {
				t.Errorf("%s=%s: %d", tc.field, tc.value, len(d.wrote.ages))
			}
			d.wrote.ages = nil
		}
		look(t, d.Native(d.recognise(agentForm(41, "3")), "u1", Visit{}), false)
		if len(d.wrote.ages) != 0 {
			t.Error("an agent's loop ages")
		}
	})
}

// Two tabs of one visitor: the new one takes the chat, the old one is told so
// while it is held.
func TestNativeLoopTabs(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	bubble(t, site, func(t *testing.T) {
		d := newDesk(t, site, root, true)
		defer d.close()
		told := make(chan string, 1)
		go func() {
			reply, _ := d.serve(context.Background(), d.Native(d.recognise(visitorForm(41, "3", "1552987800001")), "v1", Visit{}))
			told <- string(reply.Body)
		}()
		synctest.Wait()
		if got := look(t, d.Native(d.recognise(visitorForm(41, "3", "1552987900000")), "v1", Visit{}), false); got != "" {
			t.Errorf("the new tab got %s", got)
		}
		if got := <-told; !strings.Contains(got, `"status":11`) {
			t.Errorf("the old tab got %s", got)
		}
		if last := d.wrote.effects[len(d.wrote.effects)-1]; !last.Switch || last.Session != "1552987900000" {
			t.Errorf("%+v", last)
		}
	})
}

// A browser asks again when its line was cut, and the first request is still
// held. Whichever is told first, the other one has the message as well; the next
// poll has not.
func TestNativeLoopTwoRequestsOfOneClient(t *testing.T) {
	for _, version := range []string{"8", "5"} {
		site, root := loopSite(t, version)
		exec(t, root, "DELETE FROM wp_wplc_chat_msgs; UPDATE wp_wplc_chat_sessions SET status = 3, session = 'S'")
		bubble(t, site, func(t *testing.T) {
			d := newDesk(t, site, root, true)
			defer d.close()
			cid := map[string]int{"8": 41, "5": 1}[version]
			poll := func() *NativeLoop {
				return d.Native(d.recognise(visitorForm(cid, "3", "S")), "v1", Visit{})
			}
			dead, live := poll(), poll()
			look(t, dead, false)
			look(t, live, false)
			d.say(cid, fromAgent, "one")
			if !strings.Contains(look(t, dead, false), "one") {
				t.Error("the first request got nothing")
			}
			dead.Told()
			if !strings.Contains(look(t, live, false), "one") {
				t.Error("the second request lost it")
			}
			time.Sleep(tellingTime)
			d.say(cid, fromAgent, "two")
			late := poll()
			if got := look(t, late, false); strings.Contains(got, "one") || !strings.Contains(got, "two") {
				t.Errorf("the third request got %s", got)
			}
			late.Told()
			live.Told() // late: must not put the client back
			if got := look(t, poll(), false); got != "" {
				t.Errorf("the last request got %s", got)
			}
		})
	}
}

// 25 browsers leave in mid-hold, before and after the answer is made.
func TestNativeLoopLosesNothingToBrowsersThatLeave(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs; UPDATE wp_wplc_chat_sessions SET status = 3, session = 'S'")
	bubble(t, site, func(t *testing.T) {
		d := newDesk(t, site, root, true)
		defer d.close()
		var got []string
		poll := func() *NativeLoop { return d.Native(d.recognise(visitorForm(41, "3", "S")), "v1", Visit{}) }
		for i := range 25 {
			loop := poll()
			look(t, loop, false)
			d.say(41, fromAgent, fmt.Sprintf("message %d.", i))
			if i%2 == 0 {
				look(t, loop, false) // made, but not on its way
				time.Sleep(tellingTime)
			}
			loop = poll()
			got = append(got, look(t, loop, false))
			loop.Told()
			if left := look(t, poll(), false); left != "" {
				t.Errorf("repeated: %s", left)
			}
		}
		for i, body := range got {
			if !strings.Contains(body, fmt.Sprintf("message %d.", i)) {
				t.Errorf("message %d was lost: %s", i, body)
			}
		}
	})
}

func TestSilentLoop(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, `INSERT INTO wp_options (option_name, option_value) VALUES ('wplc_advanced_settings', 'a:2:{s:15:"wplc_iterations";s:2:"20";s:24:"wplc_delay_between_loops";s:7:"1000000";}')`)
	d := NewDesk(detect(t, site), DeskOptions{Wake: func(string) { t.Error("woken") }})
	form := visitorForm(41, "3", "S")
	for _, tc := range []struct {
		short string
		hold  time.Duration
	}{{"false", 20 * time.Second}, {"true", 0}} {
		form.Set("short_poll", tc.short)
		l, _ := d.src.Recognise(form)
		loop := d.Silent(l)
		if got := look(t, loop, false) + look(t, loop, true); got != "" || loop.Hold() != tc.hold || len(loop.Channels()) != 0 || loop.Again() != 0 {
			t.Errorf("short_poll=%s: %q, hold %v", tc.short, got, loop.Hold())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	form.Set("short_poll", "false")
	l, _ := d.src.Recognise(form)
	loop := d.Silent(l)
	if _, err := loop.Answer(ctx, false); err != nil || loop.Hold() != defaultHold {
		t.Errorf("without settings: hold %v, %v", loop.Hold(), err)
	}
}

func TestStringsOf(t *testing.T) {
	got := StringsOf(map[string]string{"admin": "Agentti", "retry": "Uusi", "ip_not_recorded": "Ei", "no_answer_5": "Viisi", "guest": "Vieras"})
	want := English()
	want.Admin, want.RequestNewChat, want.NoAddress, want.NoAnswer5 = "Agentti", "Uusi", "Ei", "Viisi"
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(English(), *StringsOf(nil)); diff != "" {
		t.Error(diff)
	}
}

// The companion tells the note with the site's setting already in it; so does the
// setting itself.
func TestStringsOfGiveTheSameNoteAsTheSetting(t *testing.T) {
	site, root := loopSite(t, "8")
	note := `It\'s late`
	exec(t, root, "UPDATE wp_options SET option_value = ? WHERE option_name = 'WPLC_SETTINGS'",
		fmt.Sprintf(`a:1:{s:19:"wplc_user_no_answer";s:%d:"%s";}`, len(note), note))
	s := detect(t, site)
	var bodies []string
	for _, words := range []*Strings{nil, StringsOf(map[string]string{"no_answer": "It's late"})} {
		l, _ := s.Recognise(visitorForm(44, "2", "1552987800004"))
		l.Strings = words
		bodies = append(bodies, string(ask(t, s, site, &l, &LoopState{}, false).Body))
	}
	if bodies[0] != bodies[1] || !strings.Contains(bodies[0], "It's late") {
		t.Errorf("%s\n%s", bodies[0], bodies[1])
	}
}
