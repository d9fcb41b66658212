package wplc

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func source8() *Source { return &Source{facts: Facts{Version: 8}} }

func TestRecognise(t *testing.T) {
	for name, tc := range map[string]struct {
		form string
		ok   bool
		cid  int64 // also of forms that PHP has to answer
	}{
		"visitor":                     {"action=wplc_call_to_server_visitor&cid=41&status=3&wplcsession=1552987800001", true, 41},
		"visitor, no status yet":      {"action=wplc_call_to_server_visitor&cid=41&status=", true, 41},
		"visitor, unknown fields":     {"action=wplc_call_to_server_visitor&cid=41&x=1&x=2&wplc_extra_data[a]=1&wplc_extra_data[a]=2", true, 41},
		"leading zeros":               {"action=wplc_call_to_server_visitor&cid=0041&status=3", true, 41},
		"agent":                       {"action=wplc_admin_long_poll_chat&cid=41&chat_status=3&first_run=true", true, 41},
		"dashboard":                   {"action=wplc_admin_long_poll&wplc_update_admin_chat_table=false", true, 0},
		"dashboard with a chat":       {"action=wplc_admin_long_poll&cid=41", true, 0},
		"another action":              {"action=wplc_start_chat&cid=41", false, 0},
		"no action":                   {"cid=41&status=3", false, 0},
		"empty":                       {"", false, 0},
		"capitals":                    {"action=WPLC_call_to_server_visitor&cid=41", false, 0},
		"no chat yet":                 {"action=wplc_call_to_server_visitor&cid=&status=5", false, 0},
		"no cid":                      {"action=wplc_call_to_server_visitor&status=5", false, 0},
		"null":                        {"action=wplc_call_to_server_visitor&cid=null&status=5", false, 0},
		"zero":                        {"action=wplc_call_to_server_visitor&cid=00&status=5", false, 0},
		"an object of JavaScript's":   {"action=wplc_call_to_server_visitor&cid=%5Bobject+Object%5D&status=5", false, 0},
		"hash":                        {"action=wplc_call_to_server_visitor&cid=7f3a9c&status=5", false, 7},
		"hash that begins with none":  {"action=wplc_call_to_server_visitor&cid=f7a9c&status=5", false, 0},
		"agent with a hash":           {"action=wplc_admin_long_poll_chat&cid=7f3a9c", false, 7},
		"blank behind":                {"action=wplc_call_to_server_visitor&cid=41+&status=5", false, 41},
		"plus":                        {"action=wplc_call_to_server_visitor&cid=%2B41&status=5", false, 41},
		"exponent":                    {"action=wplc_call_to_server_visitor&cid=4.1e1&status=5", false, 41},
		"exponent of a hash":          {"action=wplc_call_to_server_visitor&cid=41e&status=5", false, 41},
		"fraction":                    {"action=wplc_call_to_server_visitor&cid=41.5&status=5", false, 0},
		"negative":                    {"action=wplc_call_to_server_visitor&cid=-41&status=5", false, 0},
		"tag within":                  {"action=wplc_call_to_server_visitor&cid=4%3Cb%3E1&status=5", false, 41},
		"percent within":              {"action=wplc_call_to_server_visitor&cid=4%25aa1&status=5", false, 41},
		"SQL":                         {"action=wplc_call_to_server_visitor&cid=41'+OR+1=1&status=5", false, 41},
		"beyond any table":            {"action=wplc_call_to_server_visitor&cid=99999999999999999999&status=5", false, 0},
		"status that is no number":    {"action=wplc_call_to_server_visitor&cid=41&status=3x", false, 41},
		"status with a blank":         {"action=wplc_call_to_server_visitor&cid=41&status=+3", false, 41},
		"negative status":             {"action=wplc_call_to_server_visitor&cid=41&status=-1", false, 41},
		"long session":                {"action=wplc_call_to_server_visitor&cid=41&status=3&wplcsession=" + strings.Repeat("1", 101), false, 41},
		"chat twice":                  {"action=wplc_call_to_server_visitor&cid=7&cid=41&status=3", false, unknownChat},
		"status twice":                {"action=wplc_call_to_server_visitor&cid=7&status=3&status=5", false, unknownChat},
		"chat in an array":            {"action=wplc_call_to_server_visitor&cid=7&cid[]=41&status=3", false, unknownChat},
		"chat with a blank before":    {"action=wplc_call_to_server_visitor&cid=7&+cid=41&status=3", false, unknownChat},
		"chat with NUL":               {"action=wplc_call_to_server_visitor&cid=7&cid%00x=41&status=3", false, unknownChat},
		"a point for an underscore":   {"action=wplc_call_to_server_visitor&cid=7&short.poll=true&status=3", false, unknownChat},
		"a bracket in the short poll": {"action=wplc_call_to_server_visitor&cid=7&short_poll[=true&status=3", false, unknownChat},
	} {
		form, err := url.ParseQuery(tc.form)
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := source8().Recognise(form); ok != tc.ok || l.CID != tc.cid {
			t.Errorf("%s: %v, chat %d", name, ok, l.CID)
		}
	}
}

func TestNodeModeHasNoLoops(t *testing.T) {
	s := &Source{facts: Facts{Version: 8, NodeMode: true}}
	for _, form := range []string{"action=wplc_call_to_server_visitor&cid=41&status=3", "action=wplc_admin_long_poll"} {
		values, _ := url.ParseQuery(form)
		if l, ok := s.Recognise(values); ok || l.Action == "" {
			t.Errorf("%s: %v %+v", form, ok, l)
		}
	}
}

func TestWhatALoopTells(t *testing.T) {
	for form, want := range map[string]Loop{
		"action=wplc_call_to_server_visitor&cid=41&status=3&security=abc":    {CID: 41, Nonce: "abc"},
		"action=wplc_call_to_server_visitor&cid=41&status=5&short_poll=true": {CID: 41, Short: true},
		"action=wplc_call_to_server_visitor&cid=41&status=5&first_run=1":     {CID: 41, Short: true},
		"action=wplc_call_to_server_visitor&cid=41&status=5&first_run=true":  {CID: 41},
		"action=wplc_admin_long_poll_chat&cid=41&first_run=true&security=x":  {CID: 41, Agent: true, Nonce: "x"},
		"action=wplc_admin_long_poll&security=x":                             {Agent: true, Nonce: "x"},
	} {
		values, _ := url.ParseQuery(form)
		l, ok := source8().Recognise(values)
		got := Loop{CID: l.CID, Agent: l.Agent, Nonce: l.Nonce, Short: l.Short}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Loop{}, loopForm{})); !ok || diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
	values, _ := url.ParseQuery("action=wplc_call_to_server_visitor&cid=41&status=5&short_poll=true")
	if l, _ := (&Source{facts: Facts{Version: 5}}).Recognise(values); l.Short {
		t.Error("5.x has no short poll")
	}
}

func TestChannelsAndClients(t *testing.T) {
	for form, want := range map[string]struct {
		channels []string
		client   string
	}{
		"action=wplc_call_to_server_visitor&cid=041&status=3&wplcsession=155": {[]string{"wplc/41"}, "visitor/41/155"},
		"action=wplc_admin_long_poll_chat&cid=41":                             {[]string{"wplc/41", "wplc/41/agent"}, "agent/7/41"},
		"action=wplc_admin_long_poll":                                         {[]string{"wplc/agents"}, ""},
	} {
		values, _ := url.ParseQuery(form)
		l, _ := source8().Recognise(values)
		l.UserID = 7
		if diff := cmp.Diff(want.channels, l.Channels()); diff != "" || l.Client() != want.client {
			t.Errorf("%s: %v %q", form, l.Channels(), l.Client())
		}
		for _, channel := range l.Channels() {
			if _, _, err := chat.SplitChannel(channel); err != nil {
				t.Error(err)
			}
		}
	}
}

// Whatever a browser sends: what is taken for a loop is a chat that exists only
// under this number, and PHP would read no other.
func FuzzRecognise(f *testing.F) {
	for _, seed := range []string{
		"action=wplc_call_to_server_visitor&security=0a1b2c3d4e&cid=41&wplc_name=Ann&wplc_email=ann%40example.com&status=3&wplcsession=1552987800001&wplc_is_mobile=false&wplc_extra_data%5Bobject_switch%5D=1",
		"action=wplc_call_to_server_visitor&cid=41&status=5&wplcsession=1552987899999&short_poll=true&first_run=true",
		"action=wplc_call_to_server_visitor&cid=&status=5",
		"action=wplc_call_to_server_visitor&cid=%5Bobject+Object%5D&status=2",
		"action=wplc_call_to_server_visitor&cid=4.1e1&status=5&cid[]=7",
		"action=wplc_call_to_server_visitor&cid=41&wplc_name=%3Cscript%3E%3C%3F%3E%27%22%5C%00%25%34%31&wplc_email=%ff",
		"action=wplc_admin_long_poll_chat&security=x&cid=41&chat_status=3&first_run=true&msg_from_print=admin",
		"action=wplc_admin_long_poll_chat&cid=41&action_2=wplc_long_poll_check_user_opened_chat",
		"action=wplc_admin_long_poll&wplc_list_visitors_data=false&wplc_update_admin_chat_table=%7B%22visitor_count%22%3A%220%22%7D",
		"action=wplc_start_chat&name=Ann&cid=41", "+cid=1&c.id=2&cid%00=3&a;b=%zz&=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		l, ok := source8().Recognise(form)
		if l.CID < unknownChat || !isLoop(l.Action) && (ok || l.CID != 0 || l.Action != "") {
			t.Fatalf("%+v, %v", l, ok)
		}
		for _, text := range []string{echoed(l.form.name), echoed(l.form.email), l.form.session} {
			if strings.ContainsAny(text, "\r\n\t") || len(jsonText(text)) < 2 {
				t.Fatalf("%q is sent back", text)
			}
		}
		phpPath(form.Get(fieldName)) // of a stranger, too
		if !ok {
			return
		}
		if l.Action != ActionDashboard && (l.CID <= 0 || strings.TrimLeft(l.form.cid, "0") != room{chat: l.CID}.channel()[len("wplc/"):]) {
			t.Fatalf("%+v is of chat %d", l.form, l.CID)
		}
		for key, values := range form {
			if isField(key) && len(values) != 1 {
				t.Fatalf("%s: %q", key, values)
			}
		}
		for _, channel := range l.Channels() {
			if _, _, err := chat.SplitChannel(channel); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestHold(t *testing.T) {
	site, root := newSite(t, "wplc-8.sql")
	s := detect(t, site)
	for settings, want := range map[string]loopTiming{
		"":       {55, 500 * time.Millisecond},
		"a:0:{}": {55, 500 * time.Millisecond},
		"broken": {55, 500 * time.Millisecond},
		`a:3:{s:15:"wplc_iterations";s:2:"20";s:24:"wplc_delay_between_loops";s:7:"1000000";s:26:"wplc_delay_between_updates";i:1;}`: {20, time.Second},
		`a:2:{s:15:"wplc_iterations";i:60;s:24:"wplc_delay_between_loops";i:400000;}`:                                                {60, 400 * time.Millisecond},
		`a:2:{s:15:"wplc_iterations";i:1;s:24:"wplc_delay_between_loops";s:1:"x";}`:                                                  {10, 250 * time.Millisecond},
		`a:2:{s:15:"wplc_iterations";i:999;s:24:"wplc_delay_between_loops";i:99999999;}`:                                             {200, time.Second},
		`a:1:{s:15:"wplc_iterations";i:30;}`:                                                                                         {30, 500 * time.Millisecond},
	} {
		exec(t, root, "DELETE FROM wp_options")
		if settings != "" {
			exec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES ('wplc_advanced_settings', ?)", settings)
		}
		if got, err := s.loopTiming(t.Context()); err != nil || got != want {
			t.Errorf("%s: %v, %v", settings, got, err)
		}
		hold, err := s.Hold(t.Context())
		if err != nil || hold != min(want.pause*time.Duration(want.rounds), maxHold) {
			t.Errorf("%s: %v, %v", settings, hold, err)
		}
	}
}

func TestNative(t *testing.T) {
	insert := func(name, value string) string {
		return "INSERT INTO wp_options (option_name, option_value) VALUES ('" + name + "', '" + value + "')"
	}
	for name, tc := range map[string]struct{ schema, setup, want string }{
		"8.0.25":          {"8", insert("wplc_db_version", "8.0.25"), ""},
		"not known":       {"8", "DO 0", ""},
		"5.0.4":           {"5", insert("wplc_db_version", "5.0.4"), ""},
		"8.1":             {"8", insert("wplc_db_version", "8.1.8"), "8.1.8"},
		"7.x":             {"8", insert("wplc_db_version", "7.1.00"), "7.1.00"},
		"4.x":             {"5", insert("wplc_db_version", "4.4.4"), "4.4.4"},
		"Pro":             {"8", "ALTER TABLE wp_wplc_chat_sessions ADD department_id int NOT NULL", "Pro"},
		"Node":            {"8", insert("WPLC_SETTINGS", `a:1:{s:20:"wplc_use_node_server";s:1:"1";}`), "Node server"},
		"without columns": {"8", "ALTER TABLE wp_wplc_chat_sessions DROP COLUMN session", "`session`"},
	} {
		t.Run(name, func(t *testing.T) {
			site, root := newSite(t, "wplc-"+tc.schema+".sql")
			exec(t, root, tc.setup)
			s := detect(t, site)
			err := s.Native()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v", err)
			}
			_, answerErr := s.Answer(t.Context(), site, &Loop{Action: ActionVisitor, CID: 1}, &LoopState{}, false)
			if (answerErr == nil) != (err == nil) {
				t.Errorf("Answer: %v", answerErr)
			}
			if !slices.Contains([]int{5, 8}, s.Facts().Version) {
				t.Error(s.Facts())
			}
		})
	}
}
