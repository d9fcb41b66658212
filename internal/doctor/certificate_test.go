package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/config"
	"holdline/internal/certtest"
)

func TestCertificate(t *testing.T) {
	const host = "chat.example.com"
	ca := certtest.NewCA(t)
	state := t.TempDir()
	if err := os.Mkdir(filepath.Join(state, "acme"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(state, name) }
	end := time.Now().Add(60 * 24 * time.Hour).Truncate(time.Second)
	ca.Issue(t, file("cert"), file("key"), end, host)
	ca.Issue(t, file("cert2"), file("key2"), end, host)
	var both []byte // as autocert keeps them
	for _, name := range []string{"key", "cert"} {
		b, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, b...)
	}
	if err := os.WriteFile(filepath.Join(state, "acme", host), both, 0o600); err != nil {
		t.Fatal(err)
	}
	files := config.TLS{CertFile: file("cert"), KeyFile: file("key")}
	acme := config.TLS{ACMEDomains: []string{host}}
	if found := checkCertificate(t.Context(), &exam{}); found != nil {
		t.Errorf("without TLS: %+v", found)
	}
	for name, tt := range map[string]struct {
		tls    config.TLS
		url    string
		before time.Duration // the end, it is now
		status Status
		want   string
	}{
		"good":           {files, "https://" + host + "/holdline/v1", renewBefore + time.Hour, OK, "ends on"},
		"soon over":      {files, "", renewBefore - time.Hour, Warning, "should have been renewed"},
		"over":           {files, "", -time.Hour, Fault, "has ended"},
		"not yet":        {files, "", 100 * 24 * time.Hour, Fault, "begins on"},
		"another name":   {files, "https://www.example.com", 30 * 24 * time.Hour, Fault, "www.example.com"},
		"missing":        {config.TLS{CertFile: file("none"), KeyFile: file("key")}, "", time.Hour, Fault, "no such file"},
		"another's key":  {config.TLS{CertFile: file("cert"), KeyFile: file("key2")}, "", time.Hour, Fault, "match"},
		"ACME":           {acme, "", renewBefore + time.Hour, OK, "1 from the CA"},
		"ACME, old":      {acme, "", time.Hour, Warning, "should have been renewed"},
		"ACME, none yet": {config.TLS{ACMEDomains: []string{"new.example.com"}}, "", time.Hour, Warning, "no certificate for new.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &exam{Options: Options{
				Config: config.Config{TLS: tt.tls, StateDir: state}, URL: tt.url,
				Now: func() time.Time { return end.Add(-tt.before) },
			}}
			found := checkCertificate(t.Context(), e)
			if len(found) != 1 || found[0].Status != tt.status || !strings.Contains(found[0].Text, tt.want) || tt.status > Skipped && found[0].Fix == "" {
				t.Errorf("%+v", found)
			}
		})
	}
}
