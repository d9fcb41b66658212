package wplc

import (
	"strconv"
	"strings"
)

// What the companion plugin stores of a text that came through Holdline
// (holdline_as_html in wordpress/holdline.php): four kinds of characters as HTML
// character references. Everything that shows a stored text, the plugin's pages,
// its history and its mails, takes it for HTML, so there they look right; and here
// they are turned back.
//
//	&  before a letter or "#"   &#38;        or it would begin a reference itself
//	<                           &#60;        would be a tag
//	\                           &#92;        is lost wherever slashes are stripped
//	above U+FFFF                &#x1f600;    the plugin's tables are utf8mb3, and
//	                                         WordPress drops the whole row then
//
// The last is what WordPress itself does for such columns (wp_encode_emoji), for
// more than emoji, and whatever the column is: the connection's character set
// matters too, and one form is enough. A reference of these forms that somebody
// typed on the plugin's page is shown there as the character, and so it is here.

// maxSent is the longest stored form of a text that comes this way, in bytes, so
// that all of it is read back even if Pro encrypts it: in hex, with a short head.
const maxSent = maxStored/2 - 256

// storedSize is the length of a text's stored form, at most: its references, and a
// backslash before each quote.
func storedSize(s string) int {
	size := len(s)
	for _, r := range s {
		switch {
		case r == '&' || r == '<' || r == '\\':
			size += len("&#38;") - 1
		case r == '"' || r == '\'':
			size++
		case r > 0xFFFF:
			size += len("&#x10ffff;") - 4
		}
	}
	return size
}

// unreferenced turns those references back, once: what comes out is not looked at
// again.
func unreferenced(s string) string {
	at := strings.Index(s, "&#")
	if at < 0 {
		return s
	}
	var b strings.Builder
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at:]
		if r, length := reference(s); length > 0 {
			b.WriteRune(r)
			s = s[length:]
		} else {
			b.WriteString(s[:2])
			s = s[2:]
		}
		at = strings.Index(s, "&#")
	}
	b.WriteString(s)
	return b.String()
}

// reference reads one of the four forms at the beginning of a text. The length is
// 0 where there is none.
func reference(s string) (r rune, length int) {
	const longest = len("&#x10ffff;")
	end := strings.IndexByte(s[:min(len(s), longest)], ';')
	if end < 0 {
		return 0, 0
	}
	switch s[2:end] {
	case "38":
		return '&', end + 1
	case "60":
		return '<', end + 1
	case "92":
		return '\\', end + 1
	}
	hex, ok := strings.CutPrefix(s[2:end], "x")
	n, err := strconv.ParseUint(hex, 16, 32)
	if !ok || err != nil || n < 0x10000 || n > 0x10FFFF {
		return 0, 0
	}
	return rune(n), end + 1
}
