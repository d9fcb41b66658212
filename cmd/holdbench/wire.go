package main

import (
	"bytes"
	"fmt"
)

// maxPending bounds what a wire keeps of a message that is not complete yet. A
// server that sends more without ending its frame is broken.
const maxPending = 1 << 20

// A wire is one client's side of a transport, parsed by hand: ten thousand of
// them share two cores with the server under test, so that a library's
// goroutine and buffers for each would measure the bench, not the server. A
// wire belongs to one loop and is not for concurrent use.
type wire interface {
	// open appends the first request to dst. It reports whether a client that
	// has sent it counts as held without an answer (a long poll may).
	open(dst []byte) (request []byte, held bool)
	// feed takes the bytes of one read, cut anywhere, and says in t what follows
	// from them. An error ends the client.
	feed(in []byte, t *turn) error
}

// turn is what came of the bytes fed to a wire. The loop lends it for one call.
type turn struct {
	payload func([]byte) // called with each message; the bytes are only lent
	reply   []byte       // appended to by the wire: what to write now
	held    bool         // set once the server holds this client
}

// pending keeps the bytes of a message whose end has not been read yet.
type pending struct{ kept []byte }

// join puts what was kept before in.
func (p *pending) join(in []byte) []byte {
	if len(p.kept) == 0 {
		return in
	}
	p.kept = append(p.kept, in...)
	return p.kept
}

// keep stores rest, which may be a part of what join returned.
func (p *pending) keep(rest []byte) error {
	if len(rest) > maxPending {
		return fmt.Errorf("the server sent %d bytes without ending a message", len(rest))
	}
	if len(rest) == 0 {
		p.kept = nil // held clients are mostly idle: let the buffer go
		return nil
	}
	p.kept = append(p.kept[:0:cap(p.kept)], rest...)
	return nil
}

// markPrefix begins the number that every published body carries.
const markPrefix = "hb-"

// appendBody appends a message body of size bytes that carries the number seq.
// It has only characters that no server escapes.
func appendBody(dst []byte, seq uint32, size int) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "%s%d.", markPrefix, seq)
	for len(dst)-start < size {
		dst = append(dst, 'x')
	}
	return dst
}

// eachMark calls found with every number that payload carries: one for a frame,
// several for a long poll's answer with several events.
func eachMark(payload []byte, found func(seq uint32)) {
	for {
		i := bytes.Index(payload, []byte(markPrefix))
		if i < 0 {
			return
		}
		payload = payload[i+len(markPrefix):]
		var seq uint64
		n := 0
		for n < len(payload) && payload[n] >= '0' && payload[n] <= '9' && seq <= 1<<32 {
			seq = seq*10 + uint64(payload[n]-'0')
			n++
		}
		if n > 0 && n < len(payload) && payload[n] == '.' && seq < 1<<32 {
			found(uint32(seq))
		}
	}
}
