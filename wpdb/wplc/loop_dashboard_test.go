package wplc

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func dashboardPage(t *testing.T, s *Source, site *testSite) *page {
	return &page{t: t, s: s, site: site, user: 1, form: url.Values{"action": {ActionDashboard}, "wplc_update_admin_chat_table": {"false"}}}
}

// table is the inner list of an answer, and whether it should ring.
func table(t *testing.T, a Answer) (text string, list map[string]json.RawMessage, pending bool) {
	t.Helper()
	var body struct {
		Table   string `json:"wplc_update_admin_chat_table"`
		Pending bool   `json:"pending"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		t.Fatalf("%v: %s", err, a.Body)
	}
	if err := json.Unmarshal([]byte(body.Table), &list); err != nil {
		t.Fatalf("%v: %s", err, body.Table)
	}
	return body.Table, list, body.Pending
}

func TestDashboardEntries(t *testing.T) {
	site, root := loopSite(t, "8")
	const agentOf = `a:2:{s:2:"ip";s:9:"192.0.2.7";s:10:"user_agent";s:7:"Firefox";}`
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET ip = ?, url = 'https://shop.example/Größe' WHERE id = 41", agentOf)
	exec(t, root, `
		UPDATE wp_wplc_chat_sessions SET ip = '0', status = 8, other = 'a:1:{i:0;b:1;}', url = '' WHERE id = 42;
		UPDATE wp_wplc_chat_sessions SET status = 9, other = 'O:8:"stdClass":0:{}', url = 'http:///x', name = '漢</a>' WHERE id = 43;
		UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = 44`)
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		a := dashboardPage(t, s, site).once()
		text, list, pending := table(t, a)
		// The one that waits is not marked unanswered.
		if pending {
			t.Error("it rings")
		}
		for id, want := range map[string][]string{
			"41": {
				`"ip":"<a href='http:\/\/www.ip-adress.com\/ip_tracer\/192.0.2.7' title='Whois for 192.0.2.7' target='_BLANK'>192.0.2.7<\/a>"`,
				`\/images\/firefox_16x16.png' alt='Mozilla Firefox' title='Mozilla Firefox' \/> "`, `"browsing_nice_url":"\/Gr\u00f6\u00dfe"`,
			},
			"42": {`"status":"8","action":"",`, `"ip":"IP Address not recorded"},"other":[true]}`, `web_16x16.png' alt='Other browser'`, `"browsing_nice_url":""`},
			"43": {`"name":"\u6f22<\/a>"`, `"status":"9","action":"",`, `"other":"O:8:\"stdClass\":0:{}"`, `"browsing_nice_url":false`},
			"44": {`>Accept Chat<\/a>"`, `"other":""`},
		} {
			for _, part := range want {
				if !strings.Contains(string(list[id]), part) {
					t.Errorf("%s: no %s in %s", id, part, list[id])
				}
			}
		}
		if !strings.HasSuffix(text, `"ids":{"44":true,"43":true,"41":true,"42":true,"46":true}}`) {
			t.Errorf("%s", text)
		}
	})
}

func TestDashboardURLsAndWords(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	l, state := dashboardPage(t, s, site).poll()
	words := English()
	words.Returning, words.AcceptChat, words.NoAddress = "Wieder da", "Chat annehmen", "Keine IP"
	l.Strings, l.AdminURL, l.PluginURL = &words, "https://shop.example/wp/wp-admin/", "https://cdn.example/wplc/"
	text, _, _ := table(t, ask(t, s, site, l, state, false))
	for _, part := range []string{`"Wieder da"`, `>Chat annehmen<`, `"Keine IP"`, `https:\/\/shop.example\/wp\/wp-admin\/admin.php?page`, `https:\/\/cdn.example\/wplc\/\/images\/`} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s", part)
		}
	}
}

// The dashboard is held as long as nothing looks different, and is asked for
// again when something will.
func TestDashboardChangesByItself(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_sessions WHERE id <> 41; UPDATE wp_wplc_chat_sessions SET timestamp = '2000-01-01 01:57:30'") // 150 s ago: 3 min
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		p := dashboardPage(t, s, site)
		text, _, _ := table(t, p.once())
		l, state := p.poll("wplc_update_admin_chat_table", text)
		a := ask(t, s, site, l, state, false)
		wantHeld(t, a)
		if a.Again != dashboardEvery {
			t.Errorf("again in %v", a.Again)
		}
		time.Sleep(58 * time.Second)
		a = ask(t, s, site, l, state, false)
		wantHeld(t, a)
		if a.Again != 2*time.Second {
			t.Errorf("again in %v", a.Again)
		}
		time.Sleep(a.Again)
		if now, _, _ := table(t, ask(t, s, site, l, state, false)); now != strings.Replace(text, "3 min", "4 min", 1) {
			t.Errorf("%s", now)
		}
		time.Sleep(time.Hour - 150*time.Second - time.Minute - time.Nanosecond)
		_, list, _ := table(t, ask(t, s, site, l, state, false))
		if !strings.Contains(string(list["41"]), `"type":"New"`) {
			t.Errorf("%s", list["41"])
		}
		time.Sleep(time.Nanosecond)
		_, list, _ = table(t, ask(t, s, site, l, state, false))
		if !strings.Contains(string(list["41"]), `"timestamp":"60 min","type":"Returning"`) {
			t.Errorf("%s", list["41"])
		}
	})
}

func TestDashboardIsBounded(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_sessions; INSERT INTO wp_wplc_chat_sessions"+
		" SELECT seq, '2019-03-19 10:00:00', 'V', 'v', '', 5, '1', '', '2019-03-19 10:00:00', 0, '', '' FROM seq_1_to_5100")
	s := detect(t, site)
	if rows, err := s.readVisitors(t.Context(), site); err != nil || len(rows) != maxVisitors {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET other = REPEAT('x', 100000)")
	if rows, err := s.readVisitors(t.Context(), site); err != nil || len(rows) != 1+maxVisitorsSize/(maxOther+2) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestDashboardWithoutAField(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_sessions")
	p := dashboardPage(t, detect(t, site), site)
	p.form.Del("wplc_update_admin_chat_table")
	if a := p.once(); string(a.Body) != `{"old_chat_data":"","wplc_update_admin_chat_table":"{\"visitor_count\":\"0\"}","pending":false,"action":"wplc_update_chat_list"}` {
		t.Errorf("%s", a.Body)
	}
}

func TestDashboardOf5(t *testing.T) {
	site, root := loopSite(t, "5")
	exec(t, root, `INSERT INTO wp_wplc_chat_sessions SELECT id + 2, timestamp + INTERVAL 1 HOUR, name, email, ip, 2, session, url, last_active_timestamp, other FROM wp_wplc_chat_sessions;
		INSERT INTO wp_wplc_chat_sessions SELECT 9, timestamp, name, email, ip, 12, session, url, last_active_timestamp, other FROM wp_wplc_chat_sessions WHERE id = 1`)
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		p := dashboardPage(t, s, site)
		_, list, pending := table(t, p.once())
		const dead = `"action":"<a href=\"javascript:void(0);\" class=\"wplc_second_chat_request button button-primary\" style='cursor:not-allowed' title=\"Get Pro Add-on to accept more chats\" target=\"_BLANK\">Accept Chat<\/a>"`
		for id, part := range map[string]string{
			"1": `>Open Chat<\/a>"`, "2": `>Initiate Chat<\/a>"`, "3": dead, "4": dead,
			"ids": `{"1":true,"2":true,"3":true,"4":true}`,
		} {
			if !strings.Contains(string(list[id]), part) {
				t.Errorf("%s: %s", id, list[id])
			}
		}
		if !pending || list["9"] != nil || list["visitor_count"] != nil {
			t.Errorf("pending %v: %s %s", pending, list["9"], list["visitor_count"])
		}

		// Nobody: the list is false, which the first poll has.
		exec(t, root, "DELETE FROM wp_wplc_chat_sessions")
		wantHeld(t, p.once())
		if a := p.once("wplc_update_admin_chat_table", "{}"); string(a.Body) != `{"old_chat_data":"{}","wplc_update_admin_chat_table":false,"pending":false,"action":"wplc_update_chat_list"}` {
			t.Errorf("%s", a.Body)
		}
		p.user = 2
		wantHeld(t, p.once())
	})
}

// However many agents wait: a scan that began after they asked is theirs.
func TestDashboardsShareTheirScans(t *testing.T) {
	site, _ := loopSite(t, "8")
	s := detect(t, site)
	bubble(t, site, func(t *testing.T) {
		b := boards{turn: make(chan struct{}, 1)}
		b.once.Do(func() {}) // the token comes when all wait
		before := site.queries.Load()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if rows, err := b.read(t.Context(), site, s); err != nil || len(rows) != 5 {
					t.Errorf("%d rows, %v", len(rows), err)
				}
			})
		}
		time.Sleep(time.Nanosecond)
		b.turn <- struct{}{}
		wg.Wait()
		if n := site.queries.Load() - before; n != 1 {
			t.Errorf("%d scans", n)
		}
		// Who comes later gets what is new then.
		if _, err := b.read(t.Context(), site, s); err != nil || site.queries.Load() != before+2 {
			t.Errorf("%d scans, %v", site.queries.Load()-before, err)
		}
		// Who goes away does not wait, and a failure is nobody else's.
		<-b.turn
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.read(ctx, site, s); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.turn <- struct{}{}
		if _, err := b.read(t.Context(), &failing{site, 0}, s); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		if rows, err := b.read(t.Context(), site, s); err != nil || len(rows) != 5 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
	})
}
