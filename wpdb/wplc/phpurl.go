package wplc

import (
	"strconv"
	"strings"
)

// pathKind says what PHP gives for the path of a URL.
type pathKind int

const (
	hasPath pathKind = iota
	noPath           // null
	noURL            // false
)

// phpPath is parse_url($url, PHP_URL_PATH), after php_url_parse_ex2 of PHP 8
// (ext/standard/url.c), which takes more for a URL than others do.
func phpPath(url string) (path string, kind pathKind) {
	rest, next := phpScheme(url)
	if next == readHost {
		rest, next = phpHost(rest)
	}
	switch next {
	case refuse:
		return "", noURL
	case stop:
		return "", noPath
	}
	path, _, _ = strings.Cut(rest, "#")
	path, _, _ = strings.Cut(path, "?")
	if path == "" && rest != "" {
		return "", noPath
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, path), hasPath
}

// urlStep is what comes next in a URL.
type urlStep int

const (
	readPath urlStep = iota
	readHost
	stop   // there is nothing more
	refuse // this is no URL
)

// phpScheme cuts off the scheme, or finds that what looks like one is a host with
// a port.
func phpScheme(url string) (rest string, next urlStep) {
	colon := strings.IndexByte(url, ':')
	if colon < 0 || colon > 0 && !isScheme(url[:colon]) && strings.ContainsAny(url[:colon], "?#") {
		return phpRelative(url)
	}
	if colon == 0 || !isScheme(url[:colon]) {
		if colon > 0 && colon == len(url)-1 {
			return phpRelative(url)
		}
		return phpPort(url, url[colon+1:])
	}
	scheme, after := url[:colon], url[colon+1:]
	switch {
	case after == "":
		return "", stop
	case strings.HasPrefix(after, "///") && strings.EqualFold(scheme, "file"):
		if len(after) > 4 && after[4] == ':' { // a drive's letter
			return after[3:], readPath
		}
		return after[2:], readPath
	case strings.HasPrefix(after, "//"):
		return after[2:], readHost
	case isPort(after):
		return phpPort(url, after)
	}
	return after, readPath
}

func phpRelative(url string) (rest string, next urlStep) {
	if rest, ok := strings.CutPrefix(url, "//"); ok {
		return rest, readHost
	}
	return url, readPath
}

// phpPort goes on where what comes after a colon may be a port.
func phpPort(url, after string) (rest string, next urlStep) {
	switch {
	case after == "":
		return "", refuse
	case !isPort(after):
		return phpRelative(url)
	case !inPortRange(after):
		return "", refuse
	}
	return strings.TrimPrefix(url, "//"), readHost
}

// phpHost cuts off user, host and port.
func phpHost(s string) (rest string, next urlStep) {
	host := s
	if end := strings.IndexAny(s, "/?#"); end >= 0 {
		host, rest = s[:end], s[end:]
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if !strings.HasPrefix(host, "[") || !strings.HasSuffix(host, "]") {
		if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
			if port := host[colon+1:]; len(port) > 5 || port != "" && !inPortRange(port) {
				return "", refuse
			}
			host = host[:colon]
		}
	}
	switch {
	case host == "":
		return "", refuse
	case rest == "":
		return "", stop
	}
	return rest, readPath
}

func isScheme(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-") == ""
}

// isPort tells whether a text begins with one to five digits and then ends or has
// a slash.
func isPort(s string) bool {
	digits, _, _ := strings.Cut(s, "/")
	return len(digits) <= 5 && isDigits(digits)
}

// inPortRange looks at the digits at the beginning, as strtol.
func inPortRange(s string) bool {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	_, err := strconv.ParseUint(s[:end], 10, 16)
	return err == nil
}
