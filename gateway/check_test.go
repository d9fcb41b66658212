package gateway_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/config"
	"holdline/internal/chat"
)

// checkAnswer is what the page is told by a poll.
type checkAnswer struct {
	Now          float64 `json:"now"`
	HeldMS       float64 `json:"held_ms"`
	Protocol     string
	Address      string
	Scope        string
	Trusted      bool
	ForwardedFor bool `json:"forwarded_for"`
	SameHost     bool `json:"same_host"`
	HTTPS        bool
	Handshake    string
	Error        string
}

// check asks an endpoint as the page does, and more by headers.
func (s *site) check(endpoint, query string, header ...string) (*http.Response, checkAnswer) {
	s.tb.Helper()
	req, err := http.NewRequest(http.MethodGet, s.base+"/"+endpoint+"?check="+query, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var a checkAnswer
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		s.tb.Fatalf("%s %q: %v", resp.Status, text, err)
	}
	return resp, a
}

// The page runs its own script and loads nothing from elsewhere.
func TestCheckPageIsItsOwn(t *testing.T) {
	s := newSite(t)
	resp, err := httpClient.Get(s.base + "/check")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=UTF-8" {
		t.Fatal(resp.Status, resp.Header, err)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	for kind, inline := range map[string]string{"script-src": `(?s)<script>(.*?)</script>`, "style-src": `(?s)<style>(.*?)</style>`} {
		found := regexp.MustCompile(inline).FindAllSubmatch(page, -1)
		if len(found) != 1 || len(found[0][1]) < 500 {
			t.Fatalf("%d of %s", len(found), inline)
		}
		sum := sha256.Sum256(found[0][1])
		want := kind + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if !strings.Contains(policy, want+";") {
			t.Errorf("the policy does not have %s: %s", want, policy)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
	for _, word := range []string{"https://", "innerHTML", "insertAdjacentHTML", "document.write", " style=", " onclick=", "src="} {
		if strings.Contains(string(page), word) && word != "src=" || regexp.MustCompile(`<(script|img|link)[^>]* src=`).Match(page) {
			t.Errorf("the page has %q in it", word)
		}
	}
}

func TestCheckTellsHowARequestCame(t *testing.T) {
	s := newSite(t)
	resp, a := s.check("poll", "a&wait=0&host=127.0.0.1")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Error(resp.Status, resp.Header)
	}
	if a.Protocol != "HTTP/1.1" || a.Scope != "loopback" || !a.Trusted || a.ForwardedFor || !a.SameHost || a.HTTPS || a.Address != "" {
		t.Errorf("asked directly: %+v", a)
	}
	if now := float64(time.Now().UnixMilli()); a.Now > now+1 || a.Now < now-60_000 {
		t.Errorf("the clock is %f, not %f", a.Now, now)
	}
	_, a = s.check("poll", "a&host=chat.example", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "chat.example")
	if a.Scope != "public" || a.Address != "203.0.113.7" || !a.ForwardedFor || !a.SameHost || !a.HTTPS {
		t.Errorf("asked through a proxy: %+v", a)
	}
	// What a machine of the site's own network is called is nobody's business.
	_, a = s.check("poll", "a", "X-Forwarded-For", "10.1.2.3")
	if a.Scope != "private" || a.Address != "" {
		t.Errorf("asked from a private network: %+v", a)
	}
	s = newSite(t, with(func(c *config.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }))
	_, a = s.check("poll", "a", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https")
	if a.Scope != "loopback" || a.Trusted || !a.ForwardedFor || a.HTTPS {
		t.Errorf("asked through a stranger: %+v", a)
	}
}

func TestCheckHoldsAPoll(t *testing.T) {
	s := newSite(t)
	if _, a := s.check("poll", "a&wait=0.3"); a.HeldMS < 300 {
		t.Errorf("held for %f ms", a.HeldMS)
	}
	for query, says := range map[string]string{
		"a&wait=soon":                  "number",
		"a&wait=-1":                    "number",
		strings.Repeat("a", 41):        "40 bytes",
		"a&wait=0x1p-2&wait=1&wait=no": "number",
	} {
		if resp, a := s.check("poll", query); resp.StatusCode != http.StatusBadRequest || !strings.Contains(a.Error, says) {
			t.Errorf("%s: %s %+v", query, resp.Status, a)
		}
	}
}

// openCheckSocket opens a check's WebSocket.
func openCheckSocket(t *testing.T, s *site, name string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.base+"/ws?check="+name, &websocket.DialOptions{Subprotocols: []string{"holdline.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func TestCheckSocket(t *testing.T) {
	for name, options := range map[string][]option{"epoll": nil, "portable": {portable}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, append(options, with(func(c *config.Config) { c.Heartbeat = 300 * time.Millisecond }))...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn := openCheckSocket(t, s, "a")
			for id := range 3 {
				var pong struct {
					Type string
					ID   int
					Now  float64
				}
				if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","id":`+string(rune('0'+id))+`}`)); err != nil {
					t.Fatal(err)
				}
				_, text, err := conn.Read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(text, &pong); err != nil || pong.Type != "pong" || pong.ID != id || pong.Now < 1e12 {
					t.Errorf("%s, %v", text, err)
				}
			}
			if err := conn.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
				t.Fatal(err)
			}
			_, text, err := conn.Read(ctx)
			if websocket.CloseStatus(err) != 4012 {
				t.Errorf("after what is no JSON: %q, %v", text, err)
			}
		})
	}
}

// A browser does not tell its page why a handshake failed, so the server does.
func TestCheckTellsWhyAHandshakeFailed(t *testing.T) {
	s := newSite(t)
	resp, a := s.check("ws", "mine")
	if resp.StatusCode != http.StatusUpgradeRequired || !strings.Contains(a.Error, "Upgrade") {
		t.Errorf("%s %+v", resp.Status, a)
	}
	if _, a := s.check("poll", "mine"); !strings.Contains(a.Handshake, "every proxy on the way") {
		t.Errorf("asked why: %+v", a)
	}
	if _, a := s.check("poll", "other"); a.Handshake != "" {
		t.Errorf("another check is told of it: %+v", a)
	}
}

func TestCheckStream(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Heartbeat = 200 * time.Millisecond }))
	resp, err := httpClient.Get(s.base + "/sse?check=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Error(resp.Header)
	}
	times, beats := 0, 0
	for lines := bufio.NewScanner(resp.Body); beats < 2; {
		if !lines.Scan() {
			t.Fatal("the stream ended:", lines.Err())
		}
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "data: "):
			times++
			if beats > 0 {
				t.Error("an event after a heartbeat")
			}
		case text == ":":
			beats++
		}
	}
	if times != 5 {
		t.Errorf("%d events", times)
	}
}

// Strangers can hold so many and no more, and have no part in the limits of those
// who chat.
func TestChecksAreBounded(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.Connections, c.Limits.PerAddress = 1, 1 }))
	var last *websocket.Conn
	for range 20 {
		last = openCheckSocket(t, s, "a")
	}
	resp, a := s.check("poll", "a&wait=0.1")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.Error, "too many checks") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s %+v", resp.Status, a)
	}
	if resp, _ := s.check("ws", "a"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Error("a WebSocket too many:", resp.Status)
	}
	if _, a := s.check("poll", "a"); !strings.Contains(a.Handshake, "too many checks") {
		t.Errorf("what is not held is answered with %+v", a)
	}
	if resp, _ := s.check("poll", "a&wait=0.1", "X-Forwarded-For", "203.0.113.7"); resp.StatusCode != http.StatusOK {
		t.Error("another address:", resp.Status)
	}
	last.CloseNow()
	s.await(t, "there is room again", func() bool {
		resp, _ := s.check("poll", "a&wait=0.1")
		return resp.StatusCode == http.StatusOK
	})
	id := s.chat(3)
	c := openWS(t, s, fmt.Sprintf("wplc/%d", id), "")
	defer c.close()
	row := s.say(id, "Hello")
	for e := c.next(); e.ID != row; e = c.next() {
		if e.Type != chat.TypeStatus {
			t.Fatalf("who chats hears %+v", e)
		}
	}
}

// The server leaves without waiting for the checks to run out.
func TestChecksDoNotKeepTheServer(t *testing.T) {
	s := newSite(t)
	conn := openCheckSocket(t, s, "a")
	stream, err := httpClient.Get(s.base + "/sse?check=a")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	poll, err := net.Dial("tcp", s.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer poll.Close()
	if _, err := io.WriteString(poll, "GET "+s.opt.Config.BasePath+"/poll?check=a&wait=25 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _, err := conn.Read(ctx)
		ended <- err
	}()
	s.stop() // fails if it has to cut anything off
	if err := <-ended; websocket.CloseStatus(err) != 4011 {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := poll.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(poll)
	if err != nil || errors.Is(err, io.EOF) || len(text) > 0 && !strings.HasPrefix(string(text), "HTTP/1.1 503 ") {
		t.Errorf("the poll was answered %.100q, %v", text, err)
	}
}
