//go:build e2e && linux

package soak_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// strangers are clients that do not behave: slow ones, and those that mean harm. Nobody
// asks what they were told.
type strangers struct {
	fronts []string // host:port
	chat   int64
	token  string
	count  [harmKinds]atomic.Int64
}

// harm is one kind of bad behaviour on a connection of its own.
type harm struct {
	name string
	do   func(*strangers, context.Context, *net.TCPConn, *rand.Rand)
}

const harmKinds = 8

var harms = [harmKinds]harm{
	{"never reads", (*strangers).neverRead},
	{"reads a byte a second", (*strangers).sip},
	{"sends garbage", (*strangers).babble},
	{"sends half a request", (*strangers).falter},
	{"sends headers without end", (*strangers).swell},
	{"floods a WebSocket with frames", (*strangers).flood},
	{"sends broken frames", (*strangers).breakFrames},
	{"asks for what is not there", (*strangers).pry},
}

// loiter keeps so many of each kind at it until ctx ends.
func (s *strangers) loiter(ctx context.Context, each int, seed uint64) {
	var all sync.WaitGroup
	for i := range each * len(harms) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(1<<32+i)))
			for n := i; ctx.Err() == nil; n++ {
				s.one(ctx, n%len(harms), s.fronts[rng.IntN(len(s.fronts))], rng)
				pass(ctx, time.Duration(rng.Int64N(int64(2*time.Second))))
			}
		})
	}
	all.Wait()
}

func (s *strangers) one(ctx context.Context, kind int, front string, rng *rand.Rand) {
	c, err := net.DialTimeout("tcp", front, 5*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second+time.Duration(rng.Int64N(int64(40*time.Second))))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	conn := c.(*net.TCPConn)
	if rng.IntN(3) == 0 {
		conn.SetLinger(0) // its end will be a reset
	}
	s.count[kind].Add(1)
	harms[kind].do(s, ctx, conn, rng)
}

func (s *strangers) ask(c *net.TCPConn, endpoint string, headers ...string) {
	fmt.Fprintf(c, "GET /holdline/v1/%s?channels=wplc/%d&token=%s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
		endpoint, s.chat, s.token, c.RemoteAddr(), strings.Join(append(headers, ""), "\r\n"))
}

func (s *strangers) neverRead(ctx context.Context, c *net.TCPConn, _ *rand.Rand) {
	c.SetReadBuffer(1)
	s.ask(c, "sse")
	<-ctx.Done()
}

func (s *strangers) sip(ctx context.Context, c *net.TCPConn, _ *rand.Rand) {
	c.SetReadBuffer(1)
	s.ask(c, "sse")
	one := make([]byte, 1)
	for pass(ctx, time.Second) {
		if _, err := c.Read(one); err != nil {
			return
		}
	}
}

func (s *strangers) babble(_ context.Context, c *net.TCPConn, rng *rand.Rand) {
	b := make([]byte, 1+rng.IntN(16<<10))
	for range 1 + rng.IntN(8) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
	io.Copy(io.Discard, c)
}

func (s *strangers) falter(ctx context.Context, c *net.TCPConn, rng *rand.Rand) {
	request := fmt.Sprintf("POST /holdline/v1/send HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"type\":\"send\"", c.RemoteAddr(), s.token)
	request = request[:1+rng.IntN(len(request))]
	for len(request) > 0 && pass(ctx, 100*time.Millisecond) {
		n := min(len(request), 1+rng.IntN(40))
		if _, err := c.Write([]byte(request[:n])); err != nil {
			return
		}
		request = request[n:]
	}
	io.Copy(io.Discard, c)
}

func (s *strangers) swell(ctx context.Context, c *net.TCPConn, _ *rand.Rand) {
	fmt.Fprintf(c, "GET /holdline/v1/sse?channels=wplc/%d HTTP/1.1\r\nHost: x\r\n", s.chat)
	line := "X-More: " + strings.Repeat("m", 4<<10) + "\r\n"
	for ctx.Err() == nil {
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

func (s *strangers) upgrade(c *net.TCPConn) {
	s.ask(c, "ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
}

// frame is a masked frame (RFC 6455 section 5.2) of at most 64 KB; the mask is zero.
func frame(first byte, payload []byte) []byte {
	b := []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	return append(b, payload...)
}

func (s *strangers) flood(ctx context.Context, c *net.TCPConn, rng *rand.Rand) {
	s.upgrade(c)
	texts := []string{
		`{"type":"typing","channel":"wplc/1","typing":true}`, `{"type":"send"}`, `[[[[[[`, `{"type":"seen","channel":"` + strings.Repeat("x", 9000) + `"}`,
		fmt.Sprintf(`{"type":"typing","channel":"wplc/%d","typing":true,"as":"visitor"}`, s.chat),
	}
	for range 20_000 {
		if _, err := c.Write(frame(0x81, []byte(texts[rng.IntN(len(texts))]))); err != nil || ctx.Err() != nil {
			return
		}
	}
}

func (s *strangers) breakFrames(ctx context.Context, c *net.TCPConn, rng *rand.Rand) {
	s.upgrade(c)
	go io.Copy(io.Discard, c) // ends with the connection
	pieces := [][]byte{
		frame(0x01, make([]byte, 1000)), frame(0x00, make([]byte, 1000)), frame(0x00, nil), // a message that never ends
		frame(0x89, make([]byte, 125)), frame(0x83, nil), frame(0xF1, []byte("x")), frame(0x88, []byte{3}),
		{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'},
		{0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	}
	kind := rng.IntN(len(pieces))
	if kind < 3 {
		c.Write(pieces[0])
	}
	for range 200 {
		if _, err := c.Write(pieces[max(kind, 1)]); err != nil || !pass(ctx, 5*time.Millisecond) {
			return
		}
	}
}

func (s *strangers) pry(ctx context.Context, c *net.TCPConn, rng *rand.Rand) {
	go io.Copy(io.Discard, c) // ends with the connection
	paths := []string{
		"sse?channels=wplc/1", "poll?channels=" + strings.Repeat("a,", 5000), "ws", "sse?channels=wplc/*&token=" + s.token + "x",
		fmt.Sprintf("poll?channels=wplc/%d&token=%s&cursor=%s", s.chat, s.token, strings.Repeat("9", 40)),
		fmt.Sprintf("sse?channels=wplc/%d&token=%s&cursor=%%00%%ff", s.chat, s.token), "../../etc/passwd", "wake", "info", "check",
	}
	for pass(ctx, 50*time.Millisecond) {
		if _, err := fmt.Fprintf(c, "GET /holdline/v1/%s HTTP/1.1\r\nHost: x\r\n\r\n", paths[rng.IntN(len(paths))]); err != nil {
			return
		}
	}
}
