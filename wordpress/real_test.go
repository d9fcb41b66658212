package wordpress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"holdline/internal/token"
	"holdline/internal/wpsite"
)

// realSite is a WordPress with the companion plugin and without Holdline.
type realSite struct {
	*wpsite.Site
	client http.Client
}

func TestCompanionInWordPress(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	up, err := wpsite.Up(ctx, wpsite.Options{Holdline: "http://127.0.0.1:1", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	s := &realSite{Site: up}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := up.Down(); err != nil {
			t.Error(err)
		}
	})
	witness := `<?php add_action('wplc_hook_missed_chat', function ($chat) { add_option('missed_' . $chat['cid'], $chat['name']); });
if (isset($_GET['action']) && $_GET['action'] === 'holdline_sync') {
	add_filter('query', function ($sql) {
		file_put_contents(WP_CONTENT_DIR . '/statements', preg_replace('/\s+/', ' ', $sql) . "\n", FILE_APPEND);
		return $sql;
	});
}`
	if err := os.WriteFile(filepath.Join(up.Root, "wp-content", "mu-plugins", "witness.php"), []byte(witness), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("courier", s.courier)
	if err := os.Remove(filepath.Join(up.Root, "wp-content", "statements")); err != nil {
		t.Fatal(err)
	}
	t.Run("beats", s.beats)
	t.Run("adoption", s.adoption)
	t.Run("binding", s.binding)
	t.Run("send", s.send)
	t.Run("history deleted", s.historyDeleted) // the last: nothing is to be adopted afterwards
}

func (s *realSite) exec(t *testing.T, statements string) {
	t.Helper()
	if _, err := s.DB().ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

func (s *realSite) column(t *testing.T, query string) string {
	t.Helper()
	var value string
	if err := s.DB().QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// fixture puts the golden cases' chats back, active just now in the site's zone.
func (s *realSite) fixture(t *testing.T) {
	t.Helper()
	rows, err := os.ReadFile("../testdata/wplc/fixture-8.sql")
	if err != nil {
		t.Fatal(err)
	}
	helsinki, err := time.LoadLocation("Europe/Helsinki")
	if err != nil {
		t.Fatal(err)
	}
	s.exec(t, "DELETE FROM wp_wplc_chat_sessions; DELETE FROM wp_wplc_chat_msgs; SET @now = '"+
		time.Now().In(helsinki).Format(time.DateTime)+"';"+string(rows))
}

// do is a courier's way to the site.
func (s *realSite) do(ctx context.Context, body []byte) (int, []byte, error) {
	return s.call(ctx, SyncAction, body)
}

// call makes a signed call.
func (s *realSite) call(ctx context.Context, action string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.UpstreamURL+"/wp-admin/admin-ajax.php?action="+action, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	keys.SignHeader(r.Header, body, time.Now())
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, MaxSyncBody+1))
	return answer.StatusCode, text, err
}

// carrying runs a courier while f runs. At its end it has sent all.
func (s *realSite) carrying(t *testing.T, f func(c *Courier)) CourierStats {
	t.Helper()
	c := NewCourier(CourierOptions{Do: s.do, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	f(c)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return c.Stats()
}

func (s *realSite) courier(t *testing.T) {
	s.fixture(t)
	s.exec(t, `UPDATE wp_wplc_chat_sessions SET last_active_timestamp = last_active_timestamp - INTERVAL 40 SECOND;
		UPDATE wp_wplc_chat_sessions SET status = 7 WHERE id = 43`)
	active := func(id int) string {
		return s.column(t, "SELECT last_active_timestamp FROM wp_wplc_chat_sessions WHERE id = "+strconv.Itoa(id))
	}
	before := map[int]string{41: active(41), 42: active(42), 44: active(44), 46: active(46)}
	agent, page := "Mozilla/5.0 \"q\"", "https://shop.example/caf%C3%A9/?q=1"
	stats := s.carrying(t, func(c *Courier) {
		hello, err := c.Hello(t.Context())
		if err != nil || hello.Hello.Since != 46 || !hello.Hello.Ages || hello.Strings["admin"] != "Admin" {
			t.Fatalf("hello: %+v, %v", hello, err)
		}
		c.Beat(Beat{41, 3, Visit{Session: "1552987899999", URL: &page, UA: &agent}})
		c.Beat(Beat{46, 3, Visit{Session: "late"}}) // is 10 by now
		c.Move(Transition{45, 1, 8, Visit{Session: "1552987800005"}})
		c.Move(Transition{43, 7, 5, Visit{}})
		c.Move(Transition{44, 12, 12, Visit{}})
		c.Missed(44)
		c.Missed(46) // is not missed
		c.Read(905, 907)
		c.Age()
	})
	if stats.Queued != 0 || stats.Dropped != 0 || stats.Calls["delivered"] < 2 || len(stats.Calls) != 1 {
		t.Errorf("%+v", stats)
	}
	// 42 has waited for 40 s, so that ageing finds it unanswered.
	if got := s.column(t, "SELECT GROUP_CONCAT(id, ':', status, ' ', session ORDER BY id) FROM wp_wplc_chat_sessions"); got !=
		"41:3 1552987899999,42:12 1552987800002,43:5 1552987800003,44:12 1552987800004,45:8 1552987800005,46:10 1552987800006" {
		t.Errorf("chats: %s", got)
	}
	for id, was := range before {
		if isNew := active(id) > was; isNew != (id == 41 || id == 44) {
			t.Errorf("chat %d was active at %s, before at %s", id, active(id), was)
		}
	}
	if got := s.column(t, "SELECT CONCAT(url, ' ', ip) FROM wp_wplc_chat_sessions WHERE id = 41"); got !=
		`https://shop.example/caf/?q=1 a:2:{s:2:"ip";s:0:"";s:10:"user_agent";s:17:"Mozilla/5.0 \"q\"";}` {
		t.Errorf("visit: %s", got)
	}
	if got := s.column(t, "SELECT GROUP_CONCAT(id ORDER BY id) FROM wp_wplc_chat_msgs WHERE status = 0"); got != "904,906,908" {
		t.Errorf("unread: %s", got)
	}
	if got := s.column(t, "SELECT GROUP_CONCAT(option_name, '=', option_value) FROM wp_options WHERE option_name LIKE 'missed%'"); got != "missed_44=Cy" {
		t.Errorf("missed: %s", got)
	}
}

func (s *realSite) adoption(t *testing.T) {
	s.fixture(t)
	s.exec(t, `UPDATE wp_wplc_chat_sessions SET last_active_timestamp = last_active_timestamp - INTERVAL 25 HOUR WHERE id = 43;
		INSERT INTO wp_wplc_chat_sessions SELECT 47, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel
		FROM wp_wplc_chat_sessions WHERE id = 41`)
	// All ask for all, each in a call of its own.
	var asking errgroup.Group
	answers := make([]SyncAnswer, 20)
	for i := range answers {
		asking.Go(func() error {
			body := fmt.Sprintf(`{"call":"adopt %d","adopt":[41,42,41,43,44,45,47,48,"42",-1]}`, i)
			status, text, err := s.do(t.Context(), []byte(body))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("status %d: %s", status, text)
			}
			if err == nil {
				err = json.Unmarshal(text, &answers[i])
			}
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		t.Fatal(err)
	}
	given := map[string]int{}
	for _, a := range answers {
		if len(a.Adopted) != 7 || a.Done.Skipped != 2 {
			t.Errorf("answer %+v", a)
		}
		for chat, yes := range a.Adopted {
			if yes {
				given[chat]++
			}
		}
	}
	// 43 was left alone for a day, 45 is over, 47 is younger than Holdline, 48 is none.
	if d := cmp.Diff(map[string]int{"41": 1, "42": 1, "44": 1}, given); d != "" {
		t.Errorf("given away (-want +got):\n%s", d)
	}
	s.carrying(t, func(c *Courier) {
		for chat, want := range map[int64]bool{46: true, 41: false, 43: false, 47: false} {
			if got, err := c.Adopt(t.Context(), chat); got != want || err != nil {
				t.Errorf("chat %d: %t, %v", chat, got, err)
			}
		}
	})
	s.carrying(t, func(c *Courier) {
		if got, err := c.Adopt(t.Context(), 46); got || err != nil {
			t.Errorf("chat 46 for another courier: %t, %v", got, err)
		}
	})
	if got := s.column(t, "SELECT GROUP_CONCAT(option_name, ' ', autoload ORDER BY option_name) FROM wp_options WHERE option_name LIKE 'holdline%'"); got !=
		"holdline_adopted no,holdline_since no" {
		t.Errorf("options: %s", got)
	}
}

func (s *realSite) binding(t *testing.T) {
	for _, header := range []http.Header{{}, {"X-Holdline-Forwarded": {"1"}, "X-Forwarded-Proto": {"https"}}} {
		form := url.Values{"action": {"wplc_call_to_server_visitor"}, "cid": {""}, "wplc_name": {"Ann"}, "status": {"5"}, "short_poll": {"true"}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.UpstreamURL+"/wp-admin/admin-ajax.php", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header.Clone()
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var told struct {
			CID int `json:"cid"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&told); err != nil || told.CID == 0 {
			t.Fatalf("no chat began: %v", err)
		}
		bound := false
		for _, c := range answer.Cookies() {
			if c.Name == token.BindingCookie {
				b, err := keys.CheckBinding(c.Value, time.Now())
				bound = err == nil && cmp.Equal(b.Channels, []string{"wplc/" + strconv.Itoa(told.CID)}) && c.Secure == (len(header) > 0)
			}
		}
		if !bound {
			t.Errorf("%v: chat %d and the cookies %q", header, told.CID, answer.Header["Set-Cookie"])
		}
	}
}

func (s *realSite) historyDeleted(t *testing.T) {
	s.exec(t, `CREATE TEMPORARY TABLE kept SELECT * FROM wp_wplc_chat_sessions WHERE id = 41;
		TRUNCATE wp_wplc_chat_sessions;
		INSERT INTO wp_wplc_chat_sessions SELECT 1, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel FROM kept;
		DROP TABLE kept`)
	s.carrying(t, func(c *Courier) {
		if hello, err := c.Hello(t.Context()); err != nil || hello.Hello.Since != 0 {
			t.Errorf("hello: %+v, %v", hello.Hello, err)
		}
	})
	for i := range 2 { // asking also without what hello told
		_, text, err := s.do(t.Context(), fmt.Appendf(nil, `{"call":"after %d","adopt":[1]}`, i))
		var a SyncAnswer
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		if d := cmp.Diff(map[string]bool{"1": false}, a.Adopted); d != "" || err != nil {
			t.Errorf("%v, adopted (-want +got):\n%s", err, d)
		}
	}
}
