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
}

func (s *Server) heartbeat() time.Duration { return cmp.Or(s.Heartbeat, DefaultHeartbeat) }

// Pass is the client's right to be here; it is given back when the stream ends.
type Pass interface{ Release() }

// Request is a WebSocket that has been found lawful: who may read what, and
// from which Origin, is decided before.
type Request struct {
	Channels []string
	From     *chat.Cursor // nil: begin at the present
	Pass     Pass
}

// Serve upgrades the connection and holds it. It returns when the connection is
// parked. A *HandshakeError is for the caller to answer, and the pass has been
// given back then.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, req Request) error {
	conn, buffered, refused := Upgrade(w, r, nil)
	if refused != nil {
		req.Pass.Release()
		return refused
	}
	st := &stream{server: s, pass: req.Pass, session: Session{Heartbeat: s.heartbeat()}}
	st.conn = s.Lot.Park(conn, buffered, st)
	st.session.Start(st.conn)
	want := hub.Subscription{Channels: req.Channels, From: req.From, Drained: park.Drained(st.conn)}
	if err := s.Hub.Subscribe(st, want, st.subscribed); err != nil {
		st.session.Close(st.conn, CodePolicy, "")
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}
