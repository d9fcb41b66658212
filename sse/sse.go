// Package sse serves Server-Sent Events to EventSource and its polyfills: one
// chunked response that never ends, resumed by Last-Event-ID.
package sse

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/internal/rawhttp"
)

// Server holds what all streams share. It is safe for concurrent use and starts
// nothing itself: the Lot and the Hub do the work.
type Server struct {
	Hub *hub.Hub
	Lot *park.Lot
	// Heartbeat is the pause between two comments that keep proxies and the
	// client sure of the line; 0 is 15 s.
	Heartbeat time.Duration
	// Retry is what browsers are told to wait before they come back; each is
	// told something between it and twice of it. 0 is 1 s.
	Retry time.Duration
}

// Pass is the client's right to be here; it is given back when the stream ends.
type Pass interface {
	Release()
	// Delivered is told how many events were handed to the client's connection. It is
	// called by those who send and must not block.
	Delivered(events int)
}

// Request is a stream that has been found lawful.
type Request struct {
	Channels []string
	From     *chat.Cursor // nil: begin at the present
	Pass     Pass
	Who      *chat.Party // who listens, nil for unknown; shared, never changed
	Header   http.Header // more headers for the answer (CORS); may be nil
	Padding  int         // bytes of comment at the beginning, for old proxies
}

// LastEventID is where a client says it stands: the header that EventSource
// sends by itself, or a query parameter, for first connects and for polyfills,
// which cannot set headers.
func LastEventID(r *http.Request) string {
	q := r.URL.Query()
	return cmp.Or(r.Header.Get("Last-Event-ID"), q.Get("lastEventId"), q.Get("last_event_id"), q.Get("cursor"))
}

// maxPadding bounds what a stranger can make us send before anything is said.
const maxPadding = 8 << 10

// Serve answers the request and holds its connection. It returns when the
// connection is parked, or with HTTP/2 when the stream has ended. An error means
// that nothing was written; the pass has been given back then too.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, req Request) error {
	st := &stream{server: s, pass: req.Pass}
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		return s.stay(w, r, req, st)
	}
	if err != nil {
		req.Pass.Release()
		return err
	}
	st.chunked = r.ProtoAtLeast(1, 1)
	header := s.header(req)
	if st.chunked {
		header.Set("Transfer-Encoding", "chunked")
	} else {
		header.Set("Connection", "close")
	}
	head := rawhttp.AppendHead(nil, http.StatusOK, time.Now(), header)
	opening := s.opening(req.Padding)
	if st.chunked {
		opening = chunk(opening)
	}
	c := s.Lot.Park(conn, buffered, st)
	st.conn = c
	c.Send(append(head, opening...))
	return s.begin(st, req)
}

// stay serves a stream inside its handler.
func (s *Server) stay(w http.ResponseWriter, r *http.Request, req Request, st *stream) error {
	for name, values := range s.header(req) {
		w.Header()[name] = values
	}
	w.WriteHeader(http.StatusOK)
	s.Lot.Stay(w, r, st, func(c park.Conn) {
		st.conn = c
		c.Send(s.opening(req.Padding))
		// The head is out, so a refusal can only end the stream; the gateway
		// has checked the channels before.
		if err := s.begin(st, req); err != nil {
			c.Finish(nil, false)
		}
	})
	return nil
}

func (s *Server) begin(st *stream, req Request) error {
	want := hub.Subscription{Channels: req.Channels, From: req.From, Drained: park.Drained(st.conn), Who: req.Who}
	if err := s.Hub.Subscribe(st, want, st.seat.Take); err != nil {
		st.conn.Close(park.ReasonProtocol)
		return fmt.Errorf("subscribe: %w", err)
	}
	st.conn.SetAlarm(s.beat())
	return nil
}

func (s *Server) header(req Request) http.Header {
	h := req.Header.Clone()
	if h == nil {
		h = make(http.Header, 4)
	}
	SetHeader(h)
	return h
}

// SetHeader sets the headers that make a response an event stream
// (https://html.spec.whatwg.org/multipage/server-sent-events.html) and have proxies
// pass it on as it comes, for those who write a stream without a Server.
func SetHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx: do not buffer this response
}

// opening is sent at once, so that proxies pass the head on and the browser
// says "open".
func (s *Server) opening(padding int) []byte {
	var b strings.Builder
	b.WriteString(": holdline\n")
	if padding = min(padding, maxPadding); padding > 0 {
		b.WriteString(":" + strings.Repeat(" ", padding) + "\n")
	}
	b.WriteString("retry: " + strconv.FormatInt(s.retry().Milliseconds(), 10) + "\n\n")
	return []byte(b.String())
}

// retry is random so that a crowd does not come back as one.
func (s *Server) retry() time.Duration {
	base := cmp.Or(s.Retry, time.Second)
	return base + rand.N(base)
}

// beat is the time to the next heartbeat, up to a twentieth more, so that clients
// which came in one wave are not written to in one for ever.
func (s *Server) beat() time.Duration {
	every := cmp.Or(s.Heartbeat, 15*time.Second)
	return every + rand.N(every/20)
}
