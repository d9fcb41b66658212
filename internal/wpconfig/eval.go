package wpconfig

import "strings"

// maxText bounds one computed text; maxEvalDepth the recursion of eval.
const (
	maxText      = 256 << 10
	maxEvalDepth = 3000
)

// eval computes one expression. After it the caller must look at e.ctl when it
// is about to change the state: the expression may have ended the path.
func (e *evaluator) eval(x any) any {
	if e.ctl != running || !e.spend(1) {
		return unknown{"this line is not reached"}
	}
	e.depth++
	defer func() { e.depth-- }()
	if e.depth > maxEvalDepth {
		e.err, e.ctl = errTooComplex, ended
		return nil
	}
	switch x := x.(type) {
	case literal:
		return x.value
	case variable:
		return e.variable(x.name)
	case constant:
		return e.constant(x.name)
	case magicDir:
		return e.file.dir
	case magicFile:
		return e.file.name
	case concat:
		return e.concat(x.parts)
	case binary:
		return e.binary(x)
	case unary:
		return e.unary(x)
	case ternary:
		return e.ternary(x)
	case assign:
		return e.assign(x)
	case index:
		return e.index(x)
	case property:
		return e.element(e.eval(x.base), x.name)
	case arrayLiteral:
		return e.array(x)
	case issetExpr:
		return e.isset(x.targets)
	case emptyExpr:
		return e.not(e.eval(x.x))
	}
	return e.effect(x)
}

// effect computes the expressions that can change more than a variable.
func (e *evaluator) effect(x any) any {
	switch x := x.(type) {
	case call:
		return e.call(x)
	case staticCall:
		return e.staticCall(x)
	case methodCall:
		return e.methodCall(x)
	case newObject:
		if strings.EqualFold(x.class, "Dotenv") {
			return e.dotenv(x.args, false)
		}
		e.evalAll(x.args)
		return e.unknownf("an object of class %s", x.class)
	case includeExpr:
		return e.include(x)
	case evalExpr:
		return e.evalCode(e.eval(x.code))
	case exitExpr:
		e.lastExit, e.ctl = e.st, ended
		return nil
	case opaque:
		e.apply(x.does, x.what)
		return e.unknownf("%s", x.what)
	}
	return e.unknownf("an expression that Holdline does not follow")
}

func (e *evaluator) variable(name string) any {
	s, ok := e.st.variables[name]
	switch {
	case ok && s.maybe:
		return unknown{s.why}
	case ok:
		return s.value
	case superglobal(name):
		return e.unknownf("$%s depends on the request", name)
	case e.st.hole != "":
		return unknown{e.st.hole}
	}
	return doubtful{nil, e.unknownf("$%s is never set", name).why}
}

func superglobal(name string) bool {
	switch name {
	case "_SERVER", "_ENV", "_GET", "_POST", "_COOKIE", "_REQUEST", "_FILES", "_SESSION", "GLOBALS", "this", "argv", "argc":
		return true
	}
	return false
}

// phpConstants are those of PHP and mysqli that configurations use.
var phpConstants = map[string]any{
	"PHP_EOL": "\n", "DIRECTORY_SEPARATOR": "/", "PATH_SEPARATOR": ":", "FILTER_VALIDATE_BOOLEAN": int64(258), "FILTER_VALIDATE_BOOL": int64(258),
	"MYSQLI_CLIENT_FOUND_ROWS": int64(2), "MYSQLI_CLIENT_NO_SCHEMA": int64(16), "MYSQLI_CLIENT_COMPRESS": int64(32),
	"MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT": int64(64), "MYSQLI_CLIENT_IGNORE_SPACE": int64(256),
	"MYSQLI_CLIENT_INTERACTIVE": int64(1024), "MYSQLI_CLIENT_SSL": int64(2048), "MYSQLI_CLIENT_SSL_VERIFY_SERVER_CERT": int64(1 << 30),
	"MYSQL_CLIENT_COMPRESS": int64(32), "MYSQL_CLIENT_SSL": int64(2048),
}

func (e *evaluator) constant(name string) any {
	switch strings.ToLower(name) {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if strings.HasSuffix(name, "::class") {
		return strings.TrimSuffix(name, "::class")
	}
	for _, n := range []string{name, baseName(name)} {
		if s, ok := e.st.constants[n]; ok && s.maybe {
			return unknown{s.why}
		} else if ok {
			return s.value
		}
		if v, ok := phpConstants[n]; ok {
			return v
		}
	}
	switch {
	case strings.HasPrefix(name, "PHP_"):
		return e.unknownf("%s depends on the PHP that runs the site", name)
	case e.st.hole != "":
		return unknown{e.st.hole}
	}
	return e.unknownf("the constant %s is not defined before this line", name)
}

func (e *evaluator) concat(parts []any) any {
	var b strings.Builder
	var why string
	for _, part := range parts {
		v := e.eval(part)
		s, ok := text(v)
		if !ok {
			if u, isUnknown := v.(unknown); isUnknown {
				return u
			}
			return e.unknownf("a value that is no text is joined to a text")
		}
		if reason, ok := doubt(v); ok && why == "" {
			why = reason
		}
		if b.Len()+len(s) > maxText || !e.spend(len(s)/4) {
			return e.unknownf("a text longer than %d bytes", maxText)
		}
		b.WriteString(s)
	}
	if why != "" {
		return doubtful{b.String(), why}
	}
	return b.String()
}

func (e *evaluator) unary(n unary) any {
	v := e.eval(n.x)
	switch n.op {
	case "()", "@", "clone":
		return v
	case "!":
		return e.not(v)
	case "print":
		return int64(1)
	}
	if _, ok := v.(unknown); ok {
		return v
	}
	return e.convert(n.op, v)
}

func (e *evaluator) not(v any) any {
	if yes, ok := truth(v); ok {
		return !yes
	}
	return unknown{e.reason(v)}
}

// convert applies a cast or a sign. A cast to bool ends doubt: it asks only
// whether something is there.
func (e *evaluator) convert(op string, v any) any {
	switch op {
	case "(bool)":
		if yes, ok := truth(v); ok {
			return yes
		}
	case "(string)":
		if s, ok := text(v); ok {
			return sameDoubt(v, s)
		}
	case "(int)", "-", "+", "~":
		n, ok := integer(v)
		switch {
		case !ok:
		case op == "-":
			return sameDoubt(v, -n)
		case op == "~":
			return sameDoubt(v, ^n)
		default:
			return sameDoubt(v, n)
		}
	case "(array)", "(object)":
		// parse_url() cast to an object is read with -> like an array with [].
		if a, ok := plain(v).(*array); ok {
			return a
		}
	case "(unset)":
		return nil
	}
	return e.unknownf("%s of this value", op)
}

// sameDoubt gives a derived value the doubt of the one it came from.
func sameDoubt(from, v any) any {
	if d, ok := from.(doubtful); ok {
		return doubtful{plain(v), d.why}
	}
	return v
}

func (e *evaluator) ternary(n ternary) any {
	cond := e.eval(n.cond)
	then := func() any {
		if n.then == nil {
			return cond
		}
		return e.eval(n.then)
	}
	otherwise := func() any { return e.eval(n.otherwise) }
	return e.choose(cond, then, otherwise)
}

// choose is the ternary operator: it follows both ways when cond is unknown.
func (e *evaluator) choose(cond any, then, otherwise func() any) any {
	if e.ctl != running {
		return cond
	}
	yes, ok := truth(cond)
	switch {
	case !ok:
		return e.forkValue(e.reason(cond), then, otherwise)
	case yes:
		return then()
	}
	return otherwise()
}

func (e *evaluator) forkValue(why string, alternatives ...func() any) any {
	var result any
	first := true
	runs := make([]func(), len(alternatives))
	for i, alternative := range alternatives {
		runs[i] = func() {
			v := alternative()
			switch {
			case e.ctl != running:
			case first:
				result, first = v, false
			default:
				result = mergeValues(result, v, why)
			}
		}
	}
	e.fork(why, runs...)
	return result
}

func (e *evaluator) binary(n binary) any {
	switch n.op {
	case "&&", "and":
		return e.choose(e.eval(n.left), func() any { return e.truthOf(n.right) }, func() any { return false })
	case "||", "or":
		return e.choose(e.eval(n.left), func() any { return true }, func() any { return e.truthOf(n.right) })
	case "??":
		return e.coalesce(e.eval(n.left), n.right)
	}
	left, right := e.eval(n.left), e.eval(n.right)
	for _, v := range []any{left, right} {
		if u, ok := v.(unknown); ok {
			return u
		}
	}
	if v, ok := compare(n.op, left, right); ok {
		return v
	}
	a, aok := integer(left)
	b, bok := integer(right)
	if aok && bok {
		if v, err := arithmetic(n.op, a, b); err == nil {
			return sameDoubt(left, sameDoubt(right, v))
		}
	}
	return e.unknownf("the operator %s with these values", n.op)
}

func (e *evaluator) truthOf(x any) any {
	v := e.eval(x)
	if yes, ok := truth(v); ok {
		return yes
	}
	return unknown{e.reason(v)}
}

func (e *evaluator) coalesce(v, otherwise any) any {
	if u, ok := v.(unknown); ok {
		return e.forkValue(u.why, func() any { return v }, func() any { return e.eval(otherwise) })
	}
	if plain(v) == nil {
		return e.eval(otherwise)
	}
	return v
}

func compare(op string, left, right any) (result any, ok bool) {
	var same bool
	switch op {
	case "===":
		same, ok = identical(left, right)
		return same, ok
	case "!==":
		same, ok = identical(left, right)
		return !same, ok
	case "==":
		same, ok = equal(left, right)
		return same, ok
	case "!=", "<>":
		same, ok = equal(left, right)
		return !same, ok
	case "xor":
		a, aok := truth(left)
		b, bok := truth(right)
		return a != b, aok && bok
	case "<", ">", "<=", ">=":
		a, aok := plain(left).(int64)
		b, bok := plain(right).(int64)
		return op == "<" && a < b || op == ">" && a > b || op == "<=" && a <= b || op == ">=" && a >= b, aok && bok
	}
	return nil, false
}

func (e *evaluator) array(n arrayLiteral) any {
	a := newArray()
	for _, item := range n.items {
		key := any(a.next)
		if item.key != nil {
			k := e.eval(item.key)
			var ok bool
			if key, ok = arrayKey(k); !ok {
				return unknown{e.reason(k)}
			}
		}
		a.set(key, e.eval(item.value))
	}
	return a
}

// isset is true when every target is set and not null.
func (e *evaluator) isset(targets []any) any {
	for _, target := range targets {
		v := e.eval(target)
		if u, ok := v.(unknown); ok {
			return u
		}
		if plain(v) == nil {
			return false
		}
	}
	return true
}
