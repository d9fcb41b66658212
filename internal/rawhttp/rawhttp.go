// Package rawhttp takes HTTP/1.x connections over from net/http and writes the
// response heads that net/http then no longer writes.
package rawhttp

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrCannotHijack says that the connection has to stay with its handler, as
// HTTP/2 streams do.
var ErrCannotHijack = errors.New("connection cannot be taken over")

// Hijack takes the connection of a request over. buffered is what the server
// had read beyond the request. Deadlines that the server had set are gone. The
// request's body must have been read to its end, or buffered begins within it.
func Hijack(w http.ResponseWriter, r *http.Request) (conn net.Conn, buffered []byte, err error) {
	if r.ProtoMajor != 1 {
		return nil, nil, ErrCannotHijack
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return nil, nil, ErrCannotHijack
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	if n := rw.Reader.Buffered(); n > 0 {
		peeked, _ := rw.Reader.Peek(n)
		buffered = slices.Clone(peeked)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	return conn, buffered, nil
}

// KeepsAlive tells whether the client of an HTTP/1.x request expects to send
// another one on this connection (RFC 9112 section 9.3).
func KeepsAlive(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && !r.Close && !hasToken(r.Header["Connection"], "close")
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// AppendHead appends an HTTP/1.1 response head: status line, Date, the given
// headers in sorted order, and the empty line. Values come from our own code;
// line breaks in them are dropped all the same (RFC 9112 section 11.1).
func AppendHead(dst []byte, status int, now time.Time, header http.Header) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), http.StatusText(status)...)
	dst = append(dst, "\r\nDate: "...)
	dst = now.UTC().AppendFormat(dst, http.TimeFormat)
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range header[name] {
			dst = append(append(dst, "\r\n"...), name...)
			dst = append(append(dst, ": "...), lineBreaks.Replace(value)...)
		}
	}
	return append(dst, "\r\n\r\n"...)
}

var lineBreaks = strings.NewReplacer("\r", "", "\n", "", "\x00", "")
