package park

import (
	"crypto/tls"
	"net"
)

// TLSListener is tls.NewListener for connections that the Lot is to hold without
// a goroutine. The handshake is the HTTP server's affair. config must not change
// afterwards.
func TLSListener(l net.Listener, config *tls.Config) net.Listener {
	return tls.NewListener(l, config)
}
