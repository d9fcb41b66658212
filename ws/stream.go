package ws

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
)

// stream is one held client: the meeting of a connection, the protocol's state
// and a subscription.
type stream struct {
	server  *Server
	conn    park.Conn // set before the subscription, for what comes from there
	session Session
	seat    hub.Seat
	client  Client
	greeted bool          // of the sender's goroutine
	words   atomic.Uint32 // messages since the last heartbeat
}

var (
	_ hub.Subscriber = (*stream)(nil)
	_ park.Holder    = (*stream)(nil)
	_ Listener       = (*stream)(nil)
)

// hello is the data of the first frame.
type hello struct {
	Protocol    string    `json:"protocol"`
	ServerTime  time.Time `json:"server_time"`
	HeartbeatMS int64     `json:"heartbeat_ms"`
	MaxMessage  uint32    `json:"max_message"`
}

// Live greets a client that has nothing to catch up with; one that had was
// greeted before its first event.
func (s *stream) Live(cursor string, states *hub.Delivery) {
	s.greet(cursor)
	if states != nil {
		s.Deliver(states)
	}
}

func (s *stream) greet(cursor string) {
	if s.greeted {
		return
	}
	s.greeted = true
	data, err := json.Marshal(hello{
		Protocol: Subprotocol, ServerTime: time.Now().UTC(),
		HeartbeatMS: s.server.heartbeat().Milliseconds(), MaxMessage: s.server.maxMessage(),
	})
	if err != nil {
		panic(err) // four plain fields
	}
	s.tell(&chat.Event{Type: chat.TypeHello, Cursor: cursor, Data: data})
}

func (s *stream) tell(e *chat.Event) {
	s.session.Send(s.conn, AppendText(nil, hub.AppendJSON(nil, e)))
}

// Deliver implements hub.Subscriber.
func (s *stream) Deliver(d *hub.Delivery) {
	if !s.greeted {
		s.greet("") // catching up: where it stands is in the events
	}
	if s.session.Send(s.conn, d.Bytes(hub.FormatWS, encode)) {
		s.client.Delivered(len(d.Events))
	}
}

// encode makes one text frame of each event.
func encode(d *hub.Delivery) []byte {
	var b, payload []byte
	for i := range d.Events {
		payload = hub.AppendJSON(payload[:0], &d.Events[i])
		b = AppendText(b, payload)
	}
	return b
}

// Received implements park.Holder.
func (s *stream) Received(c park.Conn, b []byte) { s.session.Received(c, b, s) }

// Alarm implements park.Holder.
func (s *stream) Alarm(c park.Conn) {
	s.words.Store(0)
	s.session.Alarm(c)
}

// Message implements Listener. Browsers cannot send pings of the protocol, so
// there is one in JSON, by which a page measures its delay; all else is for the Client.
func (s *stream) Message(c park.Conn, msg []byte) {
	var said struct {
		Type string          `json:"type"`
		ID   json.RawMessage `json:"id"`
	}
	if s.words.Add(1) > s.server.maxWords() {
		s.session.Close(c, CodePolicy, "too many messages")
		return
	}
	if err := json.Unmarshal(msg, &said); err != nil {
		s.session.Close(c, CodeMisuse, "messages are JSON objects with a type")
		return
	}
	// Not s.conn: the first message may be here before that is set. Nothing happens
	// when the stream has ended.
	answer := func(object []byte) { s.session.Send(c, AppendText(nil, object)) }
	if said.Type != "ping" {
		s.client.Say(msg, answer)
		return
	}
	pong, err := json.Marshal(struct {
		Type string          `json:"type"`
		ID   json.RawMessage `json:"id,omitempty"`
	}{"pong", said.ID})
	if err != nil {
		return // an id that was JSON when it came
	}
	answer(pong)
}

// Closed implements park.Holder.
func (s *stream) Closed(park.Conn, park.Reason) {
	s.seat.Leave()
	s.client.Release()
}

// Pass is the Client, for whoever checks its right to be here again.
func (s *stream) Pass() any { return s.client }

// End closes the stream with the reason's code; after tells a client when to
// come back, 0 says nothing of it.
func (s *stream) End(why park.Reason, after time.Duration) {
	if after > 0 {
		data, err := json.Marshal(map[string]int64{"after_ms": after.Milliseconds()})
		if err != nil {
			panic(err) // one number
		}
		s.tell(&chat.Event{Type: chat.TypeReconnect, Data: data})
	}
	s.session.Close(s.conn, CodeFor(why), "")
}
