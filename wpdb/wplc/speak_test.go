package wplc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

// whoIs is who somebody is, or why not, in short.
func whoIs(who chat.Party, err error) string {
	if refusal := (*chat.Refusal)(nil); errors.As(err, &refusal) {
		return refusal.Reason
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%s %d %s", who.Kind, who.ID, who.Name)
}

func TestWhoSpeaks(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (7, 'wplc_ma_agent', '1'), (8, 'wplc_ma_agent', '0')")
	s := detect(t, site)
	login := chat.Viewer{UserID: 7}
	cookie := chat.Viewer{Granted: []string{"wplc/41"}}
	page := chat.Viewer{Granted: []string{"wplc/*"}, TokenUser: 7}
	both := chat.Viewer{UserID: 7, Granted: []string{"wplc/41"}}
	for _, tc := range []struct {
		name   string
		v      chat.Viewer
		on, as string
		want   string
	}{
		{"an agent by login", login, "41", "", "agent 7 Admin"},
		{"an agent by the token of a page", page, "41", "", "agent 7 Admin"},
		{"a token's user beyond its grants", chat.Viewer{Granted: []string{"wplc/42"}, TokenUser: 7}, "41", "", "forbidden"},
		{"a token's user who is no agent", chat.Viewer{Granted: []string{"wplc/*"}, TokenUser: 8}, "41", "", "forbidden"},
		{"a grant of all chats", chat.Viewer{Granted: []string{"wplc/*"}}, "41", "", "forbidden"},
		{"a grant of all chats, as a visitor", page, "41", "visitor", "forbidden"},
		{"the visitor", cookie, "41", "", "visitor 0 Ann O'Neil"},
		{"the visitor by name", cookie, "41", "visitor", "visitor 0 Ann O'Neil"},
		{"the visitor as an agent", cookie, "41", "agent", "forbidden"},
		{"another's visitor", cookie, "42", "", "forbidden"},
		{"another's visitor of a chat that does not exist", cookie, "999", "", "forbidden"},
		{"a visitor with a login", chat.Viewer{UserID: 8, Granted: []string{"wplc/41"}}, "41", "", "visitor 0 Ann O'Neil"},
		{"an agent in a chat of their own", both, "41", "", "agent 7 Admin"},
		{"an agent in a chat of their own, as its visitor", both, "41", "visitor", "visitor 0 Ann O'Neil"},
		{"an agent as a visitor of another's", both, "42", "visitor", "forbidden"},
		{"as an agent by login", both, "41", "agent", "agent 7 Admin"},
		{"nobody", chat.Viewer{}, "41", "", "forbidden"},
		{"as somebody else", login, "41", "system", "bad_request"},
		{"no such chat", login, "999", "", "closed"},
		{"notes for agents", login, "41/agent", "", "forbidden"},
		{"the agents' list", login, "agents", "", "forbidden"},
		{"another spelling", login, "041", "", "forbidden"},
		{"a hash", login, "7f3a", "", "forbidden"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := whoIs(s.Speaker(context.Background(), tc.v, tc.on, tc.as)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET name = '' WHERE id = 41")
	if got := whoIs(s.Speaker(context.Background(), cookie, "41", "")); got != "visitor 0 Guest" {
		t.Errorf("a visitor without a name: %s", got)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, v := range map[string]chat.Viewer{"agent": login, "visitor": cookie} {
		if _, err := s.Speaker(ended, v, "41", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("no database, %s: %v", name, err)
		}
	}
}

func TestChatsThatTakeMessages(t *testing.T) {
	site, root := newSite8(t)
	s := detect(t, site)
	v := chat.Viewer{Granted: []string{"wplc/41"}}
	for status := -1; status <= 13; status++ {
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = ? WHERE id = 41", status)
		want := "closed"
		switch status {
		case 2, 3, 10, 12:
			want = "visitor 0 Ann O'Neil"
		}
		before := site.queries.Load()
		if got := whoIs(s.Speaker(context.Background(), v, "41", "")); got != want {
			t.Errorf("status %d: %s, want %s", status, got, want)
		}
		if n := site.queries.Load() - before; n != 1 {
			t.Errorf("status %d: %d queries", status, n)
		}
	}
}

func TestReadersOf5MayOnlyListen(t *testing.T) {
	site, root := newSite(t, "wplc-5.sql")
	exec(t, root, repoFile(t, "wplc", "fixture-5.sql"))
	site.caps = map[string]bool{"7 manage_options": true}
	s := detect(t, site)
	if got := whoIs(s.Speaker(context.Background(), chat.Viewer{UserID: 7}, "1", "")); got != "unsupported" {
		t.Error(got)
	}
	if got := whoIs(s.Listener(context.Background(), chat.Viewer{UserID: 7}, ""), nil); got != "agent 7 Admin" {
		t.Error(got)
	}
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET chat_sess_id = 1, originates = 1, status = id % 2")
	var ids []int64
	for _, row := range readAll(t, s, site, "status = 0") {
		ids = append(ids, row.ID)
	}
	if got, err := s.Unread(context.Background(), "1", chat.Party{Kind: chat.KindVisitor}, ids[len(ids)-1]); err != nil || !cmp.Equal(got, ids) {
		t.Errorf("unread: %v, %v; want %v", got, err, ids)
	}
}

func TestAnAgentsNameInProIsNotKnown(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, `INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (7, 'wplc_ma_agent', '1');
		INSERT INTO wp_options (option_name, option_value) VALUES ('WPLC_PRO_SETTINGS', 'a:0:{}')`)
	s := detect(t, site)
	if got := whoIs(s.Speaker(context.Background(), chat.Viewer{UserID: 7}, "41", "")); got != "agent 7 " {
		t.Error(got)
	}
}

func TestWhoListens(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (7, 'wplc_ma_agent', '1')")
	s := detect(t, site)
	for _, tc := range []struct {
		name, as string
		v        chat.Viewer
		want     string
	}{
		{"an agent by login", "", chat.Viewer{UserID: 7}, "agent 7 Admin"},
		{"an agent by token", "", chat.Viewer{TokenUser: 7, Granted: []string{"wplc/*"}}, "agent 7 Admin"},
		{"a token that grants nothing", "", chat.Viewer{TokenUser: 7}, "visitor 0 "},
		{"an agent as a visitor", "visitor", chat.Viewer{UserID: 7}, "visitor 0 "},
		{"a visitor as an agent", "agent", chat.Viewer{UserID: 9, Granted: []string{"wplc/41"}}, "visitor 0 "},
		{"nobody", "", chat.Viewer{}, "visitor 0 "},
	} {
		if got := whoIs(s.Listener(context.Background(), tc.v, tc.as), nil); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if got := whoIs(s.Listener(ended, chat.Viewer{UserID: 7}, ""), nil); got != "visitor 0 " {
		t.Errorf("no database: %s", got)
	}
}

func TestTextsAreChecked(t *testing.T) {
	s := &Source{}
	for _, tc := range []struct{ name, text, want string }{
		{"plain", "Hello", "Hello"},
		{"white space around", " \r\n\tHello \n", "Hello"},
		{"line ends", "a\r\nb\rc\n\n\td", "a\nb\nc\n\n\td"},
		{"control characters", "a\x00b\x1b[31mc\x7fd\u0085e", "ab[31mcde"},
		{"what markup looks like", `I <3 "you" & <b onclick='x'>me</b> &lt; C:\new`, `I <3 "you" & <b onclick='x'>me</b> &lt; C:\new`},
		{"emoji", "😀👨‍👩‍👧", "😀👨‍👩‍👧"},
		{"nothing", "", "empty"},
		{"nothing that is seen", " \x00\r\n\u00a0", "empty"},
		{"not UTF-8", "a\xffb", "text"},
		{"as long as can be", strings.Repeat("é", maxBody/2), strings.Repeat("é", maxBody/2)},
		{"too long", strings.Repeat("x", maxBody+1), "too_long"},
		{"too long as it is stored", strings.Repeat("<", maxBody/2), "too_long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := s.CheckText(tc.text)
			if err != nil {
				got = whoIs(chat.Party{}, err)
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestReferencesAreTurnedBack(t *testing.T) {
	for stored, want := range map[string]string{
		"plain &amp; &lt; &":            "plain &amp; &lt; &",
		"&#60;b> &#38;amp; C:&#92;new":  `<b> &amp; C:\new`,
		"&#x1f600;&#x20000;&#x10ffff;":  "😀𠀀\U0010ffff",
		"&#38;#60; is typed":            "&#60; is typed",
		"&&#60;&#&#60;":                 "&<&#<",
		"&#62; &#034; &#x3c; &#xffff; ": "&#62; &#034; &#x3c; &#xffff; ", // not ours
		"&#x110000; &#x-1f600; &#x; &#": "&#x110000; &#x-1f600; &#x; &#",
		"&#38":                          "&#38",
		"&#00038;":                      "&#00038;",
	} {
		if got := unreferenced(stored); got != want {
			t.Errorf("%q: %q, want %q", stored, got, want)
		}
		if got := (text{strips: strips8}).message(stored).body; got != want {
			t.Errorf("%q is shown as %q, want %q", stored, got, want)
		}
	}
}

// asStored is holdline_as_html of the companion plugin and WordPress's wp_slash.
func asStored(s string) string {
	var b strings.Builder
	for i, r := range s {
		letter := i+1 < len(s) && (s[i+1] == '#' || s[i+1]|0x20 >= 'a' && s[i+1]|0x20 <= 'z')
		switch {
		case r == '&' && letter, r == '<', r == '\\':
			fmt.Fprintf(&b, "&#%d;", r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, "&#x%x;", r)
		default:
			b.WriteRune(r)
		}
	}
	return addSlashes(b.String())
}

// What was checked is shown as it was checked, whatever takes slashes off.
func FuzzTextsSurviveStorage(f *testing.F) {
	for _, s := range []string{"Hello", `I <3 "it's" \0 \\`, "&#60; &#38;#60; &amp;", "😀 &#x1f600;", "a\r\nb\x00", "&\\#60;", "\xff", "i:5;"} {
		f.Add(s)
	}
	s := &Source{}
	f.Fuzz(func(t *testing.T, typed string) {
		body, err := s.CheckText(typed)
		if err != nil {
			return
		}
		if again, err := s.CheckText(body); again != body || err != nil {
			t.Errorf("%q is checked as %q, then %q, %v", typed, body, again, err)
		}
		stored := asStored(body)
		if !utf8.ValidString(stored) || len(stored) > storedSize(body) {
			t.Errorf("%q is stored as %q, %d bytes foreseen", body, stored, storedSize(body))
		}
		for _, strips := range []int{strips5, strips8, stripsPro8} {
			if got := (text{strips: strips}).message(stored); got.body != body || got.truncated || got.unreadable {
				t.Errorf("%q, stored as %q, is shown as %+v", body, stored, got)
			}
		}
	})
}

func TestClientIDs(t *testing.T) {
	site, root := newSite(t, "wplc-8.sql")
	insert8(t, root, `
		(1, 41, 'Ann', 'x', '2019-03-19 10:30:00', 0, 2, '', 'c0ffee_-01234567', 0, 0),
		(2, 41, 'Kim', 'x', '2019-03-19 10:30:00', 0, 1, '', '1552987861000', 0, 0),
		(3, 41, 'x', 'a note', '2019-03-19 10:30:00', 0, 0, '', 'c0ffee_-01234567', 0, 0),
		(4, 41, 'Ann', 'too short', '2019-03-19 10:30:00', 0, 2, '', '1234567', 0, 0),
		(5, 41, 'Ann', 'not of ours', '2019-03-19 10:30:00', 0, 2, '', '<c0ffee>', 0, 0)`)
	var got []string
	for _, row := range readAll(t, detect(t, site), site, "TRUE") {
		got = append(got, row.Event.PendingKey())
	}
	if d := cmp.Diff([]string{"p/visitor/c0ffee_-01234567", "p/agent/1552987861000", "", "", ""}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSentMessages(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	insert8(t, root, `
		(901, 41, 'Ann', 'before', '2019-03-19 10:30:00', 0, 2, '', 'client-id-0', 0, 0),
		(902, 41, 'Ann', 'x', '2019-03-19 10:30:00', 0, 2, '', 'client-id-1', 0, 0),
		(903, 41, 'Kim', 'x', '2019-03-19 10:30:00', 0, 1, '', 'client-id-2', 0, 0),
		(904, 42, 'Ann', 'x', '2019-03-19 10:30:00', 0, 2, '', 'client-id-3', 0, 0),
		(905, 41, 'Ann', 'x', '2019-03-19 10:30:00', 0, 2, '', 'CLIENT-id-4', 0, 0),
		(906, 41, 'Ann', 'x', '2019-03-19 10:30:00', 1, 2, '', 'client-id-5', 0, 0),
		(907, 41, 'Ann', 'twice', '2019-03-19 10:30:00', 0, 2, '', 'client-id-1', 0, 0)`)
	s := detect(t, site)
	var all []string
	for i := range 7 {
		all = append(all, fmt.Sprint("client-id-", i))
	}
	for _, tc := range []struct {
		name, on, kind string
		ids            []string
		want           map[string]int64
	}{
		{"the visitor's", "41", chat.KindVisitor, all, map[string]int64{"client-id-1": 902, "client-id-5": 906}},
		{"an agent's", "41", chat.KindAgent, all, map[string]int64{"client-id-2": 903}},
		{"none asked for", "41", chat.KindAgent, nil, nil},
		{"somebody else's", "41", chat.KindSystem, all, nil},
		{"on a channel of agents", "41/agent", chat.KindVisitor, all, nil},
		{"on a list", "agents", chat.KindAgent, all, nil},
	} {
		got, err := s.Sent(context.Background(), tc.on, tc.kind, 901, tc.ids)
		delete(got, "CLIENT-id-4") // the column's collation; nobody has asked for it
		if d := cmp.Diff(tc.want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, d)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Sent(ended, "41", chat.KindVisitor, 0, all); !errors.Is(err, context.Canceled) {
		t.Errorf("no database: %v", err)
	}
	wantPrimary(t, "sent", explain(t, root, "SELECT `id`, `rel` FROM wp_wplc_chat_msgs WHERE `id` > ? AND `chat_sess_id` = ?"+
		" AND `originates` = ? AND `rel` IN (?,?) ORDER BY `id`", 901, 41, 2, "client-id-1", "client-id-2"))
}

func TestUnreadOfTheOtherSide(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	insert8(t, root, `
		(901, 41, 'Ann', 'from the visitor', '2019-03-19 10:30:00', 0, 2, '', '', 0, 0),
		(902, 41, 'Kim', 'from an agent', '2019-03-19 10:30:00', 0, 1, '', '', 0, 0),
		(903, 41, 'x', 'to the visitor', '2019-03-19 10:30:00', 0, 0, '', '', 0, 0),
		(904, 41, 'x', 'to agents', '2019-03-19 10:30:00', 0, 3, '', '', 0, 0),
		(905, 41, 'Kim', 'read', '2019-03-19 10:30:00', 1, 1, '', '', 0, 0),
		(906, 42, 'Kim', 'in another chat', '2019-03-19 10:30:00', 0, 1, '', '', 0, 0),
		(907, 41, 'Kim', 'private', '2019-03-19 10:30:00', 0, 1, '', '', 7, 8),
		(908, 41, 'Kim', 'from an agent', '2019-03-19 10:30:00', 0, 1, '', '', 0, 0)`)
	s := detect(t, site)
	visitor, agent := chat.Party{Kind: chat.KindVisitor}, chat.Party{Kind: chat.KindAgent, ID: 7}
	for _, tc := range []struct {
		name   string
		on     string
		reader chat.Party
		upTo   int64
		want   []int64
	}{
		{"a visitor", "41", visitor, 908, []int64{902, 903, 908}},
		{"a visitor who has seen less", "41", visitor, 907, []int64{902, 903}},
		{"an agent", "41", agent, 1 << 40, nil}, // far above what is there: out of the window
		{"an agent on the chat", "41", agent, 2000, []int64{901}},
		{"an agent on the notes", "41/agent", agent, 908, []int64{904}},
		{"a visitor on the notes", "41/agent", visitor, 908, nil},
		{"the agents' list", "agents", agent, 908, nil},
		{"nothing seen", "41", agent, 0, nil},
		{"the lowest number", "41", agent, -1 << 63, nil},
		{"somebody else", "41", chat.Party{Kind: chat.KindSystem}, 908, nil},
	} {
		got, err := s.Unread(context.Background(), tc.on, tc.reader, tc.upTo)
		if err != nil || !cmp.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.name, got, err, tc.want)
		}
	}
	exec(t, root, `INSERT INTO wp_wplc_chat_msgs SELECT 1000 + seq, 41, 'Kim', 'x', '2019-03-19 10:30:00', 0, 1, '', '', 0, 0 FROM seq_1_to_700`)
	got, err := s.Unread(context.Background(), "41", visitor, 1700)
	if err != nil || len(got) != mostUnread || got[0] != 1201 || got[mostUnread-1] != 1700 {
		t.Errorf("%d ids: %v", len(got), err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Unread(ended, "41", visitor, 908); !errors.Is(err, context.Canceled) {
		t.Errorf("no database: %v", err)
	}
}

func TestUnreadReadsABoundedRange(t *testing.T) {
	site, root := bigSite(t)
	s := detect(t, site)
	all, next := handlerReads(t, site, func(t *testing.T) {
		if _, err := s.Unread(context.Background(), "41", chat.Party{Kind: chat.KindVisitor}, manyRows); err != nil {
			t.Fatal(err)
		}
	})
	if all > unreadWindow+20 || next > 20 {
		t.Errorf("%d rows read, %d of them in a row", all, next)
	}
	if _, err := s.openChat(context.Background(), 41); err == nil {
		t.Error("there is a chat 41")
	}
	wantPrimary(t, "unread", explain(t, root, "SELECT `id` FROM wp_wplc_chat_msgs WHERE `id` <= ? AND `id` > ? AND `chat_sess_id` = ? AND `status` = 0"+
		" AND `originates` IN (1,0) AND `afrom` = 0 AND `ato` = 0 ORDER BY `id` DESC LIMIT ?", manyRows, manyRows-unreadWindow, 41, mostUnread))
}
