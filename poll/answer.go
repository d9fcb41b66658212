package poll

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"holdline/internal/chat"
	"holdline/internal/rawhttp"
)

// loopHead are the headers of WordPress's own answers (wp_send_nosniff_header,
// nocache_headers and the like in admin-ajax.php); JSON that called itself so
// would break the plugin's parser.
func loopHead() http.Header {
	return http.Header{
		"Content-Type":           {"text/html; charset=UTF-8"},
		"Cache-Control":          {"no-cache, must-revalidate, max-age=0"},
		"Expires":                {"Wed, 11 Jan 1984 05:00:00 GMT"},
		"Referrer-Policy":        {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Frame-Options":        {"SAMEORIGIN"},
		"X-Robots-Tag":           {"noindex"},
	}
}

// Empty answers as WordPress does when nothing came: status 200, the headers of its
// ajax answers, those of more (CORS; may be nil), and no body. Loops whose sender
// gets no other answer are not to be told from those that heard nothing.
func Empty(w http.ResponseWriter, more http.Header) {
	status, head, _ := compose(&chat.Reply{}, more)
	writeHead(w, status, head)
}

// compose makes a reply ready to go out, with more headers.
func compose(reply *chat.Reply, more http.Header) (status int, head http.Header, body []byte) {
	if head = reply.Header.Clone(); head == nil {
		head = loopHead()
	}
	for name, values := range more {
		for _, value := range values {
			// PHP may have allowed the same origin: said twice, a browser takes
			// it for none (Fetch standard, "CORS check").
			if !slices.Contains(head[name], value) {
				head[name] = append(head[name], value)
			}
		}
	}
	for _, ours := range []string{"Connection", "Transfer-Encoding", "Content-Length", "Date"} {
		head.Del(ours)
	}
	status = cmp.Or(reply.Status, http.StatusOK)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return status, head, nil // nor a length: RFC 9110 section 8.6
	}
	head.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	return status, head, reply.Body
}

// response is what goes to the connection: the head as well where that is ours to
// write.
func (h *held) response(reply *chat.Reply, keepAlive bool) []byte {
	status, head, body := compose(reply, h.header)
	if !h.raw {
		return body
	}
	if !keepAlive {
		head.Set("Connection", "close")
	}
	return append(rawhttp.AppendHead(nil, status, time.Now(), head), body...)
}

// respond writes a whole response and tells whether it got as far as the socket.
func (h *held) respond(w http.ResponseWriter, reply *chat.Reply) error {
	status, head, body := compose(reply, h.header)
	writeHead(w, status, head)
	if len(body) > 0 {
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
	if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func writeHead(w http.ResponseWriter, status int, head http.Header) {
	to := w.Header()
	to["Content-Type"] = nil // or net/http would guess one
	for name, values := range head {
		to[name] = values
	}
	w.WriteHeader(status)
}

// lateWriter writes the head of an answer that is held in its handler before the
// first byte: until there is an answer, its head is not known.
type lateWriter struct {
	http.ResponseWriter
	held  *held
	wrote bool
}

// Write comes after the answer has been given.
func (w *lateWriter) Write(b []byte) (int, error) {
	w.head()
	return w.ResponseWriter.Write(b)
}

// head writes the head of the answer that has been given, once.
func (w *lateWriter) head() {
	if w.wrote {
		return
	}
	w.wrote = true
	status, head, _ := compose(w.held.said.Load(), w.held.header)
	writeHead(w.ResponseWriter, status, head)
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (w *lateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
