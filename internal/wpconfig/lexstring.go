package wpconfig

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// singleQuoted reads '…', where only \\ and \' are escapes.
func (l *lexer) singleQuoted() error {
	src := l.rest()
	var b strings.Builder
	for i := 1; i < len(src); i++ {
		switch {
		case src[i] == '\'':
			l.emit(token{kind: tokString, text: b.String()})
			l.advance(i + 1)
			return nil
		case src[i] == '\\' && i+1 < len(src) && (src[i+1] == '\\' || src[i+1] == '\''):
			i++
		}
		b.WriteByte(src[i])
	}
	return l.errorf("a single-quoted text is never closed")
}

func (l *lexer) doubleQuoted() error {
	l.advance(1)
	parts, err := l.template('"')
	if err != nil {
		return err
	}
	l.emitTemplate(parts)
	return nil
}

func (l *lexer) emitTemplate(parts []templatePart) {
	switch {
	case len(parts) == 0:
		l.emit(token{kind: tokString})
	case len(parts) == 1 && parts[0].tokens == nil:
		l.emit(token{kind: tokString, text: parts[0].text})
	default:
		l.emit(token{kind: tokTemplate, parts: parts})
	}
}

// heredoc reads <<<X, <<<"X" and the raw <<<'X'. Since PHP 7.3 the closing
// label may be indented, and that indentation is taken off every line.
func (l *lexer) heredoc() error {
	src := l.rest()
	i := 3
	for i < len(src) && (src[i] == ' ' || src[i] == '\t') {
		i++
	}
	var quote byte
	if i < len(src) && (src[i] == '\'' || src[i] == '"') {
		quote = src[i]
		i++
	}
	size := nameLen(src[i:])
	label := src[i : i+size]
	i += size
	if quote != 0 {
		if i >= len(src) || src[i] != quote {
			return l.errorf("malformed heredoc label")
		}
		i++
	}
	i += newlineLen(src[i:])
	if label == "" || i == 0 || src[i-1] != '\n' && src[i-1] != '\r' {
		return l.errorf("malformed heredoc")
	}
	lines, indent, end, ok := heredocLines(src[i:], label)
	if !ok {
		return l.errorf("heredoc %s is never closed", label)
	}
	for n, line := range lines {
		drop := 0
		for drop < indent && drop < len(line) && (line[drop] == ' ' || line[drop] == '\t') {
			drop++
		}
		lines[n] = line[drop:]
	}
	body := trimNewline(strings.Join(lines, ""))
	parts := []templatePart{{text: body}}
	if quote != '\'' {
		inner := l.nested(body)
		var err error
		if parts, err = inner.template(0); err != nil {
			return err
		}
	}
	l.emitTemplate(parts)
	l.advance(i + end)
	return nil
}

// heredocLines returns the lines before the closing label, each with its line
// end, the label's indentation, and the offset just after the label.
func heredocLines(body, label string) (lines []string, indent, end int, ok bool) {
	for pos := 0; pos <= len(body); {
		line := body[pos:]
		if i := strings.IndexAny(line, "\r\n"); i >= 0 {
			line = line[:i+newlineLen(line[i:])]
		}
		text := strings.TrimLeft(line, " \t")
		indent = len(line) - len(text)
		if after, found := strings.CutPrefix(text, label); found && (after == "" || !isNameStart(after[0]) && !isDigit(after[0])) {
			return lines, indent, pos + indent + len(label), true
		}
		if line == "" {
			break
		}
		lines = append(lines, line)
		pos += len(line)
	}
	return nil, 0, 0, false
}

func newlineLen(s string) int {
	switch {
	case strings.HasPrefix(s, "\r\n"):
		return 2
	case s != "" && (s[0] == '\n' || s[0] == '\r'):
		return 1
	}
	return 0
}

func trimNewline(s string) string {
	if t, ok := strings.CutSuffix(s, "\n"); ok {
		return strings.TrimSuffix(t, "\r")
	}
	return strings.TrimSuffix(s, "\r")
}

func (l *lexer) nested(src string) *lexer {
	return &lexer{src: src, line: l.line, depth: l.depth + 1, count: l.count}
}

// template reads interpolated text up to the closing quote, or to the end of
// the source when quote is 0 (a heredoc body, cut out before).
func (l *lexer) template(quote byte) ([]templatePart, error) {
	if l.depth > 8 {
		return nil, errTooComplex
	}
	var parts []templatePart
	var text []byte
	for l.pos < len(l.src) {
		if *l.count > maxTokens {
			return nil, errTooComplex
		}
		rest := l.rest()
		var expr []token
		var err error
		switch {
		case quote != 0 && rest[0] == quote:
			l.advance(1)
			return appendText(parts, text), nil
		case rest[0] == '\\':
			if text, err = l.escape(text, quote); err != nil {
				return nil, err
			}
			continue
		case strings.HasPrefix(rest, "{$"):
			expr, err = l.braceExpr(1)
		case strings.HasPrefix(rest, "${"):
			expr, err = l.dollarBrace()
		case rest[0] == '$' && len(rest) > 1 && isNameStart(rest[1]):
			expr, err = l.simpleExpr()
		default:
			text = append(text, l.advance(1)...)
			continue
		}
		if err != nil {
			return nil, err
		}
		parts = append(appendText(parts, text), templatePart{tokens: expr})
		text = nil
	}
	if quote != 0 {
		return nil, l.errorf("a double-quoted text is never closed")
	}
	return appendText(parts, text), nil
}

func appendText(parts []templatePart, text []byte) []templatePart {
	if len(text) == 0 {
		return parts
	}
	return append(parts, templatePart{text: string(text)})
}

// braceExpr reads {$…} or ${…}, whose first skip bytes are not part of the expression.
func (l *lexer) braceExpr(skip int) ([]token, error) {
	l.advance(skip)
	inner := &lexer{src: l.src, pos: l.pos, line: l.line, depth: l.depth + 1, braced: true, count: l.count}
	tokens, err := inner.run()
	if err != nil {
		return nil, err
	}
	l.pos, l.line = inner.pos+1, inner.line
	return tokens, nil
}

// dollarBrace reads "${name}" and "${name[key]}" as $name and $name[key].
func (l *lexer) dollarBrace() ([]token, error) {
	tokens, err := l.braceExpr(2)
	if err != nil {
		return nil, err
	}
	if tokens[0].kind != tokName || strings.Contains(tokens[0].text, `\`) {
		return nil, l.errorf("a variable variable inside a text cannot be read")
	}
	tokens[0].kind = tokVariable
	return tokens, nil
}

// simpleExpr reads $name, $name[key] and $name->property inside a text.
func (l *lexer) simpleExpr() ([]token, error) {
	out := l.nested("")
	size := nameLen(l.rest()[1:])
	out.emit(token{kind: tokVariable, text: l.advance(1 + size)[1:]})
	rest := l.rest()
	switch {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return nil, l.errorf("malformed $name[key] inside a text")
		}
		key, ok := simpleKey(rest[1:end])
		if !ok {
			return nil, l.errorf("malformed $name[key] inside a text")
		}
		out.emit(token{kind: tokOp, text: "["})
		out.emit(key)
		out.emit(token{kind: tokOp, text: "]"})
		l.advance(end + 1)
	case strings.HasPrefix(rest, "->") && len(rest) > 2 && isNameStart(rest[2]):
		size := nameLen(rest[2:])
		out.emit(token{kind: tokOp, text: "->"})
		out.emit(token{kind: tokName, text: rest[2 : 2+size]})
		l.advance(2 + size)
	}
	out.emit(token{kind: tokEOF})
	return out.tokens, nil
}

func simpleKey(s string) (token, bool) {
	switch {
	case s != "" && nameLen(s) == len(s):
		return token{kind: tokString, text: s}, true
	case len(s) > 1 && s[0] == '$' && nameLen(s[1:]) == len(s)-1:
		return token{kind: tokVariable, text: s[1:]}, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		return token{}, false
	}
	return token{kind: tokNumber, value: n}, true
}

var plainEscapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'v': '\v', 'e': 0x1b, 'f': '\f', '\\': '\\', '$': '$'}

// escape appends what a backslash sequence means in double quotes or a heredoc;
// an unknown one keeps its backslash (zend_scan_escape_string).
func (l *lexer) escape(text []byte, quote byte) ([]byte, error) {
	rest := l.rest()
	if len(rest) < 2 {
		return append(text, l.advance(1)...), nil
	}
	c := rest[1]
	if plain, ok := plainEscapes[c]; ok {
		l.advance(2)
		return append(text, plain), nil
	}
	switch {
	case quote != 0 && c == quote:
		l.advance(2)
		return append(text, c), nil
	case c >= '0' && c <= '7':
		digits := runLen(rest[1:], "01234567", 3)
		n, _ := strconv.ParseUint(rest[1:1+digits], 8, 16)
		l.advance(1 + digits)
		return append(text, byte(n)), nil // PHP wraps \400 to \0 too
	case (c == 'x' || c == 'X') && runLen(rest[2:], hexDigits, 2) > 0:
		digits := runLen(rest[2:], hexDigits, 2)
		n, _ := strconv.ParseUint(rest[2:2+digits], 16, 8)
		l.advance(2 + digits)
		return append(text, byte(n)), nil
	case strings.HasPrefix(rest, `\u{`):
		digits := runLen(rest[3:], hexDigits, len(rest))
		n, err := strconv.ParseUint(rest[3:3+digits], 16, 32)
		if err != nil || n > utf8.MaxRune || !strings.HasPrefix(rest[3+digits:], "}") {
			return nil, l.errorf(`malformed \u{…} in a text`)
		}
		l.advance(4 + digits)
		return appendCodePoint(text, rune(n)), nil
	}
	// The byte after the backslash is taken too: "\{$x}" is not an interpolation of {$x}.
	return append(text, l.advance(2)...), nil
}

const hexDigits = "0123456789abcdefABCDEF"

// runLen counts leading bytes of s that are in set, up to limit.
func runLen(s, set string, limit int) int {
	n := 0
	for n < len(s) && n < limit && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}

// appendCodePoint is utf8.AppendRune, except that PHP also encodes surrogates.
func appendCodePoint(text []byte, r rune) []byte {
	if utf8.ValidRune(r) {
		return utf8.AppendRune(text, r)
	}
	return append(text, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
}
