package park

import (
	"crypto/tls"
	"net"
)

// TLSListener is tls.NewListener for connections that the Lot can hold without a
// goroutine (where there is epoll). The handshake is the HTTP server's affair.
// config must not change afterwards.
func TLSListener(l net.Listener, config *tls.Config) net.Listener {
	return &tlsListener{l, config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(underTLS(nc), l.config), nil
}

// bare is the connection under TLS, or nc itself.
func bare(nc net.Conn) net.Conn {
	for {
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = over.NetConn()
	}
}
