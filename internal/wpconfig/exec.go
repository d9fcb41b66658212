package wpconfig

import (
	"fmt"
	"slices"
	"strings"
)

// maxWork bounds the time and memory of one evaluation: nodes of the tree, copied
// names and copied bytes cost work. A real configuration needs some ten thousand.
const maxWork = 2 << 20

// control tells why the current path does not go on with the next statement.
type control uint8

const (
	running control = iota
	breaking
	continuing
	returning // from the current file
	finished  // wp-settings.php was reached: the configuration is complete
	ended     // exit, throw, or a path that was put away
)

type evaluator struct {
	opt   Options
	files files
	st    *state
	ctl   control
	file  *fileFrame
	loop  *loopFrame
	main  *fileFrame

	returned  any    // value of the running return
	why       string // reason of the latest fork
	done      []*state
	lastExit  *state
	functions map[string]effects
	missing   map[string]bool // environment variables asked for and not found
	looked    []string        // files read or looked for
	depth     int
	forks     int
	work      int
	err       error
}

// fileFrame is one file being evaluated; returned are the paths that left it early.
type fileFrame struct {
	name, dir string
	line      int
	depth     int
	parent    *fileFrame
	returned  []*state
	values    []any
}

// loopFrame collects the paths that left a loop, or one round of it.
type loopFrame struct{ broken, continued []*state }

func (e *evaluator) spend(n int) bool {
	e.work += n
	if e.work > maxWork && e.err == nil {
		e.err, e.ctl = errTooComplex, ended
	}
	return e.err == nil
}

func (e *evaluator) where() string { return fmt.Sprintf("%s:%d", e.file.name, e.file.line) }

// unknownf is a value that only PHP knows. A reason may quote another reason, so
// its length is bounded.
func (e *evaluator) unknownf(format string, args ...any) unknown {
	why := e.where() + ": " + fmt.Sprintf(format, args...)
	if len(why) > 600 {
		why = strings.ToValidUTF8(why[:600], "") + "…"
	}
	return unknown{why}
}

func (e *evaluator) block(body blockStmt) {
	for _, s := range body {
		if e.ctl != running || !e.spend(1) {
			return
		}
		e.file.line = s.line
		e.statement(s.node)
	}
}

func (e *evaluator) statement(node any) {
	switch n := node.(type) {
	case blockStmt:
		e.block(n)
	case ifStmt:
		e.branches(n.branches)
	case foreachStmt:
		e.foreach(n)
	case loopStmt:
		e.evalAll(n.init)
		e.anyTimes("the number of rounds of this loop is not known", func() {
			e.evalAll(n.cond)
			e.block(n.body)
			e.evalAll(n.step)
		})
	case switchStmt:
		e.switchOver(n)
	case tryStmt:
		e.try(n)
	case constStmt:
		for _, item := range n.items {
			if v := e.eval(item.value); e.ctl == running {
				e.define(item.key.(string), v)
			}
		}
	case returnStmt:
		e.returned = nil
		if n.value != nil {
			e.returned = e.eval(n.value)
		}
		if e.ctl == running {
			e.ctl = returning
		}
	case breakStmt:
		switch {
		case e.loop == nil: // PHP refuses this; it is left over from code that was not read
		case n.leaves:
			e.ctl = breaking
		default:
			e.ctl = continuing
		}
	case opaque:
		e.eval(n)
		if n.does.returns && e.ctl == running {
			e.fork(e.unknownf("%s may leave the file", n.what).why, func() { e.ctl = returning }, func() {})
		}
	case unsetStmt:
		for _, target := range n.targets {
			e.unset(target)
		}
	case funcStmt:
		e.functions[n.name] = n.does
	default:
		e.eval(node)
	}
}

func (e *evaluator) evalAll(list []any) {
	for _, x := range list {
		e.eval(x)
	}
}

// branches runs if/elseif/else; a nil condition is the else.
func (e *evaluator) branches(list []branch) {
	for i, b := range list {
		if b.cond == nil {
			e.block(b.body)
			return
		}
		v := e.eval(b.cond)
		if e.ctl != running {
			return
		}
		yes, ok := truth(v)
		if !ok {
			e.fork(e.reason(v), func() { e.block(b.body) }, func() { e.branches(list[i+1:]) })
			return
		}
		if yes {
			e.block(b.body)
			return
		}
	}
}

// reason says why v's truth is not known.
func (e *evaluator) reason(v any) string {
	if why, ok := doubt(v); ok {
		return why
	}
	return e.unknownf("this condition cannot be decided").why
}

// fork follows each alternative from the present state and merges the outcomes.
// An alternative that ends the request is left out: the site works, so its
// requests do not take that way.
func (e *evaluator) fork(why string, alternatives ...func()) {
	e.forks++
	defer func() { e.forks-- }()
	if e.forks > maxNesting && e.err == nil {
		e.err, e.ctl = errTooComplex, ended
	}
	base, line := e.st, e.file.line
	var live []*state
	for _, run := range alternatives {
		if !e.spend(1 + 4*base.size()) {
			return
		}
		e.st, e.ctl, e.file.line = base.clone(), running, line
		run()
		e.why = why
		if e.park() {
			live = append(live, e.st)
		}
	}
	e.continueWith(live)
}

// park puts the current path away if it is not running, and tells whether it is.
func (e *evaluator) park() bool {
	switch e.ctl {
	case running:
		return true
	case breaking, continuing:
		if e.ctl == breaking {
			e.loop.broken = append(e.loop.broken, e.st)
		} else {
			e.loop.continued = append(e.loop.continued, e.st)
		}
	case returning:
		e.file.returned = append(e.file.returned, e.st)
		e.file.values = append(e.file.values, e.returned)
	case finished:
		e.done = append(e.done, e.st)
	}
	e.ctl = ended
	return false
}

// continueWith merges paths and goes on with the result; without any, this path ends.
func (e *evaluator) continueWith(paths []*state) {
	if e.err != nil || len(paths) == 0 {
		e.ctl = ended
		return
	}
	e.st, e.ctl = e.mergeAll(paths), running
}

func (e *evaluator) mergeAll(paths []*state) *state {
	merged := paths[0]
	for _, other := range paths[1:] {
		e.spend(merged.size() + other.size())
		merged = merge(merged, other, e.why)
	}
	return merged
}

// join goes on with the current path, if it runs, and those put away in list.
func (e *evaluator) join(list *[]*state) {
	if e.park() {
		if len(*list) == 0 {
			e.ctl = running
			return
		}
		*list = append(*list, e.st)
	}
	paths := *list
	*list = nil
	e.continueWith(paths)
}

func (e *evaluator) foreach(n foreachStmt) {
	subject := e.eval(n.subject)
	if e.ctl != running {
		return
	}
	list, ok := plain(subject).(*array)
	if !ok {
		value := unknown{e.reason(subject)}
		e.anyTimes(value.why, func() {
			e.assignPair(n, value, value)
			e.block(n.body)
		})
		return
	}
	outer := e.loop
	e.loop = &loopFrame{}
	for _, key := range list.keys {
		e.assignPair(n, key, list.values[key])
		e.block(n.body)
		e.join(&e.loop.continued)
		if e.ctl != running {
			break
		}
	}
	e.join(&e.loop.broken)
	e.loop = outer
}

func (e *evaluator) assignPair(n foreachStmt, key, value any) {
	if n.key != nil {
		e.assignTo(n.key, key)
	}
	e.assignTo(n.value, value)
}

// anyTimes runs a body that PHP runs an unknown number of times. Twice is
// enough: whatever the first round changes is unknown in the second.
func (e *evaluator) anyTimes(why string, body func()) {
	outer := e.loop
	e.loop = &loopFrame{}
	for range 2 {
		e.fork(why, func() {
			body()
			e.join(&e.loop.continued)
		}, func() {})
	}
	e.join(&e.loop.broken)
	e.loop = outer
}

func (e *evaluator) switchOver(n switchStmt) {
	subject := e.eval(n.subject)
	if e.ctl != running {
		return
	}
	outer := e.loop
	e.loop = &loopFrame{}
	e.switchFrom(subject, n.cases, 0)
	e.join(&e.loop.broken)
	e.join(&e.loop.continued) // in a switch, continue is break
	e.loop = outer
}

// switchFrom compares from the i-th case on and runs the first that fits, with
// those it falls through to.
func (e *evaluator) switchFrom(subject any, cases []branch, i int) {
	runFrom := func(i int) {
		for _, c := range cases[i:] {
			e.block(c.body)
		}
	}
	for ; i < len(cases); i++ {
		if cases[i].cond == nil {
			continue
		}
		label := e.eval(cases[i].cond)
		if e.ctl != running {
			return
		}
		same, ok := equal(subject, label)
		if !ok {
			why := e.reason(subject)
			e.fork(why, func() { runFrom(i) }, func() { e.switchFrom(subject, cases, i+1) })
			return
		}
		if same {
			runFrom(i)
			return
		}
	}
	if i := slices.IndexFunc(cases, func(c branch) bool { return c.cond == nil }); i >= 0 {
		runFrom(i)
	}
}

// try takes it that nothing goes wrong on a working site; only a body that always
// throws leads to its first catch.
func (e *evaluator) try(n tryStmt) {
	before := e.st.clone()
	e.spend(4 * before.size())
	e.block(n.body)
	if e.ctl == ended && e.err == nil && len(n.catches) > 0 && e.lastExit != nil {
		e.st, e.ctl = before, running
		e.block(n.catches[0])
	}
	if e.ctl == running {
		e.block(n.finally)
	}
}

// apply takes the possible effects of code that was not read.
func (e *evaluator) apply(does effects, what string) {
	why := e.unknownf("%s may set it", what).why
	for _, name := range does.constants {
		if _, ok := e.st.constants[name]; !ok {
			e.st.constants[name] = slot{value: unknown{why}, maybe: true, why: why}
		}
	}
	for _, name := range does.variables {
		e.st.variables[name] = slot{value: unknown{why}}
	}
	if does.computed && e.st.hole == "" {
		e.st.hole = e.unknownf("%s sets names that only PHP can tell", what).why
	}
}
