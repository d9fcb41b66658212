package wplc

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/wpdb"
)

// readAll decodes the rows of a condition as the tail does.
func readAll(t *testing.T, s *Source, db *testSite, where string, args ...any) []wpdb.Row {
	t.Helper()
	rows, err := db.QueryContext(context.Background(),
		"SELECT "+s.Columns()+" FROM "+s.Table()+" WHERE "+where+" ORDER BY id", args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []wpdb.Row
	for rows.Next() {
		row, err := s.Decode(rows.Scan)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func jsonLines(t *testing.T, rows []wpdb.Row) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		if row.Silent {
			b.WriteString("silent\n")
			continue
		}
		if err := enc.Encode(row.Event); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// golden compares with a file under testdata; the file is written by hand.
func golden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestFixtureOf8(t *testing.T) {
	site, _ := newSite8(t)
	s := detect(t, site)
	golden(t, "fixture-8.jsonl", jsonLines(t, readAll(t, s, site, "TRUE")))
}

func TestRowsOf5(t *testing.T) {
	site, root := newSite(t, "wplc-5.sql")
	exec(t, root, repoFile(t, "wplc", "fixture-5.sql"))
	s := detect(t, site)
	if f := s.Facts(); f.Version != 5 || f.Pro {
		t.Errorf("facts: %+v", f)
	}
	golden(t, "fixture-5.jsonl", jsonLines(t, readAll(t, s, site, "TRUE")))
}

func TestTheFixtureIsWhatThePluginStores(t *testing.T) {
	_, root := newSite8(t)
	for id, want := range map[int]string{
		901: `Hi, it\'s me`,
		903: `Hello \"Ann\"`,
		904: `User is browsing <small><a href='https://shop.example/' target='_BLANK'>https://shop.example/</a></small>`,
		905: `See <a href=\'https://shop.example/a?b=1&c=2\'>here</a> \\ done`,
		906: "Grüße 漢\nline 2",
	} {
		var got string
		if err := root.QueryRow("SELECT msg FROM wp_wplc_chat_msgs WHERE id = ?", id).Scan(&got); err != nil || got != want {
			t.Errorf("%d: %q, %v; want %q", id, got, err, want)
		}
	}
	var name, started string
	if err := root.QueryRow("SELECT name, timestamp FROM wp_wplc_chat_sessions WHERE id = 41").Scan(&name, &started); err != nil ||
		name != `Ann O\'Neil` || started != "2019-03-19 10:29:55" {
		t.Errorf("session 41: %q %q %v", name, started, err)
	}
}

// insert8 adds a message row to an 8.x table.
func insert8(t *testing.T, root *sql.DB, values string) {
	t.Helper()
	exec(t, root, `INSERT INTO wp_wplc_chat_msgs
		(id, chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato) VALUES `+values)
}

func TestRowsThatAreShownToNobody(t *testing.T) {
	site, root := newSite(t, "wplc-8.sql")
	insert8(t, root, `
		(1, 41, 'Kim', 'between agents', '2019-03-19 10:30:00', 0, 1, '', '', 7, 0),
		(2, 41, 'Kim', 'between agents', '2019-03-19 10:30:00', 0, 2, '', '', 0, 8),
		(3, 41, 'x', 'of an unknown kind', '2019-03-19 10:30:00', 0, 4, '', '', 0, 0),
		(4, 41, 'x', 'of an unknown kind', '2019-03-19 10:30:00', 0, -1, '', '', 0, 0),
		(5, 0, 'x', 'of no chat', '2019-03-19 10:30:00', 0, 2, '', '', 0, 0),
		(6, -3, 'x', 'of no chat', '2019-03-19 10:30:00', 0, 2, '', '', 0, 0)`)
	rows := readAll(t, detect(t, site), site, "TRUE")
	if len(rows) != 6 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, row := range rows {
		want := wpdb.Row{ID: int64(i + 1), Silent: true}
		if diff := cmp.Diff(want, row); diff != "" {
			t.Errorf("row %d says something:\n%s", i+1, diff)
		}
	}
}

func TestOddRowsAreReadAllTheSame(t *testing.T) {
	site, root := newSite(t, "wplc-8.sql")
	exec(t, root, "SET SESSION sql_mode=''; INSERT INTO wp_wplc_chat_msgs SET chat_sess_id = 9, originates = 2, msg = 'x'")
	long := strings.Repeat("y", maxStored+5)
	exec(t, root, `INSERT INTO wp_wplc_chat_msgs VALUES
		(2, 9, 'a', ?, '2019-03-31 03:30:00', 7, 1, 'a:1:{s:3:"aid";s:2:"-4";}', 'r1', 0, 0),
		(3, 9, 'a', 'b', '2019-03-31 03:30:00', 0, 1, 'O:8:"stdClass":0:{}', '', 0, 0),
		(4, 9, 'a', 'b', '2019-03-31 03:30:00', 0, 1, 'a:1:{s:3:"aid";d:INF;}', '', 0, 0),
		(5, 9, 'a', 'b', '2019-03-31 03:30:00', 0, 1, 'a:0:{}', '', 0, 0)`, long)
	got := readAll(t, detect(t, site), site, "TRUE")
	if len(got) != 5 {
		t.Fatalf("%d rows", len(got))
	}
	if e := got[0].Event; !e.SentAt.IsZero() || e.Body != "x" || e.Channel != "wplc/9" {
		t.Errorf("a row of defaults: %+v", e)
	}
	if e := got[1].Event; len(e.Body) != maxBody || e.From.ID != 0 || !strings.Contains(string(e.Data), `"truncated":true`) ||
		!strings.Contains(string(e.Data), `"read":false`) || !strings.Contains(string(e.Data), `"rel":"r1"`) {
		t.Errorf("a long text: %d bytes, from %+v, data %s", len(e.Body), e.From, e.Data)
	}
	for i := 2; i < 5; i++ {
		if e := got[i].Event; e.Body != "b" || e.From.ID != 0 || string(e.Data) != `{"originates":1,"read":false}` {
			t.Errorf("row %d: %+v %s", i+1, e.From, e.Data)
		}
	}
}

func TestARowThatCannotBeScanned(t *testing.T) {
	site, _ := newSite8(t)
	broken := errors.New("broken")
	if _, err := detect(t, site).Decode(func(...any) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// An emoji does not fit utf8mb3: what the table holds is what is shown. After a
// conversion to utf8mb4 it arrives whole.
func TestCharacterSets(t *testing.T) {
	site, root := newSite(t, "wplc-8.sql")
	s := detect(t, site)
	exec(t, root, "SET SESSION sql_mode=''; INSERT INTO wp_wplc_chat_msgs SET chat_sess_id = 9, originates = 2, msg = 'a🙂b :smile: 漢'")
	exec(t, root, "ALTER TABLE wp_wplc_chat_msgs CONVERT TO CHARACTER SET utf8mb4")
	exec(t, root, "SET SESSION sql_mode=''; INSERT INTO wp_wplc_chat_msgs SET chat_sess_id = 9, originates = 2, msg = 'a🙂b'")
	got := readAll(t, s, site, "TRUE")
	if got[0].Event.Body != "a?b :smile: 漢" && got[0].Event.Body != "a????b :smile: 漢" {
		t.Errorf("utf8mb3: %q", got[0].Event.Body)
	}
	if got[1].Event.Body != "a🙂b" {
		t.Errorf("utf8mb4: %q", got[1].Event.Body)
	}
}

func TestEncryptedRowsAreReadWithTheSitesKey(t *testing.T) {
	row := `(1, 41, 'Ann', '` + pro(1, "12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba") +
		`', '2019-03-19 10:30:00', 0, 2, '', '', 0, 0)`
	on := `a:1:{s:22:"wplc_enable_encryption";s:1:"1";}`
	for name, tc := range map[string]struct {
		options map[string]string
		body    string
		note    string // part of the sentence for the operator
	}{
		"licence key":   {map[string]string{"wplc_api_key": "0123456789abcdef", "WPLC_ENCRYPT_SETTINGS": on}, "It's secret", ""},
		"generated key": {map[string]string{"wplc_api_key": "", "wp-live-chat-support-pro_key": "0123456789"}, "It's secret", ""},
		"no key":        {map[string]string{"WPLC_ENCRYPT_SETTINGS": on}, "", "has no key"},
		"short key":     {map[string]string{"wplc_api_key": "0123"}, "", "shorter than the 10"},
	} {
		t.Run(name, func(t *testing.T) {
			site, root := newSite(t, "wplc-8.sql")
			for name, value := range tc.options {
				exec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES (?, ?)", name, value)
			}
			insert8(t, root, row)
			s := detect(t, site)
			e := readAll(t, s, site, "TRUE")[0].Event
			if e.Body != tc.body || strings.Contains(string(e.Data), "unreadable") != (tc.body == "") {
				t.Errorf("body %q, data %s", e.Body, e.Data)
			}
			if notes := strings.Join(s.Facts().Notes, "\n"); !strings.Contains(notes, tc.note) || (tc.note == "") != (notes == "") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	s := &Source{}
	for name, tc := range map[string]struct {
		names []string
		where string
		args  []any
	}{
		"one chat":         {[]string{"41"}, "(`chat_sess_id` IN (?) AND `originates` <> 3)", []any{int64(41)}},
		"notes":            {[]string{"41/agent"}, "(`chat_sess_id` IN (?) AND `originates` = 3)", []any{int64(41)}},
		"both":             {[]string{"41/agent", "41", "7"}, "(`chat_sess_id` IN (?,?) AND `originates` <> 3 OR `chat_sess_id` IN (?) AND `originates` = 3)", []any{int64(41), int64(7), int64(41)}},
		"the list":         {[]string{"agents"}, "FALSE", nil},
		"list and chat":    {[]string{"agents", "41"}, "(`chat_sess_id` IN (?) AND `originates` <> 3)", []any{int64(41)}},
		"no names":         {nil, "FALSE", nil},
		"hash":             {[]string{"7f3a9c"}, "FALSE", nil},
		"leading zero":     {[]string{"041"}, "FALSE", nil},
		"zero":             {[]string{"0"}, "FALSE", nil},
		"negative":         {[]string{"-1"}, "FALSE", nil},
		"plus":             {[]string{"+1"}, "FALSE", nil},
		"too large":        {[]string{"99999999999999999999"}, "FALSE", nil},
		"deeper":           {[]string{"41/agent/agent", "41/x", "41/", "/agent"}, "FALSE", nil},
		"SQL":              {[]string{"1) OR (1=1", "1 OR 1"}, "FALSE", nil},
		"list with suffix": {[]string{"agents/agent"}, "FALSE", nil},
	} {
		where, args := s.Filter(tc.names)
		if where != tc.where || !cmp.Equal(args, tc.args) {
			t.Errorf("%s: %s %v, want %s %v", name, where, args, tc.where, tc.args)
		}
	}
}

// A row is read by the filter of its own channel and by no other's.
func TestFilterFindsTheRowsOfAChannel(t *testing.T) {
	site, _ := newSite8(t)
	s := detect(t, site)
	channels := []string{"41", "41/agent", "46", "46/agent", "agents", "901"}
	for _, name := range channels {
		where, args := s.Filter([]string{name})
		got := map[int64]bool{}
		for _, row := range readAll(t, s, site, where, args...) {
			got[row.ID] = true
		}
		for _, row := range readAll(t, s, site, "TRUE") {
			if want := row.Event.Channel == "wplc/"+name; got[row.ID] != want {
				t.Errorf("%s: row %d is read: %v", name, row.ID, got[row.ID])
			}
		}
	}
	where, args := s.Filter(channels)
	if n := len(readAll(t, s, site, where, args...)); n != 8 {
		t.Errorf("all channels: %d rows", n)
	}
}

func TestChannelsPassTheProtocolsOwnTest(t *testing.T) {
	for _, r := range []room{{}, {chat: 41}, {chat: 41, agents: true}} {
		source, name, err := chat.SplitChannel(r.channel())
		if err != nil || source != "wplc" {
			t.Fatalf("%s: %v", r.channel(), err)
		}
		back, ok := parseRoom(name)
		if !ok || back.chat != r.chat || back.agents != (r.agents || r.chat == 0) {
			t.Errorf("%s: %+v", r.channel(), back)
		}
	}
}
