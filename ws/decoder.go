package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// DefaultMaxMessage is the size of the biggest message taken, in bytes, when
// Decoder.MaxMessage says nothing else.
const DefaultMaxMessage = 64 << 10

// What a message may be cut into. Browsers send one frame; some proxies cut by
// their buffers. More than this only costs work, and empty fragments could go on
// for ever without ever reaching the size limit.
const (
	maxFragments      = 1024
	maxEmptyFragments = 16
)

// Events is who hears what a Decoder reads, in the order of the wire. All bytes
// are only lent for the call.
type Events interface {
	// Text gets a whole message: valid UTF-8, within the size limit.
	Text(msg []byte)
	// Ping gets at most 125 bytes, which belong into the pong.
	Ping(payload []byte)
	// Pong gets at most 125 bytes.
	Pong(payload []byte)
	// Close is the last event. Without a code in the frame it is CodeNoStatus.
	Close(code Code, reason string)
}

// Faults that gobwas/ws does not name, or names without knowing our limits.
var (
	faultLength       = &CloseError{CodeProtocol, "frame length is not in its shortest form or has its highest bit set"}
	faultBinary       = &CloseError{CodeUnsupported, CodeUnsupported.Reason()}
	faultTooBig       = &CloseError{CodeTooBig, CodeTooBig.Reason()}
	faultFragments    = &CloseError{CodePolicy, "message is cut into too many fragments"}
	faultUTF8         = &CloseError{CodeInvalidData, CodeInvalidData.Reason()}
	faultClosePayload = &CloseError{CodeProtocol, "close frame has one byte where a two-byte code belongs"}
	faultCloseCode    = &CloseError{CodeProtocol, "close frame has a code that must not be sent"}
	faultCloseReason  = &CloseError{CodeInvalidData, "close reason is not valid UTF-8"}
)

// peerClosed marks a decoder that has seen the close frame: not a fault.
var peerClosed = &CloseError{Code: CodeNoStatus}

// Decoder makes events of the bytes that a client sends, however the network has
// cut them (RFC 6455 section 5, server side, no extensions). It is one step
// stricter than the RFC: lengths must be in their shortest form everywhere, text
// is checked while it arrives, and size and number of fragments are bounded.
//
// The zero value is ready and costs 16 bytes. What an unfinished frame or message
// needs besides is kept behind a pointer until it is whole: at most MaxMessage and
// some 150 bytes, never more than has in fact arrived rounded up to the next
// doubling. A Decoder must not be used concurrently.
type Decoder struct {
	// MaxMessage is the limit for one message in bytes, over all its fragments;
	// 0 means DefaultMaxMessage.
	MaxMessage uint32

	p *partial
}

// partial is what is known of a frame or message that has not arrived whole, or
// why nothing more will be read.
type partial struct {
	end *CloseError // all else is over then

	head  [ws.MaxHeaderSize]byte // the first nhead bytes of a frame header
	nhead uint8

	inFrame bool // frame's payload is still arriving
	open    bool // msg is a message that more frames will continue
	frame   frame
	control []byte // payload of an unfinished control frame

	msg       []byte
	valid     int // msg[:valid] is checked and ends between two characters
	fragments uint16
	empty     uint16 // fragments without a byte
}

// frame is a frame of which seen payload bytes have arrived.
type frame struct {
	ws.Header
	seen int64
}

// first says whether the chunk that was counted last is the payload's first.
func (f *frame) first(chunk []byte) bool { return f.seen == int64(len(chunk)) }

// whole says whether the chunk that was counted last is all of the payload, so
// that it need not be copied.
func (f *frame) whole(chunk []byte) bool { return f.Length == int64(len(chunk)) }

// Feed reads b and tells h of everything that is whole with it. b is lent for the
// call and is overwritten: payloads are unmasked in place.
//
// The error is a *CloseError with what the close frame should say. It comes with
// the first byte that is wrong, what was whole before it has been told, and every
// later call returns it again. After a close frame Feed ignores what follows and
// returns nil (RFC 6455 section 5.5.1).
func (d *Decoder) Feed(b []byte, h Events) error {
	for len(b) > 0 && d.end() == nil {
		rest, fault := d.step(b, h)
		if fault != nil {
			d.p = &partial{end: fault}
		}
		b = rest
	}
	switch end := d.end(); {
	case end != nil && end != peerClosed:
		return end
	case d.p.idle():
		d.p = nil
	}
	return nil
}

// end is why nothing more will be read, nil while something may be.
func (d *Decoder) end() *CloseError {
	if d.p == nil {
		return nil
	}
	return d.p.end
}

// Pending says whether a frame or message has begun and is not whole yet.
func (d *Decoder) Pending() bool { return d.p != nil && d.p.end == nil }

func (d *Decoder) limit() int64 {
	if d.MaxMessage == 0 {
		return DefaultMaxMessage
	}
	return int64(d.MaxMessage)
}

// step reads the rest of one frame from b, or as much of it as there is.
func (d *Decoder) step(b []byte, h Events) (rest []byte, fault *CloseError) {
	f, b, ok, fault := d.header(b)
	if fault != nil || !ok {
		return nil, fault
	}
	n := min(f.Length-f.seen, int64(len(b)))
	chunk, rest := b[:n], b[n:]
	ws.Cipher(chunk, f.Mask, int(f.seen))
	f.seen += n

	switch {
	case n == 0 && f.Length > 0: // b ended with the header
	case f.OpCode.IsControl():
		fault = d.control(&f, chunk, h)
	default:
		fault = d.data(&f, chunk, h)
	}
	if f.seen < f.Length {
		p := d.pending()
		p.frame, p.inFrame = f, true
	} else if d.p != nil {
		d.p.inFrame = false
	}
	return rest, fault
}

// header gives the frame that b continues or begins, and what of b follows its
// header. It is not ok when b ended inside the header.
func (d *Decoder) header(b []byte) (f frame, rest []byte, ok bool, fault *CloseError) {
	if d.p != nil && d.p.inFrame {
		return d.p.frame, b, true, nil
	}
	known, had := b, 0
	if d.p != nil && d.p.nhead > 0 {
		had = int(d.p.nhead)
		d.p.nhead += uint8(copy(d.p.head[had:], b))
		known = d.p.head[:d.p.nhead]
	}
	hdr, size, fault := d.parse(known)
	if fault != nil {
		return f, nil, false, fault
	}
	if size == 0 {
		if had == 0 {
			p := d.pending()
			p.nhead = uint8(copy(p.head[:], b))
		}
		return f, nil, false, nil
	}
	if d.p != nil {
		d.p.nhead = 0
	}
	return frame{Header: hdr}, b[size-had:], true, nil
}

// parse reads a frame header from the front of b, and refuses it as soon as what
// is there of it cannot be right. Size is 0 when b ends too early.
//
// It stands in for ws.ReadHeader, which forgets whether a length was in its
// shortest form and needs an io.Reader, that is two allocations per frame.
func (d *Decoder) parse(b []byte) (hdr ws.Header, size int, fault *CloseError) {
	if len(b) < 2 {
		return hdr, 0, nil
	}
	hdr = ws.Header{
		Fin:    b[0]&finBit != 0,
		Rsv:    b[0] >> 4 & 0x7,
		OpCode: ws.OpCode(b[0] & 0xF),
		Masked: b[1]&maskBit != 0,
		Length: int64(b[1] &^ maskBit), // 126 and 127 are too long for control frames as well
	}
	state := ws.StateServerSide
	room := d.limit()
	if d.p != nil && d.p.open {
		state = state.Set(ws.StateFragmented)
		room -= int64(len(d.p.msg))
	}
	if err := ws.CheckHeader(hdr, state); err != nil {
		return hdr, 0, &CloseError{CodeProtocol, err.Error()}
	}
	if hdr.OpCode == ws.OpBinary {
		return hdr, 0, faultBinary
	}
	size, ok := extendedLength(b, &hdr)
	if !ok {
		return hdr, 0, faultLength
	}
	if size == 0 {
		return hdr, 0, nil
	}
	if !hdr.OpCode.IsControl() && hdr.Length > room {
		return hdr, 0, faultTooBig
	}
	if copy(hdr.Mask[:], b[size:]) < len(hdr.Mask) {
		return hdr, 0, nil
	}
	return hdr, size + len(hdr.Mask), nil
}

// extendedLength reads the length that did not fit into seven bits (RFC 6455
// section 5.2) and gives the size of the header up to there, 0 when b ends
// before. It is not ok when fewer bytes would have done or the top bit is set.
func extendedLength(b []byte, hdr *ws.Header) (size int, ok bool) {
	switch {
	case hdr.Length < 126:
		return 2, true
	case hdr.Length == 126:
		if len(b) < 4 {
			return 0, true
		}
		hdr.Length = int64(binary.BigEndian.Uint16(b[2:]))
		return 4, hdr.Length >= 126
	default:
		if len(b) < 10 {
			return 0, true
		}
		hdr.Length = int64(binary.BigEndian.Uint64(b[2:]))
		return 10, hdr.Length > 0xFFFF // negative when the top bit is set
	}
}

// control handles the bytes of a control frame: short ones, which may stand
// between the fragments of a message.
func (d *Decoder) control(f *frame, chunk []byte, h Events) *CloseError {
	if !f.whole(chunk) {
		p := d.pending()
		p.control = append(p.control, chunk...)
		if f.seen < f.Length {
			return nil
		}
		chunk, p.control = p.control, nil
	}
	switch f.OpCode {
	case ws.OpPing:
		h.Ping(chunk)
	case ws.OpPong:
		h.Pong(chunk)
	case ws.OpClose:
		return d.close(chunk, h)
	}
	return nil
}

// close handles a close frame's payload (RFC 6455 section 5.5.1).
func (d *Decoder) close(payload []byte, h Events) *CloseError {
	code, reason := CodeNoStatus, ""
	if len(payload) == 1 {
		return faultClosePayload
	}
	if len(payload) > 1 {
		code = Code(binary.BigEndian.Uint16(payload))
		reason = string(payload[2:])
		if !code.onWire() {
			return faultCloseCode
		}
		if !utf8.ValidString(reason) {
			return faultCloseReason
		}
	}
	d.p = &partial{end: peerClosed}
	h.Close(code, reason)
	return nil
}

// data handles the bytes of a text frame or of one that continues it.
func (d *Decoder) data(f *frame, chunk []byte, h Events) *CloseError {
	if f.whole(chunk) && f.Fin && f.OpCode == ws.OpText {
		if !utf8.Valid(chunk) {
			return faultUTF8
		}
		h.Text(chunk)
		return nil
	}
	p := d.pending()
	if f.first(chunk) && !p.count(f) {
		return faultFragments
	}
	p.open = true
	p.add(chunk, d.limit())
	if !p.check() {
		return faultUTF8
	}
	if !f.Fin || f.seen < f.Length {
		return nil
	}
	if p.valid != len(p.msg) {
		return faultUTF8
	}
	msg := p.msg
	p.msg, p.valid, p.fragments, p.empty, p.open = nil, 0, 0, 0, false
	h.Text(msg)
	return nil
}

func (d *Decoder) pending() *partial {
	if d.p == nil {
		d.p = new(partial)
	}
	return d.p
}

// idle says whether there is nothing left to remember.
func (p *partial) idle() bool {
	return p == nil || p.end == nil && p.nhead == 0 && !p.inFrame && !p.open
}

// count notes that another fragment has begun, and says whether it still may.
func (p *partial) count(f *frame) bool {
	p.fragments++
	if f.Length == 0 {
		p.empty++
	}
	return p.fragments <= maxFragments && p.empty <= maxEmptyFragments
}

// add appends to the message, doubling its room but never past the limit, which
// the header's check keeps the message within.
func (p *partial) add(chunk []byte, limit int64) {
	if need := len(p.msg) + len(chunk); need > cap(p.msg) {
		grown := make([]byte, len(p.msg), max(need, min(2*cap(p.msg), int(limit))))
		copy(grown, p.msg)
		p.msg = grown
	}
	p.msg = append(p.msg, chunk...)
}

// check looks at the text that has arrived since the last check. A character that
// may still become whole waits for its other bytes; one that cannot is refused.
func (p *partial) check() bool {
	end := len(p.msg)
	for i := end - 1; i >= p.valid && i > end-utf8.UTFMax; i-- {
		if utf8.RuneStart(p.msg[i]) {
			if !utf8.FullRune(p.msg[i:end]) {
				end = i
			}
			break
		}
	}
	if !utf8.Valid(p.msg[p.valid:end]) {
		return false
	}
	p.valid = end
	return true
}
