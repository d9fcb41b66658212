package ws

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/park"
)

// fakeConn is a held connection that writes down what is asked of it. Its zero
// fields take everything.
type fakeConn struct {
	onSend func(b []byte) bool

	mu    sync.Mutex
	lines []string
	alarm time.Duration
}

func (c *fakeConn) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, fmt.Sprintf(format, args...))
}

func (c *fakeConn) Send(b []byte) bool {
	c.note("send %q", b)
	return c.onSend == nil || c.onSend(b)
}

func (c *fakeConn) Finish(b []byte, keepAlive bool) { c.note("finish %q %v", b, keepAlive) }

func (c *fakeConn) Close(why park.Reason) { c.note("close %v", why) }

func (c *fakeConn) SetAlarm(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarm = d
}

// took gives what was asked of the connection since the last call.
func (c *fakeConn) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

// fakeHolder is the least of a Holder that uses a Session.
type fakeHolder struct {
	session   Session
	messages  []string
	onMessage func(c park.Conn, msg string)
}

func (s *fakeHolder) Message(c park.Conn, msg []byte) {
	s.messages = append(s.messages, string(msg))
	if s.onMessage != nil {
		s.onMessage(c, string(msg))
	}
}

func (s *fakeHolder) receive(c park.Conn, frames ...[]byte) {
	s.session.Received(c, wire(frames...), s)
}

func expect(t *testing.T, c *fakeConn, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, c.took()); diff != "" {
		t.Fatalf("asked of the connection (-want +got):\n%s", diff)
	}
}

const sentPing = `send "\x89\x00"`

func sent(code Code, reason string) string {
	return fmt.Sprintf("send %q", AppendClose(nil, code, reason))
}

func finished(code Code, reason string) string {
	return fmt.Sprintf("finish %q false", AppendClose(nil, code, reason))
}

func TestSessionMessages(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	s.receive(c, client(textFin, "one"), client(textPart, "tw"))
	s.receive(c, client(contFin, "o"))
	if diff := cmp.Diff([]string{"one", "two"}, s.messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	expect(t, c)
	if code := s.session.Code(); code != 0 {
		t.Errorf("Code() = %d while open", code)
	}
}

func TestSessionAnswersPings(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	s.receive(c, client(pingFin, "a"), client(pingFin, ""))
	expect(t, c, `send "\x8a\x01a"`, `send "\x8a\x00"`)
}

func TestSessionCutsOffPingFloods(t *testing.T) {
	for _, kind := range []byte{pingFin, pongFin} {
		c, s := &fakeConn{}, &fakeHolder{}
		s.receive(c, repeat(maxControls, client(kind, "")))
		if code := s.session.Code(); code != 0 {
			t.Fatalf("closed with %d after as many as allowed", code)
		}
		s.session.Alarm(c)
		s.receive(c, repeat(maxControls, client(kind, "")))
		if code := s.session.Code(); code != 0 {
			t.Fatalf("closed with %d although a heartbeat was between", code)
		}
		c.took()
		s.receive(c, repeat(100, client(kind, "")))
		expect(t, c, sent(CodePolicy, "too many pings and pongs"))
	}
}

func TestSessionHeartbeat(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{session: Session{Heartbeat: 10 * time.Second}}
	s.session.Start(c)
	for range 100 {
		if c.alarm < 9500*time.Millisecond || c.alarm > 10500*time.Millisecond {
			t.Fatalf("next ping after %v, want 9.5 to 10.5 s", c.alarm)
		}
		s.session.Alarm(c)
		expect(t, c, sentPing)
		s.receive(c, client(pongFin, ""))
	}
}

func TestSessionDefaultHeartbeat(t *testing.T) {
	c := &fakeConn{}
	new(Session).Start(c)
	if c.alarm < DefaultHeartbeat*95/100 || c.alarm > DefaultHeartbeat*105/100 {
		t.Errorf("first ping after %v, want 95 to 105 %% of %v", c.alarm, DefaultHeartbeat)
	}
}

func TestSessionEndsSilentPeers(t *testing.T) {
	for name, sign := range map[string][]byte{
		"pong": client(pongFin, ""), "ping": client(pingFin, ""), "text": client(textFin, "x"),
	} {
		t.Run("last heard with a "+name, func(t *testing.T) {
			c, s := &fakeConn{}, &fakeHolder{}
			s.session.Alarm(c)
			s.session.Alarm(c)
			s.receive(c, sign)
			c.took()
			s.session.Alarm(c)
			s.session.Alarm(c)
			expect(t, c, sentPing, sentPing)
			s.session.Alarm(c)
			expect(t, c, "close gone")
			if code := s.session.Code(); code != CodeAbnormal {
				t.Errorf("Code() = %d, want %d", code, CodeAbnormal)
			}
		})
	}
	t.Run("who only drips bytes of one frame", func(t *testing.T) {
		c, s := &fakeConn{}, &fakeHolder{}
		b := client(textFin, "never whole")
		for i := range 3 {
			s.receive(c, b[i:i+1])
			s.session.Alarm(c)
		}
		expect(t, c, sentPing, sentPing, "close gone")
	})
}

func TestSessionCutsOffSlowSenders(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	s.receive(c, client(textPart, "begun"))
	for range maxPartial {
		s.session.Alarm(c)
		s.receive(c, client(contPart, "x"), client(pongFin, ""))
	}
	c.took()
	s.session.Alarm(c)
	expect(t, c, sent(CodePolicy, "message took too long to arrive"))
}

func TestSessionLetsBusySendersBe(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	s.receive(c, client(textPart, "a"))
	for range 5 * maxPartial {
		s.session.Alarm(c)
		// There is always an unfinished message, but never the same one.
		s.receive(c, client(contFin, "b"), client(textPart, "a"))
	}
	if code := s.session.Code(); code != 0 {
		t.Errorf("closed with %d", code)
	}
}

func TestSessionPeerCloses(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		want  string
		code  Code
	}{
		{"with a code", closing(1001, "leaving"), finished(CodeGoingAway, ""), CodeGoingAway},
		{"without a code", client(closeFin, ""), `finish "\x88\x00" false`, CodeNoStatus},
		{"with a code of its own", closing(4321, ""), finished(4321, ""), 4321},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := &fakeConn{}, &fakeHolder{}
			s.receive(c, tt.frame, client(textFin, "late"))
			expect(t, c, tt.want)
			if s.session.Send(c, AppendText(nil, []byte("late"))) {
				t.Error("Send reports that the connection takes more")
			}
			s.session.Close(c, CodeSlow, "")
			s.session.Alarm(c)
			expect(t, c)
			if got := s.session.Code(); got != tt.code {
				t.Errorf("Code() = %d, want %d", got, tt.code)
			}
			if len(s.messages) != 0 {
				t.Errorf("messages %q after the close frame", s.messages)
			}
		})
	}
}

func TestSessionServerCloses(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	if !s.session.Send(c, []byte("frame")) {
		t.Error("Send reports that the connection takes nothing")
	}
	s.session.Close(c, CodeDraining, "")
	s.session.Close(c, CodeSlow, "only the first counts")
	expect(t, c, `send "frame"`, sent(CodeDraining, CodeDraining.Reason()))
	if c.alarm != closeWait {
		t.Errorf("alarm after %v, want %v", c.alarm, closeWait)
	}
	if s.session.Send(c, []byte("late")) {
		t.Error("Send reports that the connection takes more")
	}
	s.receive(c, client(pingFin, "late"), client(textFin, "late"))
	expect(t, c)
	s.receive(c, closing(1000, ""))
	expect(t, c, `finish "" false`)
	if len(s.messages) != 0 || s.session.Code() != CodeDraining {
		t.Errorf("messages %q, code %d", s.messages, s.session.Code())
	}
}

func TestSessionPeerDoesNotAnswerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := &fakeConn{}, &fakeHolder{}
		s.session.Start(c)
		s.session.Close(c, CodeRevoked, "logged out")
		expect(t, c, sent(CodeRevoked, "logged out"))

		// A heartbeat that had begun before comes in between.
		time.Sleep(closeWait / 4)
		s.session.Alarm(c)
		expect(t, c)
		if want := closeWait * 3 / 4; c.alarm != want {
			t.Fatalf("alarm after %v, want %v", c.alarm, want)
		}
		time.Sleep(c.alarm)
		s.session.Alarm(c)
		expect(t, c, "close revoked")
	})
}

func TestSessionFailsOnBadFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := &fakeConn{}, &fakeHolder{}
		s.receive(c, client(textFin, "good"), client(binaryFin, "bad"), client(textFin, "late"))
		s.receive(c, client(textFin, "later"))
		expect(t, c, sent(CodeUnsupported, CodeUnsupported.Reason()))
		if diff := cmp.Diff([]string{"good"}, s.messages); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		time.Sleep(closeWait)
		s.session.Alarm(c)
		expect(t, c, "close protocol")
	})
}

func TestSessionMessageMayClose(t *testing.T) {
	c, s := &fakeConn{}, &fakeHolder{}
	s.onMessage = func(c park.Conn, _ string) { s.session.Close(c, CodeMisuse, "no") }
	s.receive(c, client(textFin, "bad"), client(textFin, "late"), client(pingFin, ""))
	expect(t, c, sent(CodeMisuse, "no"))
	if diff := cmp.Diff([]string{"bad"}, s.messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// A Send that is under way when Close comes goes out before the close frame, and
// the one who closes does not wait for it.
func TestSessionCloseFrameIsLast(t *testing.T) {
	var s fakeHolder
	c := &fakeConn{}
	c.onSend = func(b []byte) bool {
		if string(b) == "first" {
			s.session.Close(c, CodeDraining, "x")
			c.note("first is out")
		}
		return true
	}
	s.session.Send(c, []byte("first"))
	s.session.Send(c, []byte("late"))
	expect(t, c, `send "first"`, "first is out", sent(CodeDraining, "x"))
}

// The peer's close frame comes while ours still waits for a Send: ours goes out
// with Finish, and only there.
func TestSessionClosesCross(t *testing.T) {
	var s fakeHolder
	c := &fakeConn{}
	c.onSend = func([]byte) bool {
		s.session.Close(c, CodeDraining, "x")
		s.receive(c, closing(1001, ""))
		return false
	}
	s.session.Send(c, []byte("first"))
	expect(t, c, `send "first"`, finished(CodeDraining, "x"))
}

// A heartbeat that overlaps Close must not put off the end of the peer's time.
func TestSessionAlarmOverlapsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeHolder
		c := &fakeConn{}
		c.onSend = func(b []byte) bool {
			if b[0] == pingFin {
				s.session.Close(c, CodeDraining, "x")
			}
			return true
		}
		s.session.Alarm(c)
		if c.alarm != closeWait {
			t.Errorf("alarm after %v, want %v", c.alarm, closeWait)
		}
	})
}

func TestSessionConcurrentSendsAndClose(t *testing.T) {
	for range 200 {
		c, s := &fakeConn{}, &fakeHolder{}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					s.session.Send(c, []byte("frame"))
				}
			})
		}
		wg.Go(func() { s.session.Alarm(c) })
		wg.Go(func() { s.receive(c, client(pingFin, "")) })
		wg.Go(func() { s.session.Close(c, CodeDraining, "x") })
		wg.Wait()
		lines, last := c.took(), sent(CodeDraining, "x")
		if i := slices.Index(lines, last); i != len(lines)-1 {
			t.Fatalf("close frame is line %d of %d:\n%s", i, len(lines), strings.Join(lines, "\n"))
		}
	}
}

func BenchmarkSessionPong(b *testing.B) {
	pong := client(pongFin, "")
	buf := make([]byte, len(pong))
	c, s := &fakeConn{}, &fakeHolder{}
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, pong)
		s.session.controls.Store(0)
		s.session.Received(c, buf, s)
	}
}
