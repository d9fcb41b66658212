package doctor

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// wire is a connection to a server that says what it was given.
type wire struct {
	io.Reader
	bytes.Buffer // what was written to the server
}

func (w *wire) Read(p []byte) (int, error) { return w.Reader.Read(p) }
func (w *wire) Close() error               { return nil }

func frames(all ...ws.Frame) []byte {
	var b bytes.Buffer
	for _, f := range all {
		if err := ws.WriteFrame(&b, f); err != nil {
			panic(err) // to memory
		}
	}
	return b.Bytes()
}

func TestSocketReads(t *testing.T) {
	long := bytes.Repeat([]byte("x"), longestWord)
	for name, tc := range map[string]struct {
		said    []byte
		message string
		code    ws.StatusCode
		err     error
	}{
		"a message":                 {said: frames(ws.NewTextFrame([]byte("a"))), message: "a"},
		"a message in parts":        {said: frames(ws.NewFrame(ws.OpText, false, []byte("a")), ws.NewFrame(ws.OpContinuation, true, []byte("b"))), message: "ab"},
		"a heartbeat":               {said: frames(ws.NewPingFrame([]byte("hi")), ws.NewTextFrame([]byte("a"))), message: "a"},
		"the longest message":       {said: frames(ws.NewTextFrame(long)), message: string(long)},
		"a close frame":             {said: frames(ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "restart"))), code: 1012},
		"a close frame, no code":    {said: frames(ws.NewCloseFrame(nil)), code: 1005},
		"the end":                   {said: nil, err: io.EOF},
		"the end within a message":  {said: frames(ws.NewTextFrame([]byte("abc")))[:4], err: io.ErrUnexpectedEOF},
		"too long in several parts": {said: frames(ws.NewFrame(ws.OpText, false, long), ws.NewTextFrame([]byte("x"))), err: errTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{Reader: bytes.NewReader(tc.said)}
			message, err := (&socket{w}).read()
			var closed closedError
			errors.As(err, &closed)
			if string(message) != tc.message || closed.code != tc.code || tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("%d bytes, %v", len(message), err)
			}
			if name == "a heartbeat" && !bytes.HasPrefix(w.Bytes(), []byte{0x8a, 0x80 | 2}) {
				t.Errorf("it was answered with % x", w.Bytes())
			}
		})
	}
}

func FuzzSocket(f *testing.F) {
	f.Add(frames(ws.NewTextFrame([]byte("a"))))
	f.Add(frames(ws.NewPingFrame(nil), ws.NewCloseFrame(nil)))
	f.Add(slices.Concat([]byte{0x81, 127, 0xff}, bytes.Repeat([]byte{0xff}, 9)))
	f.Fuzz(func(t *testing.T, said []byte) {
		s := &socket{&wire{Reader: bytes.NewReader(said)}}
		for {
			message, err := s.read()
			if err != nil {
				return
			}
			if len(message) > longestWord {
				t.Fatalf("a message of %d bytes", len(message))
			}
		}
	})
}
