package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// relay gives the clients, who speak plain HTTP, a way to a server that speaks
// TLS only. It runs in this process, so that the server's memory and CPU stay
// the server's; latencies have its own on top.
type relay struct {
	listener net.Listener
	server   string
	config   *tls.Config
	copies   sync.WaitGroup
	stop     context.CancelFunc
}

// startRelay listens on a port of its own.
func startRelay(server netip.AddrPort) (*relay, netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("listen for clients without TLS: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &relay{
		listener: l, server: server.String(), stop: stop,
		config: &tls.Config{InsecureSkipVerify: true}, // the certificate is minutes old and ours
	}
	r.copies.Go(func() { r.accept(ctx) })
	return r, l.Addr().(*net.TCPAddr).AddrPort(), nil
}

func (r *relay) accept(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.copies.Go(func() { r.carry(ctx, client) })
	}
}

// carry copies both ways until either side ends.
func (r *relay) carry(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := (&tls.Dialer{Config: r.config}).DialContext(ctx, "tcp", r.server)
	if err != nil {
		return // the client sees the end
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	r.copies.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	io.Copy(client, server)
}

// Close ends all connections and waits.
func (r *relay) Close() error {
	r.stop()
	err := r.listener.Close()
	r.copies.Wait()
	return err
}

// selfSigned writes a certificate of an hour and returns the settings that name
// its files.
func selfSigned(dir string) ([]string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600),
	)
	return []string{"HOLDLINE_TLS_CERT_FILE=" + certFile, "HOLDLINE_TLS_KEY_FILE=" + keyFile}, err
}
