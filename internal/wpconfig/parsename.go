package wpconfig

import (
	"slices"
	"strings"
)

// isDeclaration tells a function or class declaration from an expression.
func (p *parser) isDeclaration() bool {
	t := p.peek()
	switch strings.ToLower(t.text) {
	case "function":
		return p.at(1).kind == tokName || p.at(1).isOp("&") && p.at(2).kind == tokName
	case "abstract", "final", "readonly", "class", "interface", "trait", "enum":
		return p.at(1).kind == tokName
	case "static":
		return p.at(1).kind == tokVariable
	}
	return false
}

// declaration passes over a function, class or static variable. A class does
// nothing until it is used; what a function could set matters when it is called.
func (p *parser) declaration() (any, error) {
	if p.peek().isWord("static") {
		return nil, p.errorf("static variables are not supported")
	}
	function := p.peek().isWord("function")
	var name string
	for !p.peek().isOp("{") {
		t := p.take()
		switch {
		case t.kind == tokEOF || t.isOp(";"):
			return nil, p.errorf("malformed declaration")
		case t.kind == tokName && !t.isWord("function") && name == "":
			name = strings.ToLower(t.text)
		}
	}
	body, err := p.skipBalanced("{", "}")
	if err != nil || !function {
		return blockStmt(nil), err
	}
	does := scanEffects(body)
	if !slices.ContainsFunc(body, reachesOut) {
		does.variables = nil // local ones
	}
	return funcStmt{name: name, does: does}, nil
}

// reachesOut reports a token by which a function can change its caller's variables.
func reachesOut(t token) bool {
	return t.isWord("global") || t.kind == tokVariable && t.text == "GLOBALS" || t.isOp("&")
}

// named reads an expression that begins with a word.
func (p *parser) named() (any, error) {
	t := p.take()
	word := strings.ToLower(t.text)
	switch word {
	case "__dir__":
		return magicDir{}, nil
	case "__file__":
		return magicFile{}, nil
	case "__line__":
		return literal{int64(t.line)}, nil
	case "include", "include_once", "require", "require_once":
		path, err := p.expression()
		return includeExpr{once: strings.HasSuffix(word, "_once"), must: strings.HasPrefix(word, "require"), path: path}, err
	case "eval":
		code, err := p.parenthesized()
		return evalExpr{code}, err
	case "exit", "die":
		if p.peek().isOp("(") {
			_, err := p.skipBalanced("(", ")")
			return exitExpr{}, err
		}
		return exitExpr{}, nil
	case "throw":
		_, err := p.expression()
		return exitExpr{}, err
	case "print", "clone":
		x, err := p.binary(precTernary)
		return unary{op: word, x: x}, err
	case "isset", "empty", "array", "list":
		if p.peek().isOp("(") {
			return p.languageCall(word)
		}
	case "new":
		return p.newExpression()
	case "function", "fn", "static", "match", "yield":
		if word != "static" || !p.peek().isOp("::") {
			return p.unread(word)
		}
	}
	switch {
	case p.accept("("):
		args, err := p.list(")")
		return call{name: baseName(word), args: args}, err
	case p.accept("::"):
		return p.static(t.text)
	}
	return constant{strings.TrimPrefix(t.text, `\`)}, nil
}

func (p *parser) languageCall(word string) (any, error) {
	if word == "empty" {
		x, err := p.parenthesized()
		return emptyExpr{x}, err
	}
	p.take()
	if word == "array" || word == "list" {
		return p.arrayItems(")")
	}
	targets, err := p.list(")")
	return issetExpr{targets}, err
}

func (p *parser) newExpression() (any, error) {
	name := p.take()
	if name.kind != tokName || name.isWord("class") {
		return nil, p.errorf("a computed or anonymous class cannot be followed")
	}
	node := newObject{class: baseName(name.text)}
	if !p.accept("(") {
		return node, nil
	}
	var err error
	node.args, err = p.list(")")
	return node, err
}

// static reads what follows Class:: .
func (p *parser) static(class string) (any, error) {
	name := p.take()
	switch {
	case name.kind == tokVariable:
		return staticProperty{}, nil
	case name.kind != tokName:
		return nil, p.errorf("a computed class member cannot be followed")
	case p.accept("("):
		args, err := p.list(")")
		return staticCall{class: baseName(class), name: strings.ToLower(name.text), args: args}, err
	}
	return constant{class + "::" + name.text}, nil
}

// unread passes over a closure or a match, keeping only what it could set.
func (p *parser) unread(word string) (any, error) {
	start := p.pos
	for {
		t := p.peek()
		switch {
		case t.kind == tokEOF, t.isOp(";"), t.isOp(","), t.isOp(")"), t.isOp("]"), t.isOp("}"):
			read := p.tokens[start:p.pos]
			does := scanEffects(read)
			if !slices.ContainsFunc(read, reachesOut) {
				does.variables = nil
			}
			return opaque{what: "a " + describe(word), does: does}, nil
		case t.isOp("("):
			if _, err := p.skipBalanced("(", ")"); err != nil {
				return nil, err
			}
		case t.isOp("["):
			if _, err := p.skipBalanced("[", "]"); err != nil {
				return nil, err
			}
		case t.isOp("{"):
			if _, err := p.skipBalanced("{", "}"); err != nil {
				return nil, err
			}
		default:
			p.take()
		}
	}
}

func describe(word string) string {
	if word == "match" || word == "yield" {
		return word + " expression"
	}
	return "function without a name"
}

// baseName is the last segment of a namespaced name.
func baseName(name string) string {
	return name[strings.LastIndexByte(name, '\\')+1:]
}
