package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
	"holdline/wordpress"
)

//go:embed snippets/*.tmpl
var snippetFiles embed.FS

// muPlugin is the one snippet that is no template.
const muPlugin = "mu-plugin"

// front is what a proxy rule says about the site.
type front struct {
	Host  string // the site's name, such as example.com
	Path  string // of WordPress below the host: "" or "/blog"
	Root  string // document root
	Base  string // Holdline's base path
	TCP   string // Holdline's host:port, or ""
	Unix  string // Holdline's socket, or ""
	Inner string // host:port or "unix:/path" where the web server gives Holdline PHP
	PHP   string // PHP-FPM: "unix:/path" or host:port; "" if it was not said
}

// Holdline is the server's address as most programs write it.
func (f front) Holdline() string {
	if f.Unix != "" {
		return "unix:" + f.Unix
	}
	return f.TCP
}

// Apache is Holdline as a URL with the given scheme, for mod_proxy.
func (f front) Apache(scheme string) string {
	if f.Unix != "" {
		return "unix:" + f.Unix + "|" + scheme + "://holdline"
	}
	return scheme + "://" + f.TCP
}

// ApachePHP is PHP-FPM as a URL for mod_proxy_fcgi.
func (f front) ApachePHP() string {
	if strings.HasPrefix(f.PHP, "unix:") {
		return f.PHP + "|fcgi://localhost"
	}
	return "fcgi://" + f.PHP
}

// Caddy is an address as Caddy writes it.
func (f front) Caddy(address string) string {
	return strings.Replace(address, "unix:", "unix/", 1)
}

// InnerSocket tells whether the inner door is a unix socket.
func (f front) InnerSocket() bool { return strings.HasPrefix(f.Inner, "unix:") }

// InnerHere tells whether the web server itself opens the inner door; else
// another machine or program answers there.
func (f front) InnerHere() bool {
	host, _, _ := net.SplitHostPort(f.Inner) // "" for a socket
	ip := net.ParseIP(host)
	return f.InnerSocket() || ip != nil && ip.IsLoopback()
}

// InnerPort is the port of the inner door.
func (f front) InnerPort() string { return f.Inner[strings.LastIndexByte(f.Inner, ':')+1:] }

// FPM is where PHP-FPM listens, by Debian's name for the newest PHP if nothing
// else is known.
func (f front) FPM() string { return cmp.Or(f.PHP, "unix:/run/php/php-fpm.sock") }

// Regexp quotes a value for a rule that is a regular expression.
func (f front) Regexp(s string) string { return regexp.QuoteMeta(s) }

// Relative is a path without its leading slash, as .htaccess matches it.
func (f front) Relative(s string) string { return strings.TrimPrefix(s, "/") }

// snippet prints the proxy rule for a web server, or the companion plugin.
func snippet(_ context.Context, p program) error {
	var php, root string
	extra := func(f *pflag.FlagSet) {
		f.StringVar(&php, "php", "", "where PHP-FPM listens, such as unix:/run/php/php-fpm.sock or 127.0.0.1:9000")
		f.StringVar(&root, "root", "", "the site's document root; the folder of wordpress.config when that is given")
	}
	cfg, err := load(p, extra)
	if err != nil {
		return err
	}
	kinds := snippetKinds()
	if len(cfg.Args) != 1 || !slices.Contains(kinds, cfg.Args[0]) {
		return usageError{fmt.Errorf("say what the rule is for: holdline snippet %s", strings.Join(kinds, "|"))}
	}
	if cfg.Args[0] == muPlugin {
		_, err := io.WriteString(p.stdout, wordpress.MUPlugin)
		return err
	}
	if cfg.WordPress.Config != "" {
		if _, err := gateway.ReadWordPress(&cfg); err != nil {
			return usageError{err}
		}
	}
	f, err := newFront(cfg, php, root)
	if err != nil {
		return usageError{err}
	}
	if kind := cfg.Args[0]; kind != "nginx" && f.InnerSocket() {
		return usageError{fmt.Errorf("wordpress.upstream is a socket, on which only nginx can listen; for %s write host:port, such as http://127.0.0.1:8080", kind)}
	}
	return writeSnippet(p.stdout, cfg.Args[0], f)
}

// snippetKinds are the words that snippet takes.
func snippetKinds() []string {
	kinds := []string{muPlugin}
	entries, err := snippetFiles.ReadDir("snippets")
	if err != nil {
		panic(err) // they are in the binary
	}
	for _, e := range entries {
		kinds = append(kinds, strings.TrimSuffix(e.Name(), ".tmpl"))
	}
	slices.Sort(kinds)
	return kinds
}

func writeSnippet(w io.Writer, kind string, f front) error {
	t, err := template.ParseFS(snippetFiles, "snippets/"+kind+".tmpl")
	if err != nil {
		return fmt.Errorf("read the rule for %s: %w", kind, err)
	}
	return t.Execute(w, f)
}

// newFront takes from the configuration what the rules need.
func newFront(cfg config.Config, php, root string) (front, error) {
	f := front{Host: "example.com", Base: cfg.BasePath, PHP: php, Root: strings.TrimRight(root, "/"), Inner: "127.0.0.1:8080"}
	if site, err := url.Parse(cfg.WordPress.URL); err == nil && site.Host != "" {
		f.Host, f.Path = site.Hostname(), strings.TrimRight(site.Path, "/")
	}
	if f.Root == "" {
		f.Root = "/var/www/html"
		if cfg.WordPress.Config != "" {
			f.Root = strings.TrimSuffix(path.Dir(cfg.WordPress.Config), f.Path)
		}
	}
	if up := cfg.WordPress.Upstream; strings.HasPrefix(up, "unix:") {
		f.Inner = up
	} else if u, err := url.Parse(up); err == nil && u.Host != "" {
		f.Inner = strings.Replace(u.Host, "localhost", "127.0.0.1", 1)
		if u.Port() == "" {
			f.Inner = f.Inner + map[bool]string{true: ":443", false: ":80"}[u.Scheme == "https"]
		}
	}
	if socket, ok := strings.CutPrefix(cfg.Listen, "unix:"); ok {
		f.Unix = socket
	} else {
		f.TCP = reachable(cfg.Listen)
	}
	return f, f.check()
}

// reachable is the address under which the same machine reaches a listener.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// plain is all that means nothing to any web server's configuration.
var plain = regexp.MustCompile(`^[A-Za-z0-9._~:/\[\]@-]*$`)

// check refuses what the web server would take for syntax.
func (f front) check() error {
	values := map[string]string{
		"wordpress.url": f.Host + f.Path, "root": f.Root, "base_path": f.Base,
		"listen": f.Holdline(), "wordpress.upstream": f.Inner, "php": f.PHP,
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !plain.MatchString(values[name]) {
			return fmt.Errorf("%s = %q has characters that a rule cannot hold; write the rule with a plain value and change it by hand", name, values[name])
		}
	}
	if strings.HasPrefix(f.PHP, "/") || strings.HasPrefix(f.PHP, "http") {
		return errors.New("php must be unix:/path or host:port of PHP-FPM, such as unix:/run/php/php-fpm.sock")
	}
	return nil
}
