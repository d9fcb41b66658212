package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// wholeBlocks hands on an event stream only up to the last blank line that has
// come. r3labs' reader takes what it has when the line is cut for a whole event,
// and would remember the id of one whose rest it never read.
type wholeBlocks struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t wholeBlocks) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusOK {
		resp.Body = &blockReader{body: resp.Body}
	}
	return resp, err
}

// maxBlock is more than any event has.
const maxBlock = 4 << 20

var errBlock = errors.New("the server sent an event without an end")

// blockReader is a body of whole blocks.
type blockReader struct {
	body  io.ReadCloser
	whole []byte // to be read
	rest  []byte // the beginning of a block
	err   error  // of body
}

// Read implements io.Reader.
func (b *blockReader) Read(p []byte) (int, error) {
	buf := make([]byte, 4<<10)
	for len(b.whole) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if len(b.rest) > maxBlock {
			return 0, errBlock
		}
		var n int
		n, b.err = b.body.Read(buf)
		b.rest = append(b.rest, buf[:n]...)
		if end := bytes.LastIndex(b.rest, []byte("\n\n")); end >= 0 {
			b.whole, b.rest = b.rest[:end+2:end+2], bytes.Clone(b.rest[end+2:])
		}
	}
	n := copy(p, b.whole)
	b.whole = b.whole[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *blockReader) Close() error { return b.body.Close() }
