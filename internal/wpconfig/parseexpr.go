package wpconfig

import "strings"

// Binding powers, loosest first (the table "Operator precedence" of the PHP manual).
const (
	precLowest  = 1
	precTernary = 5
	precUnary   = 18
)

var binaryPrec = map[string]int{
	"or": 1, "xor": 2, "and": 3,
	"?": precTernary, "??": 6, "||": 7, "&&": 8, "|": 9, "^": 10, "&": 11,
	"==": 12, "!=": 12, "<>": 12, "===": 12, "!==": 12, "<=>": 12,
	"<": 13, "<=": 13, ">": 13, ">=": 13,
	".": 14, "<<": 15, ">>": 15, "+": 16, "-": 16, "*": 17, "/": 17, "%": 17,
	"instanceof": precUnary, "**": 19,
}

var assignOps = map[string]string{
	"=": "", ".=": ".", "+=": "+", "-=": "-", "*=": "*", "/=": "/", "%=": "%", "??=": "??",
	"|=": "|", "&=": "&", "^=": "^", "<<=": "<<", ">>=": ">>", "**=": "**",
}

func (p *parser) expression() (any, error) { return p.binary(precLowest) }

// binary reads an expression whose operators bind at least as tightly as lowest.
func (p *parser) binary(lowest int) (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	for chain := 0; ; chain++ {
		t := p.peek()
		op := strings.ToLower(t.text)
		prec := binaryPrec[op]
		if t.kind != tokOp && t.kind != tokName || prec < lowest || prec == 0 {
			return left, nil
		}
		if chain > 2000 {
			return nil, errTooComplex
		}
		p.take()
		if op == "?" {
			left, err = p.ternary(left)
		} else {
			left, err = p.binaryRight(left, op, prec)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) binaryRight(left any, op string, prec int) (any, error) {
	next := prec + 1
	if op == "??" || op == "**" { // right-associative
		next = prec
	}
	right, err := p.binary(next)
	if err != nil {
		return nil, err
	}
	if op != "." {
		return binary{op: op, left: left, right: right}, nil
	}
	if chain, ok := left.(concat); ok {
		return concat{append(chain.parts, right)}, nil
	}
	return concat{[]any{left, right}}, nil
}

func (p *parser) ternary(cond any) (any, error) {
	node := ternary{cond: cond}
	var err error
	if !p.accept(":") {
		if node.then, err = p.binary(precTernary); err != nil {
			return nil, err
		}
		if err = p.expect(":"); err != nil {
			return nil, err
		}
	}
	node.otherwise, err = p.binary(precTernary + 1)
	return node, err
}

var castTypes = map[string]string{
	"int": "(int)", "integer": "(int)", "bool": "(bool)", "boolean": "(bool)", "string": "(string)", "binary": "(string)",
	"float": "(float)", "double": "(float)", "array": "(array)", "object": "(object)", "unset": "(unset)",
}

func (p *parser) unary() (any, error) {
	t := p.peek()
	if t.kind == tokOp {
		switch t.text {
		case "!", "-", "+", "~", "@":
			p.take()
			x, err := p.binary(precUnary)
			return unary{op: t.text, x: x}, err
		case "++", "--":
			p.take()
			x, err := p.binary(precUnary)
			return assign{op: t.text[:1], target: x, value: literal{int64(1)}}, err
		case "(":
			if cast, ok := castTypes[strings.ToLower(p.at(1).text)]; ok && p.at(1).kind == tokName && p.at(2).isOp(")") {
				p.pos += 3
				x, err := p.binary(precUnary)
				return unary{op: cast, x: x}, err
			}
		}
	}
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	if x, err = p.postfix(x); err != nil {
		return nil, err
	}
	return p.assignment(x)
}

// assignment reads "target = value". It binds here, tighter than any operator on
// its left, because PHP reads "a() || $b = c()" and "!$a = b()" that way too.
func (p *parser) assignment(target any) (any, error) {
	t := p.peek()
	op, ok := assignOps[t.text]
	if !ok || t.kind != tokOp {
		return target, nil
	}
	switch target.(type) {
	case variable, index, property, staticProperty, arrayLiteral:
	default:
		return nil, p.errorf("this cannot be assigned to")
	}
	p.take()
	if p.peek().isOp("&") {
		return nil, p.errorf("references are not supported")
	}
	value, err := p.binary(precTernary)
	return assign{op: op, target: target, value: value}, err
}

func (p *parser) primary() (any, error) {
	t := p.peek()
	switch t.kind {
	case tokVariable:
		p.take()
		return variable{t.text}, nil
	case tokNumber:
		p.take()
		return literal{t.value}, nil
	case tokString:
		p.take()
		return literal{t.text}, nil
	case tokTemplate:
		p.take()
		return p.template(t)
	case tokName:
		return p.named()
	}
	switch {
	case p.accept("("):
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		// A wrapper keeps ("a" . b) from being joined with what follows, and
		// "(x) = 1" from being read as an assignment.
		return unary{op: "()", x: x}, p.expect(")")
	case p.accept("["):
		return p.arrayItems("]")
	}
	return nil, p.errorf("unexpected %q", t.text)
}

func (p *parser) template(t token) (any, error) {
	node := concat{parts: make([]any, 0, len(t.parts))}
	for _, part := range t.parts {
		if part.tokens == nil {
			node.parts = append(node.parts, literal{part.text})
			continue
		}
		inner := &parser{tokens: part.tokens, depth: p.depth, budget: p.budget}
		x, err := inner.expression()
		if err != nil {
			return nil, err
		}
		if inner.peek().kind != tokEOF {
			return nil, p.errorf("malformed interpolation")
		}
		node.parts = append(node.parts, x)
	}
	return unary{op: "()", x: node}, nil
}

func (p *parser) arrayItems(closing string) (any, error) {
	var node arrayLiteral
	for !p.accept(closing) {
		if p.peek().isOp("...") || p.peek().isOp("&") {
			return nil, p.errorf("references and spreading are not supported")
		}
		var item arrayItem
		var err error
		if item.value, err = p.expression(); err != nil {
			return nil, err
		}
		if p.accept("=>") {
			item.key = item.value
			if item.value, err = p.expression(); err != nil {
				return nil, err
			}
		}
		node.items = append(node.items, item)
		if !p.accept(",") && !p.peek().isOp(closing) {
			return nil, p.errorf("expected a comma or %q", closing)
		}
	}
	return node, nil
}

func arrayLiteralOf(values []any) arrayLiteral {
	var node arrayLiteral
	for _, v := range values {
		node.items = append(node.items, arrayItem{value: v})
	}
	return node
}

// postfix reads what may follow a value: [key], ->name, ->name(…), (…), ++ and --.
func (p *parser) postfix(x any) (any, error) {
	for chain := 0; chain < 500; chain++ {
		var err error
		switch {
		case p.accept("["):
			node := index{base: x}
			if !p.accept("]") {
				if node.key, err = p.expression(); err != nil {
					return nil, err
				}
				err = p.expect("]")
			}
			x = node
		case p.peek().isOp("->"), p.peek().isOp("?->"):
			x, err = p.member(x)
		case p.peek().isOp("("), p.peek().isOp("::"):
			return nil, p.errorf("a computed function or class cannot be followed")
		case p.peek().isOp("++"), p.peek().isOp("--"):
			x = assign{op: p.take().text[:1], target: x, value: literal{int64(1)}, yieldsOld: true}
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errTooComplex
}

func (p *parser) member(base any) (any, error) {
	p.take()
	name := p.take()
	if name.kind != tokName {
		return nil, p.errorf("a computed property cannot be followed")
	}
	if !p.accept("(") {
		return property{base: base, name: name.text}, nil
	}
	args, err := p.list(")")
	return methodCall{base: base, name: strings.ToLower(name.text), args: args}, err
}
