// Package poll serves held long polls: a request is kept until one of its
// channels has something to say, answered with all of it, and its connection
// goes back to the HTTP server for the next one. So do the loops of plugins, which
// are answered in their own words (Loops).
package poll

import (
	"cmp"
	"errors"
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

// Server holds what all polls share. It is safe for concurrent use.
type Server struct {
	Hub *hub.Hub
	Lot *park.Lot
	// Hold is how long a poll without a wish of its own is held; 0 is 25 s.
	Hold time.Duration
}

// MaxWait is the longest that a client may ask to be held: proxies give up
// after a minute.
const MaxWait = 55 * time.Second

// Pass is the client's right to be here; it is given back when the poll ends.
type Pass interface {
	Release()
	// Delivered is told how many events were handed to the client's connection. It is
	// called by those who send and must not block.
	Delivered(events int)
}

// Request is a poll that has been found lawful.
type Request struct {
	Channels []string
	From     *chat.Cursor  // nil: answer at once with where the present is
	Wait     time.Duration // how long to hold; negative: as long as the server likes; 0: do not
	Pass     Pass
	Who      *chat.Party // who listens, nil for unknown; shared, never changed
	Header   http.Header // more headers for the answer (CORS); may be nil
	// Conditional polls (If-None-Match) are answered 304 when nothing came.
	Conditional bool
}

// Wish reads the parameters of a poll but for its channels: the cursor from
// cursor= or If-None-Match, and wait= in seconds. values are those of the query
// or the form.
func Wish(r *http.Request, get func(string) string) (req Request, err error) {
	text := get("cursor")
	if text == "" {
		text = entityTag(strings.Join(r.Header.Values("If-None-Match"), ", "))
		req.Conditional = text != ""
	}
	if text != "" {
		from, err := chat.ParseCursor(text)
		if err != nil {
			return Request{}, err
		}
		req.From = &from
	}
	req.Wait = -1
	if w := get("wait"); w != "" {
		seconds, err := strconv.ParseFloat(w, 64)
		if errors.Is(err, strconv.ErrRange) {
			err = nil // more than a float holds, and told as Inf
		}
		if err != nil || !(seconds >= 0) { // NaN is not
			return Request{}, &BadWaitError{w}
		}
		req.Wait = time.Duration(min(seconds, MaxWait.Seconds()) * float64(time.Second))
	}
	return req, nil
}

// BadWaitError is a wait that is no number of seconds.
type BadWaitError struct{ Text string }

func (e *BadWaitError) Error() string { return "wait must be a number of seconds, at least 0" }

// entityTag takes the opaque part of a strong or weak entity tag (RFC 9110
// section 8.8.3). A list of tags is no cursor, and neither is "*": both are "".
//
// Apache puts "-gzip" into the tag of an answer that it compresses and leaves it
// in the request (mod_deflate, DeflateAlterETag).
func entityTag(field string) string {
	field = strings.TrimPrefix(strings.TrimSpace(field), "W/")
	if len(field) < 2 || field[0] != '"' || field[len(field)-1] != '"' {
		return ""
	}
	inner := field[1 : len(field)-1]
	if strings.Contains(inner, `"`) {
		return ""
	}
	return strings.TrimSuffix(inner, "-gzip")
}

// Serve holds the request, whose body must have been read to its end: what is
// left of it would be taken for the connection's next request. It returns when
// the connection is parked, or with HTTP/2 when it has been answered. The pass
// has been given back, or will be, also after an error, which can be told to the
// client only if its connection is still the server's.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, req Request) error {
	p := &waiter{pass: req.Pass, header: req.Header, conditional: req.Conditional}
	if req.From != nil {
		p.asked = req.From.String()
	}
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		return s.stay(w, r, req, p)
	}
	if err != nil {
		req.Pass.Release()
		return err
	}
	p.raw = true
	p.keepAlive = rawhttp.KeepsAlive(r)
	p.conn = s.Lot.Park(conn, buffered, p)
	return s.begin(p, req)
}

func (s *Server) stay(w http.ResponseWriter, r *http.Request, req Request, p *waiter) error {
	for name, values := range head(req.Header) {
		w.Header()[name] = values
	}
	w.WriteHeader(http.StatusOK)
	s.Lot.Stay(w, r, p, func(c park.Conn) {
		p.conn = c
		_ = s.begin(p, req) // the head is out: the end of the stream says it all
	})
	return nil
}

func (s *Server) begin(p *waiter, req Request) error {
	p.impatient = req.Wait == 0
	p.conn.SetAlarm(s.hold(req))
	want := hub.Subscription{Channels: req.Channels, From: req.From, OneOff: true, Who: req.Who}
	if err := s.Hub.Subscribe(p, want, p.seat.Take); err != nil {
		p.conn.Close(park.ReasonProtocol)
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// patience is how long even a poll that does not want to wait is held while the
// table's position is still unknown.
const patience = 5 * time.Second

// hold is the time until an empty answer. Holds that the server chooses end a
// little apart, so that a crowd does not poll in step for ever.
func (s *Server) hold(req Request) time.Duration {
	switch {
	case req.Wait < 0:
		hold := cmp.Or(s.Hold, 25*time.Second)
		return hold - rand.N(max(hold/10, 1))
	case req.Wait == 0:
		return patience
	default:
		return req.Wait
	}
}

// head are the headers of an answer, but for those that depend on the body.
func head(more http.Header) http.Header {
	h := more.Clone()
	if h == nil {
		h = make(http.Header, 4)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	return h
}
