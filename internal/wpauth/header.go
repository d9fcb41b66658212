package wpauth

import (
	"iter"
	"strings"
)

// FindAuthCookie finds the cookie of that name in the Cookie headers of a
// request and splits it. Errors: ErrNoCookie, also for the single space a
// logout leaves behind, and ErrMalformed.
func FindAuthCookie(headers []string, name string) (AuthCookie, error) {
	value, ok := LookupCookie(headers, name)
	if !ok || strings.TrimSpace(value) == "" {
		return AuthCookie{}, ErrNoCookie
	}
	return ParseAuthCookie(value)
}

// LookupCookie returns the value PHP would show for the cookie: of two with the
// same name the first wins. headers are the values of the Cookie header lines.
func LookupCookie(headers []string, name string) (value string, ok bool) {
	for n, v := range Cookies(headers) {
		if n == name {
			return v, true
		}
	}
	return "", false
}

// Cookies yields the name and value of every cookie in the header lines, in
// order and with repetitions, as PHP 8.2 decodes them: %XX is decoded in values
// only and an invalid one is kept, "+" stays "+", quotes stay, and names get
// "_" for " " and "." (php_variables.c). net/http drops or alters such cookies.
// A name with brackets, an array for PHP, keeps them; WordPress has none.
func Cookies(headers []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, header := range headers {
			for pair := range strings.SplitSeq(header, ";") {
				name, value, _ := strings.Cut(strings.TrimLeft(pair, " \t\n\v\f\r"), "=")
				if name == "" {
					continue
				}
				if !yield(phpName(name), rawURLDecode(value)) {
					return
				}
			}
		}
	}
}

func phpName(name string) string {
	base, index := name, ""
	if i := strings.IndexByte(name, '['); i > 0 {
		base, index = name[:i], name[i:]
	}
	return strings.NewReplacer(" ", "_", ".", "_").Replace(base) + index
}

// rawURLDecode is PHP's rawurldecode: what is not %XX stays as it is.
func rawURLDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, hiOK := unhex(s[i+1])
			lo, loOK := unhex(s[i+2])
			if hiOK && loOK {
				b.WriteByte(hi<<4 | lo)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
