package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/acme"

	"holdline/config"
	"holdline/internal/park"
)

// certificates are where handshakes get theirs from. All methods may be called
// concurrently.
type certificates interface {
	// get is for one handshake and does not wait for anybody.
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// reload looks at once whether there is something new. An error leaves
	// everything as it was.
	reload() error
	// run keeps the certificates fresh until ctx ends.
	run(ctx context.Context) error
	// expires is when the first of them ends; zero while there is none.
	expires() time.Time
}

// front is TLS at the public listener. A nil front is none.
type front struct {
	certificates
	config     *tls.Config
	handshakes *prometheus.CounterVec // result
}

// Results of a handshake. With a resumed session it is a tenth of the work.
const (
	handshakeFull    = "full"
	handshakeResumed = "resumed"
	handshakeFailed  = "failed"
)

// newFront is nil where the configuration has no TLS.
func newFront(cfg config.Config, env func(string) (string, bool), m *metrics, log *slog.Logger) (*front, error) {
	if !cfg.TLS.On() {
		return nil, nil
	}
	f := new(front)
	var err error
	protocols := []string{"h2", "http/1.1"}
	if len(cfg.TLS.ACMEDomains) > 0 {
		f.certificates, err = newACME(cfg, env, log)
		protocols = append(protocols, acme.ALPNProto)
	} else {
		f.certificates, err = newCertFiles(cfg.TLS, log)
	}
	if err != nil {
		return nil, err
	}
	f.handshakes = m.counter("tls_handshakes_total", "TLS handshakes, by result.", "result")
	for _, result := range []string{handshakeFull, handshakeResumed, handshakeFailed} {
		f.handshakes.WithLabelValues(result)
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "holdline", Name: "tls_certificate_expires_seconds", Help: "When the first certificate ends, Unix time; 0 while there is none.",
	}, f.expiresUnix))
	f.config = &tls.Config{
		MinVersion:       tls.VersionTLS12,
		NextProtos:       protocols,
		GetCertificate:   f.get,
		VerifyConnection: f.countDone,
	}
	return f, nil
}

func (f *front) expiresUnix() float64 {
	if end := f.expires(); !end.IsZero() {
		return float64(end.Unix())
	}
	return 0
}

// listener makes connections of TLS from those that l accepts.
func (f *front) listener(l net.Listener) net.Listener {
	if f == nil {
		return l
	}
	return park.TLSListener(l, f.config)
}

// prepare sets the server for browsers up. net/http does the handshakes, each in
// its connection's goroutine and within headerTimeout, and tells whoever speaks
// plain HTTP so.
func (f *front) prepare(s *http.Server) {
	if f == nil {
		return
	}
	s.Protocols.SetHTTP2(true)
	before := s.ConnState
	s.ConnState = func(nc net.Conn, state http.ConnState) {
		f.countFailed(nc, state)
		if before != nil {
			before(nc, state)
		}
	}
}

// countDone is asked by crypto/tls at the end of every handshake.
func (f *front) countDone(state tls.ConnectionState) error {
	result := handshakeFull
	if state.DidResume {
		result = handshakeResumed
	}
	f.handshakes.WithLabelValues(result).Inc()
	return nil
}

// countFailed counts connections that end before they could say anything.
func (f *front) countFailed(nc net.Conn, state http.ConnState) {
	tc, ok := nc.(*tls.Conn)
	if ok && state == http.StateClosed && !tc.ConnectionState().HandshakeComplete {
		f.handshakes.WithLabelValues(handshakeFailed).Inc()
	}
}

// runTLS keeps the certificates fresh.
func (g *Gateway) runTLS(ctx context.Context) error {
	if g.front == nil {
		return nil
	}
	return g.front.run(ctx)
}

// ReloadCertificates reads the certificate files again, as SIGHUP asks; without
// such files it does nothing. With an error the old certificate stays. It may be
// called at any time and by any goroutine.
func (g *Gateway) ReloadCertificates() error {
	if g.front == nil {
		return nil
	}
	return g.front.reload()
}

// errNoCertificate ends a handshake before there is one.
var errNoCertificate = errors.New("there is no certificate for this name yet")
