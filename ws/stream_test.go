package ws

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/park"
)

// fakeTalk answers everything with what it was told, at once or later.
type fakeTalk struct {
	heard  []string
	answer func([]byte)
}

func (f *fakeTalk) Say(msg []byte, answer func([]byte)) {
	f.heard, f.answer = append(f.heard, string(msg)), answer
	answer(fmt.Appendf(nil, `{"heard":%d}`, len(f.heard)))
	for i := range msg {
		msg[i] = 'x' // it was only lent, and nobody looks at it again
	}
}

// fakePass counts how often it came back.
type fakePass int

func (p *fakePass) Release() { *p++ }

func newStream(server *Server, talk Talk) (*stream, *fakeConn) {
	c := &fakeConn{}
	return &stream{server: server, conn: c, pass: new(fakePass), talk: talk}, c
}

func said(object string) string { return fmt.Sprintf("send %q", AppendText(nil, []byte(object))) }

func TestTalkHearsAllButPings(t *testing.T) {
	talk := &fakeTalk{}
	s, c := newStream(&Server{}, talk)
	s.Received(c, wire(client(textFin, `{"type":"ping","id":7}`), client(textFin, `{"type":"send","body":"Hi"}`), client(textFin, `{}`)))
	expect(t, c, said(`{"type":"pong","id":7}`), said(`{"heard":1}`), said(`{"heard":2}`))
	if diff := cmp.Diff([]string{`{"type":"send","body":"Hi"}`, `{}`}, talk.heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	talk.answer([]byte(`{"late":true}`))
	expect(t, c, said(`{"late":true}`))
	s.session.Close(c, CodePolicy, "")
	c.took()
	talk.answer([]byte(`{"too":"late"}`))
	expect(t, c)
}

// A client may speak as soon as it has the handshake, which is before its
// connection is known to the stream.
func TestWordsRightAfterTheHandshake(t *testing.T) {
	s, c := newStream(&Server{}, &fakeTalk{})
	s.conn = nil
	s.Received(c, wire(client(textFin, `{"type":"ping"}`), client(textFin, `{"type":"send"}`)))
	expect(t, c, said(`{"type":"pong"}`), said(`{"heard":1}`))
}

func TestNobodyToTalkTo(t *testing.T) {
	s, c := newStream(&Server{}, nil)
	s.Received(c, wire(client(textFin, `{"type":"send","id":"a"}`)))
	expect(t, c, said(`{"type":"error","id":"a","error":"this server does not know messages of that type"}`))
}

func TestWhatIsNoMessageEndsTheStream(t *testing.T) {
	for _, text := range []string{"hello", `[1]`, `{"type":5}`, `{"type":"ping"}{}`, `"ping"`, ""} {
		talk := &fakeTalk{}
		s, c := newStream(&Server{}, talk)
		s.Received(c, wire(client(textFin, text)))
		if code := s.session.Code(); code != CodeMisuse || len(talk.heard) > 0 {
			t.Errorf("%q: code %d, heard %q", text, code, talk.heard)
		}
	}
}

func TestFloodEndsTheStream(t *testing.T) {
	for name, tt := range map[string]struct {
		server *Server
		talk   Talk
		most   int
	}{
		"by default":       {&Server{}, nil, DefaultMaxWords},
		"where one speaks": {&Server{MaxWords: 3}, &fakeTalk{}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newStream(tt.server, tt.talk)
			for range 3 { // each heartbeat anew
				s.Received(c, repeat(tt.most, client(textFin, `{"type":"ping"}`)))
				if code := s.session.Code(); code != 0 {
					t.Fatalf("closed with %d after as many as allowed", code)
				}
				s.Alarm(park.Conn(c))
			}
			s.Received(c, repeat(tt.most+1, client(textFin, `{"type":"send"}`)))
			if code := s.session.Code(); code != CodePolicy {
				t.Errorf("code %d after one more than allowed", code)
			}
		})
	}
}

func TestMessageSizeIsTheServers(t *testing.T) {
	s, c := newStream(&Server{MaxMessage: 100_000}, nil)
	s.greet("5")
	if told := c.took()[0]; !strings.Contains(told, `\"max_message\":100000`) {
		t.Errorf("hello says %s", told)
	}
}

// There is one for every WebSocket: 120 bytes before clients could talk.
func TestStreamStaysSmall(t *testing.T) {
	if got := unsafe.Sizeof(stream{}); got > 136 {
		t.Errorf("a stream is %d bytes, want at most 136", got)
	}
}
