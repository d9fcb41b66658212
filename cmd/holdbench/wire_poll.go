package main

import (
	"errors"
	"fmt"
)

// answer is a complete response to a long poll.
type answer struct {
	head head
	body []byte // only lent
}

// pollWire polls for ever on one keep-alive connection. What the servers differ
// in is how a poll names the place it goes on from.
type pollWire struct {
	first []byte // the poll that names no place
	// next appends the poll that goes on from prev.
	next func(dst []byte, prev *answer) ([]byte, error)
	// holdsFirst tells that the server holds the first poll, too.
	holdsFirst bool
	trip       *journey // nil for a client that never comes back

	raw     pending
	head    head
	inBody  bool
	chunks  chunks
	decoded []byte
}

func (w *pollWire) open(dst []byte) ([]byte, bool) { return append(dst, w.first...), w.holdsFirst }

func (w *pollWire) feed(in []byte, t *turn) error {
	in = w.raw.join(in)
	for len(in) > 0 {
		if !w.inBody {
			h, n, err := parseHead(in)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			w.head, w.inBody, w.chunks = h, true, chunks{}
			in = in[n:]
		}
		body, n, complete, err := w.body(in)
		if err != nil {
			return err
		}
		in = in[n:]
		if !complete {
			break
		}
		w.inBody = false
		if err := w.answered(body, t); err != nil {
			return err
		}
		w.decoded = nil
	}
	return w.raw.keep(in)
}

// body returns the response's body when all of it is in in, and how many bytes
// are done with.
func (w *pollWire) body(in []byte) (body []byte, n int, complete bool, err error) {
	switch {
	case w.head.status == 204 || w.head.status == 304:
		return nil, 0, true, nil
	case w.head.chunked:
		w.decoded, n, err = w.chunks.decode(w.decoded, in)
		if err == nil && len(w.decoded) > maxPending {
			err = fmt.Errorf("the server's answer is over %d bytes", maxPending)
		}
		return w.decoded, n, w.chunks.ended, err
	case w.head.length < 0:
		return nil, 0, false, errors.New("the answer to a poll has no length: the connection cannot be kept alive")
	case w.head.length > maxPending:
		return nil, 0, false, fmt.Errorf("the server's answer has %d bytes", w.head.length)
	case int64(len(in)) < w.head.length:
		return nil, 0, false, nil
	}
	return in[:w.head.length], int(w.head.length), true, nil
}

// answered hands over the messages of an answer and polls again.
func (w *pollWire) answered(body []byte, t *turn) error {
	switch w.head.status {
	case 200, 204, 304, 408: // Nchan says 408 when a hold has run out
	default:
		return w.head.refused(body)
	}
	if w.head.closing && w.trip == nil {
		return errors.New("the server closes a connection that polls")
	}
	t.payload(body)
	if w.trip != nil {
		if err := w.trip.readAnswer(body, w.head.closing); err != nil {
			return err
		}
	}
	var err error
	t.reply, err = w.next(t.reply, &answer{head: w.head, body: body})
	t.held = true
	return err
}

// topString returns the string under key at the top level of a JSON object that
// the server is trusted to have formed well; ok is false when there is none.
// Only strings without escapes are understood: a cursor goes into a URL as it is.
func topString(object []byte, key string) (value string, ok bool) {
	depth, last := 0, ""
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			last = ""
		case '"':
			end := stringEnd(object, i+1)
			if end < 0 {
				return "", false
			}
			if depth == 1 {
				text := object[i+1 : end]
				if last == key {
					return string(text), true
				}
				last = string(text)
			}
			i = end
		}
	}
	return "", false
}

// stringEnd is the place of the quote that ends the string beginning at from.
func stringEnd(object []byte, from int) int {
	for i := from; i < len(object); i++ {
		switch object[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
