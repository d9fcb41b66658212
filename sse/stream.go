package sse

import (
	"strconv"
	"sync"
	"time"

	"holdline/internal/hub"
	"holdline/internal/park"
)

// stream is one held client: the meeting of a connection and a subscription.
type stream struct {
	server *Server
	conn   park.Conn
	seat   hub.Seat
	pass   Pass
	// saying keeps what the stream says in order: a heartbeat that carries a
	// cursor must not overtake a row, nor the row overtake it.
	saying  sync.Mutex
	said    string // cursor that a heartbeat last told
	chunked bool
}

var (
	_ hub.Subscriber = (*stream)(nil)
	_ park.Holder    = (*stream)(nil)
)

// Live tells the client where it stands, so that it resumes from here even if
// nothing is ever said, and the states of its channels.
func (s *stream) Live(cursor string, states *hub.Delivery) {
	s.send(idOnly(cursor))
	if states != nil {
		s.Deliver(states)
	}
}

// Deliver implements hub.Subscriber.
func (s *stream) Deliver(d *hub.Delivery) {
	s.saying.Lock()
	defer s.saying.Unlock()
	var frames []byte
	if s.chunked {
		frames = d.Bytes(hub.FormatSSEChunked, encodeChunked)
	} else {
		frames = d.Bytes(hub.FormatSSE, encode)
	}
	if s.conn.Send(frames) {
		s.pass.Delivered(len(d.Events))
	}
}

func (s *stream) send(b []byte) {
	if s.chunked {
		b = chunk(b)
	}
	s.conn.Send(b)
}

// comment is the heartbeat of a stream whose cursor has not moved, also as one
// chunk: it is most of what an idle server says.
const (
	comment        = ":\n\n"
	chunkedComment = "3\r\n" + comment + "\r\n"
)

// Alarm is the heartbeat. It carries the cursor if that has moved on without a
// word to this client, so that its next resume starts near.
func (s *stream) Alarm(c park.Conn) {
	s.beat(c)
	c.SetAlarm(s.server.beat())
}

func (s *stream) beat(c park.Conn) {
	s.saying.Lock()
	defer s.saying.Unlock()
	switch cursor, moved := s.moved(); {
	case moved:
		s.said = cursor
		s.send(idOnly(cursor))
	case s.chunked:
		c.Send([]byte(chunkedComment))
	default:
		c.Send([]byte(comment))
	}
}

// moved tells where the client stands, if no heartbeat has told it so yet.
func (s *stream) moved() (cursor string, moved bool) {
	sub := s.seat.Sub()
	if sub == nil {
		return "", false
	}
	cursor, ok := sub.Exact() // a smaller one than the last row's would have that told again
	return cursor, ok && cursor != s.said
}

// WantsBytes implements park.Reader: an EventSource never speaks.
func (s *stream) WantsBytes() bool { return false }

// Received implements park.Holder.
func (s *stream) Received(park.Conn, []byte) {}

// Closed implements park.Holder.
func (s *stream) Closed(park.Conn, park.Reason) {
	s.seat.Leave()
	s.pass.Release()
}

// Pass is the client's right to be here, for whoever checks it again.
func (s *stream) Pass() any { return s.pass }

// End closes the stream with a word to the client: after says when to come back
// (for a drain, 0 for none). The stream breaks off: one that ends in order is the
// end of all to clients such as fetch-event-source and r3labs'.
func (s *stream) End(why park.Reason, after time.Duration) {
	if why != park.ReasonDrain {
		s.conn.Close(why)
		return
	}
	ms := strconv.FormatInt(after.Milliseconds(), 10)
	last := []byte("retry: " + ms + "\nevent: reconnect\ndata: {\"type\":\"reconnect\",\"data\":{\"after_ms\":" + ms + "}}\n\n")
	if s.chunked {
		last = chunk(last)
	}
	s.conn.Finish(last, false)
}
