package wpconfig

// slot is one name's value at one point of the program.
type slot struct {
	value any
	maybe bool // set on some paths only
	why   string
}

type names map[string]slot

// state is everything that the code read so far could have changed. Where a
// condition is unknown the evaluator follows every branch with its own copy and
// merges the copies afterwards: a name that comes out different is unknown.
type state struct {
	constants names
	variables names
	env       names // variables of .env files
	// overrides are assignments that only one reader sees: "_SERVER[X]",
	// "_ENV[X]", and "getenv[X]" for putenv().
	overrides names
	bedrock   names // Config::define() before Config::apply()
	included  map[string]bool
	// hole is why constants may exist that were not seen: an include that could
	// not be followed. Empty when nothing is hidden.
	hole string
}

func newState() *state {
	return &state{
		constants: names{}, variables: names{}, env: names{}, overrides: names{}, bedrock: names{},
		included: map[string]bool{},
	}
}

func (s *state) size() int {
	return len(s.constants) + len(s.variables) + len(s.env) + len(s.overrides) + len(s.bedrock) + len(s.included)
}

func (n names) clone() names {
	c := make(names, len(n))
	for k, v := range n {
		c[k] = v
	}
	return c
}

func (s *state) clone() *state {
	c := &state{
		constants: s.constants.clone(), variables: s.variables.clone(),
		env: s.env.clone(), overrides: s.overrides.clone(), bedrock: s.bedrock.clone(),
		included: make(map[string]bool, len(s.included)), hole: s.hole,
	}
	for k := range s.included {
		c.included[k] = true
	}
	return c
}

// merge joins two paths; why tells what decides between them.
func merge(a, b *state, why string) *state {
	m := &state{
		constants: mergeNames(a.constants, b.constants, why),
		variables: mergeNames(a.variables, b.variables, why),
		env:       mergeNames(a.env, b.env, why),
		overrides: mergeNames(a.overrides, b.overrides, why),
		bedrock:   mergeNames(a.bedrock, b.bedrock, why),
		included:  map[string]bool{},
		hole:      a.hole,
	}
	if m.hole == "" {
		m.hole = b.hole
	}
	for k := range a.included {
		// A file read on one path only counts as not read: reading it again is
		// harmless, because a definition that repeats a possible one settles it.
		if b.included[k] {
			m.included[k] = true
		}
	}
	return m
}

func mergeNames(a, b names, why string) names {
	m := make(names, len(a))
	for name, x := range a {
		if y, ok := b[name]; ok {
			m[name] = mergeSlots(x, y, why)
		} else {
			m[name] = slot{value: x.value, maybe: true, why: why}
		}
	}
	for name, y := range b {
		if _, ok := a[name]; !ok {
			m[name] = slot{value: y.value, maybe: true, why: why}
		}
	}
	return m
}

func mergeSlots(x, y slot, why string) slot {
	out := slot{value: mergeValues(x.value, y.value, why), maybe: x.maybe || y.maybe, why: x.why}
	if out.why == "" {
		out.why = y.why
	}
	return out
}

func mergeValues(x, y any, why string) any {
	if _, ok := x.(unknown); ok {
		return x
	}
	if _, ok := y.(unknown); ok {
		return y
	}
	if sameValue(x, y) {
		return x
	}
	return unknown{why}
}

// sameValue is stricter than ===: doubt counts, and arrays are the same only when
// they are one object.
func sameValue(x, y any) bool {
	a, xDoubt := x.(doubtful)
	b, yDoubt := y.(doubtful)
	if xDoubt || yDoubt {
		return xDoubt && yDoubt && sameValue(a.value, b.value)
	}
	if p, ok := x.(*array); ok {
		q, ok := y.(*array)
		return ok && p == q
	}
	same, ok := identical(x, y)
	return same && ok
}
