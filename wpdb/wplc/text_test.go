package wplc

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStripSlashes(t *testing.T) {
	for in, want := range map[string]string{
		``:              ``,
		`plain`:         `plain`,
		`It\'s`:         `It's`,
		`\"x\"`:         `"x"`,
		`back\\slash`:   `back\slash`,
		`a\0b`:          "a\x00b",
		`a\n`:           `an`,
		`lone\`:         `lone`,
		`\`:             ``,
		`\\`:            `\`,
		`\\\\`:          `\\`,
		`\漢`:            `漢`,
		"\\\xff\\'":     "\xff'",
		`ends in two\\`: `ends in two\`,
	} {
		if got := stripSlashes(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// pro is the form in which Pro stores a text.
func pro(e int, m string) string {
	return fmt.Sprintf(`a:2:{s:1:"e";i:%d;s:1:"m";s:%d:"%s";}`, e, len(m), m)
}

func TestMessageTexts(t *testing.T) {
	secret := "12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba"
	for name, tc := range map[string]struct{ stored, want8, want5 string }{
		"plain":              {`Hello`, `Hello`, `Hello`},
		"empty":              {``, ``, ``},
		"quotes":             {`It\'s \"x\"`, `It's "x"`, `It's "x"`},
		"a typed backslash":  {`back\\slash`, `backslash`, `back\slash`},
		"two of them":        {`a\\\\b`, `a\b`, `a\\b`},
		"lone backslash":     {`end\`, `end`, `end`},
		"from REST":          {`It's "x"`, `It's "x"`, `It's "x"`},
		"a link":             {`<a href=\'https://x/?b=1&c=2\'>here</a>`, `<a href='https://x/?b=1&c=2'>here</a>`, `<a href='https://x/?b=1&c=2'>here</a>`},
		"lines":              {"Grüße 漢\nline 2", "Grüße 漢\nline 2", "Grüße 漢\nline 2"},
		"emoji":              {"hi 🙂", "hi 🙂", "hi 🙂"},
		"invalid UTF-8":      {"caf\xe9 \xf0\x9f", "caf\uFFFD \uFFFD", "caf\uFFFD \uFFFD"},
		"NUL":                {`a\0b`, "a\x00b", "a\x00b"},
		"serialized int":     {`i:5;`, `i:5;`, `i:5;`},
		"serialized bool":    {`b:1;`, `b:1;`, `b:1;`},
		"serialized null":    {`N;`, `N;`, `N;`},
		"array without m":    {`a:1:{i:0;i:1;}`, `a:1:{i:0;i:1;}`, `a:1:{i:0;i:1;}`},
		"object":             {`O:8:"stdClass":1:{s:1:"m";s:2:"hi";}`, `O:8:"stdClass":1:{s:1:"m";s:2:"hi";}`, `O:8:"stdClass":1:{s:1:"m";s:2:"hi";}`},
		"object in an array": {`a:2:{s:1:"e";i:0;s:1:"m";O:8:"stdClass":0:{}}`, `a:2:{s:1:"e";i:0;s:1:"m";O:8:"stdClass":0:{}}`, `a:2:{s:1:"e";i:0;s:1:"m";O:8:"stdClass":0:{}}`},
		"m is no text":       {`a:2:{s:1:"e";i:0;s:1:"m";i:7;}`, `a:2:{s:1:"e";i:0;s:1:"m";i:7;}`, `a:2:{s:1:"e";i:0;s:1:"m";i:7;}`},
		"Pro":                {pro(0, "hello"), "hello", "hello"},
		"Pro, quotes":        {pro(0, `It\'s`), "It's", "It's"},
		"Pro, backslash":     {pro(0, `back\\slash`), "backslash", `back\slash`},
		"Pro, two":           {pro(0, `a\\\\b`), "ab", `a\\b`},
		"Pro, wrong length":  {`a:2:{s:1:"e";i:0;s:1:"m";s:9:"hello";}`, `a:2:{s:1:"e";i:0;s:1:"m";s:9:"hello";}`, `a:2:{s:1:"e";i:0;s:1:"m";s:9:"hello";}`},
		"Pro in Pro":         {pro(0, pro(0, "x")), pro(0, "x"), pro(0, "x")},
		"encrypted":          {pro(1, secret), "It's secret", "It's secret"},
		"encrypted, e true":  {`a:2:{s:1:"e";b:1;s:1:"m";s:` + fmt.Sprint(len(secret)) + `:"` + secret + `";}`, "It's secret", "It's secret"},
		"encrypted, e text":  {`a:2:{s:1:"e";s:1:"1";s:1:"m";s:` + fmt.Sprint(len(secret)) + `:"` + secret + `";}`, "It's secret", "It's secret"},
	} {
		t.Run(name, func(t *testing.T) {
			for version, want := range map[int]string{8: tc.want8, 5: tc.want5} {
				rules := text{strips: stripsOf(version), key: mustExpand(t, testKey)}
				got := rules.message(tc.stored)
				if got != (shown{body: want}) {
					t.Errorf("%d.x: %+v, want %q", version, got, want)
				}
			}
		})
	}
}

func TestUnreadableTextsHaveNoBody(t *testing.T) {
	secret := pro(1, "12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba")
	for name, tc := range map[string]struct {
		key    *roundKey
		stored string
	}{
		"no key":     {nil, secret},
		"wrong key":  {mustExpand(t, "another key"), secret},
		"damaged":    {mustExpand(t, testKey), pro(1, "12 d4d2 a585")},
		"not hidden": {mustExpand(t, testKey), pro(1, "hello")},
	} {
		got := text{strips: strips8, key: tc.key}.message(tc.stored)
		if got != (shown{unreadable: true}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNotesAreLeftAsTheyAre(t *testing.T) {
	const stored = `Back\slash <b>it\'s</b> ` + "\xff"
	if got := (text{strips: strips8}).note(stored); got.body != `Back\slash <b>it\'s</b> `+"\uFFFD" {
		t.Errorf("%q", got.body)
	}
}

func TestLongTextsAreCutAtACharacter(t *testing.T) {
	rules := text{strips: strips8}
	fits := strings.Repeat("x", maxBody)
	if got := rules.message(fits); got != (shown{body: fits}) {
		t.Error("a text of the limit was cut")
	}
	for pad := range 4 {
		got := rules.message(strings.Repeat("x", pad) + strings.Repeat("🙂", maxBody/4))
		if cut := pad > 0; got.truncated != cut || strings.Contains(got.body, "\uFFFD") || len(got.body) > maxBody || len(got.body) < maxBody-4 {
			t.Errorf("pad %d: %d bytes, truncated %v", pad, len(got.body), got.truncated)
		}
	}
	if got := rules.message(strings.Repeat("\x80", maxBody+9)); !got.truncated || got.body != "\uFFFD" {
		t.Errorf("no UTF-8 at all: %d bytes", len(got.body))
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{`Ann O\'Neil`: `Ann O'Neil`, "Ren\xe9": "Ren\uFFFD", "": ""} {
		if got := name(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// slowStrip is stripslashes by its definition.
func slowStrip(s string) string {
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' {
			b.WriteByte(s[0])
		} else if s = s[1:]; s == "" {
			break
		} else if s[0] == '0' {
			b.WriteByte(0)
		} else {
			b.WriteByte(s[0])
		}
		s = s[1:]
	}
	return b.String()
}

func FuzzStripSlashes(f *testing.F) {
	for _, s := range []string{``, `\`, `\\`, `a\'b`, `\0\00`, "\xff\\\xfe", `\\\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := stripSlashes(s), slowStrip(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`It\'s`, `i:5;`, `N;`, `a:1:{i:0;i:1;}`, pro(0, "hello"), pro(0, pro(1, "x")), `O:8:"stdClass":0:{}`,
		pro(1, "12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba"), "\xff\\", `a:2:{s:1:"e";d:1;s:1:"m";s:0:"";}`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	key := mustExpand(f, testKey)
	f.Fuzz(func(t *testing.T, stored string, five bool) {
		rules := text{strips: strips8, key: key}
		if five {
			rules.strips = strips5
		}
		got := rules.message(stored)
		if !utf8.ValidString(got.body) || len(got.body) > 3*maxBody {
			t.Errorf("%q: %d bytes", stored, len(got.body))
		}
		if got.unreadable && got.body != "" {
			t.Errorf("%q: unreadable, yet %q", stored, got.body)
		}
		if plain := slowStrip(slowStrip(stored)); !five && !strings.HasPrefix(stored, "a:") && utf8.ValidString(plain) &&
			len(plain) <= maxBody && got.body != plain {
			t.Errorf("%q: %q, want %q", stored, got.body, plain)
		}
	})
}
