package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const maxHead = 16 << 10

// head is what the bench needs of an HTTP/1.1 response head.
type head struct {
	status       int
	length       int64 // Content-Length; -1 when the server sent none
	chunked      bool
	closing      bool // Connection: close
	retryAfter   string
	accept       string // Sec-WebSocket-Accept
	lastModified string
	etag         string
}

// parseHead reads a response head (RFC 9112 section 2.1) from the front of in
// and returns its length; 0 when its end is not there yet.
func parseHead(in []byte) (head, int, error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		if len(in) > maxHead {
			return head{}, 0, errors.New("the server's response head does not end")
		}
		return head{}, 0, nil
	}
	h := head{length: -1}
	lines := bytes.Split(in[:end], []byte("\r\n"))
	status, ok := bytes.CutPrefix(lines[0], []byte("HTTP/1.1 "))
	if !ok || len(status) < 3 {
		return head{}, 0, fmt.Errorf("not an HTTP/1.1 response: %.60q", lines[0])
	}
	var err error
	if h.status, err = strconv.Atoi(string(status[:3])); err != nil {
		return head{}, 0, fmt.Errorf("no status in the response: %.60q", lines[0])
	}
	for _, line := range lines[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if err := h.set(string(bytes.ToLower(name)), string(bytes.TrimSpace(value))); err != nil {
			return head{}, 0, err
		}
	}
	return h, end + 4, nil
}

func (h *head) set(name, value string) error {
	switch name {
	case "content-length":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("the response's Content-Length is %.40q", value)
		}
		h.length = n
	case "transfer-encoding":
		h.chunked = value == "chunked"
	case "connection":
		h.closing = value == "close"
	case "retry-after":
		h.retryAfter = value
	case "sec-websocket-accept":
		h.accept = value
	case "last-modified":
		h.lastModified = value
	case "etag":
		h.etag = value
	}
	return nil
}

// refused names a status that the transport cannot go on with.
func (h *head) refused(rest []byte) error {
	wait := ""
	if h.retryAfter != "" {
		wait = ", Retry-After " + h.retryAfter
	}
	return fmt.Errorf("the server answered %d%s: %.200q", h.status, wait, rest)
}

// chunks undoes the chunked transfer coding (RFC 9112 section 7.1) of a stream
// that is cut anywhere. The zero value expects the first chunk's size.
type chunks struct {
	state chunkState
	left  int64
	ended bool
}

type chunkState uint8

const (
	inSize      chunkState = iota // hex digits
	inExtension                   // up to the line's end, ignored
	inData
	afterData // CR LF behind the data
	inTrailer
)

// decode appends the decoded bytes of src to dst and returns how many bytes of
// src belong to this body; fewer than all only when it has ended.
func (c *chunks) decode(dst, src []byte) ([]byte, int, error) {
	for i := 0; i < len(src); {
		if c.state == inData {
			n := min(c.left, int64(len(src)-i))
			dst = append(dst, src[i:i+int(n)]...)
			i += int(n)
			if c.left -= n; c.left == 0 {
				c.state = afterData
			}
			continue
		}
		if err := c.step(src[i]); err != nil {
			return dst, i, err
		}
		i++
		if c.ended {
			return dst, i, nil
		}
	}
	return dst, len(src), nil
}

// step takes one byte of the framing.
func (c *chunks) step(b byte) error {
	switch c.state {
	case inSize, inExtension:
		return c.stepSize(b)
	case afterData:
		if b == '\n' {
			c.state = inSize
		} else if b != '\r' {
			return fmt.Errorf("a chunk does not end where its size says: %q", b)
		}
	case inTrailer:
		// left counts the characters of the trailer line; an empty one ends all.
		switch b {
		case '\n':
			c.ended = c.left == 0
			c.left = 0
		case '\r':
		default:
			c.left++
		}
	}
	return nil
}

func (c *chunks) stepSize(b byte) error {
	switch digit, ok := unhex(b); {
	case b == '\n' && c.left == 0:
		c.state = inTrailer
	case b == '\n':
		c.state = inData
	case c.state == inExtension || b == '\r':
	case b == ';':
		c.state = inExtension
	case ok && c.left < 1<<40:
		c.left = c.left<<4 | int64(digit)
	default:
		return fmt.Errorf("a chunk's size has the character %q", b)
	}
	return nil
}

func unhex(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
