package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"holdline/config"
)

// certInterval is how often the certificate's files are looked at: two stat(2)
// each time.
const certInterval = 10 * time.Second

// certFiles is a certificate from files. It is read again when they have been
// changed or replaced, as certbot and its like do without telling anybody.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	seen [2]os.FileInfo // when they were read last; nil for one that was not there
}

func newCertFiles(t config.TLS, log *slog.Logger) (*certFiles, error) {
	c := &certFiles{cert: t.CertFile, key: t.KeyFile, log: log}
	if err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil }

func (c *certFiles) expires() time.Time { return c.current.Load().Leaf.NotAfter }

func (c *certFiles) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.stat() // before reading: a change meanwhile is one for the next look
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read the certificate (tls.cert_file %s, tls.key_file %s): %w", c.cert, c.key, err)
	}
	c.current.Store(&pair)
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		c.log.Warn("the certificate has expired: browsers refuse it; renew it", "file", c.cert, "expired", end)
	}
	return nil
}

func (c *certFiles) stat() (found [2]os.FileInfo) {
	for i, path := range []string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			found[i] = info
		}
	}
	return found
}

func (c *certFiles) changed() bool {
	now := c.stat()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !sameFile(now[0], c.seen[0]) || !sameFile(now[1], c.seen[1])
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// run reads the files again whenever they have changed. Of a pair that cannot be
// used it warns once: the next attempt is at the next change.
func (c *certFiles) run(ctx context.Context) error {
	tick := time.NewTicker(certInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !c.changed() {
			continue
		}
		if err := c.reload(); err != nil {
			c.log.Warn("the new certificate cannot be used, the old one goes on", "error", err, "expires", c.expires())
		} else {
			c.log.Info("certificate read again", "file", c.cert, "expires", c.expires())
		}
	}
}
