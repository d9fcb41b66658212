package wpconfig

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Limits on one file's text. A real wp-config.php has a few hundred tokens; the
// limits only keep hostile or mistaken input from costing memory.
const (
	maxFileSize = 1 << 20
	maxTokens   = 200_000
	maxNesting  = 150
)

var errTooComplex = errors.New("the file is too long or too deeply nested to be a WordPress configuration")

type tokenKind uint8

const (
	tokEOF      tokenKind = iota
	tokVariable           // text is the name without the dollar sign
	tokName               // a keyword, function, class or constant, perhaps with namespace
	tokNumber             // value is an int64 or a float64
	tokString             // a string without interpolation; text is its value
	tokTemplate           // a string with interpolation; parts holds its pieces
	tokOp
)

type token struct {
	kind  tokenKind
	text  string
	value any
	parts []templatePart
	line  int
}

// templatePart is literal text when tokens is nil, else the tokens of an
// interpolated expression, ended by tokEOF.
type templatePart struct {
	text   string
	tokens []token
}

// lexer turns PHP source into tokens. It follows Zend/zend_language_scanner.l
// for everything that decides where a string or a comment ends, because a
// define() inside one of those is not a definition.
type lexer struct {
	src    string
	pos    int
	line   int
	depth  int  // of interpolation inside interpolation
	braced bool // stop at the brace that closes an interpolation
	count  *int // tokens of the whole file, nested ones included
	tokens []token
}

// lex splits a whole file, beginning outside PHP as PHP does.
func lex(src string) ([]token, error) {
	l := &lexer{src: src, line: 1, count: new(int)}
	l.skipHTML()
	return l.run()
}

// lexCode splits text that is PHP from its first byte on, as eval() takes it.
func lexCode(src string) ([]token, error) {
	l := &lexer{src: src, line: 1, count: new(int)}
	return l.run()
}

func (l *lexer) run() ([]token, error) {
	braces := 0
	for {
		l.skipBlank()
		if l.pos >= len(l.src) {
			if l.braced {
				return nil, l.errorf("the text ends inside {$…} of a string")
			}
			return append(l.tokens, token{kind: tokEOF, line: l.line}), nil
		}
		switch l.src[l.pos] {
		case '{':
			braces++
		case '}':
			if l.braced && braces == 0 {
				return append(l.tokens, token{kind: tokEOF, line: l.line}), nil
			}
			braces--
		}
		if err := l.next(); err != nil {
			return nil, err
		}
		if *l.count > maxTokens {
			return nil, errTooComplex
		}
	}
}

func (l *lexer) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", l.line, fmt.Sprintf(format, args...))
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// advance moves over n bytes and keeps the line number right.
func (l *lexer) advance(n int) string {
	text := l.src[l.pos : l.pos+n]
	l.line += strings.Count(text, "\n")
	l.pos += n
	return text
}

func (l *lexer) emit(t token) {
	t.line = l.line
	*l.count++
	l.tokens = append(l.tokens, t)
}

// skipHTML passes over text outside PHP, up to and including the next open tag.
func (l *lexer) skipHTML() {
	for l.pos < len(l.src) {
		i := strings.Index(l.rest(), "<?")
		if i < 0 {
			l.advance(len(l.rest()))
			return
		}
		l.advance(i)
		switch rest := l.rest(); {
		case strings.HasPrefix(rest, "<?="):
			l.advance(3)
			l.emit(token{kind: tokName, text: "echo"})
			return
		case len(rest) >= 5 && strings.EqualFold(rest[:5], "<?php") && (len(rest) == 5 || isSpace(rest[5])):
			l.advance(5)
			return
		case len(rest) > 2 && isSpace(rest[2]):
			l.advance(2) // a working file with short tags has them switched on
			return
		default:
			l.advance(2)
		}
	}
}

// skipBlank passes over white space and comments. A close tag ends a statement
// and a one-line comment alike.
func (l *lexer) skipBlank() {
	for l.pos < len(l.src) {
		rest := l.rest()
		switch {
		case isSpace(rest[0]):
			l.advance(1)
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				l.advance(len(rest))
				return
			}
			l.advance(end + 4)
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			end := strings.IndexAny(rest, "\r\n")
			if end < 0 {
				end = len(rest)
			}
			if tag := strings.Index(rest[:end], "?>"); tag >= 0 {
				end = tag
			}
			l.advance(end)
		case !l.braced && strings.HasPrefix(rest, "?>"):
			l.advance(2)
			l.emit(token{kind: tokOp, text: ";"})
			l.skipHTML()
		default:
			return
		}
	}
}

// operators longer than one byte, longest first.
var operators = []string{
	"===", "!==", "<=>", "**=", "...", "<<=", ">>=", "??=", "?->",
	"==", "!=", "<>", "<=", ">=", "&&", "||", "??", "++", "--", "+=", "-=", "*=", "/=", ".=", "%=",
	"&=", "|=", "^=", "->", "=>", "::", "<<", ">>", "**",
}

func (l *lexer) next() error {
	rest := l.rest()
	c := rest[0]
	switch {
	case c == '$' && len(rest) > 1 && isNameStart(rest[1]):
		name := nameLen(rest[1:])
		l.emit(token{kind: tokVariable, text: rest[1 : 1+name]})
		l.advance(1 + name)
		return nil
	case isNameStart(c) || c == '\\' && len(rest) > 1 && isNameStart(rest[1]):
		n := qualifiedLen(rest)
		l.emit(token{kind: tokName, text: rest[:n]})
		l.advance(n)
		return nil
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number()
	case c == '\'':
		return l.singleQuoted()
	case c == '"':
		return l.doubleQuoted()
	case c == '`':
		return l.errorf("a shell command in backquotes cannot be read")
	case strings.HasPrefix(rest, "<<<"):
		return l.heredoc()
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.emit(token{kind: tokOp, text: op})
			l.advance(len(op))
			return nil
		}
	}
	l.emit(token{kind: tokOp, text: rest[:1]})
	l.advance(1)
	return nil
}

var (
	integerText = regexp.MustCompile(`^(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*)`)
	floatText   = regexp.MustCompile(`^([0-9][0-9_]*)?\.?[0-9_]*([eE][+-]?[0-9]+)?`)
)

func (l *lexer) number() error {
	rest := l.rest()
	// A window keeps one long run of digits from being scanned as a number.
	window := rest[:min(len(rest), 400)]
	text, float := integerText.FindString(window), floatText.FindString(window)
	if len(float) > len(text) && strings.ContainsAny(float, ".eE") {
		f, err := strconv.ParseFloat(strings.ReplaceAll(float, "_", ""), 64)
		if err != nil && !math.IsInf(f, 0) {
			return l.errorf("malformed number %q", float)
		}
		l.emit(token{kind: tokNumber, value: f})
		l.advance(len(float))
		return nil
	}
	digits := strings.ReplaceAll(text, "_", "")
	n, err := strconv.ParseInt(digits, 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		f, _ := strconv.ParseFloat(digits, 64)
		l.emit(token{kind: tokNumber, value: f})
	case err != nil:
		return l.errorf("malformed number %q", text)
	default:
		l.emit(token{kind: tokNumber, value: n})
	}
	l.advance(len(text))
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isNameStart follows PHP's rule [a-zA-Z_\x80-\xff].
func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// nameLen is the length of the identifier at the start of s.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (isNameStart(s[n]) || n > 0 && isDigit(s[n])) {
		n++
	}
	return n
}

// qualifiedLen is nameLen for a name that may carry namespaces: \A\b, A\b.
func qualifiedLen(s string) int {
	n := 0
	for {
		start := n
		if start < len(s) && s[start] == '\\' {
			start++
		} else if n > 0 {
			return n
		}
		size := nameLen(s[start:])
		if size == 0 {
			return n
		}
		n = start + size
	}
}
