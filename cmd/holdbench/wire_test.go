package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// outcome is what a wire made of a stream.
type outcome struct {
	marks   []uint32
	replies string
	held    bool
	err     error
}

// feedAll gives a stream to a wire in reads of size bytes.
func feedAll(w wire, stream string, size int) outcome {
	var o outcome
	t := turn{payload: func(p []byte) { eachMark(p, func(seq uint32) { o.marks = append(o.marks, seq) }) }}
	buf := make([]byte, size)
	for rest := stream; rest != "" && o.err == nil; {
		n := copy(buf, rest)
		rest = rest[n:]
		t.reply, t.held = t.reply[:0], false
		o.err = w.feed(buf[:n], &t)
		o.held = o.held || t.held
		o.replies += string(t.reply)
		clear(buf) // a wire must not keep what it was lent
	}
	return o
}

func newSSE() wire { return &sseWire{scratch: new([]byte)} }
func newWS() wire  { return &wsWire{} }

func newPoll() wire {
	return &pollWire{next: func(dst []byte, prev *answer) ([]byte, error) {
		cursor, ok := topString(prev.body, "cursor")
		if !ok {
			return dst, errors.New("no cursor")
		}
		return append(dst, "["+cursor+"]"...), nil
	}}
}

// chunked encodes a body in chunks of the given size.
func chunked(body string, size int) string {
	var sb strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&sb, "%X;x=1\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return sb.String()
}

func frame(opcode byte, payload string) string {
	if len(payload) < 126 {
		return string([]byte{0x80 | opcode, byte(len(payload))}) + payload
	}
	return string([]byte{0x80 | opcode, 126, byte(len(payload) >> 8), byte(len(payload))}) + payload
}

const (
	ok200  = "HTTP/1.1 200 OK\r\n"
	events = ": hi\nretry: 2000\n\nid: 1\nevent: message\ndata: {\"body\":\"hb-7.xx\"}\n\n: beat\n\nid: 2\r\ndata: hb-8.\r\n\r\n"
	ws101  = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: " + wsAccept + "\r\n\r\n"
)

func pollAnswer(body string) string {
	return fmt.Sprintf(ok200+"Content-Length: %d\r\n\r\n%s", len(body), body)
}

// Every stream is fed in reads of every size up to 40 bytes and must come out
// the same.
func TestWires(t *testing.T) {
	first, second := `{"cursor":"a","events":[]}`, `{"events":[{"cursor":"no","body":"hb-1.\"cursor\""},{"body":"hb-2.x"}],"cursor":"b"}`
	long := "hb-3." + strings.Repeat("x", 300)
	for _, tc := range []struct {
		name   string
		wire   func() wire
		stream string
		want   outcome
	}{
		{"SSE until the end", newSSE, ok200 + "Content-Type: text/event-stream\r\n\r\n" + events, outcome{marks: []uint32{7, 8}, held: true}},
		{"SSE in chunks", newSSE, ok200 + "Transfer-Encoding: chunked\r\n\r\n" + chunked(events, 5), outcome{marks: []uint32{7, 8}, held: true}},
		{"SSE, event not complete", newSSE, ok200 + "\r\ndata: hb-9.\n", outcome{held: true}},
		{
			"SSE ended", newSSE, ok200 + "Transfer-Encoding: chunked\r\n\r\n" + chunked(events, 99) + "0\r\n\r\n",
			outcome{marks: []uint32{7, 8}, held: true, err: errors.New("ended the event stream")},
		},
		{"SSE refused", newSSE, "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n", outcome{err: errors.New("503, Retry-After 3")}},
		{
			"WebSocket", newWS, ws101 + frame(wsText, `{"type":"hello"}`) + frame(wsPing, "ab") + frame(wsText, long) + frame(wsBinary, "hb-4.") + frame(wsPong, ""),
			outcome{marks: []uint32{3, 4}, held: true, replies: "\x8a\x82\x00\x00\x00\x00ab"},
		},
		{"WebSocket closed", newWS, ws101 + frame(wsClose, "\x0f\xa0slow"), outcome{held: true, err: errors.New(`4000 "slow"`)}},
		{"WebSocket, wrong accept", newWS, "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: no\r\n\r\n", outcome{err: errors.New("Sec-WebSocket-Accept")}},
		{"WebSocket, masked frame", newWS, ws101 + "\x81\x80\x00\x00\x00\x00", outcome{held: true, err: errors.New("masked")}},
		{"WebSocket, fragment", newWS, ws101 + "\x01\x01x", outcome{held: true, err: errors.New("fragment")}},
		{"WebSocket, huge frame", newWS, ws101 + "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", outcome{held: true, err: errors.New("frame of")}},
		{"poll", newPoll, pollAnswer(first) + pollAnswer(second), outcome{marks: []uint32{1, 2}, replies: "[a][b]", held: true}},
		{
			"poll in chunks", newPoll, ok200 + "transfer-encoding: chunked\r\n\r\n" + chunked(second, 7) + "0\r\nA: b\r\n\r\n" + pollAnswer(first),
			outcome{marks: []uint32{1, 2}, replies: "[b][a]", held: true},
		},
		{
			"poll, chunks twice", newPoll, strings.Repeat(ok200+"transfer-encoding: chunked\r\n\r\n"+chunked(second, 9)+"0\r\n\r\n", 2),
			outcome{marks: []uint32{1, 2, 1, 2}, replies: "[b][b]", held: true},
		},
		{"poll without a cursor", newPoll, pollAnswer(`{}`), outcome{held: true, err: errors.New("no cursor")}},
		{"poll refused", newPoll, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", outcome{err: errors.New("403")}},
		{"poll without a length", newPoll, ok200 + "\r\n{}", outcome{err: errors.New("no length")}},
		{"poll, connection closing", newPoll, ok200 + "Connection: close\r\nContent-Length: 0\r\n\r\n", outcome{err: errors.New("closes")}},
		{"not HTTP", newSSE, "SSH-2.0-x\r\n\r\n", outcome{err: errors.New("not an HTTP/1.1 response")}},
		{"endless head", newSSE, ok200 + "A: " + strings.Repeat("x", maxHead), outcome{err: errors.New("head does not end")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for size := 1; size <= 40; size++ {
				compareOutcome(t, size, feedAll(tc.wire(), tc.stream, size), tc.want)
			}
			compareOutcome(t, len(tc.stream), feedAll(tc.wire(), tc.stream, len(tc.stream)), tc.want)
		})
	}
}

func compareOutcome(t *testing.T, size int, got, want outcome) {
	t.Helper()
	switch {
	case want.err == nil && got.err != nil:
		t.Fatalf("reads of %d: %v", size, got.err)
	case want.err != nil && (got.err == nil || !strings.Contains(got.err.Error(), want.err.Error())):
		t.Fatalf("reads of %d: error %v, want one with %q", size, got.err, want.err)
	case !slices.Equal(got.marks, want.marks) || got.replies != want.replies:
		t.Fatalf("reads of %d: marks %v, replies %q; want %v, %q", size, got.marks, got.replies, want.marks, want.replies)
	case got.held != want.held && want.err == nil:
		t.Fatalf("reads of %d: held %v, want %v", size, got.held, want.held)
	}
}

func TestChunksKeepWhatFollows(t *testing.T) {
	var c chunks
	body, n, err := c.decode(nil, []byte("3\r\nabc\r\n0\r\n\r\nHTTP/1.1"))
	if err != nil || string(body) != "abc" || !c.ended || n != 13 {
		t.Fatalf("body %q, %d bytes, ended %v, %v", body, n, c.ended, err)
	}
	for _, bad := range []string{"xyz\r\n", "3\r\nabcd", "ffffffffffffffff\r\n"} {
		var c chunks
		if _, _, err := c.decode(nil, []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestBodyCarriesItsNumber(t *testing.T) {
	for _, seq := range []uint32{0, 1, 1<<32 - 1} {
		body := appendBody(nil, seq, 128)
		if len(body) != 128 {
			t.Errorf("a body of %d bytes", len(body))
		}
		var got []uint32
		eachMark(body, func(n uint32) { got = append(got, n) })
		if !slices.Equal(got, []uint32{seq}) {
			t.Errorf("number %d came out as %v", seq, got)
		}
	}
	eachMark([]byte("hb- hb-. hb-99999999999. hb-5"), func(n uint32) { t.Errorf("found %d", n) })
}

func TestTopString(t *testing.T) {
	for object, want := range map[string]string{
		`{"cursor":"c1","events":[]}`:                         "c1",
		`{"a":"cursor","events":["x",{"cursor":"no"}],"b":1}`: "",
		`{"a\"b":"{","cursor" : "c2"}`:                        "c2",
		`{"cursor":"unfinished`:                               "",
		``:                                                    "",
	} {
		if got, _ := topString([]byte(object), "cursor"); got != want {
			t.Errorf("%s: cursor %q, want %q", object, got, want)
		}
	}
}

// However a stream is cut, a wire sees the same messages, and no bytes panic.
func FuzzWires(f *testing.F) {
	f.Add(ok200+"Transfer-Encoding: chunked\r\n\r\n"+chunked(events, 5)+"0\r\n\r\n", 3)
	f.Add(ws101+frame(wsText, "hb-3.")+frame(wsPing, "")+frame(wsClose, "\x03\xe8"), 1)
	f.Add(pollAnswer(`{"cursor":"a","events":["hb-1."]}`)+pollAnswer("{}"), 7)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		if size < 1 || size > 1<<16 || len(stream) > 1<<16 {
			return
		}
		for _, newWire := range []func() wire{newSSE, newWS, newPoll} {
			cut, whole := feedAll(newWire(), stream, size), feedAll(newWire(), stream, max(len(stream), 1))
			if (cut.err == nil) != (whole.err == nil) {
				continue // an endless head is noticed earlier when it comes in parts
			}
			if !slices.Equal(cut.marks, whole.marks) || !bytes.Equal([]byte(cut.replies), []byte(whole.replies)) {
				t.Fatalf("cut: %+v\nwhole: %+v", cut, whole)
			}
		}
	})
}
