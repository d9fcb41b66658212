package wplc

import (
	"context"
	"errors"
	"strings"
	"testing"

	"holdline/internal/chat"
)

func TestDetect8(t *testing.T) {
	site, _ := newSite8(t)
	s := detect(t, site)
	if f := s.Facts(); f.Version != 8 || f.Pro || f.Encrypted || f.NodeMode || f.Notes != nil {
		t.Errorf("facts: %+v", f)
	}
	if s.Name() != "wplc" || s.Table() != "wp_wplc_chat_msgs" {
		t.Errorf("%s %s", s.Name(), s.Table())
	}
}

func TestDetectOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		option, value        string
		pro, encrypted, node bool
	}{
		"Node mode":        {"WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_server";s:1:"1";}`, false, false, true},
		"Node mode, int":   {"WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_server";i:1;}`, false, false, true},
		"Node mode, bool":  {"WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_server";b:1;}`, false, false, true},
		"Node mode is off": {"WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_server";s:1:"0";}`, false, false, false},
		"damaged":          {"WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_`, false, false, false},
		"Pro":              {"WPLC_PRO_SETTINGS", `a:0:{}`, true, false, false},
		"encryption":       {"WPLC_ENCRYPT_SETTINGS", `a:1:{s:22:"wplc_enable_encryption";s:1:"1";}`, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			site, root := newSite(t, "wplc-8.sql")
			exec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES (?, ?)", tc.option, tc.value)
			f := detect(t, site).Facts()
			if f.Pro != tc.pro || f.Encrypted != tc.encrypted || f.NodeMode != tc.node {
				t.Errorf("%+v", f)
			}
			if said := strings.Contains(strings.Join(f.Notes, "\n"), "Node server"); said != tc.node {
				t.Errorf("notes: %q", f.Notes)
			}
		})
	}
}

func TestDetectDepartments(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "ALTER TABLE wp_wplc_chat_sessions ADD department_id INT NOT NULL DEFAULT 7")
	s := detect(t, site)
	if !s.Facts().Pro {
		t.Error("Pro was not seen")
	}
	if list := status(t, s, site, "agents")["wplc/agents"]; !strings.Contains(list, `"department_id":7`) {
		t.Errorf("list: %s", list)
	}
}

func TestDetectMissingTables(t *testing.T) {
	for name, drop := range map[string]string{
		"messages": "DROP TABLE wp_wplc_chat_msgs",
		"sessions": "DROP TABLE wp_wplc_chat_sessions",
	} {
		site, root := newSite(t, "wplc-8.sql")
		exec(t, root, drop)
		if _, err := Detect(context.Background(), site); !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	site, _ := newSite(t, "wplc-8.sql")
	site.prefix = "other_"
	if _, err := Detect(context.Background(), site); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("another prefix: %v", err)
	}
	site.prefix = "wp_`; DROP"
	if _, err := Detect(context.Background(), site); err == nil || errors.Is(err, ErrNotInstalled) {
		t.Errorf("a prefix that is none: %v", err)
	}
	site.prefix = "wp_"
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Detect(ctx, site); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotInstalled) {
		t.Errorf("no database: %v", err)
	}
}

// narrow replaces the site's user by one with grants on single columns only.
func narrow(t *testing.T, site *testSite, msgs, sessions string) {
	t.Helper()
	var database string
	if err := site.DB.QueryRow("SELECT DATABASE()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	user := "col_" + database
	err := server.Exec(context.Background(), "", "CREATE USER '"+user+"'@'localhost' IDENTIFIED BY '"+user+"';"+
		"GRANT SELECT ("+msgs+") ON "+database+".wp_wplc_chat_msgs TO '"+user+"'@'localhost';"+
		"GRANT SELECT ("+sessions+") ON "+database+".wp_wplc_chat_sessions TO '"+user+"'@'localhost';"+
		"GRANT SELECT (option_name, option_value) ON "+database+".wp_options TO '"+user+"'@'localhost'")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Exec(context.Background(), "", "DROP USER '"+user+"'@'localhost'") })
	site.DB = open(t, user, database)
}

const allMsgs = "id, chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato"

func TestGrantsOnColumnsAreEnough(t *testing.T) {
	site, _ := newSite8(t)
	narrow(t, site, allMsgs, "id, timestamp, name, status, agent_id")
	s := detect(t, site)
	golden(t, "fixture-8.jsonl", jsonLines(t, readAll(t, s, site, "TRUE")))
	events := status(t, s, site, "41", "agents")
	if got := events["wplc/41"]; got != `{"status":3,"state":"active","agent_id":1}` {
		t.Errorf("status: %s", got)
	}
	if list := events["wplc/agents"]; !strings.Contains(list, `"name":"Ann O'Neil"`) || strings.Contains(list, "email") || strings.Contains(list, "url") {
		t.Errorf("list: %s", list)
	}
	if notes := strings.Join(s.Facts().Notes, "\n"); !strings.Contains(notes, "wp_wplc_chat_sessions.email") || !strings.Contains(notes, "wp_wplc_chat_sessions.url") {
		t.Errorf("notes: %q", notes)
	}
}

func TestMissingGrantsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct{ msgs, sessions, want string }{
		"afrom and ato": {"id, chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel", "id", "GRANT SELECT (`afrom`, `ato`) ON `wp_wplc_chat_msgs`"},
		"from":          {"id, chat_sess_id, msg, timestamp, status, originates, other, rel, afrom, ato", "id", "GRANT SELECT (`msgfrom`) ON `wp_wplc_chat_msgs`"},
		"status":        {allMsgs, "id, timestamp, name, agent_id", "GRANT SELECT (`status`) ON `wp_wplc_chat_sessions`"},
	} {
		site, _ := newSite8(t)
		narrow(t, site, tc.msgs, tc.sessions)
		_, err := Detect(context.Background(), site)
		if err == nil || errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMayRead(t *testing.T) {
	site8, root := newSite8(t)
	exec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES"+
		"(1, 'wplc_ma_agent', '1'), (2, 'wplc_ma_agent', ''), (3, 'wplc_ma_agent', '0'), (4, 'other', '1')")
	site8.caps = map[string]bool{"6 manage_options": true, "5 wplc_ma_agent": true}
	site5, root5 := newSite(t, "wplc-5.sql")
	exec(t, root5, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (1, 'wplc_ma_agent', '1')")
	site5.caps = site8.caps

	everything := []string{"41", "46", "999", "41/agent", "agents"}
	user := func(id int64) chat.Viewer { return chat.Viewer{UserID: id} }
	grant := func(channels ...string) chat.Viewer { return chat.Viewer{Granted: channels} }
	for name, tc := range map[string]struct {
		version int
		viewer  chat.Viewer
		reads   []string
	}{
		"nobody":                    {8, chat.Viewer{}, nil},
		"an agent":                  {8, user(1), everything},
		"agent meta empty":          {8, user(2), nil},
		"agent meta 0":              {8, user(3), nil},
		"no meta":                   {8, user(4), nil},
		"8.x: capability alone":     {8, user(5), nil},
		"8.x: an administrator":     {8, user(6), nil},
		"5.x: capability":           {5, user(5), everything},
		"5.x: an administrator":     {5, user(6), everything},
		"5.x: meta alone":           {5, user(1), nil},
		"5.x: nobody":               {5, chat.Viewer{}, nil},
		"negative user":             {8, user(-1), nil},
		"grant of a chat":           {8, grant("wplc/41"), []string{"41"}},
		"grant of its notes":        {8, grant("wplc/41/agent"), []string{"41/agent"}},
		"grant of the list":         {8, grant("wplc/agents"), []string{"agents"}},
		"grant of the source":       {8, grant("wplc/*"), everything},
		"grant of another source":   {8, grant("other/41", "other/*"), nil},
		"grant with another number": {8, grant("wplc/4", "wplc/410", "wplc/041"), nil},
		"grant and no agent":        {8, chat.Viewer{UserID: 4, Granted: []string{"wplc/46"}}, []string{"46"}},
	} {
		t.Run(name, func(t *testing.T) {
			site := site8
			if tc.version == 5 {
				site = site5
			}
			s := detect(t, site)
			for _, channel := range everything {
				want := false
				for _, c := range tc.reads {
					want = want || c == channel
				}
				got, err := s.MayRead(context.Background(), tc.viewer, channel)
				if err != nil || got != want {
					t.Errorf("%s: %v, %v; want %v", channel, got, err, want)
				}
			}
			for _, channel := range []string{"", "0", "041", "-1", "abc", "41/x", "41/agent/agent", "7f3a", "99999999999999999999", "Agents"} {
				if got, err := s.MayRead(context.Background(), tc.viewer, channel); got || err != nil {
					t.Errorf("a name that is no channel, %q: %v, %v", channel, got, err)
				}
			}
		})
	}
}

func TestMayReadIsNoWhenTheDatabaseIsGone(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (1, 'wplc_ma_agent', '1')")
	s := detect(t, site)
	exec(t, root, "DROP TABLE wp_usermeta")
	if got, err := s.MayRead(context.Background(), chat.Viewer{UserID: 1}, "41"); got || err == nil || !strings.Contains(err.Error(), "user 1") {
		t.Errorf("%v, %v", got, err)
	}
	before := site.queries.Load()
	if got, err := s.MayRead(context.Background(), chat.Viewer{Granted: []string{"wplc/41"}}, "41"); !got || err != nil {
		t.Errorf("a grant needs no database: %v, %v", got, err)
	}
	if n := site.queries.Load() - before; n != 0 {
		t.Errorf("a grant took %d queries", n)
	}
}
