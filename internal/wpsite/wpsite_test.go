package wpsite_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdline/internal/wpsite"
)

// The tests share one site and come in the order of this file: a fresh site's first
// visitor, the golden answers, held loops, Holdline in the path, and the end.
func TestSite(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	site, err := wpsite.Up(ctx, wpsite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	down := false
	t.Cleanup(func() {
		if !down {
			site.Down()
		}
	})
	s := &suite{ctx: ctx, site: site}
	t.Cleanup(s.client.CloseIdleConnections)
	t.Run("first visitor", s.firstVisitor)
	t.Run("pages", s.pages)
	t.Run("database user", s.databaseUser)
	t.Run("agent", s.agent)
	t.Run("golden answers", s.golden)
	t.Run("conversation", s.conversation)
	t.Run("held loop is answered", s.heldLoop)
	t.Run("held loop moves to another tab", s.otherTab)
	t.Run("hold ends empty", s.emptyHold)
	t.Run("ageing", s.ageing)
	t.Run("Holdline in the path", s.holdline)
	t.Run("servers are killed and start again", s.killed)
	down = t.Run("down", s.down)
}

func (s *suite) killed(t *testing.T) {
	for _, server := range []string{"mariadbd", "php-fpm", "nginx", "apache2"} {
		if err := s.site.Kill(s.ctx, server); err != nil {
			t.Fatal(err)
		}
		front := s.site.URL
		if server == "apache2" {
			front = s.site.ApacheURL
		}
		if resp, err := s.client.Get(front + "/shop/"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("the site answers without %s", server)
			}
		}
		if err := s.site.Start(s.ctx, server); err != nil {
			t.Fatal(err)
		}
		if resp, _ := s.do(t, http.MethodGet, front+"/shop/", "", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("with %s again the site answers %s", server, resp.Status)
		}
	}
	if err := s.site.Kill(s.ctx, "nobody"); err == nil {
		t.Error("a server that there is not was killed")
	}
}

func (s *suite) firstVisitor(t *testing.T) {
	body := s.ajax(t, "action=wplc_call_to_server_visitor&cid=&wplc_name=Ann&wplc_email=ann@example.com&status=5&wplcsession=1552987800001&short_poll=true")
	if want := `{"check":true,"debug":"","cid":1,"status":"5","wplc_name":"Ann","wplc_email":"ann@example.com"}`; body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	got := s.column(t, "SELECT CONCAT_WS('|', id, name, email, status, session, url, ip, other) FROM wp_wplc_chat_sessions")
	want := `1|Ann|ann@example.com|5|1552987800001|https://shop.example/a|` +
		`a:2:{s:2:"ip";s:0:"";s:10:"user_agent";s:22:"Mozilla/5.0 Chrome/73.";}|` +
		`a:2:{s:9:"user_type";i:1;s:14:"user_is_mobile";b:0;}`
	if got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
}

func (s *suite) pages(t *testing.T) {
	for _, front := range []string{s.site.URL, s.site.ApacheURL} {
		for _, path := range []string{"/", "/shop/"} {
			resp, body := s.do(t, http.MethodGet, front+path, "", "")
			loops := fmt.Sprintf("var wplc_ajaxurl = %q", front+"/wp-admin/admin-ajax.php")
			if resp.StatusCode != http.StatusOK || !strings.Contains(strings.ReplaceAll(body, `\/`, "/"), loops) {
				t.Errorf("%s%s: %s, without %s", front, path, resp.Status, loops)
			}
			for _, script := range regexp.MustCompile(`src='([^']*(?:jquery|testchat)[^']*)'`).FindAllStringSubmatch(body, -1) {
				if resp, _ := s.do(t, http.MethodGet, script[1], "", ""); resp.StatusCode != http.StatusOK || !strings.HasPrefix(script[1], front) {
					t.Errorf("%s%s has the script %s: %s", front, path, script[1], resp.Status)
				}
			}
		}
	}
}

func (s *suite) databaseUser(t *testing.T) {
	db, err := s.site.OpenAs(s.site.HoldlineUser, s.site.HoldlinePassword)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var id int
	if err := db.QueryRowContext(s.ctx, "SELECT id FROM wp_wplc_chat_sessions").Scan(&id); err != nil {
		t.Errorf("Holdline's user cannot read: %v", err)
	}
	if _, err := db.ExecContext(s.ctx, "UPDATE wp_wplc_chat_sessions SET status = 5"); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("Holdline's user writes: %v", err)
	}
}

var nonceInPage = regexp.MustCompile(`var wplc_ajax_nonce = "([^"]+)"`)

func (s *suite) agent(t *testing.T) {
	for _, user := range []string{"subscriber1", "agent1", "admin"} {
		cookie, err := s.site.Login(s.ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		resp, body := s.do(t, http.MethodGet, s.site.URL+"/wp-admin/admin.php?page=wplivechat-menu", cookie, "")
		nonce := nonceInPage.FindStringSubmatch(body)
		if user == "subscriber1" {
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("a subscriber sees the agents' page: %s", resp.Status)
			}
			continue
		}
		if nonce == nil {
			t.Fatalf("%s sees no agents' page: %s", user, resp.Status)
		}
		s.cookie, s.nonce = cookie, nonce[1]
		apache, _ := s.do(t, http.MethodGet, s.site.ApacheURL+"/wp-admin/admin.php?page=wplivechat-menu", cookie, "")
		if apache.StatusCode != http.StatusOK {
			t.Errorf("%s's login is not good behind Apache: %s", user, apache.Status)
		}
	}
	if _, err := s.site.Login(s.ctx, "nobody"); err == nil {
		t.Error("a user who is not there logged in")
	}
	s.refusals(t)
}

func (s *suite) refusals(t *testing.T) {
	subscriber, err := s.site.Login(s.ctx, "subscriber1")
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.site.PHP(s.ctx, `<?php echo get_current_user_id(), " ", wp_timezone_string();`)
	if err != nil || out != "0 Europe/Helsinki" {
		t.Errorf("PHP in WordPress: %q, %v", out, err)
	}
	for _, tt := range []struct {
		name, cookie, form string
		status             int
		body               string
	}{
		{"logged out", "", "action=wplc_admin_long_poll", 400, "0"},
		{"bad nonce", s.cookie, "action=wplc_admin_long_poll&security=x", 403, "-1"},
		{"no agent, no nonce", subscriber, "action=wplc_admin_long_poll_chat", 403, "-1"},
		{"unknown action", "", "action=nothing_of_ours", 400, "0"},
		{"arrays for texts", "", "action=wplc_user_send_msg&msg[]=x&cid[]=1", 200, "sent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := s.do(t, http.MethodPost, s.site.URL+"/wp-admin/admin-ajax.php", tt.cookie, tt.form)
			if resp.StatusCode != tt.status || body != tt.body {
				t.Errorf("%s %q, want %d %q", resp.Status, body, tt.status, tt.body)
			}
		})
	}
}

func (s *suite) golden(t *testing.T) {
	file, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(s.site.URL, "http://")
	text := strings.NewReplacer("127.0.0.1:28080", host, "127.0.0.1%3A28080", url.QueryEscape(host)).Replace(string(file))
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n")[1:] {
		lines := strings.Split(paragraph, "\n")
		if len(lines) != 4 {
			t.Fatalf("golden.txt has a case of %d lines: %s", len(lines), lines[0])
		}
		t.Run(lines[0], func(t *testing.T) {
			s.fixture(t)
			if lines[1] != "-" {
				s.exec(t, lines[1])
			}
			if body := s.ajax(t, lines[2]); body != lines[3] {
				t.Errorf("got  %s\nwant %s", body, lines[3])
			}
		})
	}
}

// conversation goes through the one-shots of both sides and looks at the rows.
func (s *suite) conversation(t *testing.T) {
	s.exec(t, "TRUNCATE wp_wplc_chat_sessions; TRUNCATE wp_wplc_chat_msgs")
	status := func() string { return s.column(t, "SELECT status FROM wp_wplc_chat_sessions WHERE id = 1") }
	steps := []struct{ name, form, answer, status string }{
		{"visitor arrives", "action=wplc_call_to_server_visitor&cid=&status=5&short_poll=true", `{"check":true,"debug":"","cid":1,"status":"5","wplc_name":"Guest","wplc_email":"no email set"}`, "5"},
		{"start without a name", "action=wplc_start_chat&cid=1&name=&email=a@example.com", "error2", "5"},
		{"start", "action=wplc_start_chat&cid=1&name=Ann&email=a@example.com&wplcsession=7", "1", "2"},
		{"agent is there", "action=wplc_admin_set_transient", "", "2"},
		{"accept", "action=wplc_admin_accept_chat&cid=1", "", "3"},
		{"visitor writes", "action=wplc_user_send_msg&cid=1&msg=It's+%3Cb%3Ebold%3C/b%3E", "sent", "3"},
		{"agent writes", "action=wplc_admin_send_msg&cid=1&msg=Yes", "sent", "3"},
		{"minimise", "action=wplc_user_minimize_chat&cid=1", "", "10"},
		{"maximise", "action=wplc_user_maximize_chat&cid=1&chat_status=3", "", "3"},
		{"visitor ends", "action=wplc_user_close_chat&cid=1&status=3", "", "8"},
		{"agent closes", "action=wplc_admin_close_chat&cid=1", "done", "1"},
		{"visitor hears of it", "action=wplc_call_to_server_visitor&cid=1&status=3", `{"check":true,"debug":" Doesnt match 1 3","aname":"Admin","wplc_name":"","wplc_email":"","cid":"1","aid":"1","status":8,"data":{"9999":{"msg":"Admin has closed and ended the chat"}}}`, "8"},
	}
	for _, step := range steps {
		if body := s.ajax(t, step.form); body != step.answer {
			t.Errorf("%s: got %q, want %q", step.name, body, step.answer)
		}
		if got := status(); got != step.status {
			t.Errorf("%s: status %s, want %s", step.name, got, step.status)
		}
	}
	got := s.column(t, "SELECT GROUP_CONCAT(CONCAT_WS('|', chat_sess_id, msgfrom, msg, status, originates, other) ORDER BY id SEPARATOR '\n') FROM wp_wplc_chat_msgs")
	if want := `1|Ann|It\'s bold|0|2|` + "\n" + `1|Admin|Yes|0|1|a:1:{s:3:"aid";i:1;}`; got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
	for token, want := range map[string]string{"wrong": "8", s.column(t, "SELECT option_value FROM wp_options WHERE option_name = 'wplc_api_secret_token'"): "1"} {
		s.exec(t, "UPDATE wp_wplc_chat_sessions SET status = 8")
		s.do(t, http.MethodPost, s.site.URL+"/wp-json/wp_live_chat_support/v1/end_chat", "", "chat_id=1&token="+token)
		if got := status(); got != want {
			t.Errorf("End Chat with the token %s: status %s, want %s", token, got, want)
		}
	}
	if box := s.ajax(t, "action=wplc_get_chat_box&cid=1"); !strings.Contains(box, `"online":true,"cid":"1","type":"returning"`) {
		t.Errorf("the box %s", box)
	}
	if page, _ := s.do(t, http.MethodGet, s.site.URL+"/wp-admin/admin.php?page=wplivechat-menu&action=ac&cid=1", s.cookie, ""); page.StatusCode != http.StatusOK {
		t.Errorf("the chat's window: %s", page.Status)
	}
	if got := s.column(t, "SELECT msg FROM wp_wplc_chat_msgs WHERE originates = 0"); got != "admin has joined the chat." {
		t.Errorf("the note of the agent's coming: %q", got)
	}
}

func (s *suite) heldLoop(t *testing.T) {
	s.fixture(t)
	s.exec(t, "UPDATE wp_wplc_chat_msgs SET status = 1")
	answer := s.hold(t, "action=wplc_call_to_server_visitor&cid=41&status=3&wplcsession=1")
	s.ajax(t, "action=wplc_admin_send_msg&cid=41&msg=That's+it")
	got := regexp.MustCompile(`"(\d+)":\{"msg":"That's it","originates":1,"other":\{"aid":1,"datetime":\d+,"datetimeUTC":\d+\}\}\}\}$`).FindStringSubmatch(<-answer)
	if got == nil {
		t.Fatal("the held loop did not tell the agent's message")
	}
	if status := s.column(t, "SELECT status FROM wp_wplc_chat_msgs WHERE id = "+got[1]); status != "1" {
		t.Errorf("the message told has status %s", status)
	}
	if beat := s.column(t, "SELECT CONCAT(session, ' ', url) FROM wp_wplc_chat_sessions WHERE id = 41"); beat != "1 https://shop.example/a" {
		t.Errorf("the heartbeat wrote %q", beat)
	}
}

func (s *suite) otherTab(t *testing.T) {
	s.fixture(t)
	s.exec(t, "UPDATE wp_wplc_chat_msgs SET status = 1")
	answer := s.hold(t, "action=wplc_call_to_server_visitor&cid=41&status=3&wplcsession=A&wplc_name=Ann&wplc_email=ann@example.com")
	for s.column(t, "SELECT session FROM wp_wplc_chat_sessions WHERE id = 41") != "A" {
	}
	s.exec(t, "UPDATE wp_wplc_chat_sessions SET session = 'B' WHERE id = 41")
	want := `{"check":false,"debug":"","aname":"Admin","wplc_name":"Ann","wplc_email":"ann@example.com","cid":"41","aid":"41","status":11}`
	if got := <-answer; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func (s *suite) emptyHold(t *testing.T) {
	s.fixture(t)
	const short = `<?php update_option("wplc_advanced_settings", array("wplc_iterations" => 1, "wplc_delay_between_loops" => 1));`
	if _, err := s.site.PHP(s.ctx, short); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{
		"action=wplc_call_to_server_visitor&cid=43&status=5",
		"action=wplc_admin_long_poll_chat&cid=44&chat_status=12&first_run=false",
	} {
		if body := s.ajax(t, form); body != "" {
			t.Errorf("%s: %q, want nothing", form, body)
		}
	}
	if _, err := s.site.PHP(s.ctx, `<?php delete_option("wplc_advanced_settings");`); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) ageing(t *testing.T) {
	s.fixture(t)
	s.exec(t, "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = last_active_timestamp - INTERVAL 60 SECOND")
	if _, err := s.site.PHP(s.ctx, "<?php wplc_update_chat_statuses();"); err != nil {
		t.Fatal(err)
	}
	got := s.column(t, "SELECT GROUP_CONCAT(CONCAT(id, ':', status) ORDER BY id) FROM wp_wplc_chat_sessions")
	if want := "41:3,42:12,43:5,44:0,45:1,46:10"; got != want {
		t.Errorf("after a minute %s, want %s", got, want)
	}
}

// holdline puts a stand-in into the path of both fronts, and takes it away.
func (s *suite) holdline(t *testing.T) {
	const form = "action=wplc_call_to_server_visitor&cid=999&status=5&short_poll=true"
	stand := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.URL.Path+" "+r.FormValue("cid"))
	}))
	defer stand.Close()
	if err := s.site.Configure(s.ctx, wpsite.Options{Holdline: stand.URL}); err != nil {
		t.Fatal(err)
	}
	fronts := []string{s.site.URL, s.site.ApacheURL}
	for _, front := range fronts {
		host := strings.TrimPrefix(front, "http://")
		if _, body := s.do(t, http.MethodPost, front+"/wp-admin/admin-ajax.php", "", form); body != host+" /wp-admin/admin-ajax.php 999" {
			t.Errorf("the loop at %s reached %q", front, body)
		}
		if _, body := s.do(t, http.MethodGet, front+"/holdline/v1/info", "", ""); body != host+" /holdline/v1/info " {
			t.Errorf("the base path at %s reached %q", front, body)
		}
	}
	resp, body := s.do(t, http.MethodPost, s.site.UpstreamURL+"/wp-admin/admin-ajax.php", "", form)
	if !strings.Contains(body, `"cid":"999"`) {
		t.Errorf("the upstream is not PHP: %s %q", resp.Status, body)
	}
	stand.CloseClientConnections()
	stand.Close()
	for _, front := range fronts {
		if resp, body := s.do(t, http.MethodPost, front+"/wp-admin/admin-ajax.php", "", form); !strings.Contains(body, `"cid":"999"`) {
			t.Errorf("without Holdline %s does not fall back to PHP: %s %q", front, resp.Status, body)
		}
	}
}

func (s *suite) down(t *testing.T) {
	before := family(t, s.site.Dir)
	if len(before) < 8 {
		t.Fatalf("the site has the processes %v, and should have four servers with workers", before)
	}
	if err := s.site.Down(); err != nil {
		t.Fatal(err)
	}
	for pid, was := range before {
		if is, err := os.ReadFile(filepath.Join("/proc", pid, "comm")); err == nil && string(is) == was {
			t.Errorf("process %s, %s, is left", pid, strings.TrimSpace(was))
		}
	}
	if _, err := os.Stat(s.site.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestUpSaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		opts wpsite.Options
		want string
	}{
		"no plugin":           {wpsite.Options{Plugin: t.TempDir()}, "holds no WordPress plugin"},
		"no URL":              {wpsite.Options{Holdline: "localhost"}, "--holdline is not http://host:port"},
		"a quote in a secret": {wpsite.Options{Secret: "a'b"}, "--secret may have letters"},
	} {
		t.Run(name, func(t *testing.T) {
			site, err := wpsite.Up(t.Context(), tt.opts)
			if err == nil {
				site.Down()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
