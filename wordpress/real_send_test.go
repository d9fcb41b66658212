package wordpress

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// rude is a plugin of the site's that does what plugins do: on messages with
// certain words it prints, throws, runs into a fatal error, or ends the request.
const rude = `<?php
add_filter('wplc_filter_message_control', function ($text) {
	if (strpos($text, 'exits before') !== false) { echo 'bye'; exit; }
	if (strpos($text, 'throws before') !== false) { throw new RuntimeException('no'); }
	return strpos($text, 'spoils') !== false ? $text . "\xF0\x9F\x98\x80" : $text;
});
add_action('wplc_hook_message_sent', function ($sent) {
	echo 'noise';
	global $wpdb;
	$wpdb->insert($wpdb->options, array('option_name' => uniqid('rude', true), 'option_value' => '')); // another insert_id
	if (strpos($sent['msg'], 'exits after') !== false) { exit; }
	if (strpos($sent['msg'], 'dies after') !== false) { wp_die('enough'); }
	if (strpos($sent['msg'], 'throws after') !== false) { throw new Error('no'); }
	if (strpos($sent['msg'], 'fatal after') !== false) { eval('function wp_die() {}'); }
	if (strpos($sent['msg'], 'closes after') !== false) { wplc_change_chat_status($sent['cid'], 1); }
	if (strpos($sent['msg'], 'memory after') !== false) { str_repeat('x', 1 << 30); }
});
add_action('wplc_hook_message_sent', function ($sent) {
	update_option('witness_user', get_current_user_id());
});
`

// postman carries to the site, and counts its calls.
func (s *realSite) postman() (p *Postman, calls func() int) {
	var mu sync.Mutex
	n := 0
	p = NewPostman(PostmanOptions{Do: func(ctx context.Context, body []byte) (int, []byte, error) {
		mu.Lock()
		n++
		mu.Unlock()
		return s.call(ctx, SendAction, body)
	}})
	return p, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func visitorOf(id int, client, body string) outbox.Message {
	return outbox.Message{
		Channel: fmt.Sprint("wplc/", id), ClientID: client, Body: body,
		From: chat.Party{Kind: chat.KindVisitor}, SentAt: time.Now(), After: 908,
	}
}

func agentIn(id int, client, body string, user int64) outbox.Message {
	m := visitorOf(id, client, body)
	m.From = chat.Party{Kind: chat.KindAgent, ID: user}
	return m
}

// rows are the messages above the fixture's, as "chat originates name rel text".
func (s *realSite) rows(t *testing.T) []string {
	t.Helper()
	rows, err := s.DB().QueryContext(t.Context(), "SELECT CONCAT_WS(' ', chat_sess_id, originates, msgfrom, rel, msg, other) FROM wp_wplc_chat_msgs WHERE id > 908 ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// brief is a fate in a word: "row", a refusal's reason, or "later".
func brief(fates []outbox.Fate) string {
	words := make([]string, len(fates))
	for i, f := range fates {
		switch {
		case f.Refused != nil:
			words[i] = f.Refused.Reason
		case f.ID > 908:
			words[i] = "row"
		default:
			words[i] = "later"
		}
	}
	return strings.Join(words, " ")
}

func (s *realSite) store(t *testing.T, p *Postman, ms ...outbox.Message) []outbox.Fate {
	t.Helper()
	fates, err := p.Store(t.Context(), ms)
	if err != nil || len(fates) != len(ms) {
		t.Fatalf("%d fates, %v", len(fates), err)
	}
	return fates
}

func (s *realSite) send(t *testing.T) {
	plugin := filepath.Join(s.Root, "wp-content", "mu-plugins", "rude.php")
	if err := os.WriteFile(plugin, []byte(rude), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(plugin); err != nil {
			t.Error(err)
		}
	})
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"rows are those of the plugin", s.sendRows},
		{"what cannot be", s.sendRefused},
		{"once each", s.sendOnce},
		{"all at once", s.sendAtOnce},
		{"rude listeners", s.sendAmongTheRude},
		{"ids begin anew", s.sendAfterTruncate},
		{"trouble with the database", s.sendInTrouble},
		{"old versions", s.sendToOld},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.fixture(t)
			s.exec(t, "DELETE FROM wp_options WHERE option_name LIKE 'rude%' OR option_name = 'witness_user'")
			test.run(t)
		})
	}
}

func (s *realSite) sendRows(t *testing.T) {
	s.exec(t, "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = last_active_timestamp - INTERVAL 40 SECOND")
	active := s.column(t, "SELECT last_active_timestamp FROM wp_wplc_chat_sessions WHERE id = 41")
	p, calls := s.postman()
	fates := s.store(
		t, p,
		visitorOf(41, "visitor-1", `I <3 it's "q" & <b onclick='x'>C:\new\0</b> &lt; 😀`),
		agentIn(41, "agent---1", "Grüße 漢\nline 2", 1),
		visitorOf(42, "visitor-1", "the same id in another chat"),
		agentIn(41, "visitor-1", "the same id from the other side", 1),
		visitorOf(41, "VISITOR-1", "the same id in capitals"),
	)
	if brief(fates) != "row row row row row" || calls() != 1 {
		t.Errorf("%s in %d calls", brief(fates), calls())
	}
	if d := cmp.Diff([]string{
		`41 2 Ann O\'Neil visitor-1 I &#60;3 it\'s \"q\" & &#60;b onclick=\'x\'>C:&#92;new&#92;0&#60;/b> &#38;lt; &#x1f600; `,
		`41 1 Admin agent---1 Grüße 漢` + "\n" + `line 2 a:1:{s:3:"aid";i:1;}`,
		`42 2 Bob visitor-1 the same id in another chat `,
		`41 1 Admin visitor-1 the same id from the other side a:1:{s:3:"aid";i:1;}`,
		`41 2 Ann O\'Neil VISITOR-1 the same id in capitals `,
	}, s.rows(t)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if got := s.column(t, "SELECT last_active_timestamp FROM wp_wplc_chat_sessions WHERE id = 41"); got <= active {
		t.Errorf("the chat is as active as before: %s", got)
	}
	if got := s.column(t, "SELECT option_value FROM wp_options WHERE option_name = 'witness_user'"); got != "0" {
		t.Errorf("the visitor's message was recorded as user %s", got)
	}
	if got := s.column(t, "SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE id > 908 AND status = 0 AND afrom = 0 AND ato = 0"); got != "5" {
		t.Errorf("%s rows are unread", got)
	}
}

func (s *realSite) sendRefused(t *testing.T) {
	s.exec(t, `UPDATE wp_wplc_chat_sessions SET status = 12 WHERE id = 42`)
	subscriber := s.column(t, "SELECT ID FROM wp_users WHERE user_login = 'subscriber1'")
	var user int64
	if _, err := fmt.Sscan(subscriber, &user); err != nil {
		t.Fatal(err)
	}
	p, _ := s.postman()
	fates := s.store(
		t, p,
		visitorOf(43, "browsing-", "x"), visitorOf(45, "ended----", "x"), visitorOf(999, "ghost----", "x"),
		agentIn(41, "forbidden", "x", user), agentIn(41, "nobody---", "x", 999), visitorOf(41, "short", "x"),
		visitorOf(41, "blank----", " \n "), visitorOf(41, "spoilt---", "a filter spoils this"),
		visitorOf(42, "missed---", "x"), visitorOf(46, "minimised", "x"), visitorOf(41, "after all", "bad id"),
		visitorOf(41, "afterall-", "x"),
		outbox.Message{Channel: "wplc/agents", ClientID: "agents---", Body: "x", From: chat.Party{Kind: chat.KindVisitor}},
		outbox.Message{Channel: "wplc/41", ClientID: "system---", Body: "x", From: chat.Party{Kind: chat.KindSystem}},
		agentIn(41, "no-user--", "x", 0),
	)
	want := "closed closed closed forbidden forbidden bad_request empty text row row bad_request row bad_request bad_request bad_request"
	if got := brief(fates); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if n := len(s.rows(t)); n != 3 {
		t.Errorf("%d rows", n)
	}
	if got := s.column(t, "SELECT COUNT(*) FROM wp_wplc_chat_sessions"); got != "6" {
		t.Errorf("%s chats: one of them is a ghost", got)
	}
	for name, body := range map[string]string{
		"too many": `{"messages":[` + strings.Repeat("{},", MaxSendMessages) + `{}]}`,
		"too long": `{"messages":[],"x":"` + strings.Repeat("y", MaxSendBody) + `"}`,
	} {
		if status, text, err := s.call(t.Context(), SendAction, []byte(body)); status != 413 || err != nil {
			t.Errorf("%s: %d %s %v", name, status, text, err)
		}
	}
	for body, want := range map[string]string{
		`{}`: `"results":[]`, `{"messages":7}`: `"results":[]`,
		`{"messages":{"a":7,"b":{"channel":["wplc/41"]}}}`: `"results":[{"refused":"bad_request"`,
	} {
		if status, text, err := s.call(t.Context(), SendAction, []byte(body)); status != 200 || !strings.Contains(string(text), want) || err != nil {
			t.Errorf("%s: %d %s %v", body, status, text, err)
		}
	}
}

// A message that is sent again has the row it had, whatever has changed since.
func (s *realSite) sendOnce(t *testing.T) {
	p, _ := s.postman()
	ms := []outbox.Message{visitorOf(41, "visitor-1", "first"), agentIn(41, "agent---1", "second", 1), visitorOf(41, "visitor-2", "third")}
	first := s.store(t, p, ms...)
	s.exec(t, "UPDATE wp_wplc_chat_sessions SET status = 1; UPDATE wp_wplc_chat_msgs SET msg = 'edited' WHERE id > 908;"+
		"CREATE TEMPORARY TABLE agents SELECT * FROM wp_usermeta WHERE meta_key = 'wplc_ma_agent'; DELETE FROM wp_usermeta WHERE meta_key = 'wplc_ma_agent'")
	again := s.store(t, p, append([]outbox.Message{ms[2], ms[2]}, ms...)...)
	s.exec(t, "INSERT INTO wp_usermeta SELECT * FROM agents; DROP TABLE agents")
	if d := cmp.Diff(append([]outbox.Fate{first[2], first[2]}, first...), again); d != "" {
		t.Errorf("the second time (-first +second):\n%s", d)
	}
	if n := len(s.rows(t)); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func (s *realSite) sendAtOnce(t *testing.T) {
	const senders, each = 6, 120
	ms := make([]outbox.Message, each)
	for i := range ms {
		ms[i] = visitorOf(41+i%2, fmt.Sprintf("message-%03d", i), fmt.Sprintf("text %03d", i))
	}
	p, _ := s.postman()
	all := make([][]outbox.Fate, senders)
	var sending sync.WaitGroup
	for i := range all {
		sending.Go(func() {
			for range 20 { // a chat's lock is waited for a second only
				fates, err := p.Store(t.Context(), ms)
				if err != nil {
					t.Error(err)
					return
				}
				if all[i] = fates; !strings.Contains(brief(fates), "later") {
					return
				}
			}
		})
	}
	sending.Wait()
	for _, fates := range all[1:] {
		if d := cmp.Diff(all[0], fates); d != "" {
			t.Errorf("two senders (-first +other):\n%s", d)
		}
	}
	var want [2][]string
	for i := range ms {
		want[i%2] = append(want[i%2], fmt.Sprintf("text %03d", i))
	}
	for i, texts := range want {
		got := s.column(t, fmt.Sprintf("SELECT GROUP_CONCAT(msg ORDER BY id SEPARATOR ',') FROM wp_wplc_chat_msgs WHERE id > 908 AND chat_sess_id = %d", 41+i))
		if d := cmp.Diff(texts, strings.Split(got, ",")); d != "" {
			t.Errorf("chat %d (-want +got):\n%s", 41+i, d)
		}
	}
}

func (s *realSite) sendAmongTheRude(t *testing.T) {
	p, calls := s.postman()
	fates := s.store(
		t, p,
		visitorOf(41, "aaaaaaaa1", "fine"),
		visitorOf(42, "aaaaaaaa2", "throws before"), visitorOf(42, "aaaaaaaa3", "is behind that"),
		visitorOf(41, "aaaaaaaa4", "throws after"), visitorOf(41, "aaaaaaaa5", "exits after"),
		visitorOf(41, "aaaaaaaa6", "dies after"), visitorOf(41, "aaaaaaaa7", "fatal after"),
		visitorOf(41, "aaaaaaaa8", "has no news"),
		visitorOf(46, "aaaaaaaa9", "exits before"), visitorOf(46, "aaaaaaa10", "is behind that"),
		visitorOf(41, "aaaaaaa11", "closes after"), visitorOf(41, "aaaaaaa12", "is too late"),
	)
	if got, want := brief(fates), "row later later row row row row row later later row closed"; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if n := len(s.rows(t)); n != 7 {
		t.Errorf("%d rows: %q", n, s.rows(t))
	}
	if n := calls(); n != 5 { // one more for each that ended its request
		t.Errorf("%d calls", n)
	}
	// Out of memory, PHP throws away what was to be answered.
	hungry := visitorOf(46, "aaaaaaa13", "memory after")
	if fates, err := p.Store(t.Context(), []outbox.Message{hungry}); err == nil {
		t.Errorf("out of memory: %s", brief(fates))
	}
	if got := brief(s.store(t, p, hungry, visitorOf(46, "aaaaaaa14", "is behind that"))); got != "row row" {
		t.Errorf("after that: %s", got)
	}
}

func (s *realSite) sendAfterTruncate(t *testing.T) {
	s.exec(t, "TRUNCATE wp_wplc_chat_msgs")
	p, _ := s.postman()
	m := visitorOf(41, "visitor-1", "first")
	first := s.store(t, p, m)
	again := s.store(t, p, m)
	if first[0].ID != 1 || again[0].ID != 1 {
		t.Errorf("rows %d and %d", first[0].ID, again[0].ID)
	}
}

func (s *realSite) sendInTrouble(t *testing.T) {
	p, _ := s.postman()
	m := visitorOf(41, "visitor-1", "first")
	for name, trouble := range map[string][2]string{
		"no messages": {"RENAME TABLE wp_wplc_chat_msgs TO away", "RENAME TABLE away TO wp_wplc_chat_msgs"},
		"no chats":    {"RENAME TABLE wp_wplc_chat_sessions TO away", "RENAME TABLE away TO wp_wplc_chat_sessions"},
		"no insert": {
			"CREATE TRIGGER refuse BEFORE INSERT ON wp_wplc_chat_msgs FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'disk full'",
			"DROP TRIGGER refuse",
		},
	} {
		s.exec(t, trouble[0])
		if got := brief(s.store(t, p, m)); got != "later" {
			t.Errorf("%s: %s", name, got)
		}
		s.exec(t, trouble[1])
	}
	lock := s.column(t, "SELECT CONCAT('holdline ', MD5(CONCAT(DATABASE(), ' wp_')), ' 41')")
	held, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := held.ExecContext(t.Context(), "SELECT GET_LOCK(?, 10)", lock); err != nil {
		t.Fatal(err)
	}
	if got := brief(s.store(t, p, m, visitorOf(42, "visitor-2", "x"))); got != "later row" {
		t.Errorf("while somebody holds the chat: %s", got)
	}
	if _, err := held.ExecContext(t.Context(), "SELECT RELEASE_LOCK(?)", lock); err != nil {
		t.Fatal(err)
	}
	if got := brief(s.store(t, p, m)); got != "row" {
		t.Errorf("when all is well: %s", got)
	}
}

func (s *realSite) sendToOld(t *testing.T) {
	file := filepath.Join(s.Root, "wp-content", "mu-plugins", "version.php")
	defer os.Remove(file)
	p, _ := s.postman()
	for version, want := range map[string]string{"5.0.4": "unsupported", "": "later", "8.0.01": "row"} {
		text := fmt.Sprintf("<?php add_action('init', function () { global $wplc_version; $wplc_version = '%s'; });", version)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := brief(s.store(t, p, visitorOf(41, "version-"+strings.Map(letters, version), "x"))); got != want {
			t.Errorf("%q: %s, want %s", version, got, want)
		}
		status, a := s.hello(t)
		if status != 200 || a.Hello.Sends != (want == "row") {
			t.Errorf("%q: %d, sends %t", version, status, a.Hello.Sends)
		}
	}
}

func (s *realSite) hello(t *testing.T) (int, SyncAnswer) {
	t.Helper()
	status, text, err := s.do(t.Context(), fmt.Appendf(nil, `{"call":%q}`, rand.Text()))
	var a SyncAnswer
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return status, a
}

func letters(r rune) rune {
	if r == '.' {
		return '-'
	}
	return r
}
