package main

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/wordpress"
)

var update = flag.Bool("update", false, "write what is printed to testdata")

func TestSnippetsSayWhatTheyAlwaysSaid(t *testing.T) {
	plain := []string{"--php", "unix:/run/php/php8.2-fpm.sock"}
	other := []string{
		"--listen", "unix:/run/holdline.sock", "--base-path", "/chat.io", "--wordpress-url", "https://shop.example/blog",
		"--wordpress-upstream", "http://localhost:9080", "--root", "/srv/shop/", "--php", "127.0.0.1:9000",
	}
	for name, args := range map[string][]string{
		"nginx": plain, "apache": plain, "htaccess": plain, "caddy": plain, "litespeed": plain, "iis": plain,
		"nginx-other": other, "apache-other": other, "htaccess-other": other, "caddy-other": other,
		"litespeed-other": other, "iis-other": other,
		"htaccess-https": {"--wordpress-upstream", "https://shop.example"},
		"nginx-remote":   {"--listen", ":8787", "--wordpress-upstream", "http://192.0.2.7"},
		"nginx-socket":   {"--listen", "[::]:8787", "--wordpress-upstream", "unix:/run/site.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			kind, _, _ := strings.Cut(name, "-")
			code, got, stderr := holdline(append([]string{"snippet", kind}, args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("code %d: %s", code, stderr)
			}
			file := filepath.Join("testdata", "snippets", name)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got), go test -update writes it anew:\n%s", d)
			}
			if kind == "iis" {
				wellFormed(t, got)
			}
		})
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnippetCommandLine(t *testing.T) {
	if code, out, _ := holdline("snippet", "mu-plugin"); code != 0 || out != wordpress.MUPlugin {
		t.Errorf("mu-plugin: code %d, %d bytes", code, len(out))
	}
	for name, tc := range map[string]struct {
		args   []string
		stderr string
	}{
		"no kind":        {nil, "apache|caddy|htaccess|iis|litespeed|mu-plugin|nginx|systemd|systemd-socket"},
		"unknown kind":   {[]string{"ngnix"}, "apache|caddy"},
		"two kinds":      {[]string{"nginx", "apache"}, "apache|caddy"},
		"a semicolon":    {[]string{"nginx", "--root", "/srv; }"}, `root = "/srv; }"`},
		"a new line":     {[]string{"nginx", "--php", "unix:/x\ninclude y"}, "php = "},
		"a URL for PHP":  {[]string{"nginx", "--php", "http://127.0.0.1"}, "unix:/path or host:port"},
		"a path for PHP": {[]string{"nginx", "--php", "/run/php.sock"}, "unix:/path or host:port"},
		"apache's inner door on a socket": {
			[]string{"apache", "--wordpress-upstream", "unix:/run/site.sock"}, "only nginx can listen",
		},
		"a configuration that is not there": {[]string{"nginx", "--wordpress-config", "/nowhere/wp-config.php"}, "/nowhere/wp-config.php"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := holdline(append([]string{"snippet"}, tc.args...)...)
			if code != 2 || out != "" || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, stderr)
			}
		})
	}
}
