package ws

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/park"
)

// fakeClient answers everything with what it was told, at once or later.
type fakeClient struct {
	heard  []string
	answer func([]byte)
}

func (f *fakeClient) Release() {}

func (f *fakeClient) Delivered(int) {}

func (f *fakeClient) Say(msg []byte, answer func([]byte)) {
	f.heard, f.answer = append(f.heard, string(msg)), answer
	answer(fmt.Appendf(nil, `{"heard":%d}`, len(f.heard)))
	for i := range msg {
		msg[i] = 'x' // it was only lent, and nobody looks at it again
	}
}

func newStream(server *Server) (*stream, *fakeConn, *fakeClient) {
	c, client := &fakeConn{}, &fakeClient{}
	return &stream{server: server, conn: c, client: client}, c, client
}

func said(object string) string { return fmt.Sprintf("send %q", AppendText(nil, []byte(object))) }

func TestTalkHearsAllButPings(t *testing.T) {
	s, c, talk := newStream(&Server{})
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
	s, c, _ := newStream(&Server{})
	s.conn = nil
	s.Received(c, wire(client(textFin, `{"type":"ping"}`), client(textFin, `{"type":"send"}`)))
	expect(t, c, said(`{"type":"pong"}`), said(`{"heard":1}`))
}

func TestWhatIsNoMessageEndsTheStream(t *testing.T) {
	for _, text := range []string{"hello", `[1]`, `{"type":5}`, `{"type":"ping"}{}`, `"ping"`, ""} {
		s, c, talk := newStream(&Server{})
		s.Received(c, wire(client(textFin, text)))
		if code := s.session.Code(); code != CodeMisuse || len(talk.heard) > 0 {
			t.Errorf("%q: code %d, heard %q", text, code, talk.heard)
		}
	}
}

func TestFloodEndsTheStream(t *testing.T) {
	for name, tt := range map[string]struct {
		server *Server
		most   int
	}{
		"by default":       {&Server{}, DefaultMaxWords},
		"where one speaks": {&Server{MaxWords: 3}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, _ := newStream(tt.server)
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
	s, c, _ := newStream(&Server{MaxMessage: 100_000})
	s.greet("5")
	if told := c.took()[0]; !strings.Contains(told, `\"max_message\":100000`) {
		t.Errorf("hello says %s", told)
	}
}

// There is one for every WebSocket, in the allocator's class of 112 bytes.
func TestStreamStaysSmall(t *testing.T) {
	if got := unsafe.Sizeof(stream{}); got > 112 {
		t.Errorf("a stream is %d bytes, want at most 112", got)
	}
}
