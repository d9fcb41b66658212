package ws

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Frames of the server are final and unmasked (RFC 6455 sections 5.1 and 5.2).
// They hold nothing of the connection they go to, so one encoding serves all.

const (
	finBit  = 0x80
	maskBit = 0x80

	maxControl = ws.MaxControlFramePayloadSize // RFC 6455 section 5.5
	maxReason  = maxControl - 2                // a close frame's reason follows its two-byte code
)

// AppendText appends a text frame to dst. The payload must be valid UTF-8, which
// JSON from encoding/json is: browsers drop the connection over anything else.
func AppendText(dst, payload []byte) []byte {
	return appendFrame(dst, ws.OpText, payload)
}

// AppendPing appends a ping; its payload is cut to 125 bytes.
func AppendPing(dst, payload []byte) []byte {
	return appendFrame(dst, ws.OpPing, payload[:min(len(payload), maxControl)])
}

// AppendPong appends a pong; its payload is cut to 125 bytes.
func AppendPong(dst, payload []byte) []byte {
	return appendFrame(dst, ws.OpPong, payload[:min(len(payload), maxControl)])
}

// AppendClose appends a close frame. The reason is cut to 123 bytes, between
// characters. A code that must not be sent (RFC 6455 section 7.4.1: 1005, 1006
// and the like) gives a frame without code and reason.
func AppendClose(dst []byte, code Code, reason string) []byte {
	if !code.onWire() {
		return appendFrame(dst, ws.OpClose, nil)
	}
	if len(reason) > maxReason {
		cut := maxReason
		for cut > 0 && !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	var body [maxControl]byte
	binary.BigEndian.PutUint16(body[:], uint16(code))
	n := 2 + copy(body[2:], reason)
	return appendFrame(dst, ws.OpClose, body[:n])
}

func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	n := len(payload)
	dst = slices.Grow(dst, ws.HeaderSize(ws.Header{Length: int64(n)})+n)
	dst = append(dst, finBit|byte(op))
	switch {
	case n < 126:
		dst = append(dst, byte(n))
	case n <= 0xFFFF:
		dst = append(dst, 126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}
