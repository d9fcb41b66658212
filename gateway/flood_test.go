package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/config"
)

// direct is a gateway that browsers reach without a proxy, so that 127.0.0.1 counts
// as anybody.
func direct(c *config.Config) { c.TrustedProxies = nil }

// plug connects and says something, or nothing.
func (s *site) plug(tb testing.TB, said string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", s.gw.Addr().String())
	if err == nil {
		tb.Cleanup(func() { conn.Close() })
		_, err = io.WriteString(conn, said)
	}
	if err != nil {
		return nil // cut before it knew
	}
	return conn
}

// isCut tells whether a connection was ended without a word.
func isCut(tb testing.TB, conn net.Conn) bool {
	tb.Helper()
	if conn == nil {
		return true
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		tb.Fatal(err)
	}
	n, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		tb.Fatal("the connection is neither served nor cut")
	}
	return n == 0
}

const getInfo = "GET /holdline/v1/info HTTP/1.1\r\nHost: x\r\n\r\n"

func TestFloodOfConnectionsThatAskNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Config)
		says   string // of each attacker
		reason string
	}{
		"from one address, silent":             {func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 20 }, "", "open_address"},
		"from one address, half a head":        {func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 20 }, "GET / HTTP/1.1\r\nHost: x\r\nX-", "open_address"},
		"from one address, kept alive":         {func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 20 }, getInfo, "open_address"},
		"from one address, HTTP/2":             {func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 20 }, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "open_address"},
		"from everywhere, through the proxies": {func(c *config.Config) { c.Limits.Open, c.Limits.OpenPerAddr = 20, 5 }, "", "open"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, with(c.change))
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			// Those who are held count for nothing here.
			readers := []client{openSSE(t, s, channel, ""), openWS(t, s, channel, "")}
			for _, r := range readers {
				defer r.close()
			}
			http.DefaultClient.CloseIdleConnections()
			s.await(t, "only they are there", func() bool { return s.gw.Open() <= 1 })
			var flood []net.Conn
			for range 60 {
				conn, err := net.Dial("tcp", s.gw.Addr().String())
				if err != nil {
					continue // cut before it knew
				}
				defer conn.Close()
				io.WriteString(conn, c.says) // may be cut already
				flood = append(flood, conn)
			}
			s.await(t, "the rest is refused", func() bool {
				return s.metric(t, `holdline_connections_refused_total{reason="`+c.reason+`"}`) >= 60-20
			})
			if n := s.gw.Open(); n > 20 {
				t.Errorf("%d are open", n)
			}
			s.say(id, "still here")
			for _, r := range readers {
				if e := message(r); e.Body != "still here" {
					t.Errorf("a held client got %q", e.Body)
				}
			}
			for _, conn := range flood {
				conn.Close()
			}
			s.await(t, "there is room again", func() bool { return s.gw.Open() <= 1 })
			if conn := s.plug(t, getInfo); isCut(t, conn) {
				t.Error("nobody gets in after the flood")
			}
		})
	}
}

// TestFloodFromOneAddressLeavesRoomForOthers: the bound of one address is what keeps
// the bound of all from being used up by one.
func TestFloodFromOneAddressLeavesRoomForOthers(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { direct(c); c.Listen, c.Limits.Open, c.Limits.OpenPerAddr = "0.0.0.0:0", 20, 10 }))
	_, port, err := net.SplitHostPort(s.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	from := func(address string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		conn, err := d.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return conn, err
	}
	for range 50 {
		_, _ = from("127.0.0.2") // may be cut before it knew
	}
	s.await(t, "the flood is refused", func() bool {
		return s.metric(t, `holdline_connections_refused_total{reason="open_address"}`) == 40
	})
	other, err := from("127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(other, getInfo); err != nil || isCut(t, other) {
		t.Error("another address is refused:", err)
	}
}

func TestHeldConnectionsAreNotOpenOnes(t *testing.T) {
	for name, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, append(options, with(func(c *config.Config) { direct(c); c.Limits.Open, c.Limits.OpenPerAddr = 4, 4 }))...)
			channel := fmt.Sprintf("wplc/%d", s.chat(3))
			var all []*rawClient
			for i := range 24 {
				all = append(all, s.dial(t, []string{"sse", "ws"}[i%2], channel))
			}
			s.await(t, "all are held", func() bool { return s.gw.Held() == len(all) && s.gw.Open() == 0 })
			for _, c := range all {
				c.Close()
			}
			s.await(t, "all have left", func() bool { return s.gw.Held() == 0 })
		})
	}
}

// TestStreamsOfHTTP2AreHeld: a browser over HTTP/2 has one connection, which is not
// handed over.
func TestStreamsOfHTTP2AreHeld(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { direct(c); c.Limits.Open, c.Limits.OpenPerAddr = 2, 2 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	var bodies []io.Closer
	for i := range 6 {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport}).Get(s.address("sse", channel, ""))
		if err != nil || resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Fatal(i, resp, err)
		}
		defer resp.Body.Close()
		bodies = append(bodies, resp.Body)
	}
	s.await(t, "none of them counts", func() bool { return s.gw.Held() == 6 && s.gw.Open() == 0 })
	for _, b := range bodies[:2] {
		b.Close()
	}
	s.await(t, "those without a stream count", func() bool { return s.gw.Held() == 4 && s.gw.Open() == 2 })
	// Both limits are reached.
	if conn := s.plug(t, getInfo); !isCut(t, conn) {
		t.Error("there was room for one more")
	}
}

// TestAnsweredPollsLeaveWhenRoomIsNeeded: who polls and then goes silent keeps a
// descriptor that no limit of held connections counts.
func TestAnsweredPollsLeaveWhenRoomIsNeeded(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.Connections = 20 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	poll := fmt.Sprintf("GET /holdline/v1/poll?channels=%s&token=%s HTTP/1.1\r\nHost: x\r\n\r\n", channel, s.token(channel))
	for range 100 {
		conn := s.plug(t, poll)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal("somebody is refused for connections that wait for nothing:", resp, err)
		}
	}
	s.await(t, "a limit and an eighth are left", func() bool { return s.gw.Idle() <= 20+20/8+1 })
}

// TestConnectionsThatCameBackCount: a poll's connection goes back to the HTTP server,
// and may not be kept open there for nothing.
func TestConnectionsThatCameBackCount(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 10 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	poll := fmt.Sprintf("GET /holdline/v1/poll?channels=%s&token=%s HTTP/1.1\r\nHost: x\r\n\r\n", channel, s.token(channel))
	for i := range 10 {
		conn := s.plug(t, poll)
		r := bufio.NewReader(conn)
		for _, next := range []string{getInfo, ""} {
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(i, resp, err)
			}
			io.Copy(io.Discard, resp.Body)
			io.WriteString(conn, next)
		}
	}
	s.await(t, "all count", func() bool { return s.gw.Open() == 10 })
	if conn := s.plug(t, getInfo); !isCut(t, conn) {
		t.Error("there was room for one more")
	}
}

func TestLimitsOfOpenConnectionsCanBeChanged(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { direct(c); c.Limits.OpenPerAddr = 2 }))
	s.plug(t, "")
	s.plug(t, "")
	s.await(t, "both are there", func() bool { return s.gw.Open() == 2 })
	if !isCut(t, s.plug(t, getInfo)) {
		t.Error("there was room for one more")
	}
	s.gw.AdjustOpen(config.Limits{Open: 100, OpenPerAddr: 3, Connections: 100})
	if isCut(t, s.plug(t, getInfo)) {
		t.Error("there is no room for one more")
	}
}

// trickle sends a text byte by byte, each after a pause, until it is cut off.
func trickle(conn net.Conn, text string, pause time.Duration) {
	for i := range len(text) {
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause) // this is the attack
	}
}

// TestSlowloris: heads and bodies that never end are given up, and meanwhile
// everybody else is served.
func TestSlowloris(t *testing.T) {
	t.Parallel() // with others that take their time
	long := strings.Repeat("x", 100_000)
	attacks := map[string]string{
		"a head":                    "GET /holdline/v1/info HTTP/1.1\r\nHost: x\r\nX-Long: " + long,
		"a head of many fields":     "GET /holdline/v1/info HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 10_000),
		"a line of request":         "GET /" + long,
		"empty lines":               strings.Repeat("\r\n", 50_000),
		"a form":                    "POST /holdline/v1/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\nchannels=" + long,
		"a message":                 "POST /holdline/v1/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + long,
		"a preface of HTTP/2":       "PRI * HTTP/2.0\r\n\r\nS" + strings.Repeat("\r", 100_000),
		"the head of a WebSocket":   "GET /holdline/v1/ws?channels=wplc/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: " + long,
		"a chunk's extension":       "POST /holdline/v1/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n1;" + long,
		"the body of a wake call":   "POST /holdline/v1/wake HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{" + long,
		"the fields after the body": "POST /holdline/v1/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-" + long,
	}
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	reader := openSSE(t, s, channel, "")
	defer reader.close()
	var all sync.WaitGroup
	for name, text := range attacks {
		for range 3 {
			all.Go(func() {
				conn := s.plug(t, "")
				go trickle(conn, text, 50*time.Millisecond)
				// What is read until the end is at most a refusal.
				if err := conn.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
					t.Error(err)
				}
				b, err := io.ReadAll(conn)
				var late net.Error
				if errors.As(err, &late) && late.Timeout() {
					t.Errorf("%s: still open after 40 s; it got %.100q", name, b)
				}
				if strings.HasPrefix(string(b), "HTTP/1.1 2") {
					t.Errorf("%s: served: %.100q", name, b)
				}
				conn.Close()
			})
		}
	}
	s.say(id, "meanwhile")
	if e := message(reader); e.Body != "meanwhile" {
		t.Errorf("the held client got %q", e.Body)
	}
	if isCut(t, s.plug(t, getInfo)) {
		t.Error("nobody else is served")
	}
	all.Wait()
}

// TestConnectionsOfTLSCount: from before the handshake until they are held or over,
// and again when an answered poll gives one back.
func TestConnectionsOfTLSCount(t *testing.T) {
	for name, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
		t.Run(name, func(t *testing.T) {
			s, ca := tlsSite(t, options...)
			s.plug(t, "") // says nothing
			s.await(t, "one that has not shaken hands counts", func() bool { return s.gw.Open() == 1 })
			channel := fmt.Sprintf("wplc/%d", s.chat(3))
			s.client = trusting(t, ca, false, nil)
			for _, transport := range []string{"sse", "ws"} {
				open := transports()[transport]
				c := open(t, s, channel, "")
				s.await(t, "what is held does not count", func() bool { return s.gw.Held() == 1 && s.gw.Open() == 1 })
				c.close()
				s.await(t, "it has left", func() bool { return s.gw.Held() == 0 && s.gw.Open() == 1 })
			}
			for range 3 {
				c := openPoll(t, s, channel, "") // is answered at once, over one connection
				c.close()
			}
			s.client.CloseIdleConnections()
			s.await(t, "the answered poll has left", func() bool { return s.gw.Idle() == 0 && s.gw.Open() == 1 })
		})
	}
}
