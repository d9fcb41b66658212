package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// renewBefore is when a certificate should have been renewed: Let's Encrypt's are
// due 30 days before their end.
const renewBefore = 14 * 24 * time.Hour

// checkCertificate looks at the certificate with which listen speaks TLS itself,
// and is silent where a web server in front does.
func checkCertificate(_ context.Context, e *exam) []Finding {
	t := e.Config.TLS
	if !t.On() {
		return nil
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return []Finding{fault(fmt.Sprintf("tls.cert_file and tls.key_file cannot be used: %v", err),
				"Name the certificate with its chain and its own key, both in PEM, and let the user that Holdline runs as read them.")}
		}
		return orOK(e.judgeCertificate(pair, "Renew it and replace the files: a running Holdline reads them again by itself."),
			fmt.Sprintf("%s ends on %s", t.CertFile, pair.Leaf.NotAfter.Format(time.DateOnly)))
	}
	var found []Finding
	for _, name := range t.ACMEDomains {
		pair, err := e.acmeCertificate(name)
		if err != nil {
			found = append(found, warn("there is no certificate for "+name+" yet",
				"Let the name lead to this machine and its port 443 to listen, and see the log of the running Holdline for what the CA says."))
			continue
		}
		found = append(found, e.judgeCertificate(pair, "See the log of the running Holdline for why the CA does not renew it.")...)
	}
	return orOK(found, fmt.Sprintf("%d from the CA in good time", len(t.ACMEDomains)))
}

// acmeCertificate is what the running Holdline has got: autocert keeps key and
// chain of a name in one file.
func (e *exam) acmeCertificate(name string) (tls.Certificate, error) {
	err := os.ErrNotExist
	for _, dir := range e.Config.StateDirs(e.Env) {
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, "acme", name)); err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, 1<<20))
		f.Close()
		if err != nil {
			return tls.Certificate{}, err
		}
		return tls.X509KeyPair(text, text)
	}
	return tls.Certificate{}, err
}

// judgeCertificate tells of its end and, where it is known how browsers reach
// Holdline, of its names.
func (e *exam) judgeCertificate(pair tls.Certificate, renew string) (found []Finding) {
	leaf := pair.Leaf
	name := "the certificate"
	if len(leaf.DNSNames) > 0 {
		name += " of " + leaf.DNSNames[0]
	}
	now := e.Now()
	switch day := leaf.NotAfter.Format(time.DateOnly); {
	case now.After(leaf.NotAfter):
		found = append(found, fault(fmt.Sprintf("%s has ended on %s: browsers refuse it", name, day), renew))
	case now.Before(leaf.NotBefore):
		found = append(found, fault(fmt.Sprintf("%s begins on %s only: browsers refuse it", name, leaf.NotBefore.Format(time.DateOnly)),
			"Set the clock of this machine, or wait."))
	case now.Add(renewBefore).After(leaf.NotAfter):
		found = append(found, warn(fmt.Sprintf("%s ends on %s, and should have been renewed", name, day), renew))
	}
	if u, err := url.Parse(e.URL); err == nil && u.Hostname() != "" {
		if err := leaf.VerifyHostname(u.Hostname()); err != nil {
			found = append(found, fault(fmt.Sprintf("%s is not one for %s, where browsers come: %v", name, u.Hostname(), err),
				"Get a certificate for that name."))
		}
	}
	return found
}
