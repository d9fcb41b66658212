package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdline/config"
	"holdline/internal/certtest"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.text)
	l.text = nil
	return text
}

func TestCertificateIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certtest.NewCA(t)
		dir := t.TempDir()
		settings := config.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
		issue := func() *x509.Certificate {
			return ca.Issue(t, settings.CertFile, settings.KeyFile, time.Now().Add(time.Hour), "a.example.com")
		}
		current := issue()
		said := new(lines)
		c, err := newCertFiles(settings, slog.New(slog.NewTextHandler(said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.run(ctx) }()
		look := func(warnings int) {
			t.Helper()
			time.Sleep(3 * certInterval)
			synctest.Wait()
			cert, err := c.get(nil)
			if err != nil || !cert.Leaf.Equal(current) {
				t.Errorf("the certificate in use is not the one of %s", current.NotBefore)
			}
			if text := said.take(); strings.Count(text, "level=WARN") != warnings {
				t.Errorf("want %d warnings: %s", warnings, text)
			}
		}
		look(0)

		current = issue()
		look(0)

		if err := os.WriteFile(settings.KeyFile, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		look(1) // once, though it is looked at three times
		if err := os.Remove(settings.KeyFile); err != nil {
			t.Fatal(err)
		}
		look(1)
		if err := c.reload(); err == nil || !strings.Contains(err.Error(), "tls.key_file") {
			t.Errorf("reload without a key: %v", err)
		}

		// As certbot does: a new file takes the old one's name.
		fresh := filepath.Join(dir, "fresh.pem")
		current = ca.Issue(t, settings.CertFile, fresh, time.Now().Add(time.Hour), "a.example.com")
		if err := os.Rename(fresh, settings.KeyFile); err != nil {
			t.Fatal(err)
		}
		if err := c.reload(); err != nil {
			t.Error(err)
		}
		look(0)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCertificateThatCannotBeUsed(t *testing.T) {
	ca, other := certtest.NewCA(t), certtest.NewCA(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca.Issue(t, file("cert"), file("key"), time.Now().Add(time.Hour), "a.example.com")
	other.Issue(t, file("other cert"), file("other key"), time.Now().Add(time.Hour), "a.example.com")
	ca.Issue(t, file("old cert"), file("old key"), time.Now().Add(-time.Minute), "a.example.com")
	for _, tc := range []struct{ name, cert, key, want string }{
		{"no certificate", "none", "key", "no such file"},
		{"no key", "cert", "none", "no such file"},
		{"another's key", "cert", "other key", "does not match"},
		{"swapped", "key", "cert", "switched"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newCertFiles(config.TLS{CertFile: file(tc.cert), KeyFile: file(tc.key)}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
	var said bytes.Buffer
	if _, err := newCertFiles(config.TLS{CertFile: file("old cert"), KeyFile: file("old key")}, slog.New(slog.NewTextHandler(&said, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "expired") {
		t.Errorf("an expired certificate: %s", said.String())
	}
}
