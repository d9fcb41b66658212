package wordpress

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/token"
)

var keys = token.Keys{Secret: []byte(secret)}

// site is holdline.php in PHP's own web server, with the stand-in for WordPress
// in testdata/site.php.
type site struct {
	t   *testing.T
	url string
	dir string
}

func newSite(t *testing.T, holdline, plugin string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	cmd := exec.Command("php", "-d", "variables_order=EGPCS", "-d", "display_errors=1", "-S", "127.0.0.1:0", "testdata/site.php")
	cmd.Env = append(os.Environ(), "SITE_DIR="+s.dir, "SITE_HOLDLINE="+holdline, "SITE_SECRET="+secret, "SITE_PLUGIN="+plugin)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("php-cli, which this test needs: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
		http.DefaultClient.CloseIdleConnections()
	})
	lines := bufio.NewReader(log)
	started := regexp.MustCompile(`\((http://[^)]+)\) started`)
	for s.url == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("php -S did not start: %v", err)
		}
		if m := started.FindStringSubmatch(line); m != nil {
			s.url = m[1]
		}
	}
	go io.Copy(io.Discard, lines) // ends with the process
	return s
}

// do sends a request and returns the answer with its body.
func (s *site) do(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, string(body)
}

// act calls an ajax action.
func (s *site) act(action string, header ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.url+"/wp-admin/admin-ajax.php?action="+action, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return s.do(r)
}

// sync makes a signed call of the gateway's.
func (s *site) sync(at time.Time, body string) (int, SyncAnswer) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.url+"/wp-admin/admin-ajax.php?action="+SyncAction, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	keys.SignHeader(r.Header, []byte(body), at)
	answer, text := s.do(r)
	var a SyncAnswer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		s.t.Fatalf("sync answers %q: %v", text, err)
	}
	return answer.StatusCode, a
}

// lines returns what the site wrote down: sql, hooks or error.log.
func (s *site) lines(name string) []string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// nowhere is an address that refuses connections.
const nowhere = "http://127.0.0.1:1/holdline/v1"

func ptr(s string) *string { return &s }

func TestSyncWritesWhatTheLoopsWould(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	batch := Sync{
		Call: "a",
		Beats: []Beat{
			{41, 3, Visit{"1552987800001", ptr("http://example.com/caf%C3%A9/?q='a'"), ptr("Mozilla 😀 \"5\""), "192.0.2.7"}},
			{42, 10, Visit{Session: "s"}},
			{43, 12, Visit{}}, // must age
		},
		Transitions: []Transition{
			{45, 1, 8, Visit{Session: "s", URL: ptr(""), UA: ptr("x")}},
			{46, 3, 1, Visit{}}, // the plugin's business
		},
		Read: []int64{905, 907, -1}, Missed: []int64{44, 47}, Age: true,
	}
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	status, a := s.sync(time.Now(), string(body))
	if status != 200 || !a.OK || a.Version != 1 || a.Plugin != "8.0.25" {
		t.Fatalf("status %d, %+v", status, a)
	}
	done := fmt.Sprintf("%+v", a.Done)
	if want := "{Beats:2 Transitions:1 Read:1 Missed:1 Skipped:3}"; done != want {
		t.Errorf("done %s, want %s", done, want)
	}
	want := []string{
		"SELECT (SELECT COALESCE(MAX(id), 0) FROM wp_wplc_chat_sessions) AS last," +
			" (SELECT option_value FROM wp_options WHERE option_name = 'holdline_since') AS since",
		`SELECT id, status, session, url, ip FROM wp_wplc_chat_sessions WHERE id IN (41,42)`,
		`UPDATE wp_wplc_chat_sessions SET {"last_active_timestamp":"2019-03-19 10:31:00","session":"1552987800001",` +
			`"url":"http:\/\/example.com\/caf\/?q=\\'a\\'","ip":"a:2:{s:2:\"ip\";s:0:\"\";s:10:\"user_agent\";s:14:\"Mozilla  \\\"5\\\"\";}"} WHERE {"id":41,"status":3}`,
		`UPDATE wp_wplc_chat_sessions SET {"last_active_timestamp":"2019-03-19 10:31:00","session":"s"} WHERE {"id":42,"status":10}`,
		`UPDATE wp_wplc_chat_sessions SET {"last_active_timestamp":"2019-03-19 10:31:00","session":"s","url":"",` +
			`"ip":"a:2:{s:2:\"ip\";s:0:\"\";s:10:\"user_agent\";s:1:\"x\";}","status":8} WHERE {"id":45,"status":1}`,
		`UPDATE wp_wplc_chat_msgs SET status = 1 WHERE status = 0 AND id IN (905,907)`,
		`SELECT name, email FROM wp_wplc_chat_sessions WHERE id = 44 AND status = 12`,
		`SELECT name, email FROM wp_wplc_chat_sessions WHERE id = 47 AND status = 12`,
		"UPDATE wp_wplc_chat_sessions SET `status` = '1' WHERE `id` = '7'",
	}
	if d := cmp.Diff(want, s.lines("sql")); d != "" {
		t.Errorf("statements (-want +got):\n%s", d)
	}
	missed := `wplc_hook_missed_chat {"cid":"44","name":"Ann","email":"ann@example.com"}`
	if hooks := strings.Join(s.lines("hooks"), "\n"); strings.Count(hooks, "missed_chat") != 1 || !strings.Contains(hooks, missed) {
		t.Errorf("hooks:\n%s", hooks)
	}
}

func TestSyncTellsAboutTheSite(t *testing.T) {
	s := newSite(t, nowhere, "5.0.4")
	status, a := s.sync(time.Now(), `{"beats":[{"cid":41,"status":3,"ua":"x","ip":"192.0.2.7"},{"cid":41,"status":3,"ua":"x","ip":"'"}]}`)
	if status != 200 || a.Plugin != "5.0.4" || a.Done.Beats != 2 || a.Time == 0 {
		t.Fatalf("status %d, %+v", status, a)
	}
	if h := a.Hello; h.WordPress != "6.1.9" || h.Locale != "de_DE" || !h.Ages || !h.Reroute || !cmp.Equal(h.Custom, []string{"wplc_filter_admin_name"}) {
		t.Errorf("hello: %+v", h)
	}
	if a.Strings["admin"] != "Betreuung" || a.Strings["no_answer"] != "It's late" {
		t.Errorf("strings: %q", a.Strings)
	}
	sql := s.lines("sql")
	if len(sql) != 4 || !strings.Contains(sql[2], `s:9:\"192.0.2.7\"`) || !strings.Contains(sql[3], `s:2:\"ip\";s:0:\"\"`) {
		t.Errorf("version 5 stores addresses when told to: %q", sql)
	}
}

func TestSyncRefuses(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	many := `{"read":[` + strings.Repeat("1,", MaxSyncRead) + `1]}`
	now := time.Now()
	tests := []struct {
		name   string
		at     time.Time
		body   string
		status int
		error  string
	}{
		{"good", now, `{"call":"a"}`, 200, ""},
		{"the same again", now, `{"call":"a"}`, 409, "replay"},
		{"another with another name", now, `{"call":"b"}`, 200, ""},
		{"old", now.Add(-time.Hour), `{"call":"c"}`, 403, "time"},
		{"not JSON", now, `{`, 400, "json"},
		{"not an object", now, `7`, 400, "json"},
		{"too many ids", now, many, 413, "size"},
		{"too many bytes", now, `{"x":"` + strings.Repeat("y", MaxSyncBody) + `"}`, 413, "size"},
		{"items of the wrong kind", now, `{"beats":[7,{"cid":"1","status":3},{"cid":1,"status":"3"}],"read":["1",1.5],"missed":[{}],"transitions":[{"cid":1}],"age":"true"}`, 200, ""},
		{"lists of the wrong kind", now, `{"beats":7,"read":"1","missed":null}`, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, a := s.sync(tt.at, tt.body); status != tt.status || a.Error != tt.error || a.OK != (status == 200) {
				t.Errorf("status %d, %+v", status, a)
			}
		})
	}
	if answer, body := s.act(SyncAction); answer.StatusCode != 403 || !strings.Contains(body, `"signature"`) {
		t.Errorf("without a signature: %s %s", answer.Status, body)
	}
	if sql := s.lines("sql"); slices.ContainsFunc(sql, func(s string) bool { return !strings.HasPrefix(s, "SELECT ") }) {
		t.Errorf("refused calls wrote: %q", sql)
	}
}

// bell is a gateway's /wake that notes the calls.
func bell(t *testing.T) (url string, rung chan string) {
	rung = make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = keys.CheckCall(r.Header.Get(token.TimestampHeader), r.Header.Get(token.SignatureHeader), body, time.Now())
		}
		rung <- fmt.Sprint(r.Method, " ", r.URL.Path, " ", string(body), " ", err)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/holdline/v1", rung
}

const goodRing = `POST /holdline/v1/wake {"source":"wplc"} <nil>`

func TestDoorbellRingsAfterAWrite(t *testing.T) {
	url, rung := bell(t)
	s := newSite(t, url, "8.0.25")
	s.act("look") // reads only
	if _, body := s.act("say"); body != "sent" {
		t.Errorf("the page says %q", body)
	}
	if got := <-rung; got != goodRing {
		t.Errorf("the bell says %s", got)
	}
	s.sync(time.Now(), `{"call":"1","beats":[{"cid":41,"status":3}],"read":[1]}`) // what Holdline knows
	s.sync(time.Now(), `{"call":"2","age":true}`)                                 // what it does not
	if got := <-rung; got != goodRing {
		t.Errorf("the bell says %s", got)
	}
	s.act("look") // is answered after all before it
	if len(rung) != 0 {
		t.Errorf("one ring too many: %s", <-rung)
	}
}

func TestDeadDoorbellIsLeftAlone(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	for i := range 5 {
		if answer, body := s.act("say"); answer.StatusCode != 200 || body != "sent" {
			t.Errorf("write %d: %s %q", i+1, answer.Status, body)
		}
	}
	s.act("look")
	var kept map[string]breaker
	if err := json.Unmarshal([]byte(strings.Join(s.lines("transients"), "")), &kept); err != nil {
		t.Fatal(err)
	}
	if b := kept["holdline_doorbell"]; b.Fails != 3 || b.Until == 0 {
		t.Errorf("after five writes: %+v", b)
	}
	if log := s.lines("error.log"); len(log) != 1 || !strings.Contains(log[0], nowhere) || strings.Contains(log[0], secret) {
		t.Errorf("log: %q", log)
	}
}

func TestNewChatIsBoundToItsBrowser(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	cookieOf := func(answer *http.Response) string {
		for _, c := range answer.Cookies() {
			if c.Name == token.BindingCookie && c.HttpOnly && c.SameSite == http.SameSiteLaxMode && c.Path == "/" {
				return c.Value
			}
		}
		return ""
	}
	first, body := s.act("begin&id=42")
	cookie := cookieOf(first)
	b, err := keys.CheckBinding(cookie, time.Now())
	if err != nil || body != "begun" || !cmp.Equal(b.Channels, []string{"wplc/42"}) {
		t.Fatalf("cookie %q, page %q: %+v, %v", cookie, body, b, err)
	}
	second, _ := s.act("begin&id=43", "Cookie", token.BindingCookie+"="+cookie)
	if b, err := keys.CheckBinding(cookieOf(second), time.Now()); err != nil || !cmp.Equal(b.Channels, []string{"wplc/42", "wplc/43"}) {
		t.Errorf("a second chat: %+v, %v", b, err)
	}
	for name, answer := range map[string]func() (*http.Response, string){
		"no new row":       func() (*http.Response, string) { return s.act("say") },
		"refused row":      func() (*http.Response, string) { return s.act("begin&id=0&earlier=42") },
		"refused, old one": func() (*http.Response, string) { return s.act("begin&id=42&earlier=42") },
	} {
		if a, _ := answer(); len(a.Header["Set-Cookie"]) != 0 {
			t.Errorf("%s: cookie %q", name, a.Header["Set-Cookie"])
		}
	}

	for name, tt := range map[string]struct {
		cookie string
		want   []string
	}{
		"bound":  {token.BindingCookie + "=" + cookie, []string{"wplc/42"}},
		"forged": {token.BindingCookie + "=" + strings.Replace(cookie, "42", "41", 1), nil},
		"nobody": {"x=y", nil},
		"agent":  {"agent=1", []string{"wplc/*"}},
	} {
		_, body := s.act(TokenAction, "Cookie", tt.cookie)
		var a struct{ Token string }
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%s: %s", name, body)
		}
		claims, _ := keys.Verify(a.Token, time.Now())
		if !cmp.Equal(claims.Channels, tt.want) {
			t.Errorf("%s: token for %q, want %q", name, claims.Channels, tt.want)
		}
	}
}

func TestBindingCookieIsSecureOverTLS(t *testing.T) {
	s := newSite(t, nowhere, "8.0.25")
	for name, tt := range map[string]struct {
		header []string
		secure bool
	}{
		"plain":                         {nil, false},
		"plain through Holdline":        {[]string{"X-Holdline-Forwarded", "1", "X-Forwarded-Proto", "http"}, false},
		"TLS through Holdline":          {[]string{"X-Holdline-Forwarded", "1", "X-Forwarded-Proto", "https"}, true},
		"what another proxy tells of":   {[]string{"X-Forwarded-Proto", "https"}, false},
		"Holdline does not know either": {[]string{"X-Holdline-Forwarded", "1"}, false},
	} {
		answer, _ := s.act("begin&id=44", tt.header...)
		cookies := answer.Cookies()
		if len(cookies) != 1 || cookies[0].Name != token.BindingCookie || cookies[0].Secure != tt.secure {
			t.Errorf("%s: cookies %q", name, answer.Header["Set-Cookie"])
			continue
		}
		if b, err := keys.CheckBinding(cookies[0].Value, time.Now()); err != nil || !cmp.Equal(b.Channels, []string{"wplc/44"}) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
}

func TestPagesCarryTokensForAgentsOnly(t *testing.T) {
	s := newSite(t, "http://127.0.0.1:8787/holdline/v1", "8.0.25")
	page := func(cookie string) (text string, h map[string]any) {
		r, err := http.NewRequest(http.MethodGet, s.url+"/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		_, text = s.do(r)
		_, text, _ = strings.Cut(text, "window.holdline=")
		if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&h); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return text, h
	}
	bound, err := keys.Sign(token.Binding{Channels: []string{"wplc/42"}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	text, h := page(token.BindingCookie + "=" + bound) // a cache may keep this page
	if h["token"] != nil || h["url"] != "/holdline/v1" || h["refresh"] != "/wp-admin/admin-ajax.php?action=holdline_token" {
		t.Errorf("visitor's page: %v", h)
	}
	if !strings.Contains(text, "ajaxTransport") {
		t.Error("the page does not reroute")
	}
	_, h = page("agent=1")
	claims, err := keys.Verify(fmt.Sprint(h["token"]), time.Now())
	if err != nil || claims.Subject != "wp:2" || !cmp.Equal(claims.Channels, []string{"wplc/*"}) {
		t.Errorf("agent's page: %v, %+v, %v", h, claims, err)
	}
}
