package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/wordpress"
)

// killDatabase ends MariaDB as a crash would; the test brings it back.
func killDatabase(t *testing.T) (restart func()) {
	t.Helper()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	running := false
	restart = func() {
		if running {
			return
		}
		running = true
		if err := server.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(restart)
	return restart
}

func TestDatabaseThatIsDownAtTheStart(t *testing.T) {
	s := newSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	pass := bearer(s.token(channel))
	s.stop()
	restart := killDatabase(t)
	s.start()
	s.await(t, "a reason is known", func() bool {
		status, text := s.admin(t, "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "connect")
	})
	_, sentence := s.admin(t, "/readyz")
	if status, _ := s.admin(t, "/healthz"); status != http.StatusOK {
		t.Error("/healthz", status)
	}
	for _, transport := range transportNames {
		if a := s.knock(t, transport, channel, pass); a.StatusCode != 503 || a.reason != "not_ready" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %s", transport, a.Status, a.text)
		}
	}
	restart()
	s.awaitReady()
	for _, transport := range transportNames {
		if a := s.knock(t, transport, channel, pass); !a.ok() {
			t.Errorf("%s: %s %s", transport, a.Status, a.text)
		}
	}
	t.Logf("/readyz said: %s", strings.TrimSpace(sentence))
}

func TestDatabaseThatDiesWhileClientsAreHeld(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	clients := make(map[string]client)
	for name, open := range transports() {
		clients[name] = open(t, s, channel, "")
		defer clients[name].close()
	}
	s.say(id, "before")
	for name, c := range clients {
		if e := message(c); e.Body != "before" {
			t.Fatalf("%s: %q", name, e.Body)
		}
	}
	lost := s.metric(t, "holdline_connections_closed_total")
	agent := s.login("agent", true)
	restart := killDatabase(t)
	var trouble string
	s.await(t, "/readyz tells of trouble", func() bool {
		var status int
		status, trouble = s.admin(t, "/readyz")
		return status == http.StatusServiceUnavailable
	})
	// With a token nothing has to be looked up, so new clients are held as well.
	late := s.knock(t, "sse", channel, bearer(s.token(channel)))
	if !late.ok() {
		t.Error("a client with a token is refused:", late.Status, late.text)
	}
	if a := s.knock(t, "sse", channel, home, cookie(agent)); a.StatusCode != 503 || a.reason != "database" {
		t.Errorf("a login that cannot be looked up: %s %s", a.Status, a.text)
	}
	restart()
	s.awaitReady()
	s.say(id, "after")
	for name, c := range clients {
		if e := message(c); e.Body != "after" {
			t.Errorf("%s: %q", name, e.Body)
		}
	}
	if n := s.metric(t, "holdline_connections_closed_total") - lost; n != 0 {
		t.Errorf("%d clients were let go", n)
	}
	t.Logf("all transports went on; /readyz said: %s", strings.TrimSpace(trouble))
}

func TestDrainLetsEveryoneGoInOrder(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	s.say(id, "history")
	stream := s.hold(t, "sse", channel, bearer(s.token(channel)))
	asked := s.hold(t, "poll", channel, bearer(s.token(channel)))
	socket := openWS(t, s, channel, "").(*wsClient)
	socket.next() // the state
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	if e := socket.next(); e.Type != chat.TypeReconnect || !strings.Contains(string(e.Data), "after_ms") {
		t.Errorf("ws: %+v", e)
	}
	_, _, err := socket.conn.Read(context.Background())
	if websocket.CloseStatus(err) != 4011 {
		t.Errorf("ws: %v", err)
	}
	text := stream.wait(t)
	if !strings.HasSuffix(text, "\n\n") || !strings.Contains(text, "event: reconnect\ndata: {\"type\":\"reconnect\",\"data\":{\"after_ms\":") || !errors.Is(stream.err, io.ErrUnexpectedEOF) { // in order would be the end of all to some clients
		t.Errorf("sse: %q %v", text, stream.err)
	}
	var told struct {
		Cursor string
		Events []chat.Event
	}
	if err := json.Unmarshal([]byte(asked.wait(t)), &told); err != nil || asked.head.StatusCode != 200 || !asked.head.Close || told.Cursor == "" || len(told.Events) != 0 {
		t.Errorf("poll: %s %v (%v)", asked.rest, err, asked.err)
	}
	<-stopped
	t.Logf("the stream's last words: %q", text[max(0, len(text)-90):])
}

// TestDrainBringsWritesToWordPressFirst has a heartbeat wait for the next batch, 22 s
// later, and PHP make a page during the drain that is ready once the heartbeat has come.
func TestDrainBringsWritesToWordPressFirst(t *testing.T) {
	asked, came := make(chan struct{}), make(chan struct{}, 10)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("action") == wordpress.SyncAction {
			if body, err := io.ReadAll(r.Body); err == nil && strings.Contains(string(body), `"beats":[`) {
				came <- struct{}{}
			}
			io.WriteString(w, `{"ok":true,"version":2,"hello":{}}`)
			return
		}
		close(asked)
		select {
		case <-came:
			io.WriteString(w, "in time")
		case <-time.After(10 * time.Second):
			io.WriteString(w, "too late")
		}
	}))
	defer upstream.Close()
	s := newSite(t, with(func(c *config.Config) {
		c.WordPress.Upstream, c.Loops.WPLC.Answer, c.Drain = upstream.URL, "native", time.Minute
	}))
	s.exec("INSERT INTO wp_options (option_name, option_value) VALUES ('wplc_db_version', '8.0.25')")
	s.stop()
	s.start()
	s.awaitReady()
	chat := s.chat(3)
	s.post(t, urlencoded, visitorForm(chat, "short_poll", "true").Encode(), bound(t, chat))
	page := make(chan string)
	go func() {
		resp, err := httpClient.Get(s.front() + "/page")
		if err != nil {
			page <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		page <- fmt.Sprint(string(text), err)
	}()
	<-asked
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	if got := <-page; got != "in time<nil>" {
		t.Errorf("the page is %q", got)
	}
	<-stopped
}

// TestDrainFindsWhoIsJustComingIn holds requests up in the question whether they
// may read until the farewell has been said to everybody else.
func TestDrainFindsWhoIsJustComingIn(t *testing.T) {
	asking, answer := make(chan struct{}), make(chan struct{})
	f := &stub{mayRead: func() (bool, error) {
		asking <- struct{}{}
		<-answer
		return true, nil
	}}
	s := newSite(t, f.connect, with(func(c *config.Config) { c.Drain = 5 * time.Minute }))
	got := make(chan string)
	for _, transport := range transportNames {
		go func() {
			a := s.knock(t, transport, "stub/1")
			b, _ := io.ReadAll(a.Body)
			got <- transport + ": " + string(b)
		}()
		<-asking
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	s.await(t, "it drains", func() bool {
		_, text := s.admin(t, "/readyz")
		return strings.Contains(text, "draining")
	})
	close(answer)
	for range transportNames {
		select {
		case text := <-got:
			if !strings.Contains(text, "reconnect") && !strings.HasPrefix(text, "poll: {") {
				t.Error(text)
			}
		case <-time.After(time.Minute):
			t.Fatal("a client was forgotten")
		}
	}
	<-stopped
}

// TestDrainAnswersWhoHasOnlyConnected has a connection accepted, and its request
// come after the farewell: http.Server would close it unanswered.
func TestDrainAnswersWhoHasOnlyConnected(t *testing.T) {
	s := newSite(t)
	conn, err := net.Dial("tcp", s.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequest(http.MethodGet, s.base+"/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true               // nobody else is waited for
	first, err := s.client.Do(req) // connections are accepted in order
	if err != nil {
		t.Fatal(err)
	}
	first.Body.Close()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	s.await(t, "it drains", func() bool {
		_, text := s.admin(t, "/readyz")
		return strings.Contains(text, "draining")
	})
	if _, err := io.WriteString(conn, "GET /holdline/v1/info HTTP/1.1\r\nHost: site\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("status %d, Connection %q", answer.StatusCode, answer.Header.Get("Connection"))
	}
	<-stopped
}

func TestClientsOverHTTP2(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	get := func(kind, cursor string) *http.Response {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address(kind, channel, cursor), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto)
		}
		return resp
	}
	ask := func(cursor string) (next, text string) {
		resp := get("poll", cursor)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Cursor string }
		if err := json.Unmarshal(b, &told); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.Status, string(b))
		}
		return told.Cursor, string(b)
	}
	cursor, _ := ask("")
	stream := get("sse", "")
	lines := bufio.NewScanner(stream.Body)
	until := func(part string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), part) {
				return
			}
		}
		t.Fatalf("the stream ended before %q: %v", part, lines.Err())
	}
	until("id: ")
	s.say(id, "one")
	until(`"body":"one"`)
	stream.Body.Close()
	s.await(t, "the stream is let go", func() bool { return s.gw.Held() == 0 })
	s.say(id, "two")
	first := cursor
	for text := ""; !strings.Contains(text, "two"); {
		cursor, text = ask(cursor)
	}
	stream = get("sse", first)
	defer stream.Body.Close()
	lines = bufio.NewScanner(stream.Body)
	until(`"body":"one"`)
	until(`"body":"two"`)
	s.say(id, "three")
	until(`"body":"three"`)
	if _, text := ask(cursor); !strings.Contains(text, "three") {
		t.Error(text)
	}
	// A drain ends streams in order.
	go s.stop()
	until("event: reconnect")
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Error(lines.Err())
	}
}

func TestLimitsOverHTTP2(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.Connections = 2 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for range 5 {
		var bodies []io.Closer
		for i := range 3 {
			resp, err := (&http.Client{Transport: transport}).Get(s.address("sse", channel, ""))
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, resp.Body)
			if want := map[bool]int{true: 200, false: 503}[i < 2]; resp.StatusCode != want {
				t.Fatalf("stream %d: %s", i, resp.Status)
			}
		}
		for _, b := range bodies {
			b.Close()
		}
		s.awaitAdmitted(t, 0)
	}
}
