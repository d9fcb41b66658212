package wplc

import "strings"

// phpPath is parse_url($url, PHP_URL_PATH) as JSON would show it: ok is false
// where PHP gives null (no path) or false (no URL at all), which malformed tells
// apart. It follows php_url_parse_ex2 (ext/standard/url.c) of PHP 8.
func phpPath(url string) (path string, ok, malformed bool) {
	rest, isPath, malformed := phpAuthority(url)
	if malformed {
		return "", false, true
	}
	if !isPath {
		if rest, ok = phpHost(rest); !ok {
			return "", false, true
		}
		if rest == "" {
			return "", false, false
		}
	}
	if rest == "" {
		return "", url == "" || isPath && !strings.HasSuffix(url, ":"), false
	}
	end := len(rest)
	if at := strings.IndexByte(rest, '#'); at >= 0 {
		end = at
	}
	if at := strings.IndexByte(rest[:end], '?'); at >= 0 {
		end = at
	}
	if end == 0 {
		return "", false, false
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, rest[:end]), true, false
}

// phpAuthority cuts off the scheme. What is left begins with a host, or is
// nothing but a path, a query and a fragment.
func phpAuthority(url string) (rest string, isPath, malformed bool) {
	relative, isRelative := strings.CutPrefix(url, "//")
	colon := strings.IndexByte(url, ':')
	switch {
	case colon > 0 && isScheme(url[:colon]):
		after := url[colon+1:]
		switch {
		case after == "":
			return "", true, false
		case strings.HasPrefix(after, "//"):
			if strings.EqualFold(url[:colon], "file") && strings.HasPrefix(after, "///") {
				return after[2:], true, false
			}
			return after[2:], false, false
		case after[0] != '/' && isPort(after):
			return phpPort(url, after)
		}
		return after, true, false
	case colon > 0 && colon+1 < len(url) && colon < strings.IndexAny(url+"?", "?#"), colon == 0:
		return phpPort(url, url[colon+1:])
	case isRelative:
		return relative, false, false
	}
	return url, true, false
}

// phpPort goes on where something with a colon may be a host with a port.
func phpPort(url, after string) (rest string, isPath, malformed bool) {
	relative, isRelative := strings.CutPrefix(url, "//")
	switch {
	case isPort(after):
		digits, _, _ := strings.Cut(after, "/")
		if !portInRange(digits) {
			return "", false, true
		}
		return relative, false, false // CutPrefix returned url where it is not relative
	case after == "":
		return "", false, true
	case isRelative:
		return relative, false, false
	}
	return url, true, false
}

// phpHost cuts off user, host and port; ok is false where there is no host.
func phpHost(s string) (rest string, ok bool) {
	end := strings.IndexAny(s+"/", "/?#")
	host, rest := s[:end], s[end:]
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if !(strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")) {
		if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
			port := host[colon+1:]
			if len(port) > 5 || port != "" && !portInRange(port) {
				return "", false
			}
			host = host[:colon]
		}
	}
	return rest, host != ""
}

func isScheme(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-") == ""
}

// isPort tells whether a text is one to five digits, up to its end or a slash.
func isPort(s string) bool {
	digits, _, _ := strings.Cut(s, "/")
	return digits != "" && len(digits) <= 5 && strings.Trim(digits, "0123456789") == ""
}

func portInRange(digits string) bool {
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			break // strtol
		}
		n = 10*n + int(c-'0')
	}
	return n <= 65535
}
