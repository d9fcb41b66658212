package ws

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"holdline/internal/park"
)

// DefaultHeartbeat is the pause between two pings when Session.Heartbeat says
// nothing else.
const DefaultHeartbeat = 15 * time.Second

const (
	// closeWait is how long the peer may take to answer our close frame.
	closeWait = 2 * time.Second
	// maxControls is how many pings and pongs a peer may send between two
	// heartbeats. Browsers send none on their own, libraries at most one a second.
	maxControls = 64
	// maxSilent is how many heartbeats may pass without an answer. As no pong
	// fits into a frame, it also bounds how slowly a single frame may come.
	maxSilent = 2
	// maxPartial is how many heartbeats a message in fragments may take to arrive. Without it
	// a peer could keep MaxMessage bytes of memory for ever by never finishing.
	maxPartial = 3
)

// Listener is the stream behind a Session.
type Listener interface {
	// Message gets a text message of the client; msg is only lent for the call.
	Message(c park.Conn, msg []byte)
}

// Session keeps the rules of one WebSocket connection between its frames: pings
// it and ends it when no answer comes, answers pings, does the closing handshake
// from either side, and cuts off peers that flood or dawdle.
//
// It is a value for the struct of whoever is the connection's park.Holder, which
// passes Received and Alarm on to it, and owns the connection's alarm. The zero
// value is ready; call Start once the connection is held. Received must not
// overlap itself, all else may be called from any goroutine. No lock is held
// while a method of park.Conn runs, so Holder.Closed may come from within any of
// these calls.
type Session struct {
	// Heartbeat is the pause between two pings, and up to a twentieth more; 0 means
	// DefaultHeartbeat. Set it, and Decoder.MaxMessage, before the connection is held.
	Heartbeat time.Duration
	// Decoder reads what the client sends. Only Received may use it.
	Decoder Decoder

	end      atomic.Pointer[ending] // set when the first side has begun to close
	gate     atomic.Uint32
	silent   atomic.Uint32 // heartbeats since the peer was last heard
	late     atomic.Uint32 // 1 + heartbeats since a message began that is not whole yet; 0: none
	controls atomic.Uint32 // pings and pongs since the last heartbeat
}

// ending is why and until when a session is closing.
type ending struct {
	code   Code
	reason string
	until  time.Time
}

// The gate sees to it that nothing follows the close frame (RFC 6455 section
// 5.5.1) without a lock around Conn.Send: its low bits count the Sends under way,
// and the last of them to leave after closing has begun sends the close frame.
const (
	gateClosing = 1 << 31 // no Send may begin
	gateSaid    = 1 << 30 // the close frame has been handed over, or soon will be by who set this
)

// pingFrame is shared by all connections and never written to.
var pingFrame = AppendPing(nil, nil)

// Start begins the heartbeat.
func (s *Session) Start(c park.Conn) {
	s.setAlarm(c, s.beat())
}

// Send hands frames to the connection unless closing has begun. It reports
// whether the connection takes more. As with Conn.Send, the bytes must not be
// changed afterwards.
func (s *Session) Send(c park.Conn, frames []byte) bool {
	ok := s.gate.Add(1)&gateClosing == 0 && c.Send(frames)
	if s.gate.Add(^uint32(0)) == gateClosing {
		s.sayClose(c)
	}
	return ok
}

// Close begins the closing handshake: a close frame goes out, and the connection
// ends when the peer has answered or two seconds have passed. An empty reason
// means the code's own. Only the first Close counts. Holder.Closed then gets
// ReasonFinished if the peer did answer, the code's Held reason if not; Code
// tells both apart from other ends.
func (s *Session) Close(c park.Conn, code Code, reason string) {
	if reason == "" {
		reason = code.Reason()
	}
	if !s.end.CompareAndSwap(nil, &ending{code, reason, time.Now().Add(closeWait)}) {
		return
	}
	s.gate.Or(gateClosing)
	s.sayClose(c)
	c.SetAlarm(closeWait)
}

// Code is the close code that this side or the other began to close with, 0 when
// neither did. A Holder may ask in Closed.
func (s *Session) Code() Code {
	if e := s.end.Load(); e != nil {
		return e.code
	}
	return 0
}

// Received takes bytes of the peer. It overwrites b.
func (s *Session) Received(c park.Conn, b []byte, to Listener) {
	in := &inbound{s: s, c: c, to: to}
	if err := s.Decoder.Feed(b, in); err != nil {
		fault := &CloseError{Code: CodeProtocol}
		errors.As(err, &fault)
		// The peer's bytes mean nothing from here on, but hanging up at once
		// would let the kernel throw away our close frame with a reset.
		s.Close(c, fault.Code, fault.Reason)
	}
	switch {
	case !s.Decoder.Pending():
		s.late.Store(0)
	case in.message:
		s.late.Store(1)
	default:
		s.late.CompareAndSwap(0, 1)
	}
}

// Alarm is the heartbeat, and while closing the end of the peer's time.
func (s *Session) Alarm(c park.Conn) {
	if e := s.end.Load(); e != nil {
		s.endAfter(c, e)
		return
	}
	if s.silent.Add(1) > maxSilent {
		s.end.CompareAndSwap(nil, &ending{code: CodeAbnormal})
		c.Close(park.ReasonGone)
		return
	}
	if n := s.late.Load(); n > maxPartial {
		s.Close(c, CodePolicy, "message took too long to arrive")
		return
	} else if n > 0 {
		s.late.CompareAndSwap(n, n+1)
	}
	s.controls.Store(0)
	s.Send(c, pingFrame)
	s.setAlarm(c, s.beat())
}

// endAfter ends a connection whose peer has had its time to answer, or waits for
// the rest of it when the alarm was a heartbeat that had already begun.
func (s *Session) endAfter(c park.Conn, e *ending) {
	if left := time.Until(e.until); left > 0 {
		c.SetAlarm(left)
		return
	}
	c.Close(e.code.Held())
}

// setAlarm asks for the next heartbeat. A Close may have set its own alarm
// meanwhile, which is then set again.
func (s *Session) setAlarm(c park.Conn, d time.Duration) {
	c.SetAlarm(d)
	if e := s.end.Load(); e != nil {
		c.SetAlarm(max(time.Until(e.until), 1))
	}
}

// beat is the time to the next ping: Heartbeat and up to a twentieth more, so
// that clients which came in one wave do not answer in one for ever.
func (s *Session) beat() time.Duration {
	d := s.Heartbeat
	if d <= 0 {
		d = DefaultHeartbeat
	}
	return d + rand.N(d/20+1)
}

// sayClose hands over the close frame, when no Send is under way and nobody else
// has done so.
func (s *Session) sayClose(c park.Conn) {
	if s.gate.CompareAndSwap(gateClosing, gateClosing|gateSaid) {
		e := s.end.Load()
		c.Send(AppendClose(nil, e.code, e.reason))
	}
}

// peerClosed answers the peer's close frame, or takes it as the answer to ours.
// The server is the side that hangs up (RFC 6455 section 7.1.1).
func (s *Session) peerClosed(c park.Conn, code Code) {
	s.end.CompareAndSwap(nil, &ending{code: code, until: time.Now().Add(closeWait)})
	var last []byte
	if s.gate.Or(gateClosing|gateSaid)&gateSaid == 0 {
		e := s.end.Load()
		last = AppendClose(nil, e.code, e.reason)
	}
	c.Finish(last, false)
}

// inbound hears the Decoder for one call of Received.
type inbound struct {
	s       *Session
	c       park.Conn
	to      Listener
	message bool // a message became whole
}

// Text implements Events. What comes after the connection began to close is
// dropped.
func (in *inbound) Text(msg []byte) {
	in.s.silent.Store(0)
	in.message = true
	if in.s.end.Load() == nil {
		in.to.Message(in.c, msg)
	}
}

// Ping implements Events.
func (in *inbound) Ping(payload []byte) {
	if in.counted() {
		in.s.Send(in.c, AppendPong(nil, payload))
	}
}

// Pong implements Events. A pong that was not asked for is a sign of life as well
// (RFC 6455 section 5.5.3).
func (in *inbound) Pong([]byte) {
	in.counted()
}

// Close implements Events.
func (in *inbound) Close(code Code, _ string) {
	in.s.peerClosed(in.c, code)
}

// counted notes a ping or pong, and closes when there are too many of them.
func (in *inbound) counted() bool {
	s := in.s
	s.silent.Store(0)
	if s.controls.Add(1) > maxControls {
		s.Close(in.c, CodePolicy, "too many pings and pongs")
		return false
	}
	return s.end.Load() == nil
}
