package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gobwas/ws"
)

// longestWord is what a message of Holdline's to this examination may have.
const longestWord = 64 << 10

var errTooLong = errors.New("the answer is longer than anything Holdline says")

// socket is the client's end of a WebSocket. One goroutine at a time may use it.
type socket struct {
	conn io.ReadWriteCloser
}

// closedError is a close frame; its code is 1005 if there was none in it.
type closedError struct{ code ws.StatusCode }

func (e closedError) Error() string { return fmt.Sprintf("code %d", e.code) }

// dialSocket opens a WebSocket through whatever HTTP proxy the environment names.
// The answer is not nil if there was one. ctx ends the opening, not the socket.
func dialSocket(ctx context.Context, url string) (*socket, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Key", key)
	req.Header.Set("Sec-WebSocket-Protocol", "holdline.v1")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	answer, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	// RFC 6455, section 4.2.2: the answer proves that it was made for this request.
	proof := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, ok := answer.Body.(io.ReadWriteCloser)
	if !ok || answer.StatusCode != http.StatusSwitchingProtocols ||
		answer.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(proof[:]) {
		answer.Body.Close()
		return nil, answer, errors.New("the answer is no handshake of a WebSocket")
	}
	return &socket{conn}, answer, nil
}

func (s *socket) close() { s.conn.Close() }

// closeAt closes the socket when ctx ends, which ends a read or write. The
// returned function calls that off.
func (s *socket) closeAt(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, s.close)
}

// write sends v as JSON.
func (s *socket) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return ws.WriteFrame(s.conn, ws.MaskFrameInPlace(ws.NewTextFrame(text)))
}

// read returns the next message, and answers the server's pings meanwhile.
func (s *socket) read() ([]byte, error) {
	var message []byte
	for {
		header, err := ws.ReadHeader(s.conn)
		if err != nil {
			return nil, err
		}
		if header.Length > int64(longestWord-len(message)) {
			return nil, errTooLong
		}
		payload := make([]byte, header.Length)
		if _, err := io.ReadFull(s.conn, payload); err != nil {
			return nil, err
		}
		switch header.OpCode {
		case ws.OpPing:
			if err := ws.WriteFrame(s.conn, ws.MaskFrameInPlace(ws.NewPongFrame(payload))); err != nil {
				return nil, err
			}
		case ws.OpPong:
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(payload)
			return nil, closedError{cmp.Or(code, ws.StatusNoStatusRcvd)}
		default:
			message = append(message, payload...)
			if header.Fin {
				return message, nil
			}
		}
	}
}
