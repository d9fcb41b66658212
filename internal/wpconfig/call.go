package wpconfig

import (
	"path"
	"strings"
)

// call evaluates the functions that touch the state or the machine; the ones
// that only compute are in functions.go.
func (e *evaluator) call(n call) any {
	if does, ok := e.functions[n.name]; ok && n.name != "getenv_docker" {
		return e.ownFunction(n, does)
	}
	args := make([]any, len(n.args))
	for i, arg := range n.args {
		args[i] = e.eval(arg)
	}
	if e.ctl != running {
		return nil
	}
	if v, ok := e.stateFunction(n.name, args); ok {
		return v
	}
	if v, ok := e.machineFunction(n.name, args); ok {
		return v
	}
	e.changeByReference(n)
	return e.compute(n.name, args)
}

// ownFunction stands for a function of the configuration itself, which is not run.
func (e *evaluator) ownFunction(n call, does effects) any {
	e.evalAll(n.args)
	what := "the function " + n.name + "()"
	e.apply(does, what)
	e.taint(n.args, what)
	return e.unknownf("%s is not run by Holdline", what)
}

// referenceArgs lists PHP functions that write into their arguments, from the
// given position on.
var referenceArgs = map[string]int{
	"preg_match": 2, "preg_match_all": 2, "sscanf": 2, "parse_str": 1, "settype": 0, "array_push": 0, "array_pop": 0,
	"array_shift": 0, "array_unshift": 0, "array_splice": 0, "array_walk": 0, "sort": 0, "rsort": 0, "asort": 0,
	"arsort": 0, "ksort": 0, "krsort": 0, "usort": 0, "uasort": 0, "uksort": 0, "shuffle": 0,
}

func (e *evaluator) changeByReference(n call) {
	if first, ok := referenceArgs[n.name]; ok && first < len(n.args) {
		e.taint(n.args[first:], n.name+"()")
	}
	if n.name == "extract" || n.name == "parse_str" && len(n.args) == 1 {
		e.spoil("table_prefix", e.unknownf("%s() may set it", n.name).why)
	}
}

func (e *evaluator) taint(args []any, what string) {
	for _, arg := range args {
		if v, ok := arg.(variable); ok {
			e.spoil(v.name, e.unknownf("%s may change it", what).why)
		}
	}
}

func (e *evaluator) stateFunction(name string, args []any) (any, bool) {
	switch name {
	case "define":
		return e.defineCall(args), true
	case "defined":
		if s, ok := textArg(args, 0); ok {
			return e.defined(strings.TrimPrefix(s, `\`)), true
		}
		return e.unknownf("defined() of a name that is only known when PHP runs"), true
	case "constant":
		if s, ok := textArg(args, 0); ok {
			return e.constant(s), true
		}
		return e.unknownf("constant() of a name that is only known when PHP runs"), true
	case "function_exists":
		s, ok := textArg(args, 0)
		_, declared := e.functions[strings.ToLower(s)]
		if ok && declared {
			return true, true
		}
		return e.unknownf("function_exists()"), true
	}
	return nil, false
}

func (e *evaluator) machineFunction(name string, args []any) (any, bool) {
	switch name {
	case "getenv":
		if s, ok := textArg(args, 0); ok {
			return e.getenv(s), true
		}
	case "getenv_docker":
		return e.getenvDocker(args), true
	case "env":
		return e.bedrockEnv(args), true
	case "putenv":
		return e.putenv(args), true
	case "file_exists", "is_file", "is_readable", "is_dir":
		if len(args) == 1 {
			return e.fileTest(name, args[0]), true
		}
	case "file_get_contents":
		if len(args) > 0 {
			return e.contents(args[0]), true
		}
	case "realpath":
		if s, ok := textArg(args, 0); ok && absolute(s) {
			e.look(path.Clean(s))
			if real, err := e.files.real(path.Clean(s)); err == nil {
				return real, true
			}
			return false, true
		}
	}
	return nil, false
}

// defineCall is define('NAME', value). A name that only PHP can tell leaves a hole.
func (e *evaluator) defineCall(args []any) any {
	if len(args) < 2 {
		return false
	}
	name, ok := textArg(args, 0)
	if !ok {
		return e.hidden("define() of a name that is only known when PHP runs (%s)", e.reason(args[0]))
	}
	e.define(strings.TrimPrefix(name, `\`), args[1])
	return true
}

// define keeps the first definition, as PHP does. After one that happened on
// some paths only, the constant is certain when both values agree.
func (e *evaluator) define(name string, value any) {
	old, exists := e.st.constants[name]
	switch {
	case !exists:
		e.st.constants[name] = slot{value: value}
	case old.maybe:
		e.st.constants[name] = slot{value: mergeValues(old.value, value, old.why)}
	}
}

func (e *evaluator) defined(name string) any {
	s, ok := e.st.constants[name]
	switch {
	case ok && s.maybe:
		return unknown{s.why}
	case ok:
		return true
	case phpConstants[name] != nil:
		return true
	case e.st.hole != "":
		return unknown{e.st.hole}
	}
	return false
}

// staticCall knows Roots\WPConfig\Config of Bedrock, Env\Env and Dotenv.
func (e *evaluator) staticCall(n staticCall) any {
	class := strings.ToLower(n.class)
	if class == "dotenv" && strings.HasPrefix(n.name, "create") {
		v := e.dotenv(n.args, n.name == "create")
		if loader, ok := v.(dotenvLoader); ok {
			loader.override = strings.HasSuffix(n.name, "mutable") && !strings.HasSuffix(n.name, "immutable")
			return loader
		}
		return v
	}
	args := make([]any, len(n.args))
	for i, arg := range n.args {
		args[i] = e.eval(arg)
	}
	if e.ctl != running {
		return nil
	}
	switch {
	case class == "config":
		return e.bedrockConfig(n.name, args)
	case class == "env" && n.name == "get":
		return e.bedrockEnv(args)
	}
	return e.unknownf("%s::%s()", n.class, n.name)
}

// bedrockConfig is Roots\WPConfig\Config: definitions are collected, the last one
// wins, and apply() makes them constants (roots/wp-config, src/Config.php).
func (e *evaluator) bedrockConfig(method string, args []any) any {
	if method == "apply" {
		for name, s := range e.st.bedrock {
			if !s.maybe {
				e.define(name, s.value)
				continue
			}
			if _, exists := e.st.constants[name]; !exists {
				e.st.constants[name] = s
			}
		}
		return nil
	}
	name, ok := textArg(args, 0)
	if !ok {
		return e.hidden("Config::%s() of a name that is only known when PHP runs", method)
	}
	switch {
	case method == "define" && len(args) > 1:
		if e.defined(name) != true { // else it throws
			e.st.bedrock[name] = slot{value: args[1]}
		}
	case method == "get":
		if s, ok := e.st.bedrock[name]; ok {
			return readSlot(s)
		}
	case method == "remove":
		delete(e.st.bedrock, name)
	}
	return e.unknownf("Config::%s()", method)
}

func (e *evaluator) methodCall(n methodCall) any {
	base := e.eval(n.base)
	e.evalAll(n.args)
	loader, ok := base.(dotenvLoader)
	if !ok || e.ctl != running {
		return e.unknownf("the method %s()", n.name)
	}
	switch n.name {
	case "load", "safeload":
		e.loadDotenv(loader)
	case "overload":
		loader.override = true
		e.loadDotenv(loader)
	}
	return loader
}
