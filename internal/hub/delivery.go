package hub

import (
	"encoding/json"
	"hash/fnv"
	"sync"

	"holdline/internal/chat"
)

// Format numbers the wire formats. A Delivery keeps the bytes of each, so that
// thousands of connections share one slice.
type Format uint8

// The wire formats there are. The encoders live with their transports.
const (
	FormatSSE        Format = iota // text/event-stream, as it is
	FormatSSEChunked               // the same inside one HTTP/1.1 chunk
	FormatWS                       // WebSocket text frames
	FormatPoll                     // the body of a long poll's answer
	formats
)

// Delivery is one or more events that follow each other on one channel, ready
// to be handed to every subscriber of it. It is immutable and may be used from
// many goroutines.
type Delivery struct {
	Events []chat.Event // each with its Cursor
	// Cursor is where a client stands that has all of Events. It is empty for a
	// Telling, which leaves the client where it is.
	Cursor string
	// Tag is set where a one-off subscriber is told states and kept tellings, or
	// the rows of pending messages: the digest that its client shall bring back, see
	// chat.Cursor.
	Tag uint32

	channel string
	tag     uint32    // digest, for a status; else 0
	same    *Delivery // with the same events, whose bytes it shares; else nil
	once    [formats]sync.Once
	bytes   [formats][]byte
}

// Bytes returns the delivery's events in one wire format, encoding them at the
// first call. The bytes are shared and must not be changed.
func (d *Delivery) Bytes(f Format, encode func(*Delivery) []byte) []byte {
	if d.same != nil {
		return d.same.Bytes(f, encode)
	}
	d.once[f].Do(func() { d.bytes[f] = encode(d) })
	return d.bytes[f]
}

// newDelivery wraps events that share a channel.
func newDelivery(events []chat.Event) *Delivery {
	last := &events[len(events)-1]
	d := &Delivery{Events: events, Cursor: last.Cursor, channel: last.Channel}
	if last.Type == chat.TypeStatus {
		d.tag = digest(last)
	}
	return d
}

// size is about what the events weigh in a queue or the ring.
func (d *Delivery) size() int {
	n := 0
	for i := range d.Events {
		n += len(d.Events[i].Body) + len(d.Events[i].Data) + 200
	}
	return n
}

// digest is a hash of a state's content that is never 0 and the same on every
// node, so that a poll may come back to another one.
func digest(e *chat.Event) uint32 {
	h := fnv.New32a()
	h.Write([]byte(e.Channel))
	h.Write(e.Data)
	return max(h.Sum32(), 1)
}

// AppendJSON appends the event's public JSON form.
func AppendJSON(dst []byte, e *chat.Event) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		// Only Data can fail, and only by a source that broke its contract of
		// valid JSON; the event is worth more than its extras.
		bare := *e
		bare.Data = nil
		b, _ = json.Marshal(&bare)
	}
	return append(dst, b...)
}
