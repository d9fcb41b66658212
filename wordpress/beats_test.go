package wordpress

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// beatsOf is a call's body with these heartbeats.
func beatsOf(t *testing.T, call string, beats ...Beat) []byte {
	t.Helper()
	body, err := json.Marshal(Sync{Call: call, Beats: beats})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestHeartbeatsShareStatements has the chats of testdata/site.php: each n has the
// session "sn" and the status 3, but 42 has 10.
func TestHeartbeatsShareStatements(t *testing.T) {
	const (
		look = "SELECT id, status, session, url, ip FROM wp_wplc_chat_sessions WHERE id IN "
		idle = "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = 2019-03-19 10:31:00 WHERE status = "
		own  = `UPDATE wp_wplc_chat_sessions SET {"last_active_timestamp":"2019-03-19 10:31:00",`
	)
	page, agent := ptr("http://example.com/"), ptr("Mozilla")
	tests := []struct {
		name  string
		beats []Beat
		want  []string
		done  string // beats and skipped; a statement changes one row here
	}{
		{"none", nil, nil, "0 0"},
		{
			"nothing new",
			[]Beat{{41, 3, Visit{}}, {42, 10, Visit{}}, {43, 3, Visit{"s43", page, agent, "192.0.2.7"}}},
			[]string{look + "(41,42,43)", idle + "3 AND id IN (41,43)", idle + "10 AND id IN (42)"},
			"2 0",
		},
		{
			"one twice",
			[]Beat{{41, 3, Visit{}}, {41, 3, Visit{Session: "s41"}}},
			[]string{look + "(41)", idle + "3 AND id IN (41)"},
			"1 0",
		},
		{"another status", []Beat{{41, 10, Visit{}}, {42, 3, Visit{Session: "new"}}}, []string{look + "(41,42)"}, "0 0"},
		{"no such chat", []Beat{{49, 3, Visit{Session: "new"}}}, []string{look + "(49)"}, "0 0"},
		{"table cannot be read", []Beat{{50, 3, Visit{}}, {50, 3, Visit{}}}, []string{look + "(50)"}, "0 2"},
		{
			"moved on",
			[]Beat{{41, 3, Visit{URL: page}}, {42, 10, Visit{Session: "s42", URL: ptr("http://example.com/a")}}},
			[]string{look + "(41,42)", own + `"session":"s42","url":"http:\/\/example.com\/a"} WHERE {"id":42,"status":10}`, idle + "3 AND id IN (41)"},
			"2 0",
		},
		{
			"moved on and back",
			[]Beat{{41, 3, Visit{Session: "b"}}, {41, 3, Visit{Session: "s41"}}},
			[]string{look + "(41)", own + `"session":"b"} WHERE {"id":41,"status":3}`, own + `"session":"s41"} WHERE {"id":41,"status":3}`},
			"2 0",
		},
		{
			"moved on and stays",
			[]Beat{{41, 3, Visit{Session: "b"}}, {41, 3, Visit{Session: "b"}}},
			[]string{look + "(41)", own + `"session":"b"} WHERE {"id":41,"status":3}`, idle + "3 AND id IN (41)"},
			"2 0",
		},
		{
			"texts that look like the same number",
			[]Beat{{41, 3, Visit{Session: "1e3"}}, {41, 3, Visit{Session: "1000"}}},
			[]string{look + "(41)", own + `"session":"1e3"} WHERE {"id":41,"status":3}`, own + `"session":"1000"} WHERE {"id":41,"status":3}`},
			"2 0",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nowhere, "8.0.25")
			status, a := s.sync(time.Now(), string(beatsOf(t, "a", tt.beats...)))
			if status != 200 {
				t.Fatalf("status %d, %+v", status, a)
			}
			if done := fmt.Sprint(a.Done.Beats, a.Done.Skipped); done != tt.done {
				t.Errorf("beats and skipped: %s, want %s", done, tt.done)
			}
			if d := cmp.Diff(strings.Join(tt.want, "\n"), strings.Join(s.lines("sql")[1:], "\n")); d != "" {
				t.Errorf("statements (-want +got):\n%s", d)
			}
		})
	}
}

func TestHeartbeatsAreReadInParts(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	beats := make([]Beat, MaxSyncBeats)
	for i := range beats {
		beats[i] = Beat{int64(1001 + i), 3, Visit{}}
	}
	if status, a := s.sync(time.Now(), string(beatsOf(t, "a", beats...))); status != 200 || a.Done.Beats != 2 || a.Done.Skipped != 0 {
		t.Fatalf("status %d, %+v", status, a)
	}
	sql := s.lines("sql")[1:]
	if len(sql) != 4 {
		t.Fatalf("%d statements: %.300q", len(sql), sql)
	}
	for i, first := range []string{"1001", "1001", "1501", "1501"} {
		_, ids, _ := strings.Cut(sql[i], " IN (")
		if !strings.HasPrefix(ids, first+",") || strings.Count(ids, ",") != 499 {
			t.Errorf("statement %d: %s", i, sql[i])
		}
	}
}

// beat makes a sync call, and returns how many rows it changed and what it asked of
// the chats' tables. What WordPress asks of its options differs with the second.
func (s *realSite) beat(t *testing.T, call string, beats ...Beat) (rows int, statements []string) {
	t.Helper()
	status, text, err := s.do(t.Context(), beatsOf(t, call, beats...))
	var a SyncAnswer
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil || status != 200 || a.Done.Skipped != 0 {
		t.Fatalf("%s: %d %s, %v", call, status, text, err)
	}
	file := filepath.Join(s.Root, "wp-content", "statements")
	all, err := os.ReadFile(file)
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for sql := range strings.Lines(string(all)) {
		if strings.Contains(sql, "wplc_chat_") {
			statements = append(statements, sql)
		}
	}
	t.Logf("%s: %d heartbeats, %d statements, %d of them on chats", call, len(beats), strings.Count(string(all), "\n"), len(statements))
	return a.Done.Beats, statements
}

// beats has 300 visitors, first in tables of another character set than the plugin's own.
func (s *realSite) beats(t *testing.T) {
	for _, charset := range []string{"utf8mb4", "utf8mb3"} {
		t.Run(charset, func(t *testing.T) {
			s.fixture(t)
			s.exec(t, "ALTER TABLE wp_wplc_chat_sessions CONVERT TO CHARACTER SET "+charset)
			s.exec(t, `INSERT INTO wp_wplc_chat_sessions
				SELECT 1000 + seq, timestamp, name, email, ip, IF(seq % 2, 3, 10), session, url, last_active_timestamp, agent_id, other, rel
				FROM wp_wplc_chat_sessions, seq_1_to_300 WHERE id = 41`)
			s.beatRounds(t, charset)
		})
	}
}

// beatRounds lets all visitors arrive, stay where they are, and three of them move on.
func (s *realSite) beatRounds(t *testing.T, charset string) {
	page := ptr("https://shop.example/caf%C3%A9/große/?q='a'\\b&c=%d 😀 " + strings.Repeat("ä", 700))
	agent := ptr(`Mozilla/5.0 😀 "q" <b>x</b> ` + strings.Repeat(`\`, 300))
	var all []Beat
	for i := 1; i <= 300; i++ {
		all = append(all, Beat{int64(1000 + i), []int{10, 3}[i%2], Visit{fmt.Sprint("0", i), page, agent, "192.0.2.7"}})
	}
	later := func() {
		s.exec(t, "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = last_active_timestamp - INTERVAL 40 SECOND")
	}
	count := func(statements []string, of string) (n int) {
		for _, sql := range statements {
			if strings.HasPrefix(sql, of) {
				n++
			}
		}
		return n
	}
	const update, look = "UPDATE `wp_wplc_chat_sessions`", "SELECT id, status, session, url, ip FROM wp_wplc_chat_sessions"
	const stamp = "UPDATE wp_wplc_chat_sessions SET last_active_timestamp"
	rows, sql := s.beat(t, charset+" first", all...)
	if n := count(sql, update); rows != 300 || n != 300 {
		t.Errorf("the first heartbeats: %d rows by %d statements", rows, n)
	}

	later()
	rows, one := s.beat(t, charset+" one", all[0])
	if rows != 1 || count(one, look) != 1 || count(one, stamp) != 1 {
		t.Errorf("one idle visitor: %d rows by %q", rows, one)
	}
	later()
	rows, sql = s.beat(t, charset+" idle", all...)
	if rows != 300 || count(sql, look) != 1 || count(sql, stamp) != 2 || len(sql) != len(one)+1 { // of two statuses
		t.Errorf("300 idle visitors: %d rows by %d statements, one by %d: %.300q", rows, len(sql), len(one), sql)
	}

	later()
	moved := slices.Clone(all)
	moved[0].URL = ptr("https://shop.example/b")
	moved[1].UA = ptr("Opera")
	moved[2].Session = "late"
	moved[3].Status = 3                                // is 10
	moved[4] = Beat{1005, 10, Visit{Session: "wrong"}} // is 3
	moved = append(moved, Beat{9999, 3, Visit{}})      // is gone
	rows, sql = s.beat(t, charset+" mixed", moved...)
	if rows != 298 || count(sql, update) != 3 || count(sql, look) != 1 || count(sql, stamp) != 2 {
		t.Errorf("three moved on: %d rows by %d statements: %.300q", rows, len(sql), sql)
	}
	if got := s.column(t, `SELECT GROUP_CONCAT(id ORDER BY id) FROM wp_wplc_chat_sessions
		WHERE id > 1000 AND last_active_timestamp < (SELECT MAX(last_active_timestamp) FROM wp_wplc_chat_sessions) - INTERVAL 30 SECOND`); got != "1004,1005" {
		t.Errorf("left alone: %s", got)
	}
	if got := s.column(t, `SELECT CONCAT_WS(' ', (SELECT url FROM wp_wplc_chat_sessions WHERE id = 1001),
		(SELECT ip FROM wp_wplc_chat_sessions WHERE id = 1002), (SELECT session FROM wp_wplc_chat_sessions WHERE id = 1003),
		(SELECT COUNT(*) FROM wp_wplc_chat_sessions WHERE session = CONCAT('0', id - 1000)))`); got !=
		`https://shop.example/b a:2:{s:2:"ip";s:0:"";s:10:"user_agent";s:5:"Opera";} late 299` {
		t.Errorf("visits: %s", got)
	}
}
