package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdline/config"
)

// rawClient is a connection whose reading the test does, or does not do.
type rawClient struct {
	net.Conn
	r *bufio.Reader
}

// dial opens a held connection on a socket of its own and reads its head.
func (s *site) dial(tb testing.TB, transport, channels string) *rawClient {
	tb.Helper()
	// A small receive buffer, so that what is not read waits in the gateway.
	conn, err := (&net.Dialer{Control: smallReceiveBuffer}).Dial(s.gw.Addr().Network(), s.gw.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	upgrade := ""
	if transport == "ws" {
		upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	fmt.Fprintf(conn, "GET /holdline/v1/%s?channels=%s&token=%s HTTP/1.1\r\nHost: x\r\n%s\r\n", transport, channels, s.token(channels), upgrade)
	c := &rawClient{conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatal(resp.Status)
	}
	return c
}

// smallReceiveBuffer is a net.Dialer's Control.
func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
	}); ctl != nil {
		return ctl
	}
	return err
}

func TestWhoDoesNotReadIsCut(t *testing.T) {
	for _, stalled := range []string{"sse", "ws"} {
		t.Run(stalled, func(t *testing.T) {
			s := newSite(t, with(func(c *config.Config) { c.Limits.QueueBytes = 64 * config.KiB }))
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			const stalledClients, rows = 5, 60
			readers := make(map[string]client)
			for name, open := range transports() {
				readers[name] = open(t, s, channel, "")
				defer readers[name].close()
			}
			var left []*rawClient
			for range stalledClients {
				left = append(left, s.dial(t, stalled, channel))
			}
			text := strings.Repeat("x", 16<<10)
			for i := range rows {
				want := fmt.Sprintf("%03d%s", i, text)
				s.say(id, want)
				for name, c := range readers {
					if e := message(c); e.Body != want {
						t.Fatalf("%s: row %d is %.10q", name, i, e.Body)
					}
				}
			}
			slow := `holdline_connections_closed_total{kind="epoll",reason="slow"}`
			s.await(t, "all who do not read are cut", func() bool { return s.metric(t, slow) == stalledClients })
			s.await(t, "the others are held", func() bool { return s.gw.Held() <= len(readers) })
			for _, c := range left {
				if _, err := io.Copy(io.Discard, c.r); err == nil {
					t.Error("a stalled client's connection was ended in order, not reset")
				}
			}
			t.Logf("%d cut as slow; a reader on each transport had all %d rows in order", s.metric(t, slow), rows)
		})
	}
}

// frame masks with zeros, which leaves the payload as it is.
func frame(opcode byte, payload string) []byte {
	b := []byte{opcode, 0x80 | byte(min(len(payload), 126))}
	if len(payload) > 125 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func TestFloodsOverWebSocket(t *testing.T) {
	ping, piece := frame(0x89, "hello"), frame(0x00, strings.Repeat("x", 1000))
	floods := map[string]struct {
		flood []byte
		want  string // of the close frame, with its code
	}{
		"pings":               {bytes.Repeat(ping, 500), "\x03\xf0too many pings"},
		"pongs":               {bytes.Repeat(frame(0x8a, ""), 500), "\x03\xf0too many pings"},
		"messages":            {bytes.Repeat(frame(0x81, `{"type":"ping"}`), 500), "\x03\xf0too many messages"},
		"a message in pieces": {append(frame(0x01, "x"), bytes.Repeat(piece, 200)...), "\x03\xf1"},
		"empty pieces":        {append(frame(0x01, "x"), bytes.Repeat(frame(0x00, ""), 100_000)...), "\x03"},
		"pings within pieces": {append(frame(0x01, "x"), bytes.Repeat(ping, 500)...), "\x03\xf0too many pings"},
		"no frames at all":    {bytes.Repeat([]byte{0xff}, 100_000), "\x03\xea"},
	}
	// 128 messages between two heartbeats; a flooder that may say more than the queue
	// has room for is cut for not reading the answers.
	s := newSite(t, with(func(c *config.Config) { c.Limits.Sends, c.Heartbeat = 1, 5*time.Second }))
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	other := openWS(t, s, channel, "")
	defer other.close()
	var all sync.WaitGroup
	for name, c := range floods {
		flooder := s.dial(t, "ws", channel)
		all.Go(func() { flooder.Write(c.flood) }) // until it is cut
		all.Go(func() {
			got, _ := io.ReadAll(flooder.r)
			if !strings.Contains(string(got), c.want) {
				t.Errorf("%s: closed with %.200q, want %q", name, got[max(0, len(got)-200):], c.want)
			}
			t.Logf("%s: closed after %d of our bytes", name, len(got))
		})
	}
	all.Wait()
	s.await(t, "one is left", func() bool { return s.gw.Held() == 1 })
	s.say(id, "still here")
	if e := message(other); e.Body != "still here" {
		t.Errorf("the other client got %q", e.Body)
	}
}
