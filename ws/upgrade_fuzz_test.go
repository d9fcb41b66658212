package ws

import (
	"net/http"
	"testing"
)

// FuzzHandshake: what is let in is a handshake that a browser could have sent, and
// nothing of the request but the key is carried on.
func FuzzHandshake(f *testing.F) {
	f.Add("GET", "Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ==", Subprotocol, int64(0))
	f.Add("GET", "keep-alive, upgrade", "h2c, WebSocket", " 13", "dGhlIHNhbXBsZSBub25jZQ", "chat, "+Subprotocol, int64(0))
	f.Add("POST", "close", "", "8", "short", ",", int64(5))
	f.Fuzz(func(t *testing.T, method, connection, upgrade, version, key, protocol string, length int64) {
		r := &http.Request{
			Method: method, ProtoMajor: 1, ProtoMinor: 1, ContentLength: length, Header: http.Header{
				"Connection": {connection}, "Upgrade": {upgrade}, "Sec-Websocket-Version": {version},
				"Sec-Websocket-Key": {key}, "Sec-Websocket-Protocol": {protocol}, "Sec-Websocket-Extensions": {"permessage-deflate"},
			},
		}
		clean, refused := checkHandshake(r)
		if refused != nil {
			if refused.Status < 400 || refused.Reason == "" {
				t.Fatalf("refused without a reason: %+v", refused)
			}
			return
		}
		if method != http.MethodGet || length != 0 || len(clean.Header.Get("Sec-Websocket-Key")) != 24 || clean.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Fatalf("let in: %+v", clean)
		}
	})
}
