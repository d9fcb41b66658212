package ws

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"

	"holdline/internal/park"
)

// handshake is a request that is right in every way.
func handshake() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/holdline/v1/ws", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return r
}

func TestUpgradeRefuses(t *testing.T) {
	upgrade := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}
	version := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := []struct {
		name   string
		change func(r *http.Request)
		status int
		reason string // a part of it
		header http.Header
	}{
		{"plain GET", func(r *http.Request) { r.Header = http.Header{} }, 426, "speaks WebSocket", upgrade},
		{"proxy that drops Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 426, "every proxy", upgrade},
		{"proxy that makes Connection close", set("Connection", "close"), 426, "every proxy", upgrade},
		{"another protocol", set("Upgrade", "h2c"), 426, "speaks WebSocket", upgrade},
		{"a word that only begins alike", set("Upgrade", "websocket2"), 426, "speaks WebSocket", upgrade},
		{"POST", func(r *http.Request) { r.Method = "POST" }, 405, `not "POST"`, http.Header{"Allow": {"GET"}}},
		{"method with a line break", func(r *http.Request) { r.Method = "GE\r\nT" }, 405, `not "GE\r\nT"`, http.Header{"Allow": {"GET"}}},
		{"HTTP/1.0", func(r *http.Request) { r.ProtoMinor = 0 }, 426, "HTTP/1.0", upgrade},
		{"HTTP/2, where Upgrade must not be said", func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }, 426, "HTTP/2.0", nil},
		{"a body", func(r *http.Request) { r.ContentLength = 5 }, 400, "no body", nil},
		{"a body of unknown length", func(r *http.Request) { r.ContentLength = -1 }, 400, "no body", nil},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 426, "version 13", version},
		{"older version", set("Sec-WebSocket-Version", "8"), 426, "version 13", version},
		{"two versions", func(r *http.Request) { r.Header.Add("Sec-WebSocket-Version", "8") }, 426, "version 13", version},
		{"no key", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400, "Sec-WebSocket-Key", nil},
		{"two keys", func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") }, 400, "Sec-WebSocket-Key", nil},
		{"short key", set("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ=="), 400, "Sec-WebSocket-Key", nil},
		{"key that is not base64", set("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="), 400, "Sec-WebSocket-Key", nil},
		{"only another subprotocol", set("Sec-WebSocket-Protocol", "graphql-ws"), 400, "offer holdline.v1", nil},
		{"only a later subprotocol", set("Sec-WebSocket-Protocol", "holdline.v2, Holdline.v1"), 400, "offer holdline.v1", nil},
		{"a connection that cannot be taken over", func(*http.Request) {}, 500, "take over", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, w := handshake(), httptest.NewRecorder()
			tt.change(r)
			conn, early, refusal := Upgrade(w, r, nil)
			if conn != nil || early != nil || refusal == nil {
				t.Fatalf("Upgrade = %v, %q, %v; want only a refusal", conn, early, refusal)
			}
			if refusal.Status != tt.status || !strings.Contains(refusal.Error(), tt.reason) {
				t.Errorf("refused with %d %q, want %d and %q in it", refusal.Status, refusal.Reason, tt.status, tt.reason)
			}
			if diff := cmp.Diff(tt.header, refusal.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("wrote %v %q, that is for the caller", w.Header(), w.Body)
			}
		})
	}
}

// hijackable gives its connection away.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

func TestUpgradeWhenTheClientHasGone(t *testing.T) {
	server, peer := net.Pipe()
	peer.Close()
	conn, _, refusal := Upgrade(hijackable{conn: server}, handshake(), nil)
	if conn != nil || refusal == nil || refusal.Status != 0 {
		t.Fatalf("Upgrade = %v, %+v; want a refusal that cannot be answered", conn, refusal)
	}
	if _, err := server.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestUpgradeAnswer(t *testing.T) {
	tests := []struct {
		name    string
		request string // headers besides Host
		want    http.Header
	}{
		{
			"as browsers send it",
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
			http.Header{},
		},
		{
			"as Firefox and proxies send it",
			"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Protocol: holdline.v1\r\n",
			http.Header{"Sec-Websocket-Protocol": {"holdline.v1"}},
		},
		{
			"every list over several lines",
			"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: ,more,, holdline.v1 ,\r\n",
			http.Header{"Sec-Websocket-Protocol": {"holdline.v1"}},
		},
	}
	srv := newEchoServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := dialRaw(t, srv)
			request := "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + tt.request + "\r\n"
			// A frame that comes with the request is not lost.
			if _, err := conn.Write(append([]byte(request), client(textFin, "early")...)); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.Set("Connection", "Upgrade")
			want.Set("Upgrade", "websocket")
			want.Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") // RFC 6455 section 1.3
			want.Set("X-Test", "one  two")                                   // the line break that the handler tried is gone
			if diff := cmp.Diff(want, resp.Header); resp.StatusCode != 101 || diff != "" {
				t.Errorf("status %d, header (-want +got):\n%s", resp.StatusCode, diff)
			}
			if got := readFrame(t, r); got != "text early" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// liveConn is a park.Conn of the simplest kind, over a connection that its own
// goroutine reads.
type liveConn struct {
	net.Conn
	mu    sync.Mutex
	alarm *time.Timer
	ring  func()
}

func (c *liveConn) Send(b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

func (c *liveConn) Finish(b []byte, _ bool) {
	c.Send(b)
	c.Close(park.ReasonFinished)
}

func (c *liveConn) Close(park.Reason) {
	c.SetAlarm(0)
	c.Conn.Close()
}

func (c *liveConn) SetAlarm(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alarm != nil {
		c.alarm.Stop()
	}
	if d > 0 {
		c.alarm = time.AfterFunc(d, c.ring)
	}
}

// echoServer echoes text, through connections read in pieces of changing size. The
// text "close" makes it close with CodeDraining.
type echoServer struct {
	*httptest.Server
	codes chan Code // how each connection ended
}

// unwraps hides all but Unwrap of a ResponseWriter, as middleware does.
type unwraps struct{ w http.ResponseWriter }

func (u unwraps) Header() http.Header         { return u.w.Header() }
func (u unwraps) Write(b []byte) (int, error) { return u.w.Write(b) }
func (u unwraps) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u unwraps) Unwrap() http.ResponseWriter { return u.w }

func newEchoServer(t *testing.T) *echoServer {
	t.Helper()
	s := &echoServer{codes: make(chan Code, 16)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, early, refusal := Upgrade(unwraps{w}, r, http.Header{"X-Test": {"one\r\ntwo"}})
		if refusal != nil {
			http.Error(w, refusal.Reason, refusal.Status)
			return
		}
		s.codes <- echo(conn, early)
	}))
	t.Cleanup(s.Close)
	return s
}

func echo(conn net.Conn, early []byte) Code {
	st := &fakeHolder{}
	c := &liveConn{Conn: conn}
	c.ring = func() { st.session.Alarm(c) }
	defer c.Close(park.ReasonGone)
	st.onMessage = func(_ park.Conn, msg string) {
		st.messages = nil
		if msg == "close" {
			st.session.Close(c, CodeDraining, "")
			return
		}
		st.session.Send(c, AppendText(nil, []byte(msg)))
	}
	st.session.Start(c)
	st.receive(c, early)
	buf := make([]byte, 8192)
	for i := 0; ; i++ {
		n, err := conn.Read(buf[:1+i*37%len(buf)])
		st.session.Received(c, buf[:n], st)
		if err != nil {
			return st.session.Code()
		}
	}
}

func dialRaw(t *testing.T, s *echoServer) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// openRaw is a connection whose frames the test writes by hand.
func openRaw(t *testing.T, s *echoServer) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := dialRaw(t, s)
	r := bufio.NewReader(conn)
	if err := handshake().Write(conn); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("handshake: %v, %v", resp, err)
	}
	return conn, r
}

// readFrame reads one frame of the server, as record would write it down.
func readFrame(t *testing.T, r io.Reader) string {
	t.Helper()
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	var heard record
	switch h.OpCode {
	case ws.OpText:
		heard.Text(payload)
	case ws.OpPong:
		heard.Pong(payload)
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		heard.Close(Code(code), reason)
	default:
		t.Fatalf("unexpected frame %+v", h)
	}
	return heard.lines[0]
}

func openCoder(t *testing.T, s *echoServer) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{
		Subprotocols:    []string{"other", Subprotocol},
		CompressionMode: websocket.CompressionContextTakeover, // offered, and must be declined
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return conn
}

func TestEchoToCoder(t *testing.T) {
	srv := newEchoServer(t)
	conn := openCoder(t, srv)
	if got := conn.Subprotocol(); got != Subprotocol {
		t.Errorf("subprotocol %q, want %q", got, Subprotocol)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	text := strings.Repeat("Schöne Grüße, 你好 🙂 ", 3000)
	sizes := []int{0, 1, 125, 126, 127, 65535, 65536}
	for i := range 10_000 {
		size := rnd.IntN(400)
		if i%8 == 0 {
			size = sizes[i/8%len(sizes)]
		}
		msg := []byte(strings.ToValidUTF8(text[:size], "?"))
		if err := conn.Write(t.Context(), websocket.MessageText, msg); err != nil {
			t.Fatal(err)
		}
		kind, got, err := conn.Read(t.Context())
		if err != nil || kind != websocket.MessageText || string(got) != string(msg) {
			t.Fatalf("message %d of %d bytes: got %d bytes, %v, %v", i, len(msg), len(got), kind, err)
		}
	}
}

func TestEchoOfFragmentsByHand(t *testing.T) {
	conn, r := openRaw(t, newEchoServer(t))
	frames := wire(client(textPart, "Gr\xc3"), client(pingFin, "now"), client(contPart, ""), client(contFin, "\xbc\xc3\x9fe"), client(textFin, "end"))
	for _, b := range frames {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"pong now", "text Grüße", "text end"} {
		if got := readFrame(t, r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCoderCloses(t *testing.T) {
	srv := newEchoServer(t)
	conn := openCoder(t, srv)
	if err := conn.Close(websocket.StatusGoingAway, "leaving"); err != nil {
		t.Errorf("closing handshake: %v", err)
	}
	if got := <-srv.codes; got != CodeGoingAway {
		t.Errorf("the server saw code %d, want %d", got, CodeGoingAway)
	}
}

func TestServerClosesCoder(t *testing.T) {
	srv := newEchoServer(t)
	conn := openCoder(t, srv)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("close")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	var closed websocket.CloseError
	if !errors.As(err, &closed) || Code(closed.Code) != CodeDraining || closed.Reason != CodeDraining.Reason() {
		t.Errorf("Read = %v, want close code %d", err, CodeDraining)
	}
	if got := <-srv.codes; got != CodeDraining {
		t.Errorf("the server saw code %d, want %d", got, CodeDraining)
	}
}

func TestCoderIsPongedAt(t *testing.T) {
	conn := openCoder(t, newEchoServer(t))
	ctx, cancel := context.WithCancel(conn.CloseRead(t.Context()))
	defer cancel()
	for range 10 {
		if err := conn.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBinaryFromCoder(t *testing.T) {
	conn := openCoder(t, newEchoServer(t))
	if err := conn.Write(t.Context(), websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusUnsupportedData {
		t.Errorf("Read = %v, want close code 1003", err)
	}
}

func TestBadFramesByHand(t *testing.T) {
	srv := newEchoServer(t)
	for name, tt := range map[string]struct {
		wire []byte
		want string
	}{
		"no mask":       {AppendText(nil, []byte("x")), "close 1002 "},
		"not UTF-8":     {client(textFin, "\xff"), "close 1007 "},
		"endless frame": {claim(textFin, 64, 1<<62), "close 1009 "},
		"ping flood":    {repeat(maxControls+1, client(pongFin, "")), "close 1008 "},
	} {
		t.Run(name, func(t *testing.T) {
			conn, r := openRaw(t, srv)
			if _, err := conn.Write(wire(tt.wire, client(textFin, "late"))); err != nil {
				t.Fatal(err)
			}
			if got := readFrame(t, r); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
