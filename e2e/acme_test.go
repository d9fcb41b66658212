//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"holdline/e2e/backstage"
	"holdline/internal/certtest"
)

// acmeServer is pebble, Let's Encrypt's server for tests. It looks every name up
// at a DNS server of ours, which answers 127.0.0.1, and validates for real: by
// TLS-ALPN-01 at a port.
type acmeServer struct {
	*backstage.Process
	directory string
	ca        *certtest.CA // of pebble's own HTTPS
	manage    string       // address
}

func startACME(t *testing.T, validated string) *acmeServer {
	t.Helper()
	dir := t.TempDir()
	pebble := filepath.Join(dir, "pebble")
	build := exec.Command("go", "build", "-C", filepath.Join("..", ".ci", "tools"), "-o", pebble, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v: %s", err, out)
	}
	_, port, err := net.SplitHostPort(validated)
	if err != nil {
		t.Fatal(err)
	}
	tlsPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	listen, manage := backstage.FreeAddress(t), backstage.FreeAddress(t)
	ca := certtest.NewCA(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Issue(t, cert, key, time.Now().Add(time.Hour), "127.0.0.1")
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": cert, "privateKey": key,
		"httpPort": 1, "tlsPort": tlsPort, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pebble, "-config", file, "-dnsserver", startDNS(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	s := &acmeServer{Process: backstage.Start(t, cmd), directory: "https://" + listen + "/dir", ca: ca, manage: manage}
	backstage.AwaitListening(t, listen)
	backstage.AwaitListening(t, manage)
	return s
}

// roots are what the issued certificates are to be trusted by.
func (s *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + s.manage + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	pem, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("pebble's root is %s", pem)
	}
	return pool
}

// startDNS answers over TCP, as pebble asks, that every name is 127.0.0.1.
func startDNS(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				for answerDNS(c) == nil {
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait() // pebble has ended, and its connections with it
	})
	return l.Addr().String()
}

// answerDNS answers one question. Over TCP a message has its length before it
// (RFC 1035 section 4.2.2).
func answerDNS(c net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	var message dnsmessage.Message
	if err := message.Unpack(b); err != nil {
		return err
	}
	message.Response, message.Additionals = true, nil
	for _, q := range message.Questions {
		if q.Type == dnsmessage.TypeA {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	b, err := message.AppendPack(make([]byte, 2))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	_, err = c.Write(b)
	return err
}

// TestCertificateFromACME gets a certificate as from Let's Encrypt, and keeps it
// over a restart when the CA is gone.
func TestCertificateFromACME(t *testing.T) {
	const name = "chat.holdline.test"
	listen := backstage.FreeAddress(t)
	acme := startACME(t, listen)
	s := newSite(t, nil, "HOLDLINE_LISTEN="+listen, "HOLDLINE_STATE_DIR="+t.TempDir(),
		"HOLDLINE_TLS_ACME_DOMAINS="+name, "HOLDLINE_TLS_ACME_EMAIL=admin@holdline.test",
		"HOLDLINE_TLS_ACME_DIRECTORY="+acme.directory, "HOLDLINE_TLS_ACME_CA_FILE="+acme.ca.File)
	roots := acme.roots(t)
	backstage.Eventually(t, "there is a certificate", patience, func() bool {
		end, _ := backstage.Metric(t, s.admin, "holdline_tls_certificate_expires_seconds")
		return end > 0
	})
	first := presented(t, listen, name, roots)
	if first == nil {
		t.Fatal("it is not presented")
	}
	if presented(t, listen, "other.holdline.test", roots) != nil {
		t.Error("a name that is not served has a certificate")
	}
	if end, ok := backstage.Metric(t, s.admin, "holdline_tls_certificate_expires_seconds"); !ok || int64(end) != first.NotAfter.Unix() {
		t.Errorf("the certificate's end is told as %v, want %d", end, first.NotAfter.Unix())
	}

	acme.Kill(t)
	s.kill()
	s.start()
	backstage.AwaitReady(t, s.admin)
	backstage.Eventually(t, "the certificate is there again", patience, func() bool {
		return first.Equal(presented(t, listen, name, roots))
	})
}
