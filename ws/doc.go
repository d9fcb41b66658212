// Package ws serves browsers over WebSocket (RFC 6455), subprotocol holdline.v1:
// JSON text frames both ways, no compression.
//
// The protocol layer has no goroutine and does no I/O of its own, so that an idle
// connection costs next to nothing: Upgrade answers the handshake, a Decoder
// makes messages of whatever bytes have just arrived, a Session keeps the rules
// between frames (heartbeat, floods, closing handshake), and the Append functions
// encode a frame once for any number of connections.
package ws
