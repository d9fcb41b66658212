package ws

import (
	"fmt"

	"holdline/internal/park"
)

// Code is the status code of a close frame (RFC 6455 section 7.4).
//
// Every code says whether the client should come back, and does so in one table
// (Codes). A client that meets a code which is not in its copy of the table goes
// by the range, and codes that come after the first release only go where the
// range is right for clients that do not know them:
//
//	1000–3999  come back: the standard's, a framework's or a proxy's
//	4000–4099  stay away: asking again gets the same answer
//	4100–4999  come back
//
// To come back means: reconnect with the last cursor, after a growing and random
// pause.
type Code uint16

// Codes of RFC 6455 section 7.4.1 and of the IANA registry that grew from it.
const (
	CodeNormal      Code = 1000
	CodeGoingAway   Code = 1001
	CodeProtocol    Code = 1002
	CodeUnsupported Code = 1003
	CodeNoStatus    Code = 1005 // never on the wire: the close frame named no code
	CodeAbnormal    Code = 1006 // never on the wire: the connection ended without a close frame
	CodeInvalidData Code = 1007
	CodePolicy      Code = 1008
	CodeTooBig      Code = 1009
	CodeInternal    Code = 1011
	CodeRestart     Code = 1012
	CodeTryLater    Code = 1013
)

// Codes of Holdline's own, in the range that the RFC leaves to applications.
const (
	CodeUnauthorized Code = 4001
	CodeForbidden    Code = 4003
	CodeSlow         Code = 4008
	CodeRevoked      Code = 4009
	CodeLimit        Code = 4010
	CodeDraining     Code = 4011
	CodeMisuse       Code = 4012
)

// CodeInfo is one row of the table of codes.
type CodeInfo struct {
	Code      Code
	Reason    string      // goes into the close frame: at most 123 bytes, stable, safe to show
	Reconnect bool        // the client should come back
	Held      park.Reason // how the end of such a connection is counted
}

// codeTable is the only place that says what a code means.
var codeTable = [...]CodeInfo{
	{CodeNormal, "done", false, park.ReasonFinished},
	{CodeGoingAway, "going away", true, park.ReasonIdle},
	{CodeProtocol, "protocol error", false, park.ReasonProtocol},
	{CodeUnsupported, "only text messages are understood", false, park.ReasonProtocol},
	{CodeNoStatus, "closed without a code", true, park.ReasonFinished},
	{CodeAbnormal, "connection lost", true, park.ReasonGone},
	{CodeInvalidData, "text is not valid UTF-8", false, park.ReasonProtocol},
	{CodePolicy, "policy violation", false, park.ReasonLimit},
	{CodeTooBig, "message is too big", false, park.ReasonLimit},
	{CodeInternal, "internal error", true, park.ReasonFinished},
	{CodeRestart, "server restarts", true, park.ReasonDrain},
	{CodeTryLater, "server is busy, try later", true, park.ReasonLimit},
	{CodeUnauthorized, "log in first", false, park.ReasonRevoked},
	{CodeForbidden, "not allowed to read this", false, park.ReasonRevoked},
	{CodeSlow, "too slow: messages were piling up", true, park.ReasonSlow},
	{CodeRevoked, "login or token is no longer valid", false, park.ReasonRevoked},
	{CodeLimit, "too many connections", true, park.ReasonLimit},
	{CodeDraining, "server is leaving, reconnect", true, park.ReasonDrain},
	{CodeMisuse, "message does not follow holdline.v1", false, park.ReasonProtocol},
}

// Codes is the whole table, for documentation and for clients made from it.
func Codes() []CodeInfo {
	return append([]CodeInfo(nil), codeTable[:]...)
}

// info is the code's row, or what the ranges say of a code without one.
func (c Code) info() CodeInfo {
	for _, row := range codeTable {
		if row.Code == c {
			return row
		}
	}
	return CodeInfo{Code: c, Reconnect: c < 4000 || c >= 4100, Held: park.ReasonFinished}
}

// Reason is the text for the close frame, empty for a code that is not ours.
func (c Code) Reason() string { return c.info().Reason }

// Reconnect says whether a client should come back after this code.
func (c Code) Reconnect() bool { return c.info().Reconnect }

// Held says how the end of a connection closed with this code is counted.
func (c Code) Held() park.Reason { return c.info().Held }

// onWire says whether the code may stand in a close frame: the registered ones,
// and what RFC 6455 section 7.4.2 leaves to frameworks and applications.
func (c Code) onWire() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
		return true
	}
	return false
}

// CodeFor is the close code that tells the client why its connection is ended.
func CodeFor(why park.Reason) Code {
	switch why {
	case park.ReasonFinished:
		return CodeNormal
	case park.ReasonGone:
		return CodeAbnormal
	case park.ReasonSlow:
		return CodeSlow
	case park.ReasonProtocol:
		return CodeProtocol
	case park.ReasonRevoked:
		return CodeRevoked
	case park.ReasonDrain:
		return CodeDraining
	case park.ReasonLimit:
		return CodeLimit
	case park.ReasonIdle:
		return CodeGoingAway
	}
	return CodeInternal
}

// CloseError is a reason to close the connection: what a Decoder found wrong, in
// words that the client's developer can use.
type CloseError struct {
	Code   Code
	Reason string // at most 123 bytes
}

// Error gives the reason and the code.
func (e *CloseError) Error() string {
	return fmt.Sprintf("%s (close code %d)", e.Reason, e.Code)
}
