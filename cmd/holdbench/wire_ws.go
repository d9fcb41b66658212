package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The bench is no browser and guards no secret: one fixed key does, and its
// answer is SHA-1 of it with the GUID of RFC 6455 section 1.3.
const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

const (
	wsText   = 1
	wsBinary = 2
	wsClose  = 8
	wsPing   = 9
	wsPong   = 10
)

// wsWire reads the server's side of a WebSocket and answers its pings.
type wsWire struct {
	request []byte
	started bool
	raw     pending
	trip    *journey // nil for a client that never comes back
}

func (w *wsWire) open(dst []byte) ([]byte, bool) { return append(dst, w.request...), false }

func (w *wsWire) feed(in []byte, t *turn) error {
	in = w.raw.join(in)
	if !w.started {
		h, n, err := parseHead(in)
		if err != nil {
			return err
		}
		if n == 0 {
			return w.raw.keep(in)
		}
		if h.status != 101 {
			return h.refused(in[n:])
		}
		if h.accept != wsAccept {
			return fmt.Errorf("the server's Sec-WebSocket-Accept is %.60q", h.accept)
		}
		w.started, t.held = true, true
		in = in[n:]
	}
	for {
		opcode, payload, n, err := parseFrame(in)
		if err != nil {
			return err
		}
		if n == 0 {
			return w.raw.keep(in)
		}
		if err := wsTake(opcode, payload, t); err != nil {
			return err
		}
		if opcode == wsText && w.trip != nil {
			if err := w.trip.readFrame(payload); err != nil {
				return err
			}
		}
		in = in[n:]
	}
}

func wsTake(opcode byte, payload []byte, t *turn) error {
	switch opcode {
	case wsText, wsBinary:
		t.payload(payload)
	case wsPing:
		t.reply = appendPong(t.reply, payload)
	case wsPong:
	case wsClose:
		if len(payload) < 2 {
			return errors.New("the server closed the WebSocket")
		}
		return fmt.Errorf("the server closed the WebSocket: %d %.60q", binary.BigEndian.Uint16(payload), payload[2:])
	default:
		return fmt.Errorf("the server sent a frame with opcode %d", opcode)
	}
	return nil
}

// parseFrame reads one unmasked, unfragmented frame (RFC 6455 section 5.2) from
// the front of in; n is 0 when its end is not there yet. No server measured
// here fragments, so that a fragment is reported, not joined.
func parseFrame(in []byte) (opcode byte, payload []byte, n int, err error) {
	if len(in) < 2 {
		return 0, nil, 0, nil
	}
	if in[0]&0xf0 != 0x80 {
		return 0, nil, 0, fmt.Errorf("the server sent a fragment or an extension's frame: %#x", in[0])
	}
	if in[1]&0x80 != 0 {
		return 0, nil, 0, errors.New("the server sent a masked frame")
	}
	size, at := uint64(in[1]), 2
	switch size {
	case 126:
		if at = 4; len(in) < at {
			return 0, nil, 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(in[2:]))
	case 127:
		if at = 10; len(in) < at {
			return 0, nil, 0, nil
		}
		size = binary.BigEndian.Uint64(in[2:])
	}
	if size > maxPending {
		return 0, nil, 0, fmt.Errorf("the server sent a frame of %d bytes", size)
	}
	if uint64(len(in)-at) < size {
		return 0, nil, 0, nil
	}
	end := at + int(size)
	return in[0] & 0x0f, in[at:end], end, nil
}

// appendPong appends the masked answer to a ping. The mask is zero: it protects
// proxies from page scripts (RFC 6455 section 10.3), and there are none here.
func appendPong(dst, payload []byte) []byte {
	if len(payload) > 125 {
		payload = payload[:125] // a longer control frame is illegal anyway
	}
	dst = append(dst, 0x80|wsPong, 0x80|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}
