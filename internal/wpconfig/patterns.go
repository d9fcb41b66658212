package wpconfig

import (
	"regexp"
	"strconv"
	"strings"
)

var urlText = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*)://(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[0-9a-fA-F:.]+\]|[^:/?#@\[\]]+)(?::([0-9]{1,5}))?(/[^?#]*)?(?:\?([^#]*))?(?:#(.*))?$`)

// parseURL handles scheme://user:pass@host:port/path and decodes nothing, as PHP.
func parseURL(a arguments) (any, bool) {
	s, ok := a.text(0)
	m := urlText.FindStringSubmatchIndex(s)
	if !ok || m == nil || len(a) != 1 {
		return nil, false
	}
	list := newArray()
	for i, name := range []string{"scheme", "user", "pass", "host", "port", "path", "query", "fragment"} {
		from, to := m[2*i+2], m[2*i+3]
		if from < 0 {
			continue
		}
		part := s[from:to]
		if name != "port" {
			list.set(name, part)
			continue
		}
		port, err := strconv.ParseInt(part, 10, 64)
		if err != nil || port > 65535 {
			return nil, false
		}
		list.set(name, port)
	}
	return list, true
}

// phpPattern translates a pattern whose meaning Go's RE2 shares. "$" also matches
// before a last line feed in PHP, so it is taken only at the end of the pattern,
// for subjects without line feeds.
func phpPattern(p, subject string) (*regexp.Regexp, bool) {
	if len(p) < 2 || len(p) > 200 || isNameStart(p[0]) || isDigit(p[0]) || strings.IndexByte(`\({[<`, p[0]) >= 0 {
		return nil, false
	}
	end := strings.LastIndexByte(p, p[0])
	body, flags := p[1:max(1, end)], p[end+1:]
	if end == 0 || flags != "" && flags != "i" {
		return nil, false
	}
	if open, ok := strings.CutSuffix(body, "$"); ok && !strings.HasSuffix(open, `\`) && !strings.Contains(subject, "\n") {
		body = open + `\z`
	}
	if strings.Contains(body, "$") {
		return nil, false
	}
	if flags == "i" {
		body = "(?i)" + body
	}
	re, err := regexp.Compile(body)
	return re, err == nil
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

func pregReplace(a arguments) (any, bool) {
	pattern, ok1 := a.text(0)
	replacement, ok2 := a.text(1)
	subject, ok3 := a.text(2)
	if !ok1 || !ok2 || !ok3 || len(a) != 3 || strings.ContainsAny(replacement, `$\`) || !ascii(subject) || len(subject)*(len(replacement)+1) > maxText {
		return nil, false
	}
	re, ok := phpPattern(pattern, subject)
	if !ok {
		return nil, false
	}
	return re.ReplaceAllLiteralString(subject, replacement), true
}

func pregMatch(a arguments) (any, bool) {
	pattern, ok1 := a.text(0)
	subject, ok2 := a.text(1)
	if !ok1 || !ok2 || len(a) != 2 || !ascii(subject) || len(subject) > 1<<16 {
		return nil, false
	}
	re, ok := phpPattern(pattern, subject)
	if !ok {
		return nil, false
	}
	if re.MatchString(subject) {
		return int64(1), true
	}
	return int64(0), true
}
