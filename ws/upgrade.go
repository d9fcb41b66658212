package ws

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// Subprotocol is what Holdline speaks inside the frames.
const Subprotocol = "holdline.v1"

// handshakeTimeout bounds the writing of the 101 answer. It is a few hundred
// bytes into an empty socket buffer, so it only ends when something is broken.
const handshakeTimeout = 5 * time.Second

// HandshakeError is a refused handshake. Nothing has been written yet: the caller
// answers with Status, Header and Reason.
type HandshakeError struct {
	Status int         // HTTP status; 0 when the connection is gone and nobody can be answered
	Reason string      // a sentence for the client's developer
	Header http.Header // what the status requires besides, may be nil
}

// Error is the sentence.
func (e *HandshakeError) Error() string { return e.Reason }

// Upgrade makes a WebSocket of an HTTP/1.1 request (RFC 6455 section 4.2) and
// takes its connection from the HTTP server. The second result is what the client
// has sent already behind its request: the first bytes for the Decoder.
//
// The subprotocol is Subprotocol when the client offers it and none when it
// offers none; a client that offers only others is refused, because it would not
// understand what it is told. No extension is accepted. header goes into the 101
// answer (cookies, for example) and must not hold headers of the handshake.
//
// Whether this browser may connect at all is for the caller to decide before:
// Upgrade looks neither at Origin nor at credentials.
func Upgrade(w http.ResponseWriter, r *http.Request, header http.Header) (net.Conn, []byte, *HandshakeError) {
	clean, refusal := checkHandshake(r)
	if refusal != nil {
		return nil, nil, refusal
	}
	// The upgrader would answer by itself if the writer had no connection to give.
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, refuse(http.StatusInternalServerError, nil, "The server cannot take over this connection: %v.", err)
	}
	upgrader := ws.HTTPUpgrader{
		Timeout:  handshakeTimeout,
		Header:   header,
		Protocol: func(name string) bool { return name == Subprotocol },
	}
	if _, _, _, err := upgrader.Upgrade(clean, taken{conn: conn, rw: rw}); err != nil {
		conn.Close()
		return nil, nil, refuse(0, nil, "The handshake could not be answered: %v.", err)
	}
	// A copy, so that the server's bufio.Reader need not live as long as the connection.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return conn, bytes.Clone(early), nil
}

// checkHandshake applies RFC 6455 section 4.2.1. It returns a request that holds
// the handshake and nothing else, every header once: the upgrader looks only at
// the first line of a header that some proxies send in several.
func checkHandshake(r *http.Request) (*http.Request, *HandshakeError) {
	if !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1 {
		return nil, refuseVersion(r)
	}
	if r.Method != http.MethodGet {
		return nil, refuse(http.StatusMethodNotAllowed, http.Header{"Allow": {http.MethodGet}},
			"A WebSocket is opened with GET, not %s.", printable(r.Method))
	}
	if !slices.ContainsFunc(list(r, "Upgrade"), is("websocket")) || !slices.ContainsFunc(list(r, "Connection"), is("upgrade")) {
		return nil, refuse(http.StatusUpgradeRequired, http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
			"This address speaks WebSocket: send Connection: Upgrade and Upgrade: websocket, and check that every proxy on the way passes them on.")
	}
	if r.ContentLength != 0 {
		return nil, refuse(http.StatusBadRequest, nil, "A WebSocket handshake has no body.")
	}
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || strings.TrimSpace(v[0]) != "13" {
		return nil, refuse(http.StatusUpgradeRequired,
			http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}},
			"Only version 13 of the WebSocket protocol is spoken here.")
	}
	key, ok := handshakeKey(r)
	if !ok {
		return nil, refuse(http.StatusBadRequest, nil, "Sec-WebSocket-Key must be there once and be 16 bytes in base64.")
	}
	clean := &http.Request{
		Method: r.Method, Host: r.Host, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key":     {key},
		},
	}
	if offered := list(r, "Sec-WebSocket-Protocol"); len(offered) > 0 {
		if !slices.Contains(offered, Subprotocol) {
			return nil, refuse(http.StatusBadRequest, nil,
				"None of the offered subprotocols is spoken here: offer %s, or none.", Subprotocol)
		}
		clean.Header["Sec-Websocket-Protocol"] = []string{Subprotocol}
	}
	return clean, nil
}

// refuseVersion answers HTTP/1.0 and HTTP/2. In HTTP/2 the Upgrade header itself
// is forbidden and would make the answer malformed (RFC 9113 section 8.2.2).
func refuseVersion(r *http.Request) *HandshakeError {
	var header http.Header
	if r.ProtoMajor == 1 {
		header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}
	}
	return refuse(http.StatusUpgradeRequired, header, "A WebSocket is opened over HTTP/1.1; this request came over HTTP/%d.%d.", r.ProtoMajor, r.ProtoMinor)
}

// handshakeKey is the client's nonce: 16 bytes, which are always 24 characters.
func handshakeKey(r *http.Request) (string, bool) {
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return "", false
	}
	key := strings.TrimSpace(keys[0])
	nonce, err := base64.StdEncoding.DecodeString(key)
	return key, err == nil && len(nonce) == 16
}

func refuse(status int, header http.Header, format string, args ...any) *HandshakeError {
	return &HandshakeError{Status: status, Reason: fmt.Sprintf(format, args...), Header: header}
}

// list is the comma-separated list of a header, over all its lines.
func list(r *http.Request, name string) []string {
	var all []string
	for _, line := range r.Header.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

func is(token string) func(string) bool {
	return func(s string) bool { return strings.EqualFold(s, token) }
}

// printable makes a stranger's word fit for an answer or a log line.
func printable(s string) string {
	return fmt.Sprintf("%.20q", s)
}

// taken gives the upgrader a connection that was hijacked before.
type taken struct {
	http.ResponseWriter
	conn net.Conn
	rw   *bufio.ReadWriter
}

// Hijack implements http.Hijacker.
func (t taken) Hijack() (net.Conn, *bufio.ReadWriter, error) { return t.conn, t.rw, nil }
