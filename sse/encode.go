package sse

import (
	"strconv"

	"holdline/internal/hub"
)

// encode writes a delivery's events as they stand in the stream
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Cursor and
// type are our own words without line breaks, and JSON has none either, so no
// field can be forged.
//
// The id comes last: clients such as r3labs' take the first half of an event,
// when the line is cut, for a whole one, and with the id in that half they would
// never ask for the rest.
func encode(d *hub.Delivery) []byte {
	var b []byte
	for i := range d.Events {
		e := &d.Events[i]
		b = append(append(append(b, "event: "...), e.Type...), '\n')
		b = hub.AppendJSON(append(b, "data: "...), e)
		if e.Cursor != "" {
			b = append(append(b, "\nid: "...), e.Cursor...)
		}
		b = append(b, "\n\n"...)
	}
	return b
}

// encodeChunked is encode inside one chunk.
func encodeChunked(d *hub.Delivery) []byte { return chunk(d.Bytes(hub.FormatSSE, encode)) }

// chunk wraps bytes for Transfer-Encoding: chunked (RFC 9112 section 7.1).
func chunk(b []byte) []byte {
	out := make([]byte, 0, len(b)+12)
	out = strconv.AppendInt(out, int64(len(b)), 16)
	out = append(append(out, "\r\n"...), b...)
	return append(out, "\r\n"...)
}

// idOnly is a block that moves the client's last event id and dispatches
// nothing, as the specification has it for a block without data.
func idOnly(cursor string) []byte { return []byte(":\nid: " + cursor + "\n\n") }
