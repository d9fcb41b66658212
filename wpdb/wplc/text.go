package wplc

import (
	"errors"
	"strings"
	"unicode/utf8"

	"holdline/internal/phpser"
)

// maxBody bounds a shown text in bytes: whoever can write to a chat could
// otherwise fill the queues of everybody who reads it. What is longer is cut and
// marked as truncated; the plugin's own page shows it whole.
const maxBody = 32 << 10

// How often the slashes that WordPress puts before quotes are taken off.
//
// 8.x: the plugin's loops do it twice (functions.php:701-842), which also takes a
// backslash that somebody typed. A text in Pro's form goes through Pro's function
// twice more, which does it once each time (wp-live-chat-support-pro.php,
// wplc_encrypt_decrypt_msg). The result is what agents and visitors see on the
// plugin's own pages. 5.x never does it and showed "It\'s"; slashes were added
// once, so taking them off once gives what was typed.
const (
	strips8    = 2
	stripsPro8 = 4
	strips5    = 1
)

func stripsOf(version int) int {
	if version == 5 {
		return strips5
	}
	return strips8
}

// text turns stored texts into shown ones. It is a value without state.
type text struct {
	strips int
	key    *roundKey // nil: no key, encrypted texts cannot be read
}

// shown is a text as a person should see it: valid UTF-8, without slashes.
type shown struct {
	body       string // also without the references of references.go
	unreadable bool   // encrypted with a key that is not known: body is empty
	truncated  bool
}

// message renders what an agent or a visitor wrote (originates 1 and 2).
func (t text) message(stored string) shown {
	plain, pro, err := t.unwrap(stored)
	if err != nil {
		return shown{unreadable: true}
	}
	strips := t.strips
	if pro && strips == strips8 {
		strips = stripsPro8
	}
	for range strips {
		plain = stripSlashes(plain)
	}
	return clipped(unreferenced(plain))
}

// note renders a system note (originates 0 and 3): HTML made by PHP, stored as it
// is shown.
func (t text) note(stored string) shown { return clipped(stored) }

// name renders a display name, which AJAX stores slashed once and REST not.
func name(stored string) string { return strings.ToValidUTF8(stripSlashes(stored), "\uFFFD") }

func clipped(s string) shown {
	cut := clip(s, maxBody)
	return shown{body: strings.ToValidUTF8(cut, "\uFFFD"), truncated: len(cut) < len(s)}
}

// clip cuts a text to at most n bytes, not within a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for cut := n; cut > n-utf8.UTFMax; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
	return s[:n] // not UTF-8
}

// unwrap takes the text out of the form in which Pro stores it, a serialized
// array with "e" (encrypted) and "m" (the text); slashes stay. Every other text is
// itself, whatever it looks like: a visitor can type "i:5;" or "a:1:{i:0;i:1;}",
// which makes PHP lose messages or fail, and "O:8:…", which makes it build an
// object. What was unwrapped is not unwrapped again.
func (t text) unwrap(stored string) (plain string, pro bool, err error) {
	m, ok := proForm(stored)
	if !ok {
		return stored, false, nil
	}
	if !m.encrypted {
		return m.text, true, nil
	}
	plain, err = t.decrypt(m.text)
	return plain, true, err
}

// proText is the content of Pro's form.
type proText struct {
	text      string
	encrypted bool
}

func proForm(stored string) (m proText, ok bool) {
	if !strings.HasPrefix(stored, "a:") {
		return m, false
	}
	v, err := phpser.Parse([]byte(stored))
	if err != nil {
		return m, false
	}
	e, hasE := v.Get("e")
	body, _ := v.Get("m")
	m.text, ok = body.Text()
	n, _ := e.Number()
	m.encrypted = n == 1 || isTrue(e)
	return m, ok && hasE
}

func isTrue(v phpser.Value) bool {
	b, _ := v.Bool()
	return b
}

// errUnreadable says that a text is encrypted and its key is not known.
var errUnreadable = errors.New("text cannot be decrypted with the site's key")

// decrypt reads an encrypted text and refuses what a wrong key makes of it.
func (t text) decrypt(m string) (string, error) {
	if t.key == nil {
		return "", errUnreadable
	}
	plain, err := decrypt(t.key, m)
	if err != nil {
		return "", err
	}
	// The text was in a UTF-8 column of the same site before it was encrypted.
	if !utf8.ValidString(plain) {
		return "", errUnreadable
	}
	return plain, nil
}

// stripSlashes is PHP's stripslashes (ext/standard/string.c): it drops every
// backslash and keeps the byte after it, "\0" being NUL.
func stripSlashes(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := make([]byte, i, len(s))
	copy(out, s)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			i++
			if i == len(s) {
				break // a lone one at the end goes
			}
			if c = s[i]; c == '0' {
				c = 0
			}
		}
		out = append(out, c)
	}
	return string(out)
}
