package wplc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// page is one tab of a browser, or an agent's window, on a test site.
type page struct {
	t      *testing.T
	s      *Source
	site   *testSite
	form   url.Values
	user   int64
	cursor LoopCursor
}

func visitorPage(t *testing.T, s *Source, site *testSite, cid int, session string) *page {
	return &page{t: t, s: s, site: site, form: url.Values{
		"action": {ActionVisitor}, "cid": {fmt.Sprint(cid)}, "wplcsession": {session}, "wplc_name": {"Ann"}, "wplc_email": {"a@b.c"},
	}}
}

func agentPage(t *testing.T, s *Source, site *testSite, cid int) *page {
	return &page{t: t, s: s, site: site, user: 1, form: url.Values{"action": {ActionAgent}, "cid": {fmt.Sprint(cid)}, "first_run": {"false"}}}
}

// poll begins a request with these fields ("status", "3", …).
func (p *page) poll(fields ...string) (*Loop, *LoopState) {
	p.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		p.form.Set(fields[i], fields[i+1])
	}
	l, ok := p.s.Recognise(p.form)
	if !ok {
		p.t.Fatalf("%v is no loop", p.form)
	}
	l.UserID = p.user
	return &l, &LoopState{Cursor: p.cursor}
}

// once answers one request at once and takes the answer as written.
func (p *page) once(fields ...string) Answer {
	p.t.Helper()
	l, state := p.poll(fields...)
	answer := ask(p.t, p.s, p.site, l, state, false)
	p.cursor = answer.Cursor
	return answer
}

func kinds(effects []Effect) string {
	var b strings.Builder
	for _, e := range effects {
		switch e.Kind {
		case EffectBeat:
			b.WriteString("beat ")
		case EffectMove:
			fmt.Fprintf(&b, "%d>%d ", e.From, e.To)
		case EffectMissed:
			b.WriteString("missed ")
		}
	}
	return strings.TrimSpace(b.String())
}

// The two tables of the visitor's loop: what the browser believes (rows) against
// what the database says, as a short poll and as a held one.
func TestVisitorsStatusTables(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	for _, tc := range []struct {
		sent, stored string // stored "" is a row that is missing
		effects      string
		tail         string // of the body behind "aid", as a short poll
		held         bool   // the same without short_poll
	}{
		{"5", "5", "beat", `"status":"5"`, true},
		{"8", "8", "beat", `"status":"8"`, true},
		{"9", "9", "beat", `"status":"9"`, true},
		{"7", "7", "beat", `"status":"7"`, true},
		{"1", "1", "beat", `"status":"1"`, true},
		{"6", "6", "beat", `"status":"6"`, true},
		{"0", "0", "beat", `"status":12`, true},
		{"12", "12", "", `"status":12`, true},
		{"3", "3", "beat", `"status":"3"`, true},
		{"10", "10", "beat", `"alert":true,"status":"10"`, true},
		{"2", "2", "", `"status":"2"`, true},
		{"", "", "", `"status":12`, true},

		{"3", "1", "1>8", `"status":8,"data":{"9999":{"msg":"Admin has closed and ended the chat"}}`, false},
		{"5", "2", "", `"status":"2"`, false},
		{"2", "3", "", `"status":"3","data":null`, false},
		{"10", "3", "", `"status":"3","data":null`, false},
		{"5", "3", "", `"status":"3","data":null,"sound":false`, false},
		{"3", "9", "", `"status":"9"`, false},
		{"5", "9", "", `"status":"9"`, false},
		{"3", "10", "", `"status":"10"`, false},
		{"5", "10", "", `"status":"10"`, false},
		{"5", "7", "7>5", `"status":"7"`, true},
		{"2", "12", "missed", `"status":"12","data":"<span`, false},
		{"5", "0", "", `"status":"0"`, true},
		{"3", "5", "", `"status":"5"`, true},
		{"5", "6", "", `"status":"6"`, true},
		{"5", "8", "", `"status":"8"`, true},
		{"5", "4", "", `"status":"4"`, true},
		{"5", "", "", `"status":null`, true},
		{"", "3", "", `"status":"3","data":null`, false},
	} {
		name := fmt.Sprintf("POST %q, DB %q", tc.sent, tc.stored)
		cid := 41
		if tc.stored == "" {
			cid = 4100
		} else {
			exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = ? WHERE id = 41", tc.stored)
		}
		s := detect(t, site)
		p := visitorPage(t, s, site, cid, "1552987800001")
		short := p.once("status", tc.sent, "short_poll", "true")
		_, tail, _ := strings.Cut(string(short.Body), fmt.Sprintf(`"aid":"%d",`, cid))
		if !short.Now || !strings.HasPrefix(tail, tc.tail) || !strings.HasPrefix(string(short.Body), `{"check":true,`) ||
			!strings.Contains(tc.tail, "<span") && tail != tc.tail+"}" {
			t.Errorf("%s: %s", name, short.Body)
		}
		if got := kinds(short.Effects); got != tc.effects {
			t.Errorf("%s: effects %q, want %q", name, got, tc.effects)
		}
		if held := p.once("status", tc.sent, "short_poll", "false"); held.Now == tc.held || kinds(held.Effects) != tc.effects {
			t.Errorf("%s: held %v, effects %q", name, !held.Now, kinds(held.Effects))
		} else if !tc.held {
			if diff := cmp.Diff(string(short.Body), string(held.Body)); diff != "" {
				t.Errorf("%s: a short poll says something else:\n%s", name, diff)
			}
		}
	}
}

// PHP writes 5 where it finds 7 and goes on with that; here the row stays until
// somebody writes it.
func TestATimedOutVisitorComesBackOnce(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 7 WHERE id = 43")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		p := visitorPage(t, s, site, 43, "1552987800003")
		l, state := p.poll("status", "5")
		if a := ask(t, s, site, l, state, false); kinds(a.Effects) != "7>5" || a.Now {
			t.Errorf("%s %s", kinds(a.Effects), a.Body)
		}
		time.Sleep(2 * time.Second)
		if a := ask(t, s, site, l, state, false); a.Effects != nil || a.Now {
			t.Errorf("again: %s %s", kinds(a.Effects), a.Body)
		}
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = 43")
		time.Sleep(time.Second)
		a := ask(t, s, site, l, state, false)
		if !strings.Contains(string(a.Body), `"debug":"we are here 340","aname":"Admin","wplc_name":"Guest"`) {
			t.Errorf("%s", a.Body)
		}
	})
}

// One debug text is added in each round that PHP would have run, not in each look
// that was taken here.
func TestRoundsPassByTheClock(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 8 WHERE id = 43")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		p := visitorPage(t, s, site, 43, "1552987800003")
		l, state := p.poll("status", "5")
		ask(t, s, site, l, state, false)
		time.Sleep(1700 * time.Millisecond) // rounds 2 and 3 passed, 4 is due
		ask(t, s, site, l, state, false)
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 6 WHERE id = 43")
		time.Sleep(100 * time.Millisecond) // within the pause: PHP looks in round 5
		ask(t, s, site, l, state, false)
		time.Sleep(400 * time.Millisecond) // and now in round 6
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 9 WHERE id = 43")
		a := ask(t, s, site, l, state, false)
		want := strings.Repeat(" Doesnt match 8 5", 4) + " Doesnt match 6 5" + " Doesnt match 9 5"
		if !strings.Contains(string(a.Body), `"debug":"`+want+`"`) {
			t.Errorf("%s", a.Body)
		}

		// However long it takes, there are no more rounds than PHP runs.
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 8 WHERE id = 43")
		l, state = p.poll("status", "5")
		ask(t, s, site, l, state, false)
		time.Sleep(time.Hour)
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 9 WHERE id = 43")
		if a := ask(t, s, site, l, state, true); strings.Count(string(a.Body), "Doesnt match") != 55 {
			t.Errorf("%d rounds", strings.Count(string(a.Body), "Doesnt match"))
		}
	})
}

func TestAnotherTabTakesTheChat(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET status = 1")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		look := func(p *page, l *Loop, state *LoopState) string {
			time.Sleep(500 * time.Millisecond)
			a := ask(t, s, site, l, state, false)
			return string(a.Body)
		}
		old := visitorPage(t, s, site, 41, "1552987800001")
		l, state := old.poll("status", "3")
		if a := ask(t, s, site, l, state, false); a.Effects[0].Switch {
			t.Error("the page of the row has taken the chat from itself")
		}
		if body := look(old, l, state); body != "" {
			t.Fatal(body)
		}
		young := visitorPage(t, s, site, 41, "1552987900000")
		l2, state2 := young.poll("status", "3")
		if a := ask(t, s, site, l2, state2, false); a.Now || !a.Effects[0].Switch || a.Effects[0].Session != "1552987900000" {
			t.Errorf("the newcomer: %+v", a)
		}
		// Nobody has written the row yet.
		if body := look(old, l, state); body != `{"check":false,"debug":"","aname":"Admin","wplc_name":"Ann","wplc_email":"a@b.c","cid":"41","aid":"41","status":11}` {
			t.Error("the older page:", body)
		}
		// The row shows the page before last, then that of the newcomer.
		for _, session := range []string{"1552987800001", "1552987900000", ""} {
			exec(t, root, "UPDATE wp_wplc_chat_sessions SET session = ? WHERE id = 41", session)
			if body := look(young, l2, state2); body != "" {
				t.Errorf("row %q: %s", session, body)
			}
		}
		// PHP has served a third page.
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET session = '1552987999999' WHERE id = 41")
		if body := look(young, l2, state2); !strings.HasSuffix(body, `"status":11}`) {
			t.Error("a page of PHP's:", body)
		}
		// A chat that waits is not checked, nor is a page without a session.
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = 41")
		l, state = old.poll("status", "2")
		ask(t, s, site, l, state, false)
		if body := look(old, l, state); body != "" {
			t.Error("pending:", body)
		}
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 3 WHERE id = 41")
		l, state = visitorPage(t, s, site, 41, "").poll("status", "3")
		ask(t, s, site, l, state, false)
		if body := look(old, l, state); body != "" {
			t.Error("no session:", body)
		}
	})
}

// A page that may not take the chat (12 has to age) goes by who had it.
func TestAnUnansweredPageHasToBeTheLastOne(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		for session, want := range map[string]bool{"1552987800004": false, "1552987999999": true} {
			l, state := visitorPage(t, s, site, 44, session).poll("status", "12")
			ask(t, s, site, l, state, false)
			time.Sleep(time.Second)
			if a := ask(t, s, site, l, state, false); a.Now != want {
				t.Errorf("%s: %s", session, a.Body)
			}
		}
		// The note has made the second page the last, though the row shows the first.
		visitorPage(t, s, site, 44, "1552987999999").once("status", "2")
		l, state := visitorPage(t, s, site, 44, "1552987999999").poll("status", "12")
		ask(t, s, site, l, state, false)
		time.Sleep(time.Second)
		if a := ask(t, s, site, l, state, false); a.Now {
			t.Errorf("%s", a.Body)
		}
	})
}

func TestTabsAreForgotten(t *testing.T) {
	var tabs tabs
	for cid := range int64(5 * maxTabs) {
		tabs.take(cid, "s", "row")
		tabs.take(1, "kept", "row")
	}
	if n := len(tabs.now) + len(tabs.old); n > 2*maxTabs {
		t.Errorf("%d chats remembered", n)
	}
	if got := tabs.holder(1, "s"); got != "kept" {
		t.Errorf("a chat in use: %q", got)
	}
	if got := tabs.holder(2, "other"); got != "other" {
		t.Errorf("a forgotten chat: %q", got)
	}
}

// An agent who looks at the public site sees no notes at all in the history.
func TestAnAgentOnThePublicSite(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	for user, notes := range map[int64]int{0: 1, 1: 0, 2: 1} {
		p := visitorPage(t, s, site, 41, "1")
		p.user = user
		body := string(p.once("status", "5").Body)
		if n := strings.Count(body, "wplc_system_notification"); n != notes || !strings.Contains(body, `"905":`) {
			t.Errorf("user %d: %d notes in %s", user, n, body)
		}
	}
}

func TestNoAnswerHasTheSitesText(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, `UPDATE wp_options SET option_value = 'a:1:{s:19:"wplc_user_no_answer";s:13:"Nobody\\''s in.";}' WHERE option_name = 'WPLC_SETTINGS'`)
	s := detect(t, site)
	l, state := visitorPage(t, s, site, 44, "1").poll("status", "2")
	french := English()
	french.Admin, french.RequestNewChat = "Administrateur", "Réessayer"
	l.Strings = &french
	body := string(ask(t, s, site, l, state, false).Body)
	if !strings.Contains(body, `<center>Nobody's in. <br \/>`) || !strings.Contains(body, `>R\u00e9essayer<\/button>`) ||
		!strings.Contains(body, `"aname":"Administrateur"`) {
		t.Error(body)
	}
}

// failing lets one query after another fail.
type failing struct {
	*testSite
	allowed int
}

var errBroken = errors.New("broken")

func (f *failing) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if f.allowed--; f.allowed < 0 {
		return nil, errBroken
	}
	return f.testSite.QueryContext(ctx, query, args...)
}

// A query that fails leaves no trace: the next attempt tells everything.
func TestAnErrorLosesNothing(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	for _, tc := range []struct {
		p      *page
		fields []string
	}{
		{visitorPage(t, s, site, 41, "new"), []string{"status", "3"}},
		{visitorPage(t, s, site, 41, "new"), []string{"status", "5"}},
		{visitorPage(t, s, site, 44, "new"), []string{"status", "2"}},
		{agentPage(t, s, site, 41), []string{"chat_status", "2"}},
		{agentPage(t, s, site, 41), []string{"first_run", "true"}},
		{&page{t: t, s: s, site: site, user: 1, form: url.Values{"action": {ActionDashboard}}}, nil},
	} {
		l, state := tc.p.poll(tc.fields...)
		want := ask(t, s, site, l, &LoopState{}, false)
		for allowed := range 10 {
			answer, err := s.Answer(t.Context(), &failing{site, allowed}, l, state, false)
			if err == nil {
				if diff := cmp.Diff(want, answer, cmp.AllowUnexported(LoopCursor{})); diff != "" || allowed == 0 {
					t.Errorf("%v: after %d failures (-want +got):\n%s", tc.fields, allowed, diff)
				}
				break
			}
			if !errors.Is(err, errBroken) || state.round != 0 {
				t.Fatalf("%v, round %d", err, state.round)
			}
		}
	}
}

// Nobody's loops are answered without a user, whoever forgot to look.
func TestAgentsLoopsNeedAUser(t *testing.T) {
	site, _ := loopSite(t, "8")
	p := agentPage(t, detect(t, site), site, 41)
	p.user = 0
	l, state := p.poll()
	if a, err := p.s.Answer(t.Context(), site, l, state, true); err == nil {
		t.Errorf("%s", a.Body)
	}
}

// Requests of many browsers are answered at the same time.
func TestLoopsAtTheSameTime(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	var wg sync.WaitGroup
	for i := range 30 {
		p := visitorPage(t, s, site, 41+i%3, fmt.Sprint("page", i))
		if i%5 == 0 {
			p = agentPage(t, s, site, 41)
		}
		if i%6 == 0 {
			p = dashboardPage(t, s, site)
		}
		wg.Go(func() {
			l, ok := s.Recognise(p.form)
			if l.UserID = p.user; !ok {
				t.Errorf("%v is no loop", p.form)
			}
			state := &LoopState{}
			for range 5 {
				if _, err := s.Answer(t.Context(), site, &l, state, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
