package wpconfig

import (
	"errors"
	"fmt"
	"strings"
)

// parser builds the syntax tree of one file. A statement it cannot read becomes
// an opaque node and parsing goes on after it; text that PHP itself would
// refuse (an unclosed brace) is an error for the whole file.
type parser struct {
	tokens []token
	pos    int
	depth  int
	budget *int // tokens looked at, so that recovery cannot take quadratic time for ever
}

// syntaxError is recoverable: the statement becomes opaque.
type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func parse(tokens []token) (blockStmt, error) {
	budget := 50*len(tokens) + 1000
	p := &parser{tokens: tokens, budget: &budget}
	var body blockStmt
	for p.peek().kind != tokEOF {
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		body = append(body, s)
	}
	return body, nil
}

func (p *parser) peek() token { return p.at(0) }

func (p *parser) at(n int) token {
	if p.pos+n >= len(p.tokens) {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[p.pos+n]
}

func (p *parser) take() token {
	t := p.peek()
	*p.budget--
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (t token) isOp(text string) bool { return t.kind == tokOp && t.text == text }

func (t token) isWord(word string) bool { return t.kind == tokName && strings.EqualFold(t.text, word) }

func (p *parser) accept(op string) bool {
	if p.peek().isOp(op) {
		p.take()
		return true
	}
	return false
}

func (p *parser) acceptWord(word string) bool {
	if p.peek().isWord(word) {
		p.take()
		return true
	}
	return false
}

func (p *parser) expect(op string) error {
	if !p.accept(op) {
		return p.errorf("expected %q", op)
	}
	return nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &syntaxError{line: p.peek().line, text: fmt.Sprintf(format, args...)}
}

func (p *parser) enter() error {
	p.depth++
	if p.depth > maxNesting || *p.budget < 0 {
		return errTooComplex
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// statement reads one statement and recovers from syntax it does not know.
func (p *parser) statement() (stmt, error) {
	if err := p.enter(); err != nil {
		return stmt{}, err
	}
	defer p.leave()
	start, line := p.pos, p.peek().line
	node, err := p.statementNode()
	var unreadable *syntaxError
	if errors.As(err, &unreadable) {
		p.pos = start
		p.skipStatement()
		node, err = opaque{what: "code that Holdline cannot read", does: scanEffects(p.tokens[start:p.pos])}, nil
	}
	return stmt{line: line, node: node}, err
}

// skipStatement passes over one statement by its brackets alone.
func (p *parser) skipStatement() {
	depth := 0
	for first := true; p.peek().kind != tokEOF; first = false {
		t := p.peek()
		if t.kind == tokOp {
			switch t.text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth == 0 && t.text == "}" && !first {
					return
				}
				depth = max(0, depth-1)
				if depth == 0 && t.text == "}" {
					p.take()
					return
				}
			case ";":
				if depth == 0 {
					p.take()
					return
				}
			}
		}
		p.take()
	}
}

// skipBalanced passes over one bracketed group and returns its tokens.
func (p *parser) skipBalanced(open, closing string) ([]token, error) {
	if !p.peek().isOp(open) {
		return nil, p.errorf("expected %q", open)
	}
	start := p.pos
	for depth := 0; p.peek().kind != tokEOF; {
		switch t := p.take(); {
		case t.isOp(open):
			depth++
		case t.isOp(closing):
			if depth--; depth == 0 {
				return p.tokens[start:p.pos], nil
			}
		}
	}
	return nil, fmt.Errorf("line %d: %q is never closed", p.tokens[start].line, open)
}

// scanEffects lists what unread tokens could set, by the shapes define('X',
// Config::define('X', const X = and $x =.
func scanEffects(tokens []token) effects {
	var does effects
	at := func(i int) token {
		if i < len(tokens) {
			return tokens[i]
		}
		return token{}
	}
	for i, t := range tokens {
		switch {
		case t.kind == tokName && strings.EqualFold(strings.TrimPrefix(t.text, `\`), "define") && at(i+1).isOp("("):
			if name := at(i + 2); name.kind == tokString && at(i+3).isOp(",") {
				does.constants = append(does.constants, name.text)
			} else {
				does.computed = true
			}
		case t.isWord("const") && at(i+1).kind == tokName:
			does.constants = append(does.constants, at(i+1).text)
		case t.isWord("include"), t.isWord("include_once"), t.isWord("require"), t.isWord("require_once"), t.isWord("eval"):
			does.computed = true
		case t.isWord("return"):
			does.returns = true
		case t.kind == tokVariable:
			does.variables = append(does.variables, t.text)
		case t.kind == tokTemplate:
			for _, part := range t.parts {
				does = does.and(scanEffects(part.tokens))
			}
		}
	}
	return does
}

func (e effects) and(other effects) effects {
	return effects{
		constants: append(e.constants, other.constants...),
		variables: append(e.variables, other.variables...),
		computed:  e.computed || other.computed,
		returns:   e.returns || other.returns,
	}
}
