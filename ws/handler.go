package ws

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
)

// Server holds what all WebSockets share. It is safe for concurrent use and
// starts nothing itself: the Lot and the Hub do the work.
type Server struct {
	Hub *hub.Hub
	Lot *park.Lot
	// Heartbeat is the pause between two pings, and up to a twentieth more; 0 is 15 s.
	Heartbeat time.Duration
	// MaxMessage bounds what a client says at a time, in bytes; 0 is
	// DefaultMaxMessage.
	MaxMessage uint32
	// MaxWords is how many messages a client may send between two heartbeats before
	// it is thrown out; 0 is DefaultMaxWords. Each of them costs an answer, so it has
	// to be well above what the Client takes from one.
	MaxWords uint32
}

// DefaultMaxWords is for clients that have nothing to say: a page that measures
// its delay sends a ping once in a while.
const DefaultMaxWords = 100

func (s *Server) heartbeat() time.Duration { return cmp.Or(s.Heartbeat, DefaultHeartbeat) }
func (s *Server) maxMessage() uint32       { return cmp.Or(s.MaxMessage, DefaultMaxMessage) }
func (s *Server) maxWords() uint32         { return cmp.Or(s.MaxWords, DefaultMaxWords) }

// Request is a WebSocket that has been found lawful: who may read what, and
// from which Origin, is decided before.
type Request struct {
	Channels []string
	From     *chat.Cursor // nil: begin at the present
	Who      *chat.Party  // who listens, nil for unknown; shared, never changed
	Client   Client
}

// Client is the client as the one who let it in knows it.
type Client interface {
	// Release gives back its right to be here. It is called once, when the stream
	// has ended.
	Release()
	// Delivered is told how many events were handed to its connection. It is called by
	// those who send and must not block.
	Delivered(events int)
	// Say takes a JSON object with a type; pings are answered before. It is called on
	// the goroutine that reads the connection and must not block; msg is only lent
	// for the call. answer says one JSON object to the client; it may be called from
	// anywhere, any number of times, and does nothing once the client has left.
	Say(msg []byte, answer func(object []byte))
}

// Serve upgrades the connection and holds it. It returns when the connection is
// parked. A *HandshakeError is for the caller to answer, and the Client has been
// released then.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, req Request) error {
	conn, buffered, refused := Upgrade(w, r, nil)
	if refused != nil {
		req.Client.Release()
		return refused
	}
	st := &stream{server: s, client: req.Client, session: Session{
		Heartbeat: s.heartbeat(), Decoder: Decoder{MaxMessage: s.maxMessage()},
	}}
	st.conn = s.Lot.Park(conn, buffered, st)
	st.session.Start(st.conn)
	want := hub.Subscription{Channels: req.Channels, From: req.From, Drained: park.Drained(st.conn), Who: req.Who}
	if err := s.Hub.Subscribe(st, want, st.seat.Take); err != nil {
		st.session.Close(st.conn, CodePolicy, "")
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}
