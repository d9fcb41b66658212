package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/token"
)

// words are one of each type, about a channel.
func words(channel string) map[string]string {
	return map[string]string{
		"send":      fmt.Sprintf(`{"type":"send","channel":%q,"client_id":"client-1","body":"x"}`, channel),
		"typing":    fmt.Sprintf(`{"type":"typing","channel":%q,"typing":true}`, channel),
		"seen":      fmt.Sprintf(`{"type":"seen","channel":%q,"up_to":1}`, channel),
		"delivered": fmt.Sprintf(`{"type":"delivered","channel":%q,"up_to":1}`, channel),
		"signal":    fmt.Sprintf(`{"type":"signal","channel":%q,"client_id":"client-1","to":{"kind":"visitor"},"payload":1}`, channel),
	}
}

func path(kind string) string {
	if kind == "send" {
		return "send"
	}
	return "signal"
}

func TestStrangersMayNotSpeak(t *testing.T) {
	s, store := speakSite(t, quickRecheck)
	own, foreign := s.chat(3), s.chat(3)
	channel := fmt.Sprintf("wplc/%d", foreign)
	ownChannel := fmt.Sprintf("wplc/%d", own)
	soon := time.Now().Add(time.Hour)
	ended := s.login("ended", true)
	s.exec("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'")
	agent := s.login("agent", true)
	visitor := binding(t, secret, soon, ownChannel)
	for name, c := range map[string]struct {
		asks   []ask
		status int
		as     string
	}{
		"nobody":                     {asks: []ask{home}, status: 401},
		"a token that is none":       {asks: []ask{bearer("x.y.z")}, status: 401},
		"a token of another key":     {asks: []ask{bearer(mint(t, strings.Repeat("k", 32), "wp:1", channel))}, status: 401},
		"a token of another chat":    {asks: []ask{bearer(s.token(ownChannel))}, status: 403},
		"a visitor of another chat":  {asks: []ask{home, cookie(visitor)}, status: 403},
		"a binding of another key":   {asks: []ask{home, cookie(binding(t, strings.Repeat("k", 32), soon, channel))}, status: 401},
		"a user who is no agent":     {asks: []ask{home, cookie(s.login("reader", false))}, status: 403},
		"a login that has ended":     {asks: []ask{home, cookie(ended)}, status: 401},
		"an agent from another page": {asks: []ask{header("Origin", "https://evil.example"), cookie(agent)}, status: 403},
		"an agent without Origin":    {asks: []ask{cookie(agent)}, status: 403},
		"an agent, Origin null":      {asks: []ask{header("Origin", "null"), cookie(agent)}, status: 403},
		"an agent, another port":     {asks: []ask{header("Origin", siteURL+":81"), cookie(agent)}, status: 403},
		"a token of another page":    {asks: []ask{header("Origin", "https://evil.example"), bearer(s.token(channel))}, status: 403},
		"a token for all, no user":   {asks: []ask{bearer(s.token("wplc/*"))}, status: 403},
		"a token, as agent":          {asks: []ask{bearer(mint(t, secret, "wp:999", channel))}, status: 403, as: chat.KindAgent},
	} {
		for kind, text := range words(channel) {
			if c.as != "" {
				text = strings.Replace(text, "{", `{"as":"`+c.as+`",`, 1)
			}
			resp, f := s.posts(t, path(kind), jsonType, text, c.asks...)
			if resp.StatusCode != c.status || f.Error == "" || f.Reason == "" {
				t.Errorf("%s, %s: %s %+v, want %d", name, kind, resp.Status, f, c.status)
			}
		}
	}
	line := s.talk(t, ownChannel, home, cookie(visitor))
	for kind, text := range words(channel) {
		line.says("%s", text)
		if f := line.hears("sent", "error"); f.Reason != chat.ReasonForbidden || kind != "send" && f.Of != kind || kind == "send" && f.State != "failed" {
			t.Errorf("over another chat's line, %s: %+v", kind, f)
		}
	}
	if rows := s.rows(t, foreign); len(rows) > 0 || store.calls > 0 {
		t.Errorf("rows %q, %d calls", rows, store.calls)
	}
}

func mint(tb testing.TB, key, subject string, channels ...string) string {
	tb.Helper()
	text, err := token.Keys{Secret: []byte(key)}.Mint(token.Claims{Subject: subject, Channels: channels, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// Who may speak is who it proves to be, in a name that nobody can choose.
func TestSpeakersNames(t *testing.T) {
	s, _ := speakSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	s.login("agent", true)
	var agent int64
	if err := s.db.QueryRowContext(context.Background(), "SELECT ID FROM wp_users WHERE user_login = 'agent'").Scan(&agent); err != nil {
		t.Fatal(err)
	}
	line := s.talk(t, channel, bearer(s.token(channel)))
	for i, tt := range []struct {
		subject, as string
		kind        string
		id          int64
	}{
		{"somebody", "", chat.KindVisitor, 0},
		{fmt.Sprintf("wp:%d", agent), "", chat.KindAgent, agent},
		{fmt.Sprintf("wp:%d", agent), "visitor", chat.KindVisitor, 0},
		{fmt.Sprintf("wp:0%d x", agent), "", chat.KindVisitor, 0},
		{"wp:-1", "", chat.KindVisitor, 0},
	} {
		text := fmt.Sprintf(`{"channel":%q,"client_id":"client-%d","body":"x","as":%q,"from":{"kind":"system"}}`, channel, i, tt.as)
		resp, f := s.posts(t, "send", jsonType, text, bearer(mint(t, secret, tt.subject, channel)))
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%+v: %s %+v", tt, resp.Status, f)
		}
		for e := line.hears("message"); ; e = line.hears("message") {
			if e.ClientID != fmt.Sprintf("client-%d", i) {
				continue
			}
			if e.From.Kind != tt.kind || e.From.ID != tt.id {
				t.Errorf("%+v speaks as %+v", tt, e.From)
			}
			break
		}
	}
}

func TestPreflightOfASend(t *testing.T) {
	s, _ := speakSite(t, origins("https://app.example"))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	req, err := http.NewRequest(http.MethodOptions, s.base+"/send", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://app.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := resp.Header; h.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type") {
		t.Errorf("%s %v", resp.Status, h)
	}
	ask := []ask{header("Origin", "https://app.example"), bearer(s.token(channel))}
	for text, want := range map[string]int{words(channel)["send"]: 202, words(channel)["typing"]: 204, "{}": 400} {
		p := "signal"
		if want == 202 {
			p = "send"
		}
		resp, f := s.posts(t, p, jsonType, text, ask...)
		if resp.StatusCode != want || resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Errorf("%s: %s %+v %v", text, resp.Status, f, resp.Header)
		}
	}
}

func TestRevokedLoginStopsSends(t *testing.T) {
	s, _ := speakSite(t, with(func(c *config.Config) { c.Auth.Recheck = 100 * time.Millisecond }))
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	pass := cookie(s.login("agent", true))
	line := s.talk(t, channel, home, pass)
	if f := line.sends(channel, "client-0", "before"); f.State != "pending" {
		t.Fatalf("%+v", f)
	}
	s.exec("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'")
	s.await(t, "a POST is refused", func() bool {
		resp, _ := s.posts(t, "send", jsonType, words(channel)["send"], home, pass)
		return resp.StatusCode == http.StatusUnauthorized
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := 1; ; i++ { // until the line is cut, nothing is taken any more
		text := fmt.Sprintf(`{"type":"send","channel":%q,"client_id":"after-%04d","body":"after"}`, channel, i)
		if err := line.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			break
		}
		_, b, err := line.conn.Read(ctx)
		if err != nil {
			break
		}
		var f spoken
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		if f.State == "pending" && strings.HasPrefix(f.ClientID, "after") {
			t.Fatalf("taken from who is logged out: %s", b)
		}
	}
}

func TestWhoSendsTooMuchIsToldToWait(t *testing.T) {
	s, _ := speakSite(t, with(func(c *config.Config) { c.Limits.Sends = 1 }))
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	pass := bearer(s.token(channel))
	line := s.talk(t, channel, pass)
	taken, refused := 0, 0
	for i := range 20 {
		switch f := line.sends(channel, fmt.Sprintf("client-%03d", i), "x"); {
		case f.State == "pending" && refused == 0:
			taken++
		case f.State == "failed" && f.Reason == chat.ReasonRate && f.RetryMS > 0 && f.RetryMS <= 1000:
			refused++
		}
	}
	if taken < 4 || refused == 0 {
		t.Errorf("%d taken and %d refused of 20, four at once are allowed", taken, refused)
	}
	// Its POSTs are counted with it.
	for i := range 10 {
		resp, f := s.posts(t, "send", jsonType, fmt.Sprintf(`{"channel":%q,"client_id":"posted-%03d","body":"x"}`, channel, i), pass)
		if resp.StatusCode == http.StatusTooManyRequests {
			if resp.Header.Get("Retry-After") != "1" || f.Reason != chat.ReasonRate {
				t.Errorf("%+v %v", f, resp.Header)
			}
			return
		}
	}
	t.Error("ten POSTs are taken")
}

func TestWhatCannotBeSent(t *testing.T) {
	s, _ := speakSite(t, with(func(c *config.Config) { c.Limits.Message = 1000 }))
	open, over := s.chat(3), s.chat(1)
	channel := fmt.Sprintf("wplc/%d", open)
	pass := bearer(s.token(channel, fmt.Sprintf("wplc/%d", over), "none/1"))
	text := func(channel, body string) string {
		return fmt.Sprintf(`{"type":"send","channel":%q,"client_id":"client-1","body":%q}`, channel, body)
	}
	line := s.talk(t, channel, pass)
	for body, want := range map[string]struct {
		status int
		reason string
	}{
		text(channel, strings.Repeat("x", 1001)):  {413, chat.ReasonTooLong},
		text(channel, strings.Repeat("x", 40000)): {413, chat.ReasonTooLong},
		text(channel, " \n "):                     {422, chat.ReasonEmpty},
		text(fmt.Sprintf("wplc/%d", over), "x"):   {409, chat.ReasonClosed},
		text("wplc/agents", "x"):                  {403, chat.ReasonForbidden},
		text("none/1", "x"):                       {400, chat.ReasonBadRequest},
		text("nothing", "x"):                      {400, chat.ReasonBadRequest},
	} {
		resp, f := s.posts(t, "send", jsonType, body, pass)
		if resp.StatusCode != want.status || f.Reason != want.reason || f.State != "failed" && f.Type != "error" {
			t.Errorf("%.80s: %s %+v, want %+v", body, resp.Status, f, want)
		}
		line.says("%s", body)
		if f := line.hears("sent", "error"); f.Reason != want.reason {
			t.Errorf("%.80s: over WebSocket %+v, want %+v", body, f, want)
		}
	}
	if resp, _ := s.posts(t, "send", jsonType, text(channel, strings.Repeat("x", 2<<20)), pass); resp.StatusCode != 413 {
		t.Error("two megabytes:", resp.Status)
	}
	line.says(`{"type":"ping","id":1}`)
	line.hears("pong") // the line is still there
}

func TestPresenceBridgesAReconnect(t *testing.T) {
	s, _ := speakSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
	pass := bearer(s.token(channel))
	visitor := s.talk(t, channel, pass)
	e := agent.hears("presence")
	if text := string(e.Data); !strings.Contains(text, `"visitor"`) || !strings.Contains(text, `"agent"`) {
		t.Fatalf("present: %s", text)
	}
	visitor.conn.CloseNow()
	visitor = s.talk(t, channel, pass)
	if e := visitor.hears("presence"); strings.Contains(string(e.Data), `"at"`) {
		t.Errorf("somebody is said to have left: %s", e.Data)
	}
	visitor.says(`{"type":"typing","channel":%q,"typing":true}`, channel)
	if e := agent.hears("presence", "typing"); e.Type != chat.TypeTyping {
		t.Errorf("a reconnect is told: %s", e.Data)
	}
	agent.says(`{"type":"signal","channel":%q,"client_id":"signal-1","to":{"kind":"visitor"},"payload":{"sdp":"v=0"}}`, channel)
	if e := visitor.hears("signal"); !strings.Contains(string(e.Data), `"v=0"`) || e.From.Kind != chat.KindAgent || e.ClientID != "signal-1" {
		t.Errorf("%+v", e)
	}
	row := s.say(1, "read me")
	visitor.hears("message")
	if resp, f := s.posts(t, "signal", jsonType, fmt.Sprintf(`{"type":"seen","channel":%q,"up_to":%d}`, channel, row), pass); resp.StatusCode != 204 {
		t.Errorf("%s %+v", resp.Status, f)
	}
	if e := agent.hears("seen"); !strings.Contains(string(e.Data), fmt.Sprintf(`"up_to":%d`, row)) || e.From.Kind != chat.KindVisitor {
		t.Errorf("%+v", e)
	}
}

// A page with the plugin's own loop is there for the agents too.
func TestLoopIsPresence(t *testing.T) {
	s, _ := dropIn(t, "strict")
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		s.post(t, "application/x-www-form-urlencoded", visitorForm(id).Encode(), bound(t, id))
	}()
	if e := agent.hears("presence"); !strings.Contains(string(e.Data), `{"kind":"visitor"`) {
		t.Errorf("present: %s", e.Data)
	}
	s.say(id, "answer")
	<-answered
}

// A burst of one sender asks the database once who it is.
func TestBurstIsOneQuery(t *testing.T) {
	s, _ := speakSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	line := s.talk(t, channel, bearer(s.token(channel)))
	s.root(t, "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
	defer s.root(t, "SET GLOBAL general_log = OFF")
	began := time.Now()
	for i := range 30 {
		line.says(`{"type":"send","channel":%q,"client_id":"client-%03d","body":"message %d"}`, channel, i, i)
	}
	var want []string
	for i := range 30 {
		if f := line.hears("sent"); f.State != "pending" {
			t.Errorf("message %d: %+v", i, f)
		}
		want = append(want, fmt.Sprintf("message %d", i))
	}
	most := int(time.Since(began)/(2*time.Second)) + 1
	s.await(t, "all are stored", func() bool { return len(s.rows(t, id)) == 30 })
	if rows := s.rows(t, id); strings.Join(rows, ",") != strings.Join(want, ",") {
		t.Errorf("out of order: %q", rows)
	}
	if n := len(s.logged(t, "%LEFT(`name`, 150)%")); n == 0 || n > most {
		t.Errorf("%d questions who speaks for 30 messages, want at most %d", n, most)
	}
}

func TestDrainKeepsWhatWasSent(t *testing.T) {
	s, store := speakSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	line := s.talk(t, channel, bearer(s.token(channel)))
	letIn := store.close()
	for i := range 30 { // some of them are still on their way when the gateway is told to go
		line.says(`{"type":"send","channel":%q,"client_id":"client-%03d","body":"message %d"}`, channel, i, i)
	}
	go func() { // the gateway waits for its client to answer the close frame
		for {
			if _, _, err := line.conn.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	s.await(t, "some were taken", func() bool { return s.metric(t, "holdline_spool_messages ") > 0 })
	s.stop()
	letIn()
	s.start()
	s.awaitReady()
	s.await(t, "what was taken is stored", func() bool { return s.metric(t, "holdline_spool_messages ") == 0 })
	rows := s.rows(t, id)
	for i, body := range rows {
		if want := fmt.Sprintf("message %d", i); body != want {
			t.Fatalf("row %d is %q", i, body)
		}
	}
	if len(rows) == 0 {
		t.Error("nothing was kept")
	}
}
