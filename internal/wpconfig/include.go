package wpconfig

import (
	"path"
	"slices"
	"strings"
)

const (
	maxIncludeDepth = 16
	maxLookups      = 1000
)

// include follows include, require and their _once forms. What cannot be
// followed leaves a hole: constants may then exist that were not seen.
func (e *evaluator) include(n includeExpr) any {
	v := e.eval(n.path)
	if e.ctl != running {
		return nil
	}
	// The path of wp-settings.php often begins with an ABSPATH that is not known.
	if tail := literalTail(n.path); tail == "wp-settings.php" || strings.HasSuffix(tail, "/wp-settings.php") {
		e.ctl = finished
		return nil
	}
	name, ok := text(v)
	if why, doubted := doubt(v); doubted || !ok {
		return e.hidden("a file is included whose path is only known when PHP runs (%s)", why)
	}
	if path.Base(name) == "wp-settings.php" {
		e.ctl = finished
		return nil
	}
	if strings.HasSuffix(name, "vendor/autoload.php") {
		return e.unknownf("Composer's class loader") // it sets no constants
	}
	name, err := e.find(name)
	switch {
	case missing(err) && !n.must:
		return false
	case err != nil:
		return e.hidden("cannot follow the include: %v", err)
	case n.once && e.st.included[name]:
		return true
	}
	return e.includeFile(name)
}

func (e *evaluator) includeFile(name string) any {
	for f := e.file; f != nil; f = f.parent {
		if f.name == name {
			return e.hidden("%s includes itself", name)
		}
	}
	if e.file.depth >= maxIncludeDepth {
		return e.hidden("files include each other more than %d levels deep", maxIncludeDepth)
	}
	if !within(name, e.opt.Roots) {
		return e.hidden("%s is outside the folders that Holdline may read (%s)", name, strings.Join(e.opt.Roots, ", "))
	}
	src, err := e.files.read(name)
	if err != nil {
		return e.hidden("cannot read the included file: %v", err)
	}
	if !e.spend(len(src) / 4) {
		return nil
	}
	body, err := parseSource(src)
	if err != nil {
		return e.hidden("cannot read %s: %v", name, err)
	}
	e.st.included[name] = true
	return e.run(&fileFrame{name: name, dir: path.Dir(name), depth: e.file.depth + 1, parent: e.file}, body)
}

func parseSource(src []byte) (blockStmt, error) {
	tokens, err := lex(string(src))
	if err != nil {
		return nil, err
	}
	return parse(tokens)
}

// run evaluates one file's body and returns the value of its return statement.
func (e *evaluator) run(file *fileFrame, body blockStmt) any {
	outerFile, outerLoop := e.file, e.loop
	e.file, e.loop = file, nil
	e.hoist(body)
	e.block(body)
	if e.ctl == running {
		file.values = append(file.values, int64(1))
	}
	e.join(&file.returned)
	e.file, e.loop = outerFile, outerLoop
	if len(file.values) == 0 {
		return nil
	}
	value := file.values[0]
	for _, other := range file.values[1:] {
		value = mergeValues(value, other, e.why)
	}
	return value
}

// hoist makes functions callable before the line that declares them.
func (e *evaluator) hoist(body blockStmt) {
	for _, s := range body {
		if f, ok := s.node.(funcStmt); ok {
			e.functions[f.name] = f.does
		}
	}
}

// hidden records that constants may be defined out of sight.
func (e *evaluator) hidden(format string, args ...any) unknown {
	u := e.unknownf(format, args...)
	if e.st.hole == "" {
		e.st.hole = u.why
	}
	return u
}

// find resolves an include path as PHP does: relative to the including file, and
// to the main file for PHP's working folder, which is not known for certain.
func (e *evaluator) find(name string) (string, error) {
	name = strings.ReplaceAll(name, `\`, "/")
	candidates := []string{path.Clean(name)}
	if !absolute(name) {
		candidates = []string{path.Join(e.file.dir, name), path.Join(e.main.dir, name)}
	}
	var err error
	for _, candidate := range candidates {
		e.look(candidate)
		if _, err = e.files.stat(candidate); err == nil {
			return e.files.real(candidate)
		}
		if !missing(err) {
			return "", err
		}
	}
	return "", err
}

// look remembers a file whose change or appearance may change the configuration.
func (e *evaluator) look(name string) {
	if !slices.Contains(e.looked, name) {
		e.looked = append(e.looked, name)
	}
	if len(e.looked) > maxLookups && e.err == nil {
		e.err, e.ctl = errTooComplex, ended
	}
}

// literalTail is the literal text an expression's value certainly ends with.
func literalTail(x any) string {
	for {
		switch n := x.(type) {
		case unary:
			if n.op != "()" {
				return ""
			}
			x = n.x
		case concat:
			x = n.parts[len(n.parts)-1]
		case literal:
			s, _ := n.value.(string)
			return s
		default:
			return ""
		}
	}
}

// evalCode evaluates eval()'s text, such as WORDPRESS_CONFIG_EXTRA of the Docker image.
func (e *evaluator) evalCode(v any) any {
	code, ok := text(v)
	if why, doubted := doubt(v); doubted || !ok {
		return e.hidden("eval() runs code that is only known when PHP runs (%s)", why)
	}
	if e.file.depth >= maxIncludeDepth {
		return e.hidden("eval() inside eval() more than %d levels deep", maxIncludeDepth)
	}
	if !e.spend(len(code)) {
		return nil
	}
	tokens, err := lexCode(code)
	if err != nil {
		return e.hidden("cannot read the code of eval(): %v", err)
	}
	body, err := parse(tokens)
	if err != nil {
		return e.hidden("cannot read the code of eval(): %v", err)
	}
	frame := &fileFrame{name: e.file.name + " (eval)", dir: e.file.dir, depth: e.file.depth + 1, parent: e.file}
	e.run(frame, body)
	return nil
}

// fileTest answers file_exists(), is_file(), is_readable() and is_dir().
func (e *evaluator) fileTest(fn string, v any) any {
	name, ok := text(v)
	if why, doubted := doubt(v); doubted || !ok {
		return unknown{why}
	}
	if !absolute(name) {
		name = path.Join(e.main.dir, name)
	}
	e.look(name)
	info, err := e.files.stat(name)
	switch {
	case missing(err), name == "":
		return false
	case err != nil:
		return e.unknownf("cannot look at %s: %v", name, err)
	case fn == "is_file":
		return info.Mode().IsRegular()
	case fn == "is_dir":
		return info.IsDir()
	}
	return true
}

// contents answers file_get_contents() for files inside the roots.
func (e *evaluator) contents(v any) any {
	name, ok := text(v)
	if why, doubted := doubt(v); doubted || !ok {
		return unknown{why}
	}
	name, err := e.find(name)
	if err != nil {
		return e.unknownf("cannot read the file: %v", err)
	}
	if !within(name, e.opt.Roots) {
		return e.unknownf("%s is outside the folders that Holdline may read", name)
	}
	return e.fileText(name)
}

func (e *evaluator) fileText(name string) any {
	e.look(name)
	data, err := e.files.read(name)
	if err != nil {
		return e.unknownf("cannot read the file: %v", err)
	}
	if !e.spend(len(data)) {
		return nil
	}
	return string(data)
}
