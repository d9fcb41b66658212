package config

import (
	"errors"
	"net/mail"
	"regexp"
	"strings"
)

// domainForm is a host name of at least two labels (RFC 1123 section 2.1). Names in other scripts have to be written as
// DNS has them, because that is what the certificate says.
var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

func domainName(s string) (string, error) {
	name := strings.ToLower(s)
	if len(name) > 253 || !domainForm.MatchString(name) {
		return "", errors.New("is not a host name")
	}
	return name, nil
}

func mailAddress() rule {
	return one("address", "an address, such as admin@example.com", func(s string) (string, error) {
		if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
			return "", errors.New("is not a mail address")
		}
		return s, nil
	})
}

// acmeDirectory asks for https, as RFC 8555 section 6.1 does.
func acmeDirectory() rule {
	return one("url", "the https:// address of an ACME directory", func(s string) (string, error) {
		u, err := webURL(s)
		if err == nil && u.Scheme != "https" {
			err = errors.New("does not start with https://")
		}
		return s, err
	})
}

// checkTLS holds the rules between the settings of TLS.
func (l *loader) checkTLS(t TLS, stateDir string, wrong map[string]bool) {
	const cert, key, domains = "tls.cert_file", "tls.key_file", "tls.acme_domains"
	files := t.CertFile != "" || t.KeyFile != ""
	acme := len(t.ACMEDomains) > 0 || wrong[domains]
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		l.problems.add("%s (%s) is set and %s is not; write the path of the certificate's private key there.", cert, l.where(cert), key)
	case t.KeyFile != "" && t.CertFile == "":
		l.problems.add("%s (%s) is set and %s is not; write the path of the key's certificate there.", key, l.where(key), cert)
	}
	if files && acme {
		l.problems.add("%s (%s) and certificate files are both set; keep one of them.", domains, l.where(domains))
	}
	if acme && stateDir == StateOff {
		l.problems.add("%s (%s) needs a folder for the certificates, and state_dir = %q (%s) has none; write the path of a folder there, or leave it empty.",
			domains, l.where(domains), StateOff, l.where("state_dir"))
	}
	for _, other := range []struct{ key, value string }{
		{"tls.acme_email", t.ACMEEmail}, {"tls.acme_directory", t.ACMEDirectory}, {"tls.acme_ca_file", t.ACMECAFile},
	} {
		if other.value != "" && !acme {
			l.problems.add("%s (%s) is set and %s is not; remove it, or write the names to get a certificate for.", other.key, l.where(other.key), domains)
		}
	}
}
