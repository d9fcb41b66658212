package wplc

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// goldenCase is a poll and the answer that the plugin itself gave on WordPress.
// The form and the body are files, NAME.form and NAME.json; an empty body is that
// of a hold that ended.
type goldenCase struct {
	setup     string // SQL behind the fixture
	during    string // SQL in the middle of the hold
	after     time.Duration
	user      int64
	delivered []int64
	effects   []Effect
	forward   bool // WordPress has to answer it
}

const (
	only43 = "DELETE FROM wp_wplc_chat_sessions WHERE id <> 43"
	only42 = "DELETE FROM wp_wplc_chat_sessions WHERE id <> 42"
	nobody = "DELETE FROM wp_wplc_chat_sessions"
)

func beatOf(cid int64, session string, status int64) []Effect {
	return []Effect{{Kind: EffectBeat, CID: cid, Session: session, From: status}}
}

// goldenCases are sections 7.3 to 7.5 of the notes on the plugin's wire format:
// 8.0.25 on WordPress 6.1.9 with PHP 8.2.
func goldenCases() map[string]goldenCase {
	return map[string]goldenCase{
		"V-A": {delivered: []int64{905, 907}, effects: beatOf(41, "1552987800001", 3)},
		// PHP delivers 905 and 907 again with the next poll and marks them then.
		"V-B": {delivered: []int64{905, 907}},
		"V-C": {},
		"V-D": {effects: []Effect{{Kind: EffectMove, CID: 45, Session: "1552987800005", From: 1, To: 8}}},
		"V-E": {delivered: []int64{908}, effects: beatOf(46, "1552987800006", 10)},
		"V-F": {},
		"V-G": {effects: []Effect{{Kind: EffectMissed, CID: 44, Session: "1552987800004", From: 12, Name: "Ann", Email: "ann@example.com"}}},
		"V-H": {},
		"V-I": {
			setup:  "UPDATE wp_wplc_chat_sessions SET id = 1, session = 'A' WHERE id = 41; DELETE FROM wp_wplc_chat_msgs",
			during: "UPDATE wp_wplc_chat_sessions SET session = 'B' WHERE id = 1",
			after:  500 * time.Millisecond, effects: beatOf(1, "A", 3),
		},
		"V-J": {},
		"V-K": {forward: true},
		"V-L": {
			setup:  "UPDATE wp_wplc_chat_sessions SET status = 8 WHERE id = 43",
			during: "UPDATE wp_wplc_chat_sessions SET status = 3 WHERE id = 43",
			after:  2 * time.Second,
		},
		"V-M": {effects: beatOf(43, "1552987800003", 5)},
		"V-N": {setup: "UPDATE wp_wplc_chat_msgs SET status = 1", effects: beatOf(41, "1552987800001", 3)},

		"A-A":         {user: 1, delivered: []int64{904, 906}},
		"A-B":         {user: 1, delivered: []int64{904, 906}},
		"A-C":         {user: 1},
		"A-D":         {user: 1, delivered: []int64{904, 906}},
		"A-E":         {user: 1},
		"A-E-notes":   {user: 1, setup: "UPDATE wp_wplc_chat_msgs SET chat_sess_id = 42 WHERE originates = 0"},
		"A-F":         {user: 2},
		"A-F-nothing": {user: 1, setup: "UPDATE wp_wplc_chat_msgs SET status = 1"},

		"D-A": {user: 1},
		"D-B": {user: 1, setup: only43},
		"D-C": {user: 1, setup: only42},
		"D-D": {user: 1, setup: nobody},
		"D-E": {user: 1, setup: nobody},
		// Younger by a little, or a minute would end within the hold.
		"D-E-same": {user: 1, setup: "UPDATE wp_wplc_chat_sessions SET timestamp = timestamp + INTERVAL 5 SECOND WHERE id = 41"},
		"D-F":      {user: 2},
	}
}

// goldenCases5 are those of section 8: 5.0.4 on the same.
func goldenCases5() map[string]goldenCase {
	status := func(n string) string { return "UPDATE wp_wplc_chat_sessions SET status = " + n + " WHERE id = 1;" }
	const noThird = "DELETE FROM wp_wplc_chat_msgs WHERE id = 3;"
	const session = "1440055800001"
	return map[string]goldenCase{
		"5-V-first-contact": {forward: true},
		"5-V-POST-5-DB-2":   {setup: status("2")},
		"5-V-POST-2-DB-3":   {},
		"5-V-POST-3-DB-3":   {delivered: []int64{2}, effects: beatOf(1, session, 3)},
		"5-V-POST-3-DB-10":  {setup: status("10")},
		"5-V-POST-3-DB-1":   {setup: status("1"), effects: []Effect{{Kind: EffectMove, CID: 1, Session: session, From: 1, To: 8}}},
		"5-V-POST-2-DB-0":   {setup: status("0")},
		"5-V-POST-0-DB-0":   {setup: status("0"), effects: []Effect{{Kind: EffectMove, CID: 1, Session: session, From: 0, To: 5}}},
		"5-V-unknown-cid":   {},
		"5-V-POST-5-DB-3":   {setup: noThird, delivered: []int64{2}},
		"5-A-message":       {user: 1, setup: noThird + "UPDATE wp_wplc_chat_msgs SET status = 0", delivered: []int64{1}},
		"5-A-status":        {user: 1, setup: status("10") + "UPDATE wp_wplc_chat_msgs SET status = 1"},
		"5-D": {user: 1, setup: status("2") + `DELETE FROM wp_wplc_chat_sessions WHERE id <> 1;
			UPDATE wp_wplc_chat_sessions SET timestamp = '2000-01-01 02:00:00',
			ip = 'a:2:{s:2:"ip";s:9:"127.0.0.1";s:10:"user_agent";s:44:"Mozilla/5.0 (X11; Linux x86_64) Firefox/40.0";}'`},
	}
}

// bubbleNow is what a clock in Helsinki shows when a synctest bubble begins.
const bubbleNow = "SET @now = '2000-01-01 02:00:00'; "

// loopSite has the fixture's chats, an agent (user 1) and a user who is none (2).
func loopSite(t *testing.T, version string) (*testSite, *sql.DB) {
	t.Helper()
	site, root := newSite(t, "wplc-"+version+".sql")
	exec(t, root, bubbleNow+repoFile(t, "wplc", "fixture-"+version+".sql"))
	exec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (1, 'wplc_ma_agent', '1')")
	site.caps = map[string]bool{"1 wplc_ma_agent": true}
	home := "http://127.0.0.1:2808" + map[string]string{"8": "0", "5": "1"}[version]
	exec(t, root, `INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', ?), ('WPLC_SETTINGS', 'a:1:{s:17:"wplc_display_name";s:1:"1";}')`, home)
	return site, root
}

func goldenFile(t *testing.T, name string) string { return repoFile(t, "wplc", "golden", name) }

func formOf(t *testing.T, text string) url.Values {
	t.Helper()
	form, err := url.ParseQuery(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// ask answers a loop and fails on errors.
func ask(t *testing.T, s *Source, site *testSite, l *Loop, state *LoopState, final bool) Answer {
	t.Helper()
	answer, err := s.Answer(context.Background(), site, l, state, final)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (c goldenCase) run(t *testing.T, version, name string) {
	site, root := loopSite(t, version)
	if c.setup != "" {
		exec(t, root, c.setup)
	}
	body := goldenFile(t, name+".json")
	s := detect(t, site)
	l, ok := s.Recognise(formOf(t, goldenFile(t, name+".form")))
	if ok == c.forward || c.forward && l.CID != 0 {
		t.Fatalf("recognised: %v, chat %d", ok, l.CID)
	}
	if c.forward {
		return
	}
	l.UserID = c.user
	bubble(t, site, func(t *testing.T) {
		state := &LoopState{}
		answer := ask(t, s, site, &l, state, false)
		effects := answer.Effects
		if answer.Hold != 27500*time.Millisecond {
			t.Errorf("hold %v", answer.Hold)
		}
		switch {
		case c.during != "":
			wantHeld(t, answer)
			exec(t, root, c.during)
			time.Sleep(c.after)
			answer = ask(t, s, site, &l, state, false)
			effects = append(effects, answer.Effects...)
		case body == "":
			wantHeld(t, answer)
			time.Sleep(answer.Hold)
			answer = ask(t, s, site, &l, state, true)
			effects = append(effects, answer.Effects...)
		}
		if !answer.Now {
			t.Error("held")
		}
		if diff := cmp.Diff(body, string(answer.Body)); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(c.delivered, answer.Delivered); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(c.effects, effects); diff != "" {
			t.Errorf("effects (-want +got):\n%s", diff)
		}
	})
}

func wantHeld(t *testing.T, answer Answer) {
	t.Helper()
	if answer.Now || answer.Body != nil || answer.Delivered != nil {
		t.Fatalf("answered at once: %s %v", answer.Body, answer.Delivered)
	}
}

// The plugin's own answers, byte for byte. Every file is of a case that ran.
func TestLoopsAnswerAsThePlugin(t *testing.T) {
	var ran []string
	for version, cases := range map[string]map[string]goldenCase{"8": goldenCases(), "5": goldenCases5()} {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) { c.run(t, version, name) })
			ran = append(ran, name)
		}
	}
	var there []string
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "wplc", "golden", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		there = append(there, strings.TrimSuffix(filepath.Base(file), ".json"))
		if _, err := os.Stat(strings.TrimSuffix(file, "json") + "form"); errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has no form", file)
		}
	}
	slices.Sort(ran)
	slices.Sort(there)
	if diff := cmp.Diff(there, ran); diff != "" || len(ran) != 42 {
		t.Errorf("%d cases ran (-files +ran):\n%s", len(ran), diff)
	}
	t.Logf("%d golden cases: %s", len(ran), strings.Join(ran, " "))
}
