package wplc

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAgentsLoop(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs WHERE chat_sess_id = 41")
	s := detect(t, site)
	const opened = "wplc_long_poll_check_user_opened_chat"
	for name, tc := range map[string]struct {
		cid    int
		user   int64
		fields []string
		want   string // "" is held
	}{
		"nothing new":               {41, 1, []string{"chat_status", "3"}, ""},
		"status":                    {41, 1, []string{"chat_status", "10"}, `{"chat_status":"3","action":"wplc_update_chat_status"}`},
		"no status yet":             {41, 1, []string{"chat_status", ""}, `{"chat_status":"3","action":"wplc_update_chat_status"}`},
		"leading zero":              {41, 1, []string{"chat_status", "03"}, ""},
		"no such chat":              {999, 1, []string{"chat_status", "3"}, `{"chat_status":null,"action":"wplc_update_chat_status"}`},
		"no such chat, no status":   {999, 1, []string{"chat_status", ""}, ""},
		"visitor opened":            {41, 1, []string{"chat_status", "5", "action_2", opened}, `{"action":"wplc_user_open_chat"}`},
		"visitor has not opened":    {43, 1, []string{"chat_status", "3", "action_2", opened}, ""},
		"another action_2":          {41, 1, []string{"chat_status", "3", "action_2", "x"}, ""},
		"first_run in another form": {41, 1, []string{"chat_status", "3", "first_run", "1"}, ""},
		"no messages":               {41, 1, []string{"chat_status", "9", "first_run", "true"}, `{"chat_history":null,"action":"wplc_chat_history"}`},
		"no agent":                  {41, 2, []string{"chat_status", "10"}, securityIssue},
		"no agent, history":         {41, 2, []string{"chat_status", "3", "first_run", "true"}, securityIssue},
		"no agent, opened":          {41, 2, []string{"chat_status", "3", "action_2", opened}, securityIssue},
	} {
		p := agentPage(t, s, site, tc.cid)
		p.user = tc.user
		if a := p.once(tc.fields...); string(a.Body) != tc.want || a.Now != (tc.want != "") || a.Effects != nil || a.Delivered != nil {
			t.Errorf("%s: %s, %+v", name, a.Body, a)
		}
	}
}

// The right of an agent is looked up once in a request.
func TestAnAgentIsLookedUpOnce(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET status = 1")
	l, state := agentPage(t, detect(t, site), site, 41).poll("chat_status", "3")
	s := detect(t, site)
	ask(t, s, site, l, state, false)
	before := site.queries.Load()
	ask(t, s, site, l, state, false)
	if n := site.queries.Load() - before; n != 2 { // the chat, its messages
		t.Errorf("%d queries", n)
	}
}

func page5(t *testing.T, s *Source, site *testSite) (visitor, agent *page) {
	visitor, agent = visitorPage(t, s, site, 1, "1440055800001"), agentPage(t, s, site, 1)
	agent.form.Set("chat_status", "3")
	return visitor, agent
}

// 5.x has lines of HTML where 8.x has messages.
func TestLinesOf5(t *testing.T) {
	const end = `<div class='wplc-clear-float-message'><\/div>`
	const picture = `<img src='\/\/www.gravatar.com\/avatar\/257c57037d384ae37ea27a07e8a01665?s=20' \/>`
	for name, tc := range map[string]struct {
		named              bool
		cookie             string
		news, past, agents string
	}{
		"names": {
			named: true,
			news:  `<span class='wplc-admin-message'> <strong>admin<\/strong>: Hi \\\"you\\\"<\/span><br \/>` + end,
			past: `<span class='wplc-user-message'> <strong>Ann O\\'Neil<\/strong>: It\\'s bold \/ 5<\/span><br \/>` + end +
				`<span class='wplc-admin-message'> <strong>admin<\/strong>: Hi \\\"you\\\"<\/span><br \/>` + end +
				`<span class='wplc-user-message'> <strong>Ann O\\'Neil<\/strong>: C:\\\\temp<\/span><br \/>` + end,
			agents: `<span class='wplc-user-message'><strong>Ann O\\'Neil<\/strong>: C:\\\\temp<\/span><br \/>` + end,
		},
		"names and a picture": {
			named: true, cookie: " Ann@Example.com",
			news: `<span class='wplc-admin-message'> <strong>admin<\/strong>: Hi \\\"you\\\"<\/span><br \/>` + end,
			past: `<span class='wplc-user-message'>` + picture + ` <strong>Ann O\\'Neil<\/strong>: It\\'s bold \/ 5<\/span><br \/>` + end +
				`<span class='wplc-admin-message'> <strong>admin<\/strong>: Hi \\\"you\\\"<\/span><br \/>` + end +
				`<span class='wplc-user-message'>` + picture + ` <strong>Ann O\\'Neil<\/strong>: C:\\\\temp<\/span><br \/>` + end,
			agents: `<span class='wplc-user-message'>` + picture + `<strong>Ann O\\'Neil<\/strong>: C:\\\\temp<\/span><br \/>` + end,
		},
		"no names": {
			cookie: "ann@example.com",
			news:   `<span class='wplc-admin-message'>Hi \\\"you\\\"<\/span>` + end,
			past: `<span class='chat_time'>Thursday, August 20 2015 10:31 AM<\/span><span class='wplc-user-message'>It\\'s bold \/ 5<\/span><br \/>` + end +
				`<span class='chat_time'><\/span><span class='wplc-admin-message'>Hi \\\"you\\\"<\/span><br \/>` + end +
				`<span class='chat_time'>Sunday, December 20 2015 10:31 AM<\/span><span class='wplc-user-message'>C:\\\\temp<\/span><br \/>` + end,
			agents: `<span class='wplc-user-message'>C:\\\\temp<\/span><br \/>` + end,
		},
	} {
		t.Run(name, func(t *testing.T) {
			site, root := loopSite(t, "5")
			if !tc.named {
				exec(t, root, "DELETE FROM wp_options WHERE option_name = 'WPLC_SETTINGS'")
			}
			s := detect(t, site)
			visitor, agent := page5(t, s, site)
			for fields, want := range map[[2]string]string{
				{"status", "3"}: `"status":3,"data":"` + tc.news + `"}`,
				{"status", "5"}: `"status":"3","data":"` + tc.past + `"}`,
			} {
				l, state := visitor.poll(fields[0], fields[1])
				l.EmailCookie = tc.cookie
				if body := string(ask(t, s, site, l, state, false).Body); !strings.HasSuffix(body, want) {
					t.Errorf("%v: %s\nwant %s", fields, body, want)
				}
			}
			l, state := agent.poll()
			l.EmailCookie = tc.cookie
			if body := string(ask(t, s, site, l, state, false).Body); body != `{"chat_message":"`+tc.agents+`","action":"wplc_new_chat_message"}` {
				t.Errorf("agent: %s\nwant %s", body, tc.agents)
			}
		})
	}
}

func TestVisitorsStatusTablesOf5(t *testing.T) {
	site, root := loopSite(t, "5")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	for _, tc := range []struct{ sent, stored, effects, tail string }{ // tail "": held
		{"5", "5", "beat", ""},
		{"3", "3", "beat", ""},
		{"10", "10", "beat", ""},
		{"9", "9", "beat", ""},
		{"2", "2", "", ""},
		{"0", "0", "0>5", `"status":5`},
		{"5", "0", "", `"status":"0","data":"There is No Answer. Please Try Again Later"`},
		{"5", "7", "7>5", ""},
		{"3", "5", "", ""},
		{"5", "8", "", ""},
		{"5", "12", "", ""},
		{"3", "9", "", `"status":"9"`},
		{"5", "10", "", `"status":"10"`},
		{"5", "3", "", `"status":"3","data":null`},
		{"10", "3", "", `"status":"3","data":null`},
		{"5", "1", "1>8", `"status":8,"data":"Admin has closed and ended the chat"`},
		{"", "0", "", `"status":"0","data":"There is No Answer. Please Try Again Later"`},
	} {
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = ? WHERE id = 1", tc.stored)
		visitor, _ := page5(t, detect(t, site), site)
		a := visitor.once("status", tc.sent, "short_poll", "true")
		_, tail, _ := strings.Cut(strings.TrimSuffix(string(a.Body), "}"), `"cid":"1",`)
		if tail != tc.tail || a.Now != (tc.tail != "") || kinds(a.Effects) != tc.effects {
			t.Errorf("POST %q, DB %q: %s, effects %q", tc.sent, tc.stored, a.Body, kinds(a.Effects))
		}
	}
	visitor := visitorPage(t, detect(t, site), site, 99, "1")
	if a := visitor.once("status", ""); a.Now {
		t.Errorf("no row, no status: %s", a.Body)
	}
}

func TestAnotherTabOf5(t *testing.T) {
	site, root := loopSite(t, "5")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		p := visitorPage(t, s, site, 2, "1440055800002")
		l, state := p.poll("status", "5")
		wantHeld(t, ask(t, s, site, l, state, false))
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET session = '1440055900000' WHERE id = 2")
		time.Sleep(time.Second)
		if a := ask(t, s, site, l, state, false); string(a.Body) != `{"check":false,"wplc_name":"Ann","wplc_email":"a@b.c","cid":"2","status":11}` {
			t.Errorf("%s", a.Body)
		}
		// A page that comes anew is not sent away, though the row is another's.
		wantHeld(t, p.once())
	})
}

func TestAgentsOf5(t *testing.T) {
	site, root := loopSite(t, "5")
	s := detect(t, site)
	_, agent := page5(t, s, site)
	agent.user = 2
	if a := agent.once(); string(a.Body) != securityIssue {
		t.Errorf("no agent: %s", a.Body)
	}
	agent.user = 1
	if a := agent.once("action_2", "wplc_long_poll_check_user_opened_chat"); string(a.Body) != `{"action":"wplc_user_open_chat"}` {
		t.Errorf("opened: %s", a.Body)
	}
	agent.form.Del("action_2")
	if a := agent.once("first_run", "true"); keysOf5(a) != "3" {
		t.Errorf("5.x has no history in its loop: %s", a.Body)
	}
	if a := agent.once(); a.Now {
		t.Errorf("again: %s", a.Body)
	}
	exec(t, root, "INSERT INTO wp_wplc_chat_msgs VALUES (4, 1, 'Ann', 'x', '2015-12-20 10:31:10', 1, 2), (5, 1, 'Ann', 'y', '2015-12-20 10:31:10', 0, 2)")
	if a := agent.once(); keysOf5(a) != "5" {
		t.Errorf("sent by PHP: %v", a.Delivered)
	}
}

func keysOf5(a Answer) string { return strings.Trim(fmt.Sprint(a.Delivered), "[]") }
