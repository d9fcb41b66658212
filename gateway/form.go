package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// ajaxBodyTimeout is how long a client may take over the part of a body that has
// to be seen before it is known whose it is.
const ajaxBodyTimeout = 30 * time.Second

// ajaxBody is what PHP would find in $_POST.
type ajaxBody struct {
	kind bodyKind
	form url.Values // of a plain body
	raw  []byte     // the same as bytes
}

type bodyKind int

const (
	bodyNone   bodyKind = iota // PHP makes no $_POST of it
	bodyPlain                  // a form that was read whole
	bodyHidden                 // a form that is too long or too odd to be read here
)

// readAjax reads as much of the body as recognising a form needs, and leaves the
// request as it was: whoever gets it next reads all of it.
func (g *Gateway) readAjax(c echo.Context) (ajaxBody, error) {
	r := c.Request()
	if len(r.Header["Content-Type"]) > 1 {
		// PHP may go by another one than we do.
		return ajaxBody{}, &refusal{http.StatusBadRequest, "body", "a request has one Content-Type"}
	}
	if err := checkEncoding(r); err != nil {
		return ajaxBody{}, err // a visitor's poll could be hidden in it
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost || r.Body == nil:
		return ajaxBody{}, nil
	case strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Type"))), "multipart/form-data"):
		return ajaxBody{kind: bodyHidden}, nil
	case kind != "application/x-www-form-urlencoded":
		if err != nil && strings.Contains(strings.ToLower(r.Header.Get("Content-Type")), "x-www-form-urlencoded") {
			return ajaxBody{kind: bodyHidden}, nil // PHP goes by the text before the first of ";, "
		}
		return ajaxBody{}, nil
	}
	raw, whole, err := g.peek(c)
	if err != nil {
		return ajaxBody{}, err
	}
	form, ok := phpForm(string(raw))
	if !whole || !ok {
		return ajaxBody{kind: bodyHidden}, nil
	}
	return ajaxBody{kind: bodyPlain, form: form, raw: raw}, nil
}

// peek reads up to limits.body bytes and puts them back before the rest.
func (g *Gateway) peek(c echo.Context) (head []byte, whole bool, err error) {
	r, limit := c.Request(), int64(g.settings().Limits.Body)
	if head, err = g.readWithin(c, ajaxBodyTimeout, io.LimitReader(r.Body, limit+1)); err != nil {
		return nil, false, err
	}
	if whole = int64(len(head)) <= limit; whole {
		r.Body = io.NopCloser(bytes.NewReader(head))
	} else {
		r.Body = readCloser{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
		// The rest has a limit of its own, or net/http would wait for it for ever.
		if err := http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyPatience)); err != nil {
			return nil, false, fmt.Errorf("limit the time of a body: %w", err)
		}
	}
	return head, whole, nil
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// maxFields is how many fields of a form are looked at. PHP stops at 1,000
// (max_input_vars) unless it is told otherwise.
const maxFields = 5000

// phpForm reads an urlencoded form as PHP does (php_std_treat_data in
// main/php_variables.c): only "&" parts fields, and what is no escape stands for
// itself. net/url refuses what PHP still reads, and so would let it pass by.
func phpForm(body string) (form url.Values, ok bool) {
	form = url.Values{}
	fields := 0
	for field := range strings.SplitSeq(body, "&") {
		if field == "" {
			continue
		}
		if fields++; fields > maxFields {
			return nil, false
		}
		key, value, _ := strings.Cut(field, "=")
		key = unescape(key)
		form[key] = append(form[key], unescape(value))
	}
	return form, true
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, hexDigit(s[i+1])<<4|hexDigit(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// errSecretPoll ends the forwarding of a body in which a visitor's poll is hidden.
var errSecretPoll = errors.New("a visitor's poll in a form that cannot be checked")

// needle is the visitor's poll as it stands in a body. Its first byte comes up
// nowhere else in it, which keeps the search for it simple.
const needle = "wplc_call_to_server_visitor"

// sieve passes a body on and fails when the needle comes up, encoded or not. PHP
// runs nothing before it has the whole body, so what failed was never asked.
type sieve struct {
	io.ReadCloser
	plain, decoded matcher
	pending        []byte // of an escape that is not complete
	found          bool
}

// matcher is how much of the needle has been seen just now.
type matcher int

func (m *matcher) next(c byte) (found bool) {
	switch {
	case c == needle[*m]:
		*m++
	case c == needle[0]:
		*m = 1
	default:
		*m = 0
	}
	if int(*m) == len(needle) {
		*m, found = 0, true
	}
	return found
}

func (s *sieve) Read(p []byte) (int, error) {
	if s.found {
		return 0, errSecretPoll
	}
	n, err := s.ReadCloser.Read(p)
	for _, c := range p[:n] {
		if s.plain.next(c) || s.decode(c) {
			s.found = true
			s.drain()
			return 0, errSecretPoll
		}
	}
	return n, err
}

// maxDrain is how much of a body is still read that goes nowhere.
const maxDrain = 64 << 20

// drain takes the rest of the body: a web server that is still sending takes an
// early answer and the end of the connection for a broken one.
func (s *sieve) drain() {
	_, _ = io.CopyN(io.Discard, s.ReadCloser, maxDrain) // where it breaks off, nobody waits for an answer
}

// decode is one step of unescape.
func (s *sieve) decode(c byte) (found bool) {
	switch {
	case len(s.pending) == 0 && c == '%', len(s.pending) == 1 && isHex(c):
		s.pending = append(s.pending, c)
		return false
	case len(s.pending) == 2 && isHex(c):
		c = hexDigit(s.pending[1])<<4 | hexDigit(c)
		s.pending = s.pending[:0]
		return s.decoded.next(c)
	case len(s.pending) > 0: // no escape after all
		for _, p := range s.pending {
			found = s.decoded.next(p) || found
		}
		s.pending = s.pending[:0]
		return s.decode(c) || found
	}
	return s.decoded.next(c)
}
