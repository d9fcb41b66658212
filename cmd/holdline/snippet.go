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

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
	"holdline/wordpress"
)

//go:embed snippets/*.tmpl snippets/holdline.service snippets/holdline.socket
var snippetFiles embed.FS

// Snippets that are no templates.
const (
	muPlugin      = "mu-plugin"
	systemd       = "systemd"        // the service
	systemdSocket = "systemd-socket" // and its socket
)

// front is what a proxy rule says about the site.
type front struct {
	host  string // the site's name, such as example.com
	path  string // of WordPress below the host: "" or "/blog"
	root  string // document root
	base  string // Holdline's base path
	tcp   string // Holdline's host:port, or ""
	unix  string // Holdline's socket, or ""
	inner string // host:port or "unix:/path" where the web server gives Holdline PHP
	door  string // the same as wordpress.upstream says it
	php   string // PHP-FPM: "unix:/path" or host:port; "" if it was not said
}

// holdline is the server's address as most programs write it.
func (f front) holdline() string {
	if f.unix != "" {
		return "unix:" + f.unix
	}
	return f.tcp
}

// apache is Holdline as a URL with the given scheme, for mod_proxy.
func (f front) apache(scheme string) string {
	if f.unix != "" {
		return "unix:" + f.unix + "|" + scheme + "://holdline"
	}
	return scheme + "://" + f.tcp
}

// apachePHP is PHP-FPM as a URL for mod_proxy_fcgi, or "".
func (f front) apachePHP() string {
	switch {
	case f.php == "":
		return ""
	case strings.HasPrefix(f.php, "unix:"):
		return f.php + "|fcgi://localhost"
	}
	return "fcgi://" + f.php
}

// caddy is an address as Caddy writes it.
func caddy(address string) string {
	return strings.Replace(address, "unix:", "unix/", 1)
}

// innerSocket tells whether the inner door is a unix socket.
func (f front) innerSocket() bool { return strings.HasPrefix(f.inner, "unix:") }

// innerHere tells whether the web server itself opens the inner door; else
// another machine or program answers there.
func (f front) innerHere() bool {
	host, _, _ := net.SplitHostPort(f.inner) // "" for a socket
	ip := net.ParseIP(host)
	return f.innerSocket() || ip != nil && ip.IsLoopback()
}

// words are the values that a rule is filled with.
func (f front) words() map[string]string {
	// Debian's name for the newest PHP if nothing else is known.
	fpm := cmp.Or(f.php, "unix:/run/php/php-fpm.sock")
	words := map[string]string{
		"Host": f.host, "Path": f.path, "Root": f.root, "Base": f.base, "TCP": f.tcp, "Unix": f.unix,
		"Holdline": f.holdline(), "CaddyHoldline": caddy(f.holdline()),
		"ApacheHTTP": f.apache("http"), "ApacheWS": f.apache("ws"),
		"LiteSpeedHoldline": f.tcp, "IISHoldline": f.tcp,
		"FPM": fpm, "CaddyFPM": caddy(fpm), "ApachePHP": f.apachePHP(),
		"Inner": f.inner, "InnerPort": f.inner[strings.LastIndexByte(f.inner, ':')+1:],
		"InnerHere": "", "InnerPattern": regexp.QuoteMeta(f.inner), "Upstream": f.door,
		"BasePattern": regexp.QuoteMeta(f.base), "PathPattern": regexp.QuoteMeta(f.path),
		// As rules for a folder match them: without the leading slash.
		"BaseInFolder":        strings.TrimPrefix(f.base, "/"),
		"BasePatternInFolder": strings.TrimPrefix(regexp.QuoteMeta(f.base), "/"),
		"PathPatternInFolder": strings.TrimPrefix(regexp.QuoteMeta(f.path)+"/", "/"),
	}
	if f.unix != "" {
		words["LiteSpeedHoldline"], words["IISHoldline"] = "uds:/"+f.unix, "127.0.0.1:8787"
	}
	if f.innerSocket() {
		words["InnerPattern"] = ""
	}
	if f.innerHere() {
		words["InnerHere"] = "yes"
	}
	return words
}

// snippet prints the proxy rule for a web server, the companion plugin or a unit of
// systemd's.
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
	switch cfg.Args[0] {
	case muPlugin:
		_, err := io.WriteString(p.stdout, wordpress.MUPlugin)
		return err
	case systemd:
		return writeUnit(p.stdout, "holdline.service")
	case systemdSocket:
		return writeUnit(p.stdout, "holdline.socket")
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
	if kind := cfg.Args[0]; kind != "nginx" && f.innerSocket() {
		return usageError{fmt.Errorf("wordpress.upstream is a socket, on which only nginx can listen; for %s write host:port, such as http://127.0.0.1:8080", kind)}
	}
	return writeSnippet(p.stdout, cfg.Args[0], f)
}

// snippetKinds are the words that snippet takes.
func snippetKinds() []string {
	kinds := []string{muPlugin, systemd, systemdSocket}
	entries, err := snippetFiles.ReadDir("snippets")
	if err != nil {
		panic(err) // they are in the binary
	}
	for _, e := range entries {
		if kind, ok := strings.CutSuffix(e.Name(), ".tmpl"); ok {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func writeUnit(w io.Writer, name string) error {
	text, err := snippetFiles.ReadFile("snippets/" + name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	_, err = w.Write(text)
	return err
}

func writeSnippet(w io.Writer, kind string, f front) error {
	text, err := snippetFiles.ReadFile("snippets/" + kind + ".tmpl")
	if err != nil {
		return fmt.Errorf("read the rule for %s: %w", kind, err)
	}
	rule, err := fill(string(text), f.words())
	if err != nil {
		return fmt.Errorf("fill the rule for %s: %w", kind, err)
	}
	_, err = io.WriteString(w, rule)
	return err
}

// newFront takes from the configuration what the rules need.
func newFront(cfg config.Config, php, root string) (front, error) {
	f := front{host: "example.com", base: cfg.BasePath, php: php, root: strings.TrimRight(root, "/"), inner: "127.0.0.1:8080"}
	if site, err := url.Parse(cfg.WordPress.URL); err == nil && site.Host != "" {
		f.host, f.path = site.Hostname(), strings.TrimRight(site.Path, "/")
	}
	if f.root == "" {
		f.root = "/var/www/html"
		if cfg.WordPress.Config != "" {
			f.root = strings.TrimSuffix(path.Dir(cfg.WordPress.Config), f.path)
		}
	}
	if up := cfg.WordPress.Upstream; strings.HasPrefix(up, "unix:") {
		f.inner, f.door = up, up
	} else if u, err := url.Parse(up); err == nil && u.Host != "" {
		f.inner = strings.Replace(u.Host, "localhost", "127.0.0.1", 1)
		if u.Port() == "" {
			f.inner = f.inner + map[bool]string{true: ":443", false: ":80"}[u.Scheme == "https"]
		}
	}
	switch site, https := strings.CutSuffix(f.inner, ":443"); {
	case https:
		f.door = "https://" + site
	case f.door == "":
		f.door = "http://" + f.inner
	}
	if socket, ok := strings.CutPrefix(cfg.Listen, "unix:"); ok {
		f.unix = socket
	} else {
		f.tcp = reachable(cfg.Listen)
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
		"wordpress.url": f.host + f.path, "root": f.root, "base_path": f.base,
		"listen": f.holdline(), "wordpress.upstream": f.inner, "php": f.php,
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !plain.MatchString(values[name]) {
			return fmt.Errorf("%s = %q has characters that a rule cannot hold; write the rule with a plain value and change it by hand", name, values[name])
		}
	}
	if strings.HasPrefix(f.php, "/") || strings.HasPrefix(f.php, "http") {
		return errors.New("php must be unix:/path or host:port of PHP-FPM, such as unix:/run/php/php-fpm.sock")
	}
	return nil
}
