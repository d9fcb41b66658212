//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/e2e/backstage"
)

// behind is a site with a proxy in front of it and a counting relay between
// the two.
type behind struct {
	*site
	front   *front
	relay   *relay
	chatID  int64
	channel string
	bearer  string
	client  *http.Client
}

// Each transport works behind the proxies that sites have, as they come.
func TestBehindProxies(t *testing.T) {
	s := newSite(t, nil, "HOLDLINE_HEARTBEAT=1s")
	r := newRelay(t, s.listen, 0)
	fronts := nginxFronts()
	runNginx(t, r.address(), fronts)
	fronts = append(fronts, runApache(t, r.address()))
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			s := *s
			s.t = t
			b := &behind{site: &s, front: f, relay: r, client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
			b.chatID, b.channel = s.chat()
			b.bearer = s.token(b.channel)
			t.Cleanup(func() {
				b.client.CloseIdleConnections()
				b.awaitNobody(t)
			})
			t.Run("event stream", b.testStream)
			t.Run("long poll", b.testPoll)
			if f.upgrades {
				t.Run("WebSocket", b.testWebSocket)
				t.Run("WebSocket of a silent browser", b.testSilent)
			}
		})
	}
}

// awaitNobody waits until the program has noticed that its clients are gone.
func (b *behind) awaitNobody(t *testing.T) {
	t.Helper()
	backstage.Eventually(t, "the program notices that the client has gone", time.Minute, func() bool { return b.held() == 0 })
}

func (b *behind) url(scheme, transport string) string {
	return endpoint(scheme, b.front.address, transport, b.channel, b.bearer)
}

func (b *behind) testStream(t *testing.T) {
	conn, err := net.Dial("tcp", b.front.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u, err := url.Parse(b.url("http", "sse"))
	if err != nil {
		t.Fatal(err)
	}
	req := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept: text/event-stream\r\n\r\n"
	if _, err := conn.Write([]byte(req)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(conn)
	if b.front.delays {
		b.testDelay(t, conn, lines)
		return
	}
	await := func(what string, ok func(line string) bool) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("no %s: %v", what, err)
			}
			if ok(strings.TrimSpace(line)) {
				return
			}
		}
	}
	await("200", func(line string) bool { return line == "HTTP/1.1 200 OK" })
	await("state", func(line string) bool { return line == "event: status" })
	for range 3 {
		b.say(b.chatID, 1)
		await("row", func(line string) bool { return line == "event: message" })
	}
	await("heartbeat", func(line string) bool { return line == ":" })
	conn.Close()
	b.awaitNobody(t)
}

// testDelay shows that the others pass because nginx is asked not to buffer.
func (b *behind) testDelay(t *testing.T, conn net.Conn, lines *bufio.Reader) {
	backstage.Eventually(t, "the stream is held", time.Minute, func() bool { return b.held() == 1 })
	b.say(b.chatID, 1)
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || strings.HasPrefix(line, "event: message") {
			t.Fatalf("%q, %v: this nginx does not buffer, so the other tests show nothing", line, err)
		}
	}
	conn.Close()
	b.awaitNobody(t)
}

func (b *behind) testPoll(t *testing.T) {
	before := b.relay.accepted.Load()
	first := <-b.poll(t.Context(), "") // asks for the present and is told the state
	if first.err != nil || first.Cursor == "" {
		t.Fatalf("%+v", first)
	}
	const polls = 5
	cursor := first.Cursor
	for range polls {
		answer := b.poll(t.Context(), cursor)
		backstage.Eventually(t, "the poll is held", time.Minute, func() bool { return b.held() == 1 })
		rows := b.say(b.chatID, 1)
		got := <-answer
		if got.err != nil || len(got.Events) != 1 || got.Events[0].ID != rows[0] {
			t.Fatalf("%+v instead of row %d", got, rows[0])
		}
		cursor = got.Cursor
	}
	made := b.relay.accepted.Load() - before
	if b.front.keeps && made > 1 {
		t.Errorf("%d connections for %d polls: they are not kept", made, 1+polls)
	}
	if !b.front.keeps && made != 1+polls {
		t.Errorf("%d connections for %d polls of HTTP 1.0", made, 1+polls)
	}
	if !b.front.watches {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := b.poll(ctx, cursor)
	backstage.Eventually(t, "the poll is held", time.Minute, func() bool { return b.held() == 1 })
	cancel()
	<-answer
	b.awaitNobody(t)
}

// pollAnswer is what came of a poll.
type pollAnswer struct {
	Cursor string
	Events []report
	err    error
}

// poll begins one poll and returns where its answer will come.
func (b *behind) poll(ctx context.Context, cursor string) <-chan pollAnswer {
	done := make(chan pollAnswer, 1)
	go func() {
		var a pollAnswer
		a.err = b.ask(ctx, cursor, &a)
		done <- a
	}()
	return done
}

func (b *behind) ask(ctx context.Context, cursor string, a *pollAnswer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url("http", "poll")+"&cursor="+url.QueryEscape(cursor), nil)
	if err != nil {
		return err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(a)
}

func (b *behind) testWebSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, b.url("ws", "ws"), &websocket.DialOptions{HTTPClient: &http.Client{Transport: b.client.Transport}, Subprotocols: []string{"holdline.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	await := func(what string) (r report) {
		t.Helper()
		for r.Type != what {
			_, text, err := conn.Read(ctx)
			if err != nil {
				t.Fatalf("no %s: %v", what, err)
			}
			r = reportOf("", text)
		}
		return r
	}
	await("hello")
	await("status")
	for _, row := range b.say(b.chatID, 3) {
		if got := await("message"); got.ID != row {
			t.Fatalf("row %d instead of %d", got.ID, row)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error("the closing handshake:", err)
	}
	b.awaitNobody(t)
}

// testSilent is a browser that was switched off: its connection to the proxy
// stays open, and no ping is ever answered.
func (b *behind) testSilent(t *testing.T) {
	conn, err := net.Dial("tcp", b.front.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u, err := url.Parse(b.url("http", "ws"))
	if err != nil {
		t.Fatal(err)
	}
	req := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: holdline.v1\r\n\r\n"
	if _, err := conn.Write([]byte(req)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 101 ") {
		t.Fatalf("%q, %v", line, err)
	}
	backstage.Eventually(t, "the WebSocket is held", time.Minute, func() bool { return b.held() == 1 })
	b.awaitNobody(t)
}
