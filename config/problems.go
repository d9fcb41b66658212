package config

import (
	"fmt"
	"strings"
)

// Problems is everything that is wrong with a configuration, each a sentence that names the setting, the value (unless it
// is secret), where it was written and what to write instead.
type Problems struct {
	List []string // in the order found, never empty when returned as an error
}

// Error gives all problems, one a line after the first.
func (p *Problems) Error() string {
	if len(p.List) == 1 {
		return "configuration: " + p.List[0]
	}
	return fmt.Sprintf("configuration: %d problems:\n  - %s", len(p.List), strings.Join(p.List, "\n  - "))
}

func (p *Problems) add(format string, args ...any) {
	p.List = append(p.List, fmt.Sprintf(format, args...))
}

func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	return p
}

// shown is a wrong value as a problem quotes it: short, and without what stands before an @, because people paste
// addresses with a password in them.
func shown(value string) string {
	if i := strings.LastIndexByte(value, '@'); i >= 0 {
		value = "…" + value[i:]
	}
	return fmt.Sprintf("%q", shortened(value))
}

// shortened keeps a problem readable when a name or value is not.
func shortened(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// didYouMean ends a sentence about an unknown name: with the nearest known one, if one is near enough to be meant.
func didYouMean(name string, known []string) string {
	best, distance := "", len(name)/3+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k), distance); d < distance || d == distance && best == "" {
			best, distance = k, d
		}
	}
	if best == "" {
		return "."
	}
	return "; did you mean " + best + "?"
}

// editDistance is Levenshtein's. It gives up with limit+1 when the lengths alone differ by more than limit, so that a name
// of a megabyte costs nothing.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
