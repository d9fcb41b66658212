// Package park holds connections that have nothing to say for a while. On Linux
// an HTTP/1.1 connection costs one file descriptor and a struct: no goroutine,
// no buffer; with TLS (see TLSListener) what crypto/tls keeps comes on top.
// HTTP/2 and other systems are held by goroutines behind the same interface.
package park

import "time"

// Conn is a held connection. All methods may be called from any goroutine, and
// none of them ever waits for the peer: bytes that the socket does not take at
// once are queued within the Lot's bounds, and a connection that goes past them
// is closed as slow. After Closed has been called on its Holder every method is
// a no-op.
type Conn interface {
	// Send hands over bytes that must not be changed afterwards: the same slice
	// goes to many connections. It reports whether the connection is still held.
	Send(b []byte) bool
	// Finish hands over the last bytes of this holding, which may be nil and are
	// not held against the bounds of the queue. With keepAlive the connection
	// goes back to the HTTP server once they are out and the peer speaks again
	// (HTTP/1.1 keep-alive); otherwise it is closed behind them. The Holder
	// hears Closed(ReasonFinished) at once either way and is let go, or
	// Closed(ReasonGone) when the socket is found broken on this occasion.
	Finish(b []byte, keepAlive bool)
	// Close ends the connection without waiting for queued bytes. Slow peers are
	// reset (RST), so that the kernel lets go of what it holds for them.
	Close(Reason)
	// SetAlarm asks for one call of Alarm after d, replacing an earlier wish;
	// 0 asks for none. The clock is the Lot's timer wheel: coarse (100 ms), never
	// early. An alarm that has been replaced does not ring any more.
	SetAlarm(d time.Duration)
}

// Holder is told what happens to its connection. Calls come from the Lot's own
// goroutines (or from the one that called Send, Finish or Close) and must not
// block; they may come before Park has returned. Received and Alarm of one
// connection may overlap each other. Closed is called exactly once, after every
// other call has returned: what a Holder says from within Received or Alarm to
// end its connection is answered by Closed once that call is over.
type Holder interface {
	// Received gets bytes from the peer; b is only lent for the call and may be overwritten.
	Received(c Conn, b []byte)
	// Alarm tells that the time of SetAlarm has come.
	Alarm(c Conn)
	// Closed tells that the connection is not held any more, and why.
	Closed(c Conn, why Reason)
}

// Reader is an optional part of a Holder, asked once when the connection is
// parked; a Holder without it reads. Where WantsBytes is false, Received is never
// called: what the peer sends stays where it is (in the kernel, for a connection
// held by epoll) and is the next request once Finish has kept the connection
// alive. With TLS the peer's goodbye stays there too: only its FIN is noticed.
type Reader interface {
	WantsBytes() bool
}

// Reason says why a connection stopped being held. The set is closed: it labels
// a metric.
type Reason uint8

// Reasons in the order in which the metric lists them.
const (
	ReasonFinished Reason = iota // the holder had said everything
	ReasonGone                   // the peer closed, or the network did
	ReasonSlow                   // too many bytes queued, or the oldest of them waited too long
	ReasonProtocol               // the peer broke the protocol
	ReasonRevoked                // login, token or binding is no longer valid
	ReasonDrain                  // the server is leaving
	ReasonLimit                  // over a limit
	ReasonIdle                   // a kept-alive connection asked for nothing more
)

var reasonNames = [...]string{
	ReasonFinished: "finished",
	ReasonGone:     "gone",
	ReasonSlow:     "slow",
	ReasonProtocol: "protocol",
	ReasonRevoked:  "revoked",
	ReasonDrain:    "drain",
	ReasonLimit:    "limit",
	ReasonIdle:     "idle",
}

// String is the reason's label in metrics and logs.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Reasons lists every reason there is, for metrics that want all labels at zero.
func Reasons() []Reason {
	all := make([]Reason, len(reasonNames))
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
