package wpconfig

import (
	"fmt"
	"strings"
)

func (p *parser) statementNode() (any, error) {
	t := p.peek()
	switch {
	case t.isOp("{"):
		return p.block()
	case p.accept(";"):
		return blockStmt(nil), nil
	case t.kind == tokName:
		if read := p.keyword(strings.ToLower(t.text)); read != nil {
			return read()
		}
		if p.isDeclaration() {
			return p.declaration()
		}
		if p.at(1).isOp(":") { // a goto label
			p.pos += 2
			return blockStmt(nil), nil
		}
	}
	return p.exprStatement()
}

// keyword returns the reader of the statement that begins with word.
func (p *parser) keyword(word string) func() (any, error) {
	switch word {
	case "if":
		return p.ifStatement
	case "foreach":
		return p.foreachStatement
	case "for":
		return p.forStatement
	case "while":
		return p.whileStatement
	case "do":
		return p.doStatement
	case "switch":
		return p.switchStatement
	case "try":
		return p.tryStatement
	case "const":
		return p.constStatement
	case "return":
		return p.returnStatement
	case "break", "continue":
		return p.jumpStatement
	case "echo":
		return p.echoStatement
	case "unset":
		return p.unsetStatement
	case "namespace":
		return p.namespaceStatement
	case "declare":
		return p.declareStatement
	case "use", "global":
		return p.skipToEnd
	case "goto", "__halt_compiler":
		return p.haltStatement
	}
	return nil
}

func (p *parser) exprStatement() (any, error) {
	x, err := p.expression()
	if err != nil {
		return nil, err
	}
	return x, p.endStatement()
}

// endStatement takes the semicolon; the end of the text ends a statement too.
func (p *parser) endStatement() error {
	if p.peek().kind == tokEOF {
		return nil
	}
	return p.expect(";")
}

func (p *parser) block() (blockStmt, error) {
	open := p.take()
	var body blockStmt
	for !p.accept("}") {
		if p.peek().kind == tokEOF {
			return nil, fmt.Errorf("line %d: the brace is never closed", open.line)
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		body = append(body, s)
	}
	return body, nil
}

// body reads what a control structure governs: a block, one statement, or the
// alternative form ":" … endX, which ends before one of the given words.
func (p *parser) body(ends ...string) (blockStmt, error) {
	if !p.accept(":") {
		s, err := p.statement()
		return blockStmt{s}, err
	}
	var list blockStmt
	for {
		t := p.peek()
		if t.kind == tokEOF {
			return nil, fmt.Errorf("line %d: %s is missing", t.line, ends[0])
		}
		for _, end := range ends {
			if t.isWord(end) {
				return list, nil
			}
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
}

// closeAlternative takes "endif;" and its kin when the body was in that form.
func (p *parser) closeAlternative(word string) error {
	if p.acceptWord(word) {
		return p.endStatement()
	}
	return nil
}

func (p *parser) parenthesized() (any, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	x, err := p.expression()
	if err != nil {
		return nil, err
	}
	return x, p.expect(")")
}

func (p *parser) ifStatement() (any, error) {
	var node ifStmt
	for {
		p.take() // if, elseif
		cond, err := p.parenthesized()
		if err != nil {
			return nil, err
		}
		body, err := p.body("endif", "elseif", "else")
		if err != nil {
			return nil, err
		}
		node.branches = append(node.branches, branch{cond: cond, body: body})
		if p.peek().isWord("else") && p.at(1).isWord("if") {
			p.take()
			continue
		}
		if !p.peek().isWord("elseif") {
			break
		}
	}
	if p.acceptWord("else") {
		body, err := p.body("endif")
		if err != nil {
			return nil, err
		}
		node.branches = append(node.branches, branch{body: body})
	}
	return node, p.closeAlternative("endif")
}

func (p *parser) foreachStatement() (any, error) {
	p.take()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var node foreachStmt
	var err error
	if node.subject, err = p.expression(); err != nil {
		return nil, err
	}
	if !p.acceptWord("as") {
		return nil, p.errorf("expected as")
	}
	if node.value, err = p.expression(); err != nil {
		return nil, err
	}
	if p.accept("=>") {
		node.key = node.value
		if node.value, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if node.body, err = p.body("endforeach"); err != nil {
		return nil, err
	}
	return node, p.closeAlternative("endforeach")
}

func (p *parser) forStatement() (any, error) {
	p.take()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var node loopStmt
	var err error
	if node.init, err = p.list(";"); err != nil {
		return nil, err
	}
	if node.cond, err = p.list(";"); err != nil {
		return nil, err
	}
	if node.step, err = p.list(")"); err != nil {
		return nil, err
	}
	if node.body, err = p.body("endfor"); err != nil {
		return nil, err
	}
	return node, p.closeAlternative("endfor")
}

func (p *parser) whileStatement() (any, error) {
	p.take()
	cond, err := p.parenthesized()
	if err != nil {
		return nil, err
	}
	body, err := p.body("endwhile")
	if err != nil {
		return nil, err
	}
	return loopStmt{cond: []any{cond}, body: body}, p.closeAlternative("endwhile")
}

func (p *parser) doStatement() (any, error) {
	p.take()
	s, err := p.statement()
	if err != nil {
		return nil, err
	}
	if !p.acceptWord("while") {
		return nil, p.errorf("expected while")
	}
	cond, err := p.parenthesized()
	if err != nil {
		return nil, err
	}
	return loopStmt{cond: []any{cond}, body: blockStmt{s}}, p.endStatement()
}

func (p *parser) switchStatement() (any, error) {
	p.take()
	subject, err := p.parenthesized()
	if err != nil {
		return nil, err
	}
	closed := func() bool { return p.accept("}") }
	if p.accept(":") {
		closed = func() bool { return p.acceptWord("endswitch") }
	} else if !p.accept("{") {
		return nil, p.errorf("expected {")
	}
	node := switchStmt{subject: subject}
	for !closed() {
		c, err := p.switchCase()
		if err != nil {
			return nil, err
		}
		node.cases = append(node.cases, c)
	}
	return node, nil
}

func (p *parser) switchCase() (c branch, err error) {
	switch {
	case p.acceptWord("default"):
	case p.acceptWord("case"):
		if c.cond, err = p.expression(); err != nil {
			return c, err
		}
	default:
		return c, p.errorf("expected case")
	}
	if !p.accept(":") && !p.accept(";") {
		return c, p.errorf("expected a colon")
	}
	for t := p.peek(); !t.isWord("case") && !t.isWord("default") && !t.isWord("endswitch") && !t.isOp("}"); t = p.peek() {
		if t.kind == tokEOF {
			return c, fmt.Errorf("line %d: switch is never closed", t.line)
		}
		s, err := p.statement()
		if err != nil {
			return c, err
		}
		c.body = append(c.body, s)
	}
	return c, nil
}

func (p *parser) tryStatement() (any, error) {
	p.take()
	var node tryStmt
	var err error
	if !p.peek().isOp("{") {
		return nil, p.errorf("expected {")
	}
	if node.body, err = p.block(); err != nil {
		return nil, err
	}
	for p.acceptWord("catch") {
		if _, err := p.skipBalanced("(", ")"); err != nil {
			return nil, err
		}
		if !p.peek().isOp("{") {
			return nil, p.errorf("expected {")
		}
		body, err := p.block()
		if err != nil {
			return nil, err
		}
		node.catches = append(node.catches, body)
	}
	if p.acceptWord("finally") {
		if !p.peek().isOp("{") {
			return nil, p.errorf("expected {")
		}
		if node.finally, err = p.block(); err != nil {
			return nil, err
		}
	}
	return node, nil
}

func (p *parser) constStatement() (any, error) {
	p.take()
	var node constStmt
	for {
		name := p.take()
		if name.kind != tokName {
			return nil, p.errorf("expected the name of a constant")
		}
		if err := p.expect("="); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		node.items = append(node.items, arrayItem{key: name.text, value: value})
		if !p.accept(",") {
			return node, p.endStatement()
		}
	}
}

func (p *parser) returnStatement() (any, error) {
	p.take()
	var node returnStmt
	if t := p.peek(); !t.isOp(";") && t.kind != tokEOF {
		var err error
		if node.value, err = p.expression(); err != nil {
			return nil, err
		}
	}
	return node, p.endStatement()
}

func (p *parser) jumpStatement() (any, error) {
	word := p.take()
	if p.peek().kind == tokNumber {
		return nil, p.errorf("leaving several loops at once is not supported")
	}
	return breakStmt{leaves: word.isWord("break")}, p.endStatement()
}

func (p *parser) echoStatement() (any, error) {
	p.take()
	items, err := p.list(";")
	if err != nil {
		return nil, err
	}
	return arrayLiteralOf(items), nil
}

func (p *parser) unsetStatement() (any, error) {
	p.take()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	targets, err := p.list(")")
	if err != nil {
		return nil, err
	}
	return unsetStmt{targets}, p.endStatement()
}

// list reads expressions between commas up to and including the closing operator.
func (p *parser) list(closing string) ([]any, error) {
	var items []any
	for !p.accept(closing) {
		if closing == ";" && p.peek().kind == tokEOF {
			break
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.accept(",") && !p.peek().isOp(closing) && p.peek().kind != tokEOF {
			return nil, p.errorf("expected a comma or %q", closing)
		}
	}
	return items, nil
}

// skipToEnd passes over statements that set nothing: use, global.
func (p *parser) skipToEnd() (any, error) {
	p.skipStatement()
	return blockStmt(nil), nil
}

func (p *parser) namespaceStatement() (any, error) {
	p.take()
	if p.peek().kind == tokName {
		p.take()
	}
	if p.peek().isOp("{") {
		return p.block()
	}
	return blockStmt(nil), p.endStatement()
}

func (p *parser) declareStatement() (any, error) {
	p.take()
	if _, err := p.skipBalanced("(", ")"); err != nil {
		return nil, err
	}
	return blockStmt(nil), p.endStatement()
}

// haltStatement reads __halt_compiler, which ends the file, and goto, after which
// any line may run.
func (p *parser) haltStatement() (any, error) {
	if p.peek().isWord("goto") {
		does := scanEffects(p.tokens[p.pos:])
		p.skipStatement()
		return opaque{what: "code around a goto", does: does}, nil
	}
	p.pos = len(p.tokens) - 1
	return returnStmt{}, nil
}
