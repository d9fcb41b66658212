package gateway_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/config"
	"holdline/internal/certtest"
)

// tlsSite is a site whose gateway has a certificate for 127.0.0.1.
func tlsSite(t *testing.T, options ...option) (*site, *certtest.CA) {
	t.Helper()
	ca := certtest.NewCA(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Issue(t, cert, key, time.Now().Add(time.Hour), "127.0.0.1", "chat.example.test")
	return newSite(t, append(options, with(func(c *config.Config) { c.TLS.CertFile, c.TLS.KeyFile = cert, key }))...), ca
}

// trusting is a client that trusts ca alone and speaks HTTP/2 if it is asked to.
func trusting(t *testing.T, ca *certtest.CA, http2 bool, change func(*tls.Config)) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: http2}
	if change != nil {
		change(transport.TLSClientConfig)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func TestRowReachesEveryTransportOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, open := range transports() {
			for path, options := range map[string][]option{"epoll": nil, "goroutine": {portable}} {
				for _, http2 := range []bool{false, true} {
					if http2 && name == "ws" { // a WebSocket is opened over HTTP/1.1
						continue
					}
					t.Run(fmt.Sprintf("%s over %s held by %s, HTTP/2 %v", name, tls.VersionName(version), path, http2), func(t *testing.T) {
						s, ca := tlsSite(t, options...)
						s.client = trusting(t, ca, http2, func(c *tls.Config) { c.MaxVersion = version })
						id := s.chat(3)
						c := open(t, s, fmt.Sprintf("wplc/%d", id), "")
						defer c.close()
						for i := range 3 {
							row := s.say(id, fmt.Sprint("row ", i))
							if e := message(c); e.ID != row || e.Body != fmt.Sprint("row ", i) {
								t.Fatalf("%+v", e)
							}
						}
						if name == "poll" { // whose connections go back, and are nobody's close
							return
						}
						kind := path
						if http2 {
							kind = "request"
						}
						c.close()
						s.await(t, "it was held by "+kind, func() bool {
							return s.metric(t, fmt.Sprintf("holdline_connections_closed_total{kind=%q,", kind)) == 1
						})
					})
				}
			}
		}
	}
}

func TestHandshakes(t *testing.T) {
	s, ca := tlsSite(t)
	count := func(result string) int {
		return s.metric(t, fmt.Sprintf("holdline_tls_handshakes_total{result=%q}", result))
	}
	get := func(client *http.Client) *http.Response {
		t.Helper()
		resp, err := client.Get(s.base + "/info")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	sessions := tls.NewLRUClientSessionCache(1)
	for _, want := range []bool{false, true} {
		client := trusting(t, ca, true, func(c *tls.Config) { c.ClientSessionCache = sessions })
		resp := get(client)
		if resp.ProtoMajor != 2 || resp.TLS.DidResume != want || resp.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s, resumed: %v, want %v", resp.Proto, resp.TLS.DidResume, want)
		}
		client.CloseIdleConnections()
	}
	if resp := get(trusting(t, ca, false, nil)); resp.ProtoMajor != 1 {
		t.Errorf("a client of HTTP/1.1 is answered in %s", resp.Proto)
	}

	_, err := trusting(t, ca, false, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }).Get(s.base + "/info")
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	resp, err := http.Get("http://" + s.gw.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %s", resp.Status)
	}
	s.await(t, "all handshakes are counted", func() bool {
		return count("full") == 2 && count("resumed") == 1 && count("failed") == 2
	})
	if s.metric(t, "holdline_tls_certificate_expires_seconds ") < int(time.Now().Unix()) {
		t.Error("the certificate's end is not told")
	}
}

// TestSilentHandshakesHoldUpNobody has many connections that say nothing.
func TestSilentHandshakesHoldUpNobody(t *testing.T) {
	s, ca := tlsSite(t)
	for range 100 {
		nc, err := net.Dial("tcp", s.gw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	resp, err := trusting(t, ca, true, nil).Get(s.base + "/info")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
