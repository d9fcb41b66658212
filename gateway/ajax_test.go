package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
	"holdline/internal/token"
	"holdline/internal/wpauth"
)

// php stands in for WordPress where only what reaches it matters. It makes
// chat 77 for who brings none; what it got in whole is in got.
type php struct {
	mu  sync.Mutex
	got []string
}

func (p *php) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // PHP runs nothing before it has the whole body
	}
	p.mu.Lock()
	p.got = append(p.got, string(body))
	p.mu.Unlock()
	form, _ := url.ParseQuery(string(body))
	switch {
	case form.Get("action") == "wplc_call_to_server_visitor" && form.Get("cid") == "":
		io.WriteString(w, `{"check":true,"debug":"","cid":77,"status":5}`)
	case form.Get("action") == "wplc_start_chat":
		io.WriteString(w, "78")
	default:
		io.WriteString(w, "PHP")
	}
}

func (p *php) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.got, "\n")
}

// dropIn is a site whose loops are answered from the rows, and held for 2.5 s.
func dropIn(t *testing.T, visitors string, options ...option) (*site, *php) {
	t.Helper()
	return dropInHolding(t, 10, visitors, options...)
}

// atLongest is how many quarters of a second the plugin's settings allow.
const atLongest = 200

// dropInHolding is dropIn with loops of so many quarters of a second.
func dropInHolding(t *testing.T, quarters int, visitors string, options ...option) (*site, *php) {
	t.Helper()
	p := &php{}
	upstream := httptest.NewServer(withoutPlugin(p.ServeHTTP))
	t.Cleanup(upstream.Close)
	options = append([]option{with(func(c *config.Config) {
		c.WordPress.Upstream = upstream.URL
		c.Loops.WPLC.Answer, c.Loops.WPLC.Visitors = "native", visitors
	})}, options...)
	s := newSite(t, options...)
	s.exec("INSERT INTO wp_options (option_name, option_value) VALUES ('wplc_db_version', '8.0.25'), ('wplc_advanced_settings', ?)",
		fmt.Sprintf(`a:2:{s:15:"wplc_iterations";i:%d;s:24:"wplc_delay_between_loops";i:250000;}`, quarters))
	s.stop()
	s.start()
	s.awaitReady()
	return s, p
}

func visitorForm(chat int64, more ...string) url.Values {
	form := url.Values{"action": {"wplc_call_to_server_visitor"}, "cid": {strconv.FormatInt(chat, 10)}, "status": {"3"}, "wplcsession": {"1"}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// post sends a form to admin-ajax.php and returns the answer.
func (s *site) post(t testing.TB, contentType, body string, cookies ...*http.Cookie) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.front()+"/wp-admin/admin-ajax.php", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

const urlencoded = "application/x-www-form-urlencoded; charset=UTF-8"

// bound is the cookie of the browser that has a chat.
func bound(t *testing.T, chat int64) *http.Cookie {
	return binding(t, secret, time.Now().Add(time.Hour), fmt.Sprintf("wplc/%d", chat))
}

func TestVisitorsLoopIsHeldAndAnsweredFromTheRows(t *testing.T) {
	s, p := dropInHolding(t, atLongest, "strict") // far longer than it takes to say something
	chat := s.chat(3)
	answer := make(chan string, 1)
	go func() {
		_, text := s.post(t, urlencoded, visitorForm(chat).Encode(), bound(t, chat))
		answer <- text
	}()
	s.awaitHeld(t, 1)
	id := s.say(chat, "Hello")
	if text := <-answer; !strings.Contains(text, fmt.Sprintf(`"data":{"%d":`, id)) || !strings.Contains(text, `"msg":"Hello"`) {
		t.Errorf("%q", text)
	}
	if got := p.all(); got != "" {
		t.Errorf("PHP was asked: %q", got)
	}
}

func TestVisitorsLoopEndsWithNothing(t *testing.T) {
	s, p := dropIn(t, "strict")
	chat := s.chat(3)
	resp, text := s.post(t, urlencoded, visitorForm(chat).Encode(), bound(t, chat))
	wantEmpty(t, resp, text)
	if got := p.all(); got != "" {
		t.Errorf("PHP was asked: %q", got)
	}
}

// wantEmpty wants what WordPress answers when nothing came: who may not read and
// who heard nothing are told the same.
func wantEmpty(t *testing.T, resp *http.Response, text string) {
	t.Helper()
	want := http.Header{
		"Cache-Control":          {"no-cache, must-revalidate, max-age=0"},
		"Content-Length":         {"0"},
		"Content-Type":           {"text/html; charset=UTF-8"},
		"Expires":                {"Wed, 11 Jan 1984 05:00:00 GMT"},
		"Referrer-Policy":        {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Frame-Options":        {"SAMEORIGIN"},
		"X-Robots-Tag":           {"noindex"},
	}
	resp.Header.Del("Date")
	if diff := cmp.Diff(want, resp.Header); diff != "" || resp.StatusCode != http.StatusOK || text != "" {
		t.Errorf("%s %q, headers want and got: %s", resp.Status, text, diff)
	}
}

// awaitHeld waits until so many connections are held.
func (s *site) awaitHeld(t testing.TB, n int) {
	t.Helper()
	s.await(t, fmt.Sprintf("%d are held", n), func() bool { return s.gw.Held() == n })
}

func TestStrangerReadsNothingThroughTheLoop(t *testing.T) {
	s, p := dropIn(t, "strict")
	chat := s.chat(3)
	s.say(chat, "private")
	other := bound(t, s.chat(3))
	id := strconv.FormatInt(chat, 10)
	pad := "pad=" + strings.Repeat("x", 2<<20) + "&"
	var multi bytes.Buffer
	form := multipart.NewWriter(&multi)
	for name, values := range visitorForm(chat) {
		form.WriteField(name, values[0])
	}
	form.Close()
	for name, c := range map[string]struct{ kind, body string }{
		"plain":                   {urlencoded, visitorForm(chat).Encode()},
		"page load":               {urlencoded, visitorForm(chat, "status", "5", "short_poll", "true").Encode()},
		"blank after the number":  {urlencoded, visitorForm(chat, "cid", id+" ").Encode()},
		"letter after it":         {urlencoded, visitorForm(chat, "cid", id+"x").Encode()},
		"as a float":              {urlencoded, visitorForm(chat, "cid", id+".0e0").Encode()},
		"leading zero":            {urlencoded, visitorForm(chat, "cid", "0"+id).Encode()},
		"twice":                   {urlencoded, visitorForm(chat).Encode() + "&cid=" + id},
		"as an array":             {urlencoded, "cid[]=" + id + "&action=wplc_call_to_server_visitor&status=3"},
		"blank before the name":   {urlencoded, "action=wplc_call_to_server_visitor&%20cid=" + id + "&status=3"},
		"blank before the action": {urlencoded, "%20action=wplc_call_to_server_visitor&status=3&cid=" + id},
		"another action first":    {urlencoded, "action=heartbeat&" + visitorForm(chat).Encode()},
		"another action last":     {urlencoded, visitorForm(chat).Encode() + "&action=heartbeat"},
		"bad escapes":             {urlencoded, visitorForm(chat).Encode() + "&x=%zz"},
		"encoded action":          {urlencoded, "%61ction=%77plc_call_to_server_visitor&status=3&cid=" + id},
		"after 2 MB":              {urlencoded, pad + visitorForm(chat).Encode()},
		"2 MB, encoded":           {urlencoded, pad + "action=%77plc_call_to_server_visitor&status=3&cid=" + id},
		"multipart":               {form.FormDataContentType(), multi.String()},
		"odd content type":        {"application/x-www-form-urlencoded, x", visitorForm(chat).Encode()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, cookies := range [][]*http.Cookie{nil, {other}} {
				resp, text := s.post(t, c.kind, c.body, cookies...)
				wantEmpty(t, resp, text)
			}
		})
	}
	t.Cleanup(func() {
		if got := p.all(); got != "" {
			t.Errorf("PHP was asked: %.200q", got)
		}
	})
}

func TestWhoBeganAChatIsBoundToIt(t *testing.T) {
	s, _ := dropIn(t, "strict")
	for form, channel := range map[string]string{
		"action=wplc_call_to_server_visitor&cid=&status=5":                     "wplc/77",
		"action=wplc_start_chat&name=Ann&email=a%40b.c":                        "wplc/78",
		"action=wplc_start_chat&cid=12&name=Ann&email=a%40b.c":                 "",
		"action=wplc_user_send_msg&cid=12&msg=hello":                           "",
		"action=wplc_call_to_server_visitor&status=5&wplc_extra_data%5Ba%5D=1": "wplc/77",
	} {
		resp, text := s.post(t, urlencoded, form, bound(t, 5))
		var got []string
		for _, c := range resp.Cookies() {
			b, err := token.Keys{Secret: []byte(secret)}.CheckBinding(c.Value, time.Now())
			if c.Name != token.BindingCookie || err != nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
				t.Errorf("%s: cookie %v (%v)", form, c, err)
			}
			got = b.Channels
		}
		want := []string{"wplc/5", channel}
		if channel == "" {
			want = nil
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || text == "" {
			t.Errorf("%s: bound to %v, want %v; %q", form, got, want, text)
		}
	}
}

func TestAgentsLoopNeedsTheNonceToo(t *testing.T) {
	s, p := dropIn(t, "strict")
	chat := s.chat(3)
	agent := s.login("agent", true)
	var id int64
	if err := s.db.QueryRow("SELECT ID FROM wp_users WHERE user_login = 'agent'").Scan(&id); err != nil {
		t.Fatal(err)
	}
	form := url.Values{
		"action": {"wplc_admin_long_poll_chat"}, "cid": {strconv.FormatInt(chat, 10)}, "chat_status": {"3"}, "first_run": {"true"},
		"security": {s.nonce("wplc", id, strings.Repeat("t", 43))},
	}
	s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, 'Ann', 'a question', '2026-03-19 10:30:00', 0, 2, '', '', 0, 0)`, chat)
	_, text := s.post(t, urlencoded, form.Encode(), agent)
	if !strings.Contains(text, `"action":"wplc_chat_history"`) || !strings.Contains(text, "a question") {
		t.Errorf("%q", text)
	}
	if got := p.all(); got != "" {
		t.Errorf("PHP was asked: %q", got)
	}
	form.Set("security", "0123456789")
	if _, text = s.post(t, urlencoded, form.Encode(), agent); text != "PHP" {
		t.Errorf("a wrong nonce: %q", text)
	}
	if _, text = s.post(t, urlencoded, form.Encode()); text != "PHP" {
		t.Errorf("nobody: %q", text)
	}
}

// nonce is what WordPress would have put into the agent's page.
func (s *site) nonce(action string, user int64, session string) string {
	s.tb.Helper()
	salts, missing := wpauth.ResolveSalts(saltTexts(), nil)
	if len(missing) > 0 {
		s.tb.Fatal(missing)
	}
	nonces, err := wpauth.NewNonces(salts, 0)
	if err != nil {
		s.tb.Fatal(err)
	}
	return nonces.Create(action, wpauth.Holder{UID: strconv.FormatInt(user, 10), Token: session}, time.Now())
}

func saltTexts() map[string]string {
	m := make(map[string]string)
	for name, value := range salts() {
		m[name] = value.(string)
	}
	return m
}

func TestLoopWithoutRoomIsAnsweredWithNothing(t *testing.T) {
	s, _ := dropInHolding(t, atLongest, "compatible", with(func(c *config.Config) { c.Limits.PerAddress = 1 }))
	chat := s.chat(3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.post(t, urlencoded, visitorForm(chat).Encode())
	}()
	s.awaitHeld(t, 1)
	resp, text := s.post(t, urlencoded, visitorForm(chat, "wplcsession", "2").Encode())
	if resp.StatusCode != http.StatusOK || text != "" {
		t.Errorf("%s %q", resp.Status, text)
	}
	s.say(chat, "Hello")
	<-done
}

func TestRequestIsGivenBackToTheWebServer(t *testing.T) {
	s := newSite(t)
	for _, accel := range []string{"", "accel"} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.front()+"/wp-admin/admin-ajax.php", strings.NewReader("action=heartbeat"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", urlencoded)
		req.Header.Set("X-Holdline-Fallback", accel)
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := map[string]string{"accel": "@holdline_php"}[accel]
		if got := resp.Header.Get("X-Accel-Redirect"); got != want || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%q: %s %q", accel, resp.Status, got)
		}
	}
}

func TestReroutedLoop(t *testing.T) {
	s, p := dropIn(t, "strict", origins(shop))
	chat := s.chat(3)
	s.say(chat, "Hello")
	ask := func(body, token string) (*http.Response, string) {
		req, err := http.NewRequest(http.MethodPost, s.base+"/ajax?token="+token, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", urlencoded)
		req.Header.Set("Origin", shop)
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	resp, text := ask(visitorForm(chat).Encode(), s.token(fmt.Sprintf("wplc/%d", chat)))
	if !strings.Contains(text, "Hello") || resp.Header.Get("Access-Control-Allow-Origin") != shop {
		t.Errorf("%s %v %q", resp.Status, resp.Header, text)
	}
	if resp, _ := ask("action=heartbeat", s.token("wplc/*")); resp.StatusCode != http.StatusNotFound {
		t.Error("what is no loop:", resp.Status)
	}
	if got := p.all(); got != "" {
		t.Errorf("PHP was asked: %q", got)
	}
}
