//go:build e2e

package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
	"holdline/internal/certtest"
)

// secureSite is a site whose holdline speaks TLS with files.
type secureSite struct {
	*site
	ca        *certtest.CA
	cert, key string
	issued    *x509.Certificate
}

func newSecureSite(t *testing.T, origins ...string) *secureSite {
	t.Helper()
	dir := t.TempDir()
	s := &secureSite{ca: certtest.NewCA(t), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	s.issue(t)
	s.site = newSite(t, origins, "HOLDLINE_TLS_CERT_FILE="+s.cert, "HOLDLINE_TLS_KEY_FILE="+s.key)
	return s
}

func (s *secureSite) issue(t *testing.T) {
	t.Helper()
	s.issued = s.ca.Issue(t, s.cert, s.key, time.Now().Add(time.Hour), "127.0.0.1")
}

// presented is the certificate that a handshake brings, or nil without one.
func presented(t *testing.T, address, name string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		t.Log(err)
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// TestBrowserOverTLS has Chromium use all transports: EventSource and fetch over
// HTTP/2, the WebSocket over a connection of HTTP/1.1 that it opens for it.
func TestBrowserOverTLS(t *testing.T) {
	j := newJournal(t)
	d := newDesk(t, j)
	s := newSecureSite(t, d.allowed)
	id, channel := s.chat()
	at := func(scheme, transport string) string {
		return endpoint(scheme, s.listen, transport, channel, s.token(channel))
	}
	key := sha256.Sum256(s.issued.RawSubjectPublicKeyInfo)
	startChromium(t, d.allowed, []client{
		{"EventSource", "eventsource", at("https", "sse")},
		{"WebSocket", "websocket", at("wss", "ws")},
		{"fetch", "poll", at("https", "poll")},
	}, "--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(key[:]))
	everybody := []string{"EventSource", "WebSocket", "fetch"}
	j.awaitType(t, everybody, "status")
	want := s.say(id, rowsOfARound)
	j.awaitRow(t, everybody, want[len(want)-1])
	j.compare(t, everybody, want)
}

func TestCurlOverTLS(t *testing.T) {
	s := newSecureSite(t)
	id, channel := s.chat()
	curl := func(args ...string) string {
		t.Helper()
		args = append(args, "--silent", "--show-error", "--cacert", s.ca.File, "--max-time", "60")
		out, err := exec.Command("curl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
		return string(out)
	}
	for flag, version := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
		info := "https://" + s.listen + "/holdline/v1/info"
		if got := curl(flag, info, "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"); got != version+" 200" {
			t.Errorf("%s: %q", flag, got)
		}
		// Both polls and then the page are one connection's: from the Lot back to
		// the HTTP server.
		row := s.say(id, 1)
		poll := endpoint("https", s.listen, "poll", channel, s.token(channel)) + "&cursor=" + strconv.FormatInt(row[0]-1, 10)
		out := curl(flag, poll, poll+"&x=2", info, "--output", "/dev/null", "--output", "-", "--output", "/dev/null",
			"--write-out", "\n%{http_code} %{num_connects}\n")
		if !strings.Contains(out, `"message 0"`) || strings.Count(out, "200 0") != 2 {
			t.Errorf("%s: %s", flag, out)
		}
	}
	if out, err := exec.Command("curl", "--silent", "https://"+s.listen+"/").CombinedOutput(); err == nil {
		t.Errorf("a certificate of nobody is trusted: %s", out)
	}
}

// TestRenewedCertificate replaces the files under a running program.
func TestRenewedCertificate(t *testing.T) {
	s := newSecureSite(t)
	if !s.issued.Equal(presented(t, s.listen, "127.0.0.1", s.ca.Pool)) {
		t.Fatal("another certificate is presented")
	}
	s.issue(t)
	backstage.Eventually(t, "the new certificate is presented", patience, func() bool {
		return s.issued.Equal(presented(t, s.listen, "127.0.0.1", s.ca.Pool))
	})
}
