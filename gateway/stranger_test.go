package gateway_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"holdline/config"
	"holdline/gateway"
)

const shop = "https://shop.example.test" // an origin that the operator listed

// stranger is one who shall get nothing.
type stranger struct {
	channel string // of the chat when empty
	asks    []ask
	status  int
	reason  string
}

// home makes a request one of the site's own page.
var home = header("Origin", siteURL)

func TestStrangerGetsNothing(t *testing.T) {
	log := &captured{}
	s := newSite(t, origins(shop), logTo(log))
	chat := s.chat(3)
	channel, other := fmt.Sprintf("wplc/%d", chat), fmt.Sprintf("wplc/%d", s.chat(3))
	agent := s.login("agent", true)
	cases := credentials(t, s, channel, other)
	maps.Copy(cases, crossSite(s, agent, channel))
	maps.Copy(cases, badTokens(t, channel, other))

	refused := 0
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		for _, transport := range transportNames {
			t.Run(name+" on "+transport, func(t *testing.T) {
				want := c.channel
				if want == "" {
					want = channel
				}
				a := s.knock(t, transport, want, c.asks...)
				if a.StatusCode != c.status || a.reason != c.reason {
					t.Errorf("%s %s %q, want %d %s", a.Status, a.reason, a.sentence, c.status, c.reason)
				}
				if a.Header.Get("Access-Control-Allow-Origin") != "" && a.Request.Header.Get("Origin") != siteURL {
					t.Error("another origin may read the refusal")
				}
				checkSilence(t, a, log.String())
				refused++
			})
		}
	}
	// Browsers always say an Origin here, so who has cookies and none is no browser.
	for name, c := range map[string]*http.Cookie{"login": agent, "binding": binding(t, secret, time.Now().Add(time.Hour), channel)} {
		if a := s.knock(t, "ws", channel, cookie(c)); a.StatusCode != 403 || a.reason != "origin" {
			t.Errorf("a WebSocket with a %s and without an Origin: %s %s", name, a.Status, a.text)
		}
	}
	if n := s.gw.Held(); n != 0 {
		t.Errorf("%d connections are held", n)
	}
	t.Logf("%d strangers, %d refusals", len(cases), refused)
}

// checkSilence: what a client shows must stand neither in an answer nor in a log.
func checkSilence(t *testing.T, a *answer, log string) {
	t.Helper()
	secrets := []string{secret, "salt of", s3(a.Request.Header.Get("Authorization")), a.Request.URL.Query().Get("token")}
	for _, c := range a.Request.Cookies() {
		secrets = append(secrets, c.Value)
	}
	for _, text := range secrets {
		if len(text) < 8 {
			continue
		}
		if strings.Contains(a.text, text) {
			t.Errorf("the answer says %s", text)
		}
		if strings.Contains(log, text) {
			t.Errorf("the log says %s", text)
		}
	}
}

// s3 is what follows "Bearer ".
func s3(field string) string { return strings.TrimPrefix(field, "Bearer ") }

func credentials(t *testing.T, s *site, channel, other string) map[string]stranger {
	agent, subscriber := s.login("another agent", true), s.login("subscriber", false)
	forged := *agent
	forged.Value = forged.Value[:len(forged.Value)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(forged.Value, "0")]
	renamed := *subscriber
	renamed.Value = strings.Replace(renamed.Value, "subscriber", "agent", 1)
	expired := s.loginUntil("late agent", true, time.Now().Add(-time.Minute))
	left := s.login("agent who left", true)
	s.exec("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens' AND user_id = (SELECT ID FROM wp_users WHERE user_login = 'agent who left')")
	later := time.Now().Add(time.Hour)
	mine := binding(t, secret, later, other)
	return map[string]stranger{
		"nobody":                        {asks: []ask{}, status: 401, reason: "nobody"},
		"nobody, the agents' list":      {channel: "wplc/agents", status: 401, reason: "nobody"},
		"nobody, another source":        {channel: "else/1", status: 404, reason: "channel"},
		"nobody, everything":            {channel: "wplc/*", status: 400, reason: "channel"},
		"login without the right":       {asks: []ask{home, cookie(subscriber)}, status: 403, reason: "channel"},
		"login, the agents' list":       {channel: "wplc/agents", asks: []ask{home, cookie(subscriber)}, status: 403, reason: "channel"},
		"forged login":                  {asks: []ask{home, cookie(&forged)}, status: 401, reason: "login"},
		"another's login":               {asks: []ask{home, cookie(&renamed)}, status: 401, reason: "login"},
		"expired login":                 {asks: []ask{home, cookie(expired)}, status: 401, reason: "login"},
		"login that was logged out":     {asks: []ask{home, cookie(left)}, status: 401, reason: "login"},
		"login that is no login":        {asks: []ask{home, cookie(&http.Cookie{Name: agent.Name, Value: "agent"})}, status: 401, reason: "login"},
		"binding of another":            {asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"binding and one chat more":     {channel: other + "," + channel, asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"binding, the agents' list":     {channel: "wplc/agents", asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"binding, notes of the agents":  {channel: other + "/agent", asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"binding, a number that begins": {channel: other + "0", asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"binding, another spelling":     {channel: "wplc/0" + other[5:], asks: []ask{home, cookie(mine)}, status: 403, reason: "channel"},
		"forged binding":                {asks: []ask{home, cookie(binding(t, strings.Repeat("x", 32), later, channel))}, status: 401, reason: "binding"},
		"expired binding":               {asks: []ask{home, cookie(binding(t, secret, time.Now().Add(-time.Second), channel))}, status: 401, reason: "binding"},
		"binding with a chat added": {
			asks: []ask{home, cookie(&http.Cookie{Name: mine.Name, Value: strings.Replace(mine.Value, other, other+"+"+channel, 1)})}, status: 401, reason: "binding",
		},
	}
}

// crossSite are requests with good credentials from pages that must not have
// them.
func crossSite(s *site, agent *http.Cookie, channel string) map[string]stranger {
	tok := s.token(channel)
	cases := map[string]stranger{
		"a cross-site request with a login": {asks: []ask{cookie(agent), header("Sec-Fetch-Site", "cross-site")}, status: 403, reason: "origin"},
		"a same-site request with a login":  {asks: []ask{cookie(agent), header("Sec-Fetch-Site", "same-site")}, status: 403, reason: "origin"},
	}
	for name, origin := range map[string]string{
		"foreign": "https://evil.example", "null": "null", "a sibling": "http://www.chat.example.test", "the parent": "http://example.test",
		"https": "https://chat.example.test", "another port": siteURL + ":8080", "longer": siteURL + ".evil.example",
		"a path": siteURL + "/", "a user": "http://chat.example.test@evil.example", "a list": siteURL + ", https://evil.example", "a star": "*",
	} {
		cases["origin "+name+" with a login"] = stranger{asks: []ask{cookie(agent), header("Origin", origin)}, status: 403, reason: "origin"}
		cases["origin "+name+" with a token"] = stranger{asks: []ask{bearer(tok), header("Origin", origin)}, status: 403, reason: "origin"}
		cases["origin "+name+" with nothing"] = stranger{asks: []ask{header("Origin", origin)}, status: 403, reason: "origin"}
	}
	return cases
}

func badTokens(t *testing.T, channel, other string) map[string]stranger {
	later := time.Now().Add(time.Hour).Unix()
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := jwt.MapClaims{"sub": "x", "channels": []string{channel}, "exp": later}
	hs := jwt.SigningMethodHS256
	none := sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good)
	stripped := sign(hs, []byte(secret), good)
	stripped = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","typ":"JWT"}`)) + stripped[strings.IndexByte(stripped, '.'):]
	texts := map[string]string{
		"alg none":         none,
		"alg None, signed": stripped,
		"another secret":   sign(hs, []byte(strings.Repeat("s", 32)), good),
		"HS384":            sign(jwt.SigningMethodHS384, []byte(secret), good),
		"expired":          sign(hs, []byte(secret), jwt.MapClaims{"channels": []string{channel}, "exp": time.Now().Add(-time.Minute).Unix()}),
		"without an end":   sign(hs, []byte(secret), jwt.MapClaims{"channels": []string{channel}}),
		"without channels": sign(hs, []byte(secret), jwt.MapClaims{"exp": later}),
		"no token":         "garbage.garbage.garbage",
		"a huge one":       strings.Repeat("x", 9<<10),
	}
	cases := make(map[string]stranger)
	for name, text := range texts {
		cases["token "+name+" in the header"] = stranger{asks: []ask{bearer(text)}, status: 401, reason: "token"}
		cases["token "+name+" in the query"] = stranger{asks: []ask{query("token", text)}, status: 401, reason: "token"}
		cases["token "+name+" in a cookie"] = stranger{
			asks: []ask{home, cookie(&http.Cookie{Name: gateway.TokenCookie, Value: text})}, status: 401, reason: "token",
		}
	}
	elsewhere := sign(hs, []byte(secret), jwt.MapClaims{"channels": []string{other}, "exp": later})
	cases["token for another chat"] = stranger{asks: []ask{query("token", elsewhere)}, status: 403, reason: "channel"}
	cases["token for a chat, notes of its agents"] = stranger{channel: other + "/agent", asks: []ask{bearer(elsewhere)}, status: 403, reason: "channel"}
	cases["token in a cookie from nowhere"] = stranger{
		asks:   []ask{cookie(&http.Cookie{Name: gateway.TokenCookie, Value: sign(hs, []byte(secret), good)}), header("Sec-Fetch-Site", "cross-site")},
		status: 403, reason: "origin",
	}
	return cases
}

func TestThoseWhoMayReadGetIn(t *testing.T) {
	s := newSite(t, origins(shop))
	channel, other := fmt.Sprintf("wplc/%d", s.chat(3)), fmt.Sprintf("wplc/%d", s.chat(3))
	agent, later := s.login("agent", true), time.Now().Add(time.Hour)
	bound, tok := binding(t, secret, later, channel, other), s.token(channel)
	fromShop := header("Origin", shop)
	cases := map[string]stranger{
		"agent":                           {asks: []ask{home, cookie(agent)}},
		"agent from the listed origin":    {asks: []ask{fromShop, cookie(agent)}},
		"agent of the list of chats":      {channel: "wplc/agents", asks: []ask{home, cookie(agent)}},
		"agent of notes":                  {channel: channel + "/agent," + channel, asks: []ask{home, cookie(agent)}},
		"visitor":                         {asks: []ask{home, cookie(bound)}},
		"visitor of two chats":            {channel: channel + "," + other, asks: []ask{home, cookie(bound)}},
		"visitor with a stale login":      {asks: []ask{home, cookie(bound), cookie(&http.Cookie{Name: agent.Name, Value: "old"})}},
		"token in the header":             {asks: []ask{bearer(tok)}},
		"token in the header from a page": {asks: []ask{fromShop, bearer(tok)}},
		"token in the query":              {asks: []ask{fromShop, query("token", tok)}},
		"token in a cookie":               {asks: []ask{home, cookie(&http.Cookie{Name: gateway.TokenCookie, Value: tok})}},
		"token of everything":             {channel: channel + "," + other, asks: []ask{bearer(s.token("wplc/*"))}},
		"origin in capitals":              {asks: []ask{header("Origin", strings.ToUpper(shop)), bearer(tok)}},
	}
	welcomed := 0
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		for _, transport := range transportNames {
			t.Run(name+" on "+transport, func(t *testing.T) {
				c := cases[name]
				want := c.channel
				if want == "" {
					want = channel
				}
				a := s.knock(t, transport, want, c.asks...)
				if !a.ok() {
					t.Fatal(a.Status, a.text)
				}
				a.close()
				if origin := a.Request.Header.Get("Origin"); origin != "" && transport != "ws" {
					if a.Header.Get("Access-Control-Allow-Origin") != origin || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
						t.Error("the page may not read the answer:", a.Header)
					}
				}
				if transport != "ws" && !slices.Contains(a.Header["Vary"], "Origin") {
					t.Error("a cache would not tell origins apart:", a.Header)
				}
				welcomed++
			})
		}
	}
	for _, fetch := range []string{"same-origin", "none", ""} {
		for _, transport := range []string{"sse", "poll"} { // a WebSocket always has an Origin
			if a := s.knock(t, transport, channel, cookie(agent), header("Sec-Fetch-Site", fetch)); !a.ok() {
				t.Error("Sec-Fetch-Site", fetch, transport, a.Status, a.text)
			}
		}
	}
	t.Logf("%d ways to come in, %d welcomes", len(cases), welcomed)
}

func TestTokenInTheAddressIsNeverLogged(t *testing.T) {
	log := &captured{}
	s := newSite(t, logTo(log), with(func(c *config.Config) { c.Limits.Connections = 1 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	tok := s.token(channel)
	s.hold(t, "sse", channel, query("token", tok))
	for _, transport := range transportNames {
		a := s.knock(t, transport, channel, query("token", tok), query("lastEventId", "7"))
		if a.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(a.Status)
		}
		checkSilence(t, a, log.String())
	}
	if text := log.String(); !strings.Contains(text, "token=redacted") || !strings.Contains(text, "channels=") {
		t.Fatalf("the log says too little: %s", text)
	}
}

func TestPreflight(t *testing.T) {
	s := newSite(t, origins(shop))
	for _, path := range []string{"sse", "poll", "info"} {
		for origin, want := range map[string]int{shop: 204, siteURL: 204, "https://evil.example": 403, "null": 403, "": 403} {
			req, err := http.NewRequest(http.MethodOptions, s.base+"/"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				req.Header.Set("Origin", origin)
			}
			req.Header.Set("Access-Control-Request-Method", "GET")
			req.Header.Set("Access-Control-Request-Headers", "authorization")
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			allowed := resp.Header.Get("Access-Control-Allow-Origin")
			if resp.StatusCode != want || (want == 204) != (allowed == origin && origin != "") {
				t.Errorf("%s from %q: %s, allowed %q", path, origin, resp.Status, allowed)
			}
			if want == 204 && !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
				t.Errorf("%s: a page may not send a token: %v", path, resp.Header)
			}
		}
	}
}
