package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"holdline/config"
	"holdline/internal/backoff"
)

// Bounds of the wait before a certificate is asked for again. Let's Encrypt
// allows five failures in an hour for each name; autocert itself repeats the
// last failure for a minute.
const (
	leastOrder = 2 * time.Minute
	mostOrder  = time.Hour
)

// acmeCertificates are got and renewed by themselves (RFC 8555), by TLS-ALPN-01
// on the public listener (RFC 8737): no second port is needed.
type acmeCertificates struct {
	settings config.TLS
	roots    *x509.CertPool // nil: the system's
	cache    string         // folder of the account's key and the certificates
	log      *slog.Logger
	manager  atomic.Pointer[autocert.Manager] // nil before run

	mu   sync.Mutex
	ends map[string]time.Time // of the certificate last seen, by name
}

func newACME(cfg config.Config, env func(string) (string, bool), log *slog.Logger) (*acmeCertificates, error) {
	a := &acmeCertificates{settings: cfg.TLS, log: log, ends: make(map[string]time.Time)}
	if path := cfg.TLS.ACMECAFile; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read tls.acme_ca_file: %w", err)
		}
		a.roots = x509.NewCertPool()
		if !a.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.acme_ca_file %s has no certificate in PEM", path)
		}
	}
	var err error
	if a.cache, err = acmeFolder(cfg.StateDirs(env)); err != nil {
		return nil, err
	}
	return a, nil
}

// acmeFolder makes a folder that only we can read in the first place where that
// works.
func acmeFolder(states []string) (string, error) {
	path, err := openFirst(states, func(state string) (string, error) {
		path := filepath.Join(state, "acme")
		return path, os.MkdirAll(path, 0o700)
	}, nil)
	if err != nil {
		return "", fmt.Errorf("tls.acme_domains needs a folder for the certificates: set state_dir to one that Holdline may write to\n%w", err)
	}
	return path, nil
}

// newManager makes autocert's part. Its connections to the CA end with ctx:
// autocert itself would go on for minutes.
func (a *acmeCertificates) newManager(ctx context.Context) *autocert.Manager {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	client := &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: 30 * time.Second,
			DialContext: func(dialing context.Context, network, address string) (net.Conn, error) {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				nc, err := dialer.DialContext(dialing, network, address)
				if err != nil {
					return nil, err
				}
				context.AfterFunc(ctx, func() { nc.Close() })
				return nc, nil
			},
		},
	}
	return &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(a.cache),
		HostPolicy: autocert.HostWhitelist(a.settings.ACMEDomains...),
		Email:      a.settings.ACMEEmail,
		Client:     &acme.Client{DirectoryURL: a.settings.ACMEDirectory, HTTPClient: client, UserAgent: "holdline"},
	}
}

func (a *acmeCertificates) run(ctx context.Context) error {
	a.manager.Store(a.newManager(ctx))
	var orders sync.WaitGroup
	for _, domain := range a.settings.ACMEDomains {
		orders.Go(func() { a.obtain(ctx, domain) })
	}
	orders.Wait()
	return nil
}

// obtain gets the certificate of a name, as often as it takes. From then on
// autocert renews it, and goes on with the old one if that fails.
func (a *acmeCertificates) obtain(ctx context.Context, domain string) {
	for failures := 1; ctx.Err() == nil; failures++ {
		cert, err := a.manager.Load().GetCertificate(helloFor(domain))
		if err == nil {
			a.saw(domain, cert)
			a.log.Info("certificate ready", "name", domain, "expires", cert.Leaf.NotAfter)
			return
		}
		if ctx.Err() != nil {
			return
		}
		wait := leastOrder + backoff.Full(failures, leastOrder, mostOrder)
		a.log.Warn("no certificate from the CA: the name must lead here, and its port 443 to listen",
			"name", domain, "error", err, "next_try", wait.Round(time.Second))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// get answers the CA's challenges, and everybody else once there is a
// certificate. Without that rule each handshake would wait for the order.
func (a *acmeCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	manager := a.manager.Load()
	if manager == nil {
		return nil, errNoCertificate
	}
	if slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
		return manager.GetCertificate(hello)
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" { // by address: the client has to live with another name
		name = a.settings.ACMEDomains[0]
	}
	if !a.has(name) {
		return nil, errNoCertificate
	}
	cert, err := manager.GetCertificate(helloFor(name))
	if err == nil {
		a.saw(name, cert)
	}
	return cert, err
}

// helloFor asks autocert for its ECDSA certificate. It would order a second one,
// with an RSA key, for the first client that looks old.
func helloFor(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName:       name,
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves:  []tls.CurveID{tls.CurveP256},
		CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

func (a *acmeCertificates) has(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ends[name]
	return ok
}

func (a *acmeCertificates) saw(name string, cert *tls.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends[name] = cert.Leaf.NotAfter
}

func (a *acmeCertificates) expires() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first time.Time
	for _, end := range a.ends {
		if first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// reload has nothing to do: nobody else writes the folder.
func (a *acmeCertificates) reload() error { return nil }
