package poll

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/internal/rawhttp"
)

// waiter is one held poll. Whoever is first to set answered gives the answer:
// a sender with events, the alarm with none, or the end of the server.
type waiter struct {
	conn        park.Conn
	seat        hub.Seat
	pass        Pass
	header      http.Header
	asked       string // the cursor that the client came with
	raw         bool   // HTTP/1.x: the head is ours to write
	keepAlive   bool
	conditional bool
	impatient   bool
	answered    atomic.Bool
}

var (
	_ hub.Subscriber = (*waiter)(nil)
	_ park.Holder    = (*waiter)(nil)
)

// Live answers a poll that came to learn where the present is, or would not
// wait, or has missed a change of state.
func (p *waiter) Live(cursor string, states *hub.Delivery) {
	switch {
	case states != nil:
		p.Deliver(states)
	case p.asked == "" || p.impatient:
		p.answer(p.withTag(cursor, 0), nil, p.keepAlive)
	}
}

// Deliver answers with events. Something that is told and not stored leaves the
// client where it stands.
func (p *waiter) Deliver(d *hub.Delivery) {
	if d.Cursor == "" {
		p.answer(p.standing(), d, p.keepAlive)
		return
	}
	p.answer(p.withTag(d.Cursor, d.Tag), d, p.keepAlive)
}

// withTag puts the digest of states behind a cursor: the new one, or what the
// client had when it is told none.
func (p *waiter) withTag(cursor string, tag uint32) string {
	if tag == 0 {
		if asked, err := chat.ParseCursor(p.asked); err == nil {
			tag = asked.Tag()
		}
	}
	if tag == 0 {
		return cursor
	}
	return cursor + "~" + strconv.FormatUint(uint64(tag), 36)
}

// Alarm ends the hold with the answer that nothing came.
func (p *waiter) Alarm(park.Conn) { p.answer(p.standing(), nil, p.keepAlive) }

// standing is the cursor of a poll that was told no row and no state. It is read
// before the poll is marked as answered: whatever was handed out up to this
// cursor would have answered it.
func (p *waiter) standing() string {
	if sub := p.seat.Sub(); sub != nil {
		if cursor, ok := sub.Cursor(); ok {
			return p.withTag(cursor, 0)
		}
	}
	return p.asked
}

// answer writes the response, once, and lets the connection go.
func (p *waiter) answer(cursor string, d *hub.Delivery, keepAlive bool) {
	if !p.answered.CompareAndSwap(false, true) {
		return
	}
	events := []byte("[]")
	if d != nil {
		events = d.Bytes(hub.FormatPoll, encode)
		p.pass.Delivered(len(d.Events))
	}
	body := make([]byte, 0, len(cursor)+len(events)+24)
	body = append(append(body, `{"cursor":"`...), cursor...)
	body = append(append(append(body, `","events":`...), events...), '}')
	p.conn.Finish(p.response(cursor, body, d == nil, keepAlive), keepAlive)
}

// response puts the head before the body where that is ours to do.
func (p *waiter) response(cursor string, body []byte, nothing, keepAlive bool) []byte {
	if !p.raw {
		return body
	}
	h := head(p.header)
	h.Set("ETag", `"`+cursor+`"`)
	if !keepAlive {
		h.Set("Connection", "close")
	}
	status := http.StatusOK
	if nothing && p.conditional && cursor == p.asked {
		h.Del("Content-Type")
		status, body = http.StatusNotModified, nil
	} else {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return append(rawhttp.AppendHead(nil, status, time.Now(), h), body...)
}

// WantsBytes implements park.Reader: what the client sends now is its next
// request.
func (p *waiter) WantsBytes() bool { return false }

// Received implements park.Holder.
func (p *waiter) Received(park.Conn, []byte) {}

// Closed implements park.Holder.
func (p *waiter) Closed(park.Conn, park.Reason) {
	p.seat.Leave()
	p.pass.Release()
}

// Pass is the client's right to be here, for whoever checks it again.
func (p *waiter) Pass() any { return p.pass }

// End closes the poll. A server that is leaving answers that nothing came, and
// the client's next poll finds the server's successor; after says nothing to it.
func (p *waiter) End(why park.Reason, _ time.Duration) {
	if why != park.ReasonDrain {
		p.conn.Close(why)
		return
	}
	p.answer(p.standing(), nil, false)
}

// encode writes the events as a JSON array.
func encode(d *hub.Delivery) []byte {
	b := []byte{'['}
	for i := range d.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = hub.AppendJSON(b, &d.Events[i])
	}
	return append(b, ']')
}
