package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// rule reads one value as it is written in a file, a variable or a flag. An error of parse completes the sentence
// "KEY = VALUE (ORIGIN) …", and want the sentence "write …".
type rule struct {
	kind  string // what --help shows after the flag's name
	want  string
	parse func(text string) (any, error)
}

// The kinds that are asked for by name.
const (
	kindSecret = "secret"
	kindList   = "list"
	kindText   = "text"
	kindFile   = "file"
)

// one makes a rule for a setting with one value.
func one[T any](kind, want string, parse func(string) (T, error)) rule {
	return rule{kind, want, func(text string) (any, error) { return parse(text) }}
}

// listOf makes a rule for a list, which arrives as its items separated by commas.
func listOf[T any](want string, parse func(string) (T, error)) rule {
	return rule{kindList, want, func(text string) (any, error) {
		items := []T{}
		var wrong []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			v, err := parse(item)
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("has the item %s that %v", shown(item), err))
				continue
			}
			items = append(items, v)
		}
		if wrong != nil {
			return items, errors.New(strings.Join(wrong, ", and "))
		}
		return items, nil
	}}
}

// optional lets a text setting be empty.
func optional(r rule) rule {
	return rule{r.kind, r.want, func(text string) (any, error) {
		if text == "" {
			return "", nil
		}
		return r.parse(text)
	}}
}

func freeText() rule {
	return one(kindText, "plain text in UTF-8", func(s string) (string, error) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return "", errors.New("is not text")
		}
		return s, nil
	})
}

func filePath() rule {
	r := freeText()
	r.kind = kindFile
	return r
}

func secret(least int, want string) rule {
	return one(kindSecret, want, func(s string) (Secret, error) {
		if s != "" && len(s) < least {
			return Secret{}, fmt.Errorf("is shorter than %d bytes", least)
		}
		return NewSecret(s), nil
	})
}

func oneOf(words ...string) rule {
	last := len(words) - 1
	want := strings.Join(words[:last], ", ") + " or " + words[last]
	return one(strings.Join(words, "|"), want, func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", errors.New("is not a known word")
		}
		return s, nil
	})
}

func number(least, most int) rule {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	return one("number", want, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, errors.New("is not a whole number")
		}
		return n, between(n, least, most)
	})
}

func size(least, most ByteSize) rule {
	want := fmt.Sprintf("a size from %v to %v, such as 65536, 64KiB or 1MiB", least, most)
	return one("size", want, func(s string) (ByteSize, error) {
		n, err := ParseByteSize(s)
		if err != nil {
			return 0, err
		}
		return n, between(n, least, most)
	})
}

func duration(least, most time.Duration) rule {
	want := fmt.Sprintf("a duration with its unit (ms, s, m, h) from %s to %s", shortDuration(least), shortDuration(most))
	return one("duration", want, func(s string) (time.Duration, error) {
		// ParseDuration takes "0" without a unit, and YAML libraries take 250 for 250 ns; we ask for the unit always.
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return 0, errors.New("has no unit")
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, errors.New("is not a duration")
		}
		return d, between(d, least, most)
	})
}

func between[T int | ByteSize | time.Duration](n, least, most T) error {
	switch {
	case n < least:
		return errors.New("is too small")
	case n > most:
		return errors.New("is too large")
	}
	return nil
}

// shortDuration drops the zero minutes and seconds of 1h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func listener() rule {
	return one("address", "host:port, such as 127.0.0.1:8787, or unix:/path", func(s string) (string, error) {
		if path, ok := strings.CutPrefix(s, "unix:"); ok {
			return s, absolute(path)
		}
		return s, hostPort(s)
	})
}

func databaseAddress() rule {
	return one("address", "host:port, such as 127.0.0.1:3306, or the path of a socket, such as /run/mysqld/mysqld.sock", func(s string) (string, error) {
		if strings.HasPrefix(s, "/") {
			return s, absolute(s)
		}
		if host, _, err := net.SplitHostPort(s); err == nil && host == "" {
			return s, errors.New("has no host")
		}
		return s, hostPort(s)
	})
}

func hostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("is not host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("has no port number from 0 to 65535")
	}
	if strings.ContainsAny(host, "/ \t\r\n\x00") {
		return errors.New("has a host that is none")
	}
	return nil
}

func absolute(path string) error {
	if !filepath.IsAbs(path) || !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return errors.New("has no absolute path")
	}
	return nil
}

// basePathForm keeps out what the router would take for a pattern (: and *), and empty or dotted segments, which proxies
// fold away.
var basePathForm = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

func basePath() rule {
	return one("path", "a path that starts with / and does not end with it, such as /holdline/v1", func(s string) (string, error) {
		if !basePathForm.MatchString(s) {
			return "", errors.New("is not such a path")
		}
		return s, nil
	})
}

// webURL parses http(s)://host[:port][/path] and nothing more. A name and password are refused because the value is
// printed and logged.
func webURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Opaque != "":
		return nil, errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("does not start with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("has a user name in it")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, errors.New("has a query or fragment")
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New("has no port number from 1 to 65535")
		}
	}
	return u, nil
}

func siteURL() rule {
	return one("url", "the site's address, such as https://example.com", func(s string) (string, error) {
		_, err := webURL(s)
		return s, err
	})
}

func upstream() rule {
	return one("url", "http://host:port, https://host or unix:/path", func(s string) (string, error) {
		if path, ok := strings.CutPrefix(s, "unix:"); ok {
			return s, absolute(path)
		}
		u, err := webURL(s)
		if err == nil && strings.Trim(u.Path, "/") != "" {
			err = errors.New("has a path")
		}
		return s, err
	})
}

// webOrigin wants the exact text of a browser's Origin header (RFC 6454 section 6.2), since that is what it is compared with.
func webOrigin(s string) (string, error) {
	u, err := webURL(s)
	if err != nil {
		return "", err
	}
	if u.Path != "" {
		return "", errors.New("has a path")
	}
	sent := u.Scheme + "://" + strings.ToLower(u.Host)
	if u.Scheme == "http" {
		sent = strings.TrimSuffix(sent, ":80")
	} else {
		sent = strings.TrimSuffix(sent, ":443")
	}
	if s != sent {
		return "", fmt.Errorf("browsers send as %s", sent)
	}
	return s, nil
}

// network reads a prefix, or an address as the network of itself alone.
func network(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("is not a network")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// prefixForm is what wpdb::set_prefix accepts (wp-includes/class-wpdb.php).
var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

func tablePrefix() rule {
	return one("prefix", "letters, digits and _, such as wp_", func(s string) (string, error) {
		if !prefixForm.MatchString(s) {
			return "", errors.New("has other characters")
		}
		return s, nil
	})
}

func stateDir() rule {
	return one("path|off", "the absolute path of a folder, such as /var/lib/holdline, or off", func(s string) (string, error) {
		if s == StateOff {
			return s, nil
		}
		return s, absolute(s)
	})
}

func pathOf(what, sample string) rule {
	return one("path", "the absolute path of a "+what+", such as "+sample, func(s string) (string, error) {
		return s, absolute(s)
	})
}

var sourceForm = regexp.MustCompile(`^[a-z0-9_]+$`)

func sourceName(s string) (string, error) {
	if !sourceForm.MatchString(s) {
		return "", errors.New("is not a name")
	}
	return s, nil
}

var hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// hostName reads a name as it may stand in a Host header, without its port.
func hostName(s string) (string, error) {
	name := strings.ToLower(s)
	if len(name) > 253 || !hostForm.MatchString(name) {
		return "", errors.New("is not the name of a host")
	}
	return name, nil
}

func databaseTLS() rule {
	words := oneOf("off", "on", "skip-verify")
	return one("off|on|skip-verify|path", "off, on, skip-verify or the path of a CA certificate file that exists", func(s string) (string, error) {
		if _, err := words.parse(s); err == nil {
			return s, nil
		}
		if info, err := os.Stat(s); err != nil || !info.Mode().IsRegular() {
			return "", errors.New("is neither a known word nor a file that can be read")
		}
		return s, nil
	})
}
