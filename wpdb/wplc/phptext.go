package wplc

import (
	"strings"
	"unicode/utf8"
)

// What WordPress makes of a form's fields before the plugin sends them back.

// maxEchoed is the longest name or address that is sent back with slashes, in
// bytes: that of the column it belongs to.
const maxEchoed = 700

// echoed is sanitize_text_field($_POST[…]). $_POST is slashed (wp_magic_quotes),
// so a name with a quote comes back with a backslash more, the browser sends it
// with its next poll, and the backslashes double with each answer. That is the
// plugin's and is kept up, but not past the longest name there can be: then the
// text is sent back as it came.
func echoed(value string) string {
	if slashed := addSlashes(value); len(slashed) <= maxEchoed {
		return sanitized(slashed)
	}
	return sanitized(value)
}

// addSlashes is PHP's addslashes.
func addSlashes(s string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`, "\x00", `\0`).Replace(s)
}

// sanitized is WordPress' sanitize_text_field (formatting.php): no tags, no line
// breaks, no percent-escapes; "" where the text is not UTF-8.
func sanitized(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	if strings.Contains(s, "<") {
		s = strings.ReplaceAll(withoutTags(escapedLone(s)), "<\n", "&lt;\n")
	}
	s = strings.Trim(collapsed(s, "\r\n\t "), " \t\n\r\x00\x0b")
	if without, found := withoutPercent(s); found {
		s = strings.Trim(collapsed(without, " "), " \t\n\r\x00\x0b")
	}
	return s
}

// collapsed makes one blank of every run of the bytes in set.
func collapsed(s, set string) string {
	var b strings.Builder
	inRun := false
	for _, c := range []byte(s) {
		if strings.IndexByte(set, c) >= 0 {
			if !inRun {
				b.WriteByte(' ')
			}
			inRun = true
			continue
		}
		inRun = false
		b.WriteByte(c)
	}
	return b.String()
}

// withoutPercent removes %xx until there is none: "%%4141" vanishes. WordPress
// removes every occurrence of the first one found and looks again; the order
// makes no difference to what is left, so a stack will do.
func withoutPercent(s string) (without string, found bool) {
	out := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		out = append(out, c)
		if n := len(out); n >= 3 && out[n-3] == '%' && isHex(out[n-2]) && isHex(out[n-1]) {
			out, found = out[:n-3], true
		}
	}
	return string(out), found
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// escapedLone is wp_pre_kses_less_than: from a "<" that no ">" closes before the
// next "<", the text is escaped as HTML.
func escapedLone(s string) string {
	var b strings.Builder
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:start])
		s = s[start:]
		end := strings.IndexAny(s[1:], "<>") + 1
		switch {
		case end == 0:
			b.WriteString(escapedHTML(s))
			return b.String()
		case s[end] == '<':
			b.WriteString(escapedHTML(s[:end]))
		default:
			end++
			b.WriteString(s[:end])
		}
		s = s[end:]
	}
}

// escapedHTML is esc_html for a text without entities in it.
func escapedHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#039;").Replace(s)
}

// withoutTags is wp_strip_all_tags: scripts and styles go with what is in them,
// all else as PHP's strip_tags does it.
func withoutTags(s string) string {
	for _, name := range []string{"script", "style"} {
		s = withoutElement(s, name)
	}
	return strings.Trim(stripTags(s), " \t\n\r\x00\x0b")
}

func withoutElement(s, name string) string {
	var b strings.Builder
	for {
		lower := asciiLower(s)
		start := strings.Index(lower, "<"+name)
		if start < 0 {
			break
		}
		open := strings.IndexByte(lower[start:], '>')
		end := -1
		if open >= 0 {
			end = strings.Index(lower[start+open:], "</"+name+">")
		}
		if end < 0 {
			break
		}
		b.WriteString(s[:start])
		s = s[start+open+end+len("</"+name+">"):]
	}
	b.WriteString(s)
	return b.String()
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// stripTags is PHP's strip_tags (php_strip_tags_ex in ext/standard/string.c): a
// "<" before white space is text, a ">" in quotes does not end a tag, and a tag
// that nothing ends takes the rest of the text with it. "<?" ends with "?>" and
// "<!--" with "-->"; quotes in "<!" do not count, as all of them are slashed here.
func stripTags(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		spaceNext := i+1 < len(s) && strings.IndexByte(" \t\n\v\f\r", s[i+1]) >= 0
		switch {
		case s[i] == '<' && !spaceNext:
			i += tagLength(s[i:])
			continue
		case s[i] != 0:
			out = append(out, s[i])
		}
		i++
	}
	return string(out)
}

// tagLength is how much of a text, which begins with "<", is one tag.
func tagLength(s string) int {
	for _, special := range []struct{ begin, end string }{{"<!--", "-->"}, {"<!", ">"}, {"<?", "?>"}} {
		if !strings.HasPrefix(s, special.begin) {
			continue
		}
		if at := strings.Index(s[1:], special.end); at >= 0 {
			return 1 + at + len(special.end)
		}
		return len(s)
	}
	depth, quote := 0, byte(0)
	for i := 1; i < len(s); i++ {
		c := s[i]
		spaceNext := i+1 < len(s) && strings.IndexByte(" \t\n\v\f\r", s[i+1]) >= 0
		switch {
		case c == '<' && quote == 0 && !spaceNext:
			depth++
		case c == '>' && depth > 0:
			depth--
		case c == '>' && quote == 0:
			return i + 1
		case (c == '"' || c == '\'') && quote == 0:
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return len(s)
}
