package wpconfig

func (e *evaluator) assign(n assign) any {
	var old any
	if n.op != "" {
		old = e.eval(n.target)
	}
	var v any
	switch n.op {
	case "":
		v = e.eval(n.value)
	case ".":
		v = e.concat([]any{literal{old}, n.value})
	case "??":
		v = e.coalesce(old, n.value)
	default:
		v = e.binary(binary{op: n.op, left: literal{old}, right: n.value})
	}
	if e.ctl != running {
		return v
	}
	e.assignTo(n.target, v)
	if n.yieldsOld {
		return old
	}
	return v
}

func (e *evaluator) assignTo(target, v any) {
	switch t := target.(type) {
	case variable:
		e.st.variables[t.name] = slot{value: v}
	case index:
		e.assignElement(t, v)
	case property:
		if root, ok := rootVariable(t); ok {
			e.st.variables[root] = slot{value: e.unknownf("$%s is an object", root)}
		}
	case arrayLiteral: // [$a, $b] = …
		source, _ := plain(v).(*array)
		for i, item := range t.items {
			e.assignTo(item.value, e.destructured(source, item.key, i, v))
		}
	}
}

func (e *evaluator) destructured(source *array, keyExpr any, position int, whole any) any {
	if source == nil {
		return unknown{e.reason(whole)}
	}
	key := any(int64(position))
	if keyExpr != nil {
		key = e.eval(keyExpr)
	}
	return e.element(source, key)
}

// assignElement sets $a[k]…[k] = v on a copy of the array, as PHP's value semantics ask.
func (e *evaluator) assignElement(t index, v any) {
	var path []any
	base := any(t)
	for {
		node, ok := base.(index)
		if !ok {
			break
		}
		path = append([]any{node.key}, path...)
		base = node.base
	}
	root, ok := base.(variable)
	if !ok {
		if name, found := rootVariable(base); found {
			e.st.variables[name] = slot{value: e.unknownf("$%s is an object", name)}
		}
		return
	}
	keys := make([]any, len(path))
	for i, k := range path {
		if k == nil {
			continue // $a[]
		}
		value := e.eval(k)
		if keys[i], ok = arrayKey(value); !ok {
			e.spoil(root.name, e.reason(value))
			return
		}
	}
	if superglobal(root.name) {
		e.assignSuperglobal(root.name, keys, v)
		return
	}
	s := e.st.variables[root.name]
	updated, ok := e.withElement(s.value, keys, v)
	if !ok || s.maybe {
		e.spoil(root.name, e.unknownf("an element of $%s is set", root.name).why)
		return
	}
	e.st.variables[root.name] = slot{value: updated}
}

func (e *evaluator) withElement(base any, keys []any, v any) (any, bool) {
	if len(keys) == 0 {
		return v, true
	}
	old, ok := plain(base).(*array)
	switch {
	case plain(base) == nil:
		old = newArray()
	case !ok:
		return nil, false
	}
	if !e.spend(len(old.keys)) {
		return nil, false
	}
	a := old.clone()
	key := keys[0]
	if path := keys[0]; path == nil {
		key = a.next
	}
	inner, ok := e.withElement(a.values[key], keys[1:], v)
	if ok {
		a.set(key, inner)
	}
	return a, ok
}

// spoil makes a variable unknown because some part of it changed in an unknown way.
func (e *evaluator) spoil(name, why string) {
	e.st.variables[name] = slot{value: unknown{why}}
	if name == "GLOBALS" {
		e.st.variables["table_prefix"] = slot{value: unknown{why}}
	}
}

func element(superglobal, key string) string { return superglobal + "[" + key + "]" }

func (e *evaluator) assignSuperglobal(name string, keys []any, v any) {
	key, ok := keys[0].(string)
	if !ok || len(keys) > 1 {
		e.spoil(name, e.unknownf("an element of $%s is set", name).why)
		return
	}
	if name == "GLOBALS" {
		e.st.variables[key] = slot{value: v}
		return
	}
	e.st.overrides[element(name, key)] = slot{value: v}
}

func (e *evaluator) unset(target any) {
	switch t := target.(type) {
	case variable:
		e.st.variables[t.name] = slot{}
	case index:
		root, ok := rootVariable(t)
		key, literalKey := t.key.(literal)
		name, isText := key.value.(string)
		switch {
		case ok && superglobal(root) && literalKey && isText:
			e.assignSuperglobal(root, []any{name}, nil)
		case ok:
			e.spoil(root, e.unknownf("a part of $%s is removed", root).why)
		}
	}
}

// rootVariable finds $a in $a['x']->y['z'].
func rootVariable(x any) (string, bool) {
	for {
		switch t := x.(type) {
		case variable:
			return t.name, true
		case index:
			x = t.base
		case property:
			x = t.base
		case unary:
			x = t.x
		default:
			return "", false
		}
	}
}

// index reads $a[key]; the superglobals are not arrays of this program.
func (e *evaluator) index(n index) any {
	if n.key == nil {
		return e.unknownf("[] cannot be read")
	}
	if root, ok := n.base.(variable); ok && superglobal(root.name) {
		if s, replaced := e.st.variables[root.name]; replaced {
			return unknown{e.reason(s.value)}
		}
		key := e.eval(n.key)
		name, ok := plain(key).(string)
		if !ok {
			return unknown{e.reason(key)}
		}
		return e.superglobalElement(root.name, name)
	}
	return e.element(e.eval(n.base), e.eval(n.key))
}

func (e *evaluator) superglobalElement(root, name string) any {
	if root == "GLOBALS" {
		return e.variable(name)
	}
	if s, ok := e.st.overrides[element(root, name)]; ok {
		return readSlot(s)
	}
	if root == "_SERVER" || root == "_ENV" {
		return e.environment(name, nil)
	}
	return e.unknownf("$%s depends on the request", root)
}

func readSlot(s slot) any {
	if s.maybe {
		return unknown{s.why}
	}
	return s.value
}

func (e *evaluator) element(base, key any) any {
	if u, ok := base.(unknown); ok {
		return u
	}
	k, ok := arrayKey(key)
	if !ok {
		return unknown{e.reason(key)}
	}
	switch b := plain(base).(type) {
	case nil:
		return sameDoubt(base, nil)
	case *array:
		if v, ok := b.values[k]; ok {
			return sameDoubt(base, v)
		}
		return doubtful{nil, e.unknownf("the array has no element %v", k).why}
	case string:
		if i, ok := k.(int64); ok && i >= 0 && i < int64(len(b)) {
			return sameDoubt(base, b[i:i+1])
		}
	}
	return e.unknownf("this value has no element %v", k)
}
