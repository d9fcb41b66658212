package main

import (
	"bytes"
	"errors"
)

// sseWire reads a Server-Sent Events stream, chunked or until its end.
type sseWire struct {
	request []byte
	started bool
	chunked bool
	chunks  chunks
	raw     pending  // before the head is complete
	text    pending  // decoded, up to the next blank line
	scratch *[]byte  // shared by a loop's wires, one of which runs at a time
	trip    *journey // nil for a client that never comes back
}

func (w *sseWire) open(dst []byte) ([]byte, bool) { return append(dst, w.request...), false }

func (w *sseWire) feed(in []byte, t *turn) error {
	if !w.started {
		in = w.raw.join(in)
		h, n, err := parseHead(in)
		if err != nil {
			return err
		}
		if n == 0 {
			return w.raw.keep(in)
		}
		if h.status != 200 {
			return h.refused(in[n:])
		}
		w.started, w.chunked, t.held = true, h.chunked, true
		in = in[n:]
		w.raw.kept = nil
	}
	if w.chunked {
		decoded, _, err := w.chunks.decode((*w.scratch)[:0], in)
		*w.scratch = decoded
		if err != nil {
			return err
		}
		in = decoded
	}
	in = w.text.join(in)
	if err := w.text.keep(in[eachEvent(in, w.trip, t.payload):]); err != nil {
		return err
	}
	if w.chunks.ended {
		return errors.New("the server ended the event stream")
	}
	return nil
}

// eachEvent calls payload with every line of data in the complete events at the
// front of text and returns the length of these events. Lines end with LF or
// CR LF, which is what servers write (the standard also knows CR alone).
func eachEvent(text []byte, trip *journey, payload func([]byte)) int {
	done := 0
	for at := 0; ; {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return done
		}
		line := bytes.TrimSuffix(text[at:at+n], []byte("\r"))
		at += n + 1
		if len(line) == 0 {
			emitData(text[done:at], payload)
			if trip != nil {
				trip.readEvent(text[done:at])
			}
			done = at
		}
	}
}

func emitData(event []byte, payload func([]byte)) {
	for line := range bytes.Lines(event) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			payload(bytes.TrimSpace(data))
		}
	}
}
